"""Entries handed out as recordings, one after the other, to whoever fetches them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

import anyio


if TYPE_CHECKING:
    from voicepipe.io.batch.entries import Entry
    from voicepipe.io.recordings import Recording
    from voicepipe.io.steps import Steps


class Feed:
    """
    An asynchronous iterator over recordings; several tasks may ask it at once.

    Args:
        steps: Makes the entries, or ``None`` between them, in worker threads.
    """

    def __init__(self, steps: Steps[Entry | None]) -> None:
        """Hand out nothing yet."""
        self._steps = steps
        self._turn = anyio.Lock()
        self._waiting: deque[Entry] = deque()
        self._away: dict[int, Entry] = {}
        self._given = 0
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Recording:
        """
        Give the next recording.

        Raises:
            BatchError: If the list, or the ledger, fails.

        Cancellation: takes effect after a few milliseconds; nothing is lost.
        """
        async with self._turn:
            while not self._waiting and not self._ended:
                self._keep(await self._steps.step())
            if not self._waiting:
                raise StopAsyncIteration
            entry = self._waiting.popleft()
        assert entry.recording is not None  # noqa: S101 - only such are to be done
        self._away[self._given] = entry
        self._given += 1
        return entry.recording

    def take(self, index: int) -> Entry:
        """Give the entry of a recording that is done, by its place, and forget it."""
        return self._away.pop(index)

    def stop(self) -> None:
        """Hand out no more."""
        self._ended = True
        self._waiting.clear()

    def _keep(self, made: list[Entry | None]) -> None:
        # It may have been stopped while they were made.
        if not self._ended:
            self._waiting.extend(entry for entry in made if entry is not None)
            self._ended = not made
