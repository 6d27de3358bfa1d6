"""What becomes of a chunk, from its arrival until it is safe."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from voicepipe.errors import CaptureError
from voicepipe.io.capture.journal import again
from voicepipe.io.capture.records import BEGINS, CHUNK, Record
from voicepipe.io.capture.replay import read_journal, reassemble
from voicepipe.io.capture.work import Work, ack_of, first


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from anyio.abc import TaskGroup

    from voicepipe.io.capture.behind import WriteBehind
    from voicepipe.io.capture.budget import Budget
    from voicepipe.io.capture.commit import Committer
    from voicepipe.io.capture.live import Assembling, Live
    from voicepipe.io.capture.values import ChunkAck
    from voicepipe.io.capture.work import Told
    from voicepipe.stream.assembler.assembler import ChunkAssembler
    from voicepipe.stream.sessions.registry import Sessions
    from voicepipe.stream.sessions.session import Connection


_log = logging.getLogger(__name__)

# After so much a session's state is written to the journal again: the less there is to
# read again after a crash. Compressed bytes are decoded then.
_STATE_BYTES = 1 << 23
_STATE_CODED_BYTES = 1 << 20
_STATE_CHUNKS = 4_000

# A chunk of no more bytes may be read on the event loop, if that only copies.
_LIGHT_BYTES = 1 << 16

# Bytes of sound that a byte may make, for which there has to be memory before it is
# decoded: MP3 at 64 kbit/s makes 11, and 8-bit samples at 8 kHz make 24 at 96 kHz.
_GROWTH = 16

# Chunks at the same time that are decoded or resampled.
_HEAVY = 4

# After the journal could not be written, a snapshot of so many chunks' assemblers is
# taken before each: going back to it costs less than reading the journal.
_CAUTIOUS = 1_000


class Intake:
    """
    Takes chunks: reads them, has them written to the journal, and counts them.

    Args:
        folder: Where the journal is.
        sessions: Decides what counts.
        committer: Writes the journal.
        behind: Writes the WAV files.
        budget: Bytes that may be in memory.
        make: Makes assemblers.
        clock: Tells the time.
        group: Whose tasks bring chunks to their end.
        grown: Called with a session whose state ought to be written again, or that is
            full.
    """

    def __init__(  # noqa: PLR0913 - the parts that a store is made of
        self,
        folder: Path,
        *,
        sessions: Sessions,
        committer: Committer,
        behind: WriteBehind,
        budget: Budget,
        make: Assembling,
        clock: Callable[[], float],
        group: TaskGroup,
        grown: Callable[[Live], None],
    ) -> None:
        """Keep the parts."""
        self._folder = folder
        self._sessions = sessions
        self._committer = committer
        self._behind = behind
        self._budget = budget
        self._make = make
        self._clock = clock
        self._group = group
        self._grown = grown
        self._heavy = anyio.CapacityLimiter(_HEAVY)
        self._cautious = 0
        self._stale: list[Work] = []

    async def write(
        self, live: Live, connection: Connection, data: bytes | bytearray | memoryview
    ) -> ChunkAck:
        """Take a chunk; see ``CaptureConnection.write``."""
        if type(data) is not bytes:
            # Samples are views of the bytes: nobody may change them.
            data = bytes(data)
        connection.calls += 1
        try:
            work = self._begin_at_once(live, connection, data)
            if work is None:
                work = await self._begin_later(live, connection, data)
            # From here on it comes to its end by itself, whoever waits for it.
            if work.done is None:
                await anyio.lowlevel.checkpoint()
            else:
                await work.done.wait()
        finally:
            connection.calls -= 1
            connection.last = self._clock()
        if work.ack is None:
            raise work.error or CaptureError("the store is closed")
        return work.ack

    def submit(
        self, live: Live, connection: Connection, data: bytes, told: Told
    ) -> bool:
        """Take a chunk, unless that waits; see ``CaptureConnection.submit``."""
        work = self._begin_at_once(live, connection, data)
        if work is None:
            return False
        connection.calls += 1
        work.told = told
        if work.done is None:
            self._tell(work)
        return True

    def _tell(self, work: Work) -> None:
        """Tell who gave a chunk that it has come to its end."""
        if work.own is not None:
            work.own.set()
        if work.told is not None:
            connection = work.chunk.connection
            connection.calls -= 1
            connection.last = self._clock()
            try:
                work.told(work.ack, work.error)
            except Exception:  # noqa: BLE001 - other chunks go on
                _log.exception("who was told of a chunk has failed")

    def _begin_at_once(
        self, live: Live, connection: Connection, data: bytes
    ) -> Work | None:
        """Begin with a chunk, unless that has to wait."""
        try:
            live.turn.acquire_nowait()
        except anyio.WouldBlock:
            return None
        if live.tail.error is not None:
            live.turn.release()
            raise again(live.tail.error)
        assembler = live.assembler
        light = assembler is not None and assembler.is_light(data)
        taken = len(data) if light else len(data) * _GROWTH
        if not self._budget.try_take(taken):
            live.turn.release()
            return None
        return self._begin(live, connection, data, light=light)

    async def _begin_later(
        self, live: Live, connection: Connection, data: bytes
    ) -> Work:
        """Begin with a chunk when there is time and memory for it."""
        if connection.calls == 1:
            # What is refused now would be refused after waiting. With others before it,
            # it has to wait: answers come in order.
            self._sessions.check(connection, len(data))
        await live.turn.acquire()
        try:
            self._check(live, connection, data)
            light = live.is_light(data)
            taken = len(data) if light else len(data) * _GROWTH
            if not self._budget.try_take(taken):
                self._behind.hurry()
                await self._budget.take(taken)
        except BaseException:
            live.turn.release()
            raise
        return self._begin(live, connection, data, light=light)

    def _check(self, live: Live, connection: Connection, data: bytes) -> None:
        """Refuse a chunk whose turn it is, before there is memory for it."""
        if live.tail.error is not None:
            raise again(live.tail.error)
        self._sessions.check(connection, len(data))

    def _begin(
        self, live: Live, connection: Connection, data: bytes, *, light: bool
    ) -> Work:
        """Begin with a chunk; turn and memory are taken, and given back on errors."""
        taken = len(data) if light else len(data) * _GROWTH
        try:
            chunk = self._sessions.begin(connection, len(data), self._clock())
        except BaseException:
            self._give_back(live, taken)
            raise
        work = Work(self, live, chunk, taken)
        if chunk.is_known:
            self._sessions.accept(chunk, 0)
            work.ack = ack_of(live)
            self._give_back(live, taken)
            return work
        work.data = data[chunk.skip :] if chunk.skip else data
        if light and len(data) <= _LIGHT_BYTES:
            try:
                self._push_here(work)
                self._commit(work)
            except BaseException:
                self._sessions.refuse(chunk)
                self._give_back(live, taken)
                raise
        else:
            work.done = work.own = anyio.Event()
            self._group.start_soon(self._read, work)
        return work

    def _give_back(self, live: Live, taken: int) -> None:
        self._budget.give(taken)
        live.turn.release()

    def _push_here(self, work: Work) -> None:
        """Read a chunk on the event loop."""
        live = work.live
        assembler = live.assembler
        assert assembler is not None, "it is light"  # noqa: S101
        if self._cautious or work.chunk.begins:
            self._cautious = max(0, self._cautious - 1)
            _remember(work, assembler)
        try:
            self._push(work, assembler)
        except BaseException:
            # It is as before the push, but not as before the restart.
            if work.chunk.begins:
                live.lose_assembler(work.before)
            raise

    def _push(self, work: Work, assembler: ChunkAssembler) -> None:
        restarted = assembler.restart() if work.chunk.begins else ()
        pieces = assembler.push(work.data)
        if restarted:
            pieces = (*restarted, *pieces)
        work.pieces = pieces
        for piece in pieces:
            work.frames += len(piece)

    async def _read(self, work: Work) -> None:
        """Read a chunk in a worker thread, then go on with it."""
        try:
            await anyio.to_thread.run_sync(self._push_apart, work, limiter=self._heavy)
            self._commit(work)
        except Exception as exc:  # noqa: BLE001 - it is the caller's
            self._end(work, exc)
        except BaseException:
            self._end(work, CaptureError("the store is closed"))
            raise

    def assembler_of(self, live: Live) -> ChunkAssembler:
        """
        Give a session's assembler, made again if it has to be; for worker threads.

        Raises:
            OSError: If the journal cannot be read.
            ValueError: If there is no state to make it from.
            VoicepipeError: If there is no decoder to be had.
        """
        return live.have_assembler(self._make, lambda: self._replayed([live])[live.key])

    def _push_apart(self, work: Work) -> None:
        live = work.live
        assembler = self.assembler_of(live)
        _remember(work, assembler)
        try:
            self._push(work, assembler)
        except BaseException:
            # A decoder has no way back.
            live.lose_assembler(work.before)
            raise

    def _commit(self, work: Work) -> None:
        session, chunk = work.live.session, work.chunk
        record = Record(
            CHUNK,
            work.live.key,
            session.sequence,
            session.received,
            work.data,
            BEGINS if chunk.begins else 0,
        )
        done = self._committer.add(record, work.settle)
        if work.own is None:
            work.done = done

    def accept(self, work: Work) -> None:
        """Count a chunk that is in the journal."""
        live = work.live
        kept = self._sessions.accept(work.chunk, work.frames)
        if kept != work.frames:
            work.pieces = first(work.pieces, kept)
        size = 0
        for piece in work.pieces:
            size += piece.nbytes
        if work.taken != size:
            self._budget.give(work.taken - size)
        self._behind.add(live.tail, work.pieces, size)
        live.new_bytes += len(work.data)
        live.new_chunks += 1
        live.touch()
        work.ack = ack_of(live)
        if (
            (live.new_bytes >= _STATE_CODED_BYTES and not live.copies)
            or live.new_bytes >= _STATE_BYTES
            or live.new_chunks >= _STATE_CHUNKS
            or live.session.is_full
        ):
            self._grown(live)
        live.turn.release()
        self._tell(work)

    def take_back(self, work: Work, error: Exception) -> None:
        """Undo a chunk that is not in the journal."""
        self._cautious = _CAUTIOUS
        if work.before is not None:
            work.live.lose_assembler(work.before)
            self._end(work, error)
            return
        # Its assembler has read what does not count.
        work.live.lose_assembler(None)
        work.error = error
        work.own = work.own or anyio.Event()
        self._stale.append(work)
        if len(self._stale) == 1:
            self._group.start_soon(self._go_back)

    async def _go_back(self) -> None:
        """Make the assemblers again, all by reading the journal once."""
        works, self._stale = self._stale, []
        try:
            made = await anyio.to_thread.run_sync(
                self._replayed, [work.live for work in works], limiter=self._heavy
            )
            for work in works:
                work.live.assembler = made.get(work.live.key)
        except Exception as exc:  # noqa: BLE001 - tried again with the next chunk
            _log.warning("the journal could not be read: %s", exc)
        finally:
            for work in works:
                self._end(work, work.error or CaptureError("the store is closed"))

    def _replayed(self, lives: Sequence[Live]) -> dict[bytes, ChunkAssembler]:
        with self._committer.steady:
            traces = read_journal(self._folder, {live.key for live in lives}).sessions
            for live in lives:
                if live.key in traces:
                    # What was refused may still be there, if the disk is that bad.
                    traces[live.key].cut(live.session.sequence)
            return {key: reassemble(trace, self._make) for key, trace in traces.items()}

    def _end(self, work: Work, error: Exception) -> None:
        """Refuse a chunk whose assembler is as before, or will be."""
        self._sessions.refuse(work.chunk)
        self._budget.give(work.taken)
        work.error = error
        work.live.turn.release()
        self._tell(work)


def _remember(work: Work, assembler: ChunkAssembler) -> None:
    """Keep what an assembler is, to be gone back to."""
    work.before = assembler.snapshot()
    work.live.dropped = assembler.report.dropped_bytes
