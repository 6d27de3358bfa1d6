"""Chunks of many sessions, written to the journal together."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from voicepipe.errors import CaptureError
from voicepipe.io.capture.records import Record, pack


if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from voicepipe.io.capture.journal import Journal


_log = logging.getLogger(__name__)

# What a power cut may take, seconds.
_SYNC_S = 1.0

# A hop to a thread and back costs as much as ten chunks: where many come, more of them
# share it.
_MANY = 4
_GATHER_S = 0.001


class _Batch:
    """Records that are written together, and who is told of each."""

    __slots__ = ("done", "pieces", "settle", "size")

    def __init__(self) -> None:
        self.pieces: list[bytes | memoryview] = []
        self.size = 0
        self.settle: list[Callable[[Exception | None], None]] = []
        self.done = anyio.Event()


class Committer:
    """
    Writes what was added while the last batch was written, in one worker thread.

    So each record waits for one hop to a thread, shared with all others, however many
    sessions there are.

    Args:
        journal: Where to write.
        durable: Flush each batch to disk; otherwise that is done once a second.
    """

    def __init__(self, journal: Journal, *, durable: bool) -> None:
        """Begin without a record."""
        self._journal = journal
        self._seed = journal.seed
        self._durable = durable
        self._next = _Batch()
        self._wake = anyio.Event()
        self._is_closed = False
        # A disk that stalls then holds one thread, and nobody else's.
        self._writing = anyio.CapacityLimiter(1)
        self._flushing = anyio.CapacityLimiter(1)

    @property
    def number(self) -> int:
        """Number of the segment that is written now, or of one before it."""
        return self._journal.number

    @property
    def steady(self) -> threading.Lock:
        """To be held by threads while they read the journal; see there."""
        return self._journal.steady

    def add(
        self, record: Record, settle: Callable[[Exception | None], None]
    ) -> anyio.Event:
        """
        Have a record written.

        Args:
            record: The record.
            settle: Called on the event loop when that is done, with the error if it
                could not be; must not raise.

        Returns:
            What is set after that.

        Raises:
            CaptureError: If nothing is written any more.
        """
        if self._is_closed:
            raise CaptureError("the store is closed")
        batch = self._next
        # Here, not in the thread: what that does in Python holds up the event loop, and
        # more than the same work would here.
        head = pack(record, self._seed)
        batch.pieces += (head, record.payload)
        batch.size += len(head) + len(record.payload)
        batch.settle.append(settle)
        if len(batch.settle) == 1:
            self._wake.set()
        return batch.done

    async def put(self, record: Record) -> None:
        """
        Write a record; returns when it is written.

        Raises:
            CaptureError: If nothing is written any more.
            OSError: If it could not be.
        """
        found: list[Exception | None] = []
        await self.add(record, found.append).wait()
        if found[0] is not None:
            raise found[0]

    async def run(self) -> None:
        """Write batches until cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake = anyio.Event()
                while count := len(self._next.settle):
                    await self._write()
                    # Those who were waiting come with the next ones now.
                    await anyio.sleep(_GATHER_S if count >= _MANY else 0)
        finally:
            self._is_closed = True
            self._settle(self._next, CaptureError("the store is closed"))

    async def run_sync(self) -> None:
        """Flush the journal to disk once a second, until cancelled."""
        failed = False
        while True:
            await anyio.sleep(_SYNC_S)
            if not self._journal.is_dirty:
                continue
            try:
                await self.sync()
            except OSError as exc:
                if not failed:
                    _log.warning("the journal could not be flushed to disk: %s", exc)
                failed = True
            else:
                failed = False

    async def sync(self) -> None:
        """
        Flush the journal to disk.

        Raises:
            OSError: If that fails.
        """
        await anyio.to_thread.run_sync(self._journal.sync, limiter=self._flushing)

    async def _write(self) -> None:
        batch, self._next = self._next, _Batch()
        try:
            errors = await anyio.to_thread.run_sync(
                self._append, batch, limiter=self._writing
            )
        except BaseException:
            self._settle(batch, CaptureError("the store is closed"))
            raise
        if errors is None:
            for settle in batch.settle:
                settle(None)
        else:
            for settle, error in zip(batch.settle, errors, strict=True):
                settle(error)
        batch.done.set()

    def _append(self, batch: _Batch) -> list[OSError | None] | None:
        return self._journal.append(batch.pieces, batch.size, durable=self._durable)

    def _settle(self, batch: _Batch, error: Exception) -> None:
        for settle in batch.settle:
            settle(error)
        batch.done.set()
