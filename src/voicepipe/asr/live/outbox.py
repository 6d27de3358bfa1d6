"""Hypotheses that wait to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel


if TYPE_CHECKING:
    from voicepipe.types import Hypothesis


class Outbox:
    """
    Keeps the newest hypothesis of each segment until it is read.

    So it never holds more than the text of the stream, and its reader is never behind:
    what is not final gives way to what comes after it. Segments are read in the order
    in which they came first.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._waiting: dict[int, Hypothesis] = {}
        self._closed = False
        self._error: BaseException | None = None
        self._news = anyio.Event()

    def put(self, hypothesis: Hypothesis) -> None:
        """Take a hypothesis."""
        self._waiting[hypothesis.segment_id] = hypothesis
        self._news.set()

    def close(self, error: BaseException | None = None) -> None:
        """Say that no more will come, and why; the first time counts."""
        if not self._closed:
            self._closed, self._error = True, error
            self._news.set()

    async def get(self) -> Hypothesis | None:
        """
        Wait for the next one; ``None`` at the end.

        Raises:
            BaseException: What ``close`` was told, when all have been read.
        """
        await anyio.lowlevel.checkpoint()
        while not self._waiting:
            if self._error is not None:
                raise self._error
            if self._closed:
                return None
            self._news = anyio.Event()
            await self._news.wait()
        return self._waiting.pop(next(iter(self._waiting)))
