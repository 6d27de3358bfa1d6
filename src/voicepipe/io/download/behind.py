"""Bytes on their way from the network to the disk."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING

import anyio

from voicepipe.tasks import task_group


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream


class Backlog:
    """
    What has come and is not written yet, in order; written beside the reading.

    Nothing is lost when either side breaks off: what was not written stays here.

    Args:
        write: Writes pieces; called in a worker thread.
        run: Runs something in a worker thread, one call at a time.

    Attributes:
        size: Bytes that were added since the last ``flush``.
    """

    def __init__(
        self,
        write: Callable[[list[bytes]], None],
        run: Callable[[Callable[[], None]], Awaitable[None]],
    ) -> None:
        """Begin empty."""
        self.size: int = 0
        self._write = write
        self._run = run
        self._pieces: list[bytes] = []
        self._queue: deque[list[bytes]] = deque()
        self._wake: MemoryObjectSendStream[None] | None = None

    def __bool__(self) -> bool:
        return bool(self._pieces or self._queue)

    def add(self, piece: bytes) -> None:
        """Take a piece."""
        self._pieces.append(piece)
        self.size += len(piece)

    def take(self) -> list[bytes]:
        """Give all that is not written; for when nobody writes."""
        pieces = [*(piece for pieces in self._queue for piece in pieces), *self._pieces]
        self._queue.clear()
        self._pieces, self.size = [], 0
        return pieces

    async def flush(self) -> None:
        """Have everything written; waits while what was there before is written."""
        self._queue.append(self._pieces)
        self._pieces, self.size = [], 0
        if self._wake is None:
            await self._write_queue()
        else:
            # Where the writer has failed, its own error is on its way.
            with contextlib.suppress(anyio.BrokenResourceError):
                await self._wake.send(None)

    @contextlib.asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Write beside what the block does; what was flushed is written at its end."""
        self._wake, receive = anyio.create_memory_object_stream[None]()
        try:
            async with task_group() as group:
                group.start_soon(self._write_on_call, receive)
                with self._wake:
                    yield
        finally:
            self._wake = None

    async def _write_on_call(self, receive: MemoryObjectReceiveStream[None]) -> None:
        with receive:
            async for _ in receive:
                await self._write_queue()

    async def _write_queue(self) -> None:
        while self._queue:
            await self._run(self._write_next)

    def _write_next(self) -> None:
        # Out of the queue where it is written: a task that is cancelled from outside
        # anyio does not know whether its thread has begun.
        if self._queue:
            self._write(self._queue.popleft())
