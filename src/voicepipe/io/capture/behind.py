"""Accepted samples on their way from the journal to the WAV files."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from voicepipe.errors import CaptureError


if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from voicepipe.io.capture.budget import Budget
    from voicepipe.io.capture.wavs import SessionWav


_log = logging.getLogger(__name__)

# For how long samples wait, seconds; longer where many files have some: to open, write
# and close one takes the time of ten chunks. And how many bytes do not wait.
_WAIT_S = 0.4
_WAIT_FILE_S = 0.002
_WAIT_BYTES = 1 << 26

# Files that are written in one go: meanwhile the event loop gets less of the processor.
_TOGETHER = 64


class Tail:
    """
    The end of a session's WAV file, and what is to follow it.

    Args:
        wav: The file.
        frames: Frames that it has.

    Attributes:
        wav: The file.
        written: Frames that are in it.
        error: Why the last try to write failed; ``None`` after one that did not.
        pieces: What is to follow.
        waiting: Who waits until that is written.
        told: Who waits until what is being written is.
    """

    __slots__ = ("error", "pieces", "told", "waiting", "wav", "written")

    def __init__(self, wav: SessionWav, frames: int) -> None:
        """Begin with nothing to follow."""
        self.wav: SessionWav = wav
        self.written: int = frames
        self.error: OSError | None = None
        self.pieces: list[npt.NDArray[np.int16]] = []
        self.waiting: list[anyio.Event] = []
        self.told: list[anyio.Event] = []


class WriteBehind:
    """
    Writes samples to WAV files, those of all sessions together, a moment later.

    What cannot be written stays in memory, and is tried again.

    Args:
        budget: Gets the bytes back that were written.
    """

    def __init__(self, budget: Budget) -> None:
        """Begin with nothing to write."""
        self._budget = budget
        self._dirty: dict[Tail, float] = {}  # since when, the oldest first
        self._urgent: dict[Tail, None] = {}
        self._bytes = 0
        self._wake = anyio.Event()
        self._hurry = anyio.Event()
        self._limiter = anyio.CapacityLimiter(1)
        self._under_way: set[Tail] = set()
        self._is_closed = False

    def add(
        self, tail: Tail, pieces: Sequence[npt.NDArray[np.int16]], size: int
    ) -> None:
        """
        Have samples written.

        Args:
            tail: Where.
            pieces: Shape ``(frames, channels)``, C-contiguous.
            size: Their bytes, taken from the budget.
        """
        tail.pieces.extend(pieces)
        if tail not in self._dirty:
            self._note(tail)
        self._bytes += size
        if self._bytes >= _WAIT_BYTES or self._budget.is_wanted:
            self._hurry.set()

    def hurry(self) -> None:
        """Let what is there not wait: somebody needs the memory."""
        self._hurry.set()

    async def flush(self, tail: Tail) -> None:
        """
        Have a session's samples written now.

        Raises:
            CaptureError: If nothing is written any more.
            OSError: If that fails; they stay to be written.
        """
        while tail.pieces or tail in self._under_way:
            if self._is_closed:
                raise CaptureError("the store is closed")
            event = anyio.Event()
            tail.waiting.append(event)
            self._note(tail)
            self._urgent[tail] = None
            self._hurry.set()
            await event.wait()
            if tail.error is not None:
                raise tail.error

    async def run(self) -> None:
        """Write until cancelled."""
        try:
            while True:
                await self._wake.wait()
                wait_s = max(_WAIT_S, len(self._dirty) * _WAIT_FILE_S)
                until = next(iter(self._dirty.values())) + wait_s
                if not self._hurry.is_set():
                    with anyio.move_on_after(until - anyio.current_time()):
                        await self._hurry.wait()
                await self._write(self._next())
        finally:
            self._is_closed = True
            for tail in (*self._dirty, *self._under_way):
                for event in (*tail.told, *tail.waiting):
                    event.set()

    def _note(self, tail: Tail) -> None:
        self._dirty.setdefault(tail, anyio.current_time())
        self._wake.set()

    def _next(self) -> list[Tail]:
        """Choose what is written now: what somebody waits for, or the oldest."""
        hurried, self._hurry = self._hurry, anyio.Event()
        if self._urgent:
            tails = list(self._urgent)
            self._urgent.clear()
            if self._budget.is_wanted:
                self._hurry.set()
        elif hurried.is_set():
            tails = list(self._dirty)
        else:
            tails = list(itertools.islice(self._dirty, _TOGETHER))
        for tail in tails:
            del self._dirty[tail]
        if not self._dirty:
            self._wake = anyio.Event()
        return tails

    async def _write(self, tails: Sequence[Tail]) -> None:
        jobs = []
        for tail in tails:
            jobs.append((tail, tail.written, tail.pieces))
            tail.pieces = []
            tail.told, tail.waiting = tail.waiting, []
        self._under_way = set(tails)
        self._bytes -= sum(piece.nbytes for _, _, pieces in jobs for piece in pieces)
        errors = await anyio.to_thread.run_sync(_append, jobs, limiter=self._limiter)
        self._under_way = set()
        freed = 0
        for (tail, _, pieces), error in zip(jobs, errors, strict=True):
            size = sum(piece.nbytes for piece in pieces)
            if error is None:
                tail.written += sum(map(len, pieces))
                freed += size
            else:
                if tail.error is None:
                    _log.warning("a session's file cannot be written: %s", error)
                tail.pieces[:0] = pieces
                self._bytes += size
                self._note(tail)
            tail.error = error
            for event in tail.told:
                event.set()
        self._budget.give(freed)


def _append(
    jobs: Sequence[tuple[Tail, int, Sequence[npt.NDArray[np.int16]]]],
) -> list[OSError | None]:
    """Write to one file after the other, in a worker thread."""
    errors: list[OSError | None] = []
    for tail, at, pieces in jobs:
        try:
            if pieces:
                tail.wav.append(at, pieces)
            errors.append(None)
        except OSError as exc:
            errors.append(exc)
    return errors
