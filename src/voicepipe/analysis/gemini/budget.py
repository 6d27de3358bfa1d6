"""What is paid for, and what was paid for before."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import attrs

from voicepipe.analysis.gemini.answer import UnusableAnswerError, found_in
from voicepipe.types import AnalysisReport


if TYPE_CHECKING:
    from voicepipe.analysis.gemini.answer import Found, Usage, Wanted
    from voicepipe.protocols import ResultCache


SPARE_CALLS = 2
"""
Calls that an analysis may take besides those it needs; ours.

One for each window and, of several, one to merge them: at most three for a transcript
of one window, else three more than there are windows.
"""

# A cache that takes longer than this has failed: a cancellation is not kept waiting.
_KEEP_S = 10.0


class Budget:
    """
    Counts the calls of one analysis, and keeps their results.

    With a cache that outlives a failure the next attempt has as many spare calls as
    this one left.

    Args:
        cache: Where results are kept, ``None`` for nowhere.
        name: What the analysis is of, for the cache.
    """

    def __init__(self, cache: ResultCache | None, name: str) -> None:
        """Count nothing yet."""
        self._cache = cache
        self._key = f"gemini:{name}:spares"
        self._spent: int | None = None
        self.report: AnalysisReport = AnalysisReport()

    async def kept(self, key: str, wanted: Wanted) -> Found | None:
        """Give what a call has found before, ``None`` if there was none."""
        text = await self._cache.get(f"gemini:{key}") if self._cache else None
        if text is None:
            return None
        try:
            read = functools.partial(found_in, text, wanted, kept=True)
            found = await anyio.to_thread.run_sync(read)
        except UnusableAnswerError:
            return None
        self._add(cached_calls=1)
        return found

    async def keep(self, key: str, found: Found) -> None:
        """Keep what a call has found; it is paid for, so no cancellation stops it."""
        if self._cache is not None:
            with anyio.move_on_after(_KEEP_S, shield=True):
                await self._cache.put(f"gemini:{key}", found.to_json())

    def paid(self, usage: Usage) -> None:
        """Count a call that the service has answered."""
        self._add(
            calls=1,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
        )

    async def spare(self) -> bool:
        """Take one of the spare calls, if one is left."""
        spent = self._spent
        if spent is None:
            text = await self._cache.get(self._key) if self._cache else None
            spent = int(text) if text in {"0", "1", "2"} else 0
        # Another window may have taken one while the cache was asked.
        spent = max(spent, self._spent or 0)
        left = spent < SPARE_CALLS
        self._spent = spent + 1 if left else spent
        if self._cache is not None:
            # Used up: who asks again after that failure asks for new ones.
            with anyio.move_on_after(_KEEP_S, shield=True):
                await self._cache.put(self._key, str(self._spent) if left else "0")
        return left

    def _add(self, **more: int) -> None:
        sums = {name: getattr(self.report, name) + one for name, one in more.items()}
        self.report = attrs.evolve(self.report, **sums)
