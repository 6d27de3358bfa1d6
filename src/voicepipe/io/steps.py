"""Synchronous work carried to worker threads, step by step."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import anyio
import anyio.to_thread

from voicepipe.errors import VoicepipeError


if TYPE_CHECKING:
    from collections.abc import Generator


T = TypeVar("T")

SLICE_S = 0.02
"""
Seconds that a step goes on before it comes back to the event loop.

Long enough that the way to a worker thread and back, about 0.1 ms, costs nothing; short
enough that whoever cancels does not wait.
"""


class Guard(Protocol):
    """
    Looks after work that waits for somebody else, and may wait for ever.

    Attributes:
        patience_s: Longest time that one step may take, seconds.
    """

    patience_s: float

    def stop(self) -> None:
        """Make the step that is under way fail at once; does not wait."""
        ...

    def late(self) -> Exception:
        """Make the error for a step that took too long."""
        ...


class Steps(Generic[T]):
    """
    Runs a generator in worker threads.

    The generator is the work: it opens files in ``with`` blocks and yields often, every
    few milliseconds, so that it can be stopped there. It is never run in two threads
    at once, and not closed while it runs.

    Args:
        work: A generator that has not begun.
        guard: Stops the work where it hangs or is cancelled; ``None`` for work that
            comes to its next ``yield`` by itself.
    """

    def __init__(
        self, work: Generator[T, None, None], guard: Guard | None = None
    ) -> None:
        """Start nothing yet."""
        self._work = work
        self._guard = guard
        self._lock = threading.Lock()
        self._error: Exception | None = None

    async def step(self) -> list[T]:
        """
        Let the work go on for about 20 ms and give what it has yielded.

        Returns:
            At least one item; none at the end.

        Raises:
            Exception: What the work raised, after all that it yielded before; the
                guard's error if the step took too long.

        Cancellation: takes effect when the step ends; at once with a guard.
        """
        if self._guard is None:
            return await anyio.to_thread.run_sync(self._run)
        with anyio.move_on_after(self._guard.patience_s):
            try:
                return await anyio.to_thread.run_sync(self._run, abandon_on_cancel=True)
            except anyio.get_cancelled_exc_class():
                self._guard.stop()
                raise
        raise self._guard.late()

    async def result(self) -> T:
        """
        Run the work to its end, close it, and give the last thing it yielded.

        Raises:
            Exception: What the work raised.

        Cancellation: the work is closed at its next ``yield``, before this returns.
        """
        items: list[T] = []
        try:
            while more := await self.step():
                items = more
        finally:
            # Closing may remove files: not on the event loop, and not to be left out.
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self.close)
        return items[-1]

    def close(self) -> None:
        """
        Close the work where it last yielded; wait for a step that is under way.

        One is under way only if a task was cancelled from outside anyio, as by
        ``asyncio.timeout``: that does not wait for the thread.
        """
        with self._lock:
            self._work.close()

    def _run(self) -> list[T]:
        """Run one step; in a worker thread."""
        with self._lock:
            if self._error is not None:
                raise self._error
            items: list[T] = []
            until = time.monotonic() + SLICE_S
            try:
                for item in self._work:
                    items.append(item)
                    if time.monotonic() >= until:
                        break
            except (VoicepipeError, OSError, ValueError) as exc:
                if not items:
                    raise
                self._error = exc
            return items
