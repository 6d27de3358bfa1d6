"""The calls of one analysis."""

from __future__ import annotations

import functools
from collections import Counter
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import attrs

from voicepipe.analysis.gemini.answer import (
    Found,
    UnusableAnswerError,
    Usage,
    Wanted,
    answer_in,
)
from voicepipe.analysis.gemini.failures import LostAnswerError, failure
from voicepipe.analysis.gemini.prompt import merge_question, window_question
from voicepipe.errors import AnalysisError, FetchError, TooLargeError
from voicepipe.tasks import side_by_side


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voicepipe.analysis.gemini.budget import Budget
    from voicepipe.analysis.gemini.prompt import Question
    from voicepipe.analysis.gemini.service import Access, Service
    from voicepipe.analysis.gemini.windows import Window


class Reading:
    """
    One analysis: the calls that it takes.

    Args:
        access: Whom is asked.
        service: Who asks.
        budget: Who counts.
    """

    def __init__(self, access: Access, service: Service, budget: Budget) -> None:
        """Ask nothing yet."""
        self._access = access
        self._options = access.options
        self._service = service
        self._budget = budget

    async def all_of(
        self, windows: Sequence[Window], progress: Callable[[float], None]
    ) -> list[Found]:
        """
        Give what each window holds, and behind them, of several, what all of them do.

        Args:
            windows: At least one.
            progress: Called with the share of the calls that has been answered.

        Raises:
            AnalysisError: If the service gives no analysis.
        """
        found: list[Found | None] = [None] * len(windows)
        calls = len(windows) + (len(windows) > 1)
        failures: list[AnalysisError] = []

        async def read(place: int, window: Window) -> None:
            # Of several calls at once one fails: the others are paid for, and end.
            try:
                if not failures:
                    found[place] = await self._window(window)
            except AnalysisError as exc:
                failures.append(exc)

        at_once = min(len(windows), self._options.calls_at_once)
        async with side_by_side(windows, read, at_once) as done:
            count = 0
            async for _ in done:
                count += 1
                progress(count / calls)
        if failures:
            # One that is final says more than one that may pass.
            raise min(failures, key=lambda one: one.retryable)
        read_all = [one for one in found if one is not None]
        if len(windows) > 1:
            read_all.append(await self._merged(read_all))
            progress(1.0)
        return read_all

    async def _window(self, window: Window) -> Found:
        clean = self._options.clean and bool(window.whole)
        ask = functools.partial(window_question, window.lines, self._options)
        wanted = self._wanted(window.ids, clean=clean)
        # Less to write: what was too long, filtered, or twice wrong, may pass.
        less = ask(clean=False), attrs.evolve(wanted, clean=False)
        return await self._found(ask(clean=clean), wanted, less)

    async def _merged(self, parts: Sequence[Found]) -> Found:
        points = [part.points for part in parts]
        if not any(points):
            # Nothing to merge, and nothing to pay for.
            types = Counter(part.conversation_type for part in parts)
            return Found(conversation_type=types.most_common(1)[0][0])
        ids = frozenset(at for part in points for p in part for at in p.segment_ids)
        question = merge_question(points, self._options)
        wanted = self._wanted(ids, clean=False)
        return await self._found(question, wanted, (question, wanted))

    def _wanted(self, ids: frozenset[int], *, clean: bool) -> Wanted:
        options = self._options
        return Wanted(
            ids=ids,
            labels=options.labels,
            summary=options.summary_sentences,
            key_points=options.key_points,
            clean=clean,
        )

    async def _found(
        self, question: Question, wanted: Wanted, less: tuple[Question, Wanted]
    ) -> Found:
        """Ask until there is an answer to believe, as long as calls are left."""
        key = question.digest(self._sent_with)
        unusable = 0
        found = await self._budget.kept(key, wanted)
        while found is None:
            try:
                found = await self._asked(key, question, wanted)
            except (LostAnswerError, UnusableAnswerError) as exc:
                await self._spare(exc)
                unusable += 1
                if unusable > 1 or _is_too_much(exc):
                    question, wanted = less
            except FetchError as exc:
                raise failure(exc, model=self._access.name) from exc
        return found

    @property
    def _sent_with(self) -> tuple[object, ...]:
        options = self._options
        return (
            self._access.model,
            options.base_url,
            options.api_version,
            options.temperature,
            options.max_output_tokens,
            options.thinking_budget,
        )

    async def _asked(
        self, key: str, question: Question, wanted: Wanted
    ) -> Found | None:
        """Ask once, and keep what is found under a key."""
        found: Found | None = None
        try:
            body = await self._service.ask(question)
            # It is paid for: no cancellation comes between it and the cache.
            with anyio.CancelScope(shield=True):
                found = await self._read(key, body, wanted)
        except LostAnswerError:
            self._budget.paid(Usage())
            raise
        except UnusableAnswerError as exc:
            self._budget.paid(exc.usage)
            raise
        return found

    async def _read(self, key: str, body: bytes, wanted: Wanted) -> Found:
        read = functools.partial(answer_in, body, wanted)
        # In a thread of its own: it must not wait for what others compute.
        alone = anyio.CapacityLimiter(1)
        found, usage = await anyio.to_thread.run_sync(read, limiter=alone)
        self._budget.paid(usage)
        await self._budget.keep(key, found)
        return found

    async def _spare(self, error: FetchError | UnusableAnswerError) -> None:
        """Take a spare call after an answer that is none, or give up."""
        lasting = isinstance(error, UnusableAnswerError) and error.lasting
        if not lasting and await self._budget.spare():
            return
        blocked = isinstance(error, UnusableAnswerError) and error.fault == "blocked"
        calls = self._budget.report.calls
        msg = (
            f"no usable answer in {calls} {'call' if calls == 1 else 'calls'}: {error}"
        )
        raise AnalysisError(
            msg,
            model=self._access.name,
            reason="blocked" if blocked else "unusable",
        ) from None


def _is_too_much(error: LostAnswerError | UnusableAnswerError) -> bool:
    """Tell whether a shorter answer may come where this one did not."""
    if isinstance(error, LostAnswerError):
        return isinstance(error.__cause__, TooLargeError)
    return error.fault != "malformed"
