"""Sessions that end, and states written again so that the journal stays short."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import attrs

from voicepipe.errors import CaptureError, VoicepipeError
from voicepipe.io.capture.index import Row
from voicepipe.io.capture.records import FORGET, STATE, Record
from voicepipe.io.capture.wavs import sync_wavs
from voicepipe.tasks import task_group


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    import numpy.typing as npt

    from voicepipe.io.capture.behind import WriteBehind
    from voicepipe.io.capture.commit import Committer
    from voicepipe.io.capture.index import Index
    from voicepipe.io.capture.journal import Journal
    from voicepipe.io.capture.live import Live
    from voicepipe.io.capture.states import Saved
    from voicepipe.io.capture.values import CaptureStatus
    from voicepipe.stream.assembler.assembler import ChunkAssembler


_log = logging.getLogger(__name__)

# Files that are finished at the same time.
_FILES = 8

# Sessions whose states are written again together: they share one round of writing
# behind, and one batch of the journal.
_TOGETHER = 128

# Bytes of a segment for each session. All states are written again for each segment:
# with a thousand sessions, more of them would be of states than of sound.
_SHARE_BYTES = 1 << 19


class Keeper:
    """
    Brings sessions from memory to the index, and the journal's beginning forward.

    Args:
        lives: The active sessions by id; those that end are taken out.
        journal: The journal, to have segments removed.
        committer: Writes it.
        behind: Writes the WAV files.
        index: Gets the sessions that end.
        restore: Gives a session's assembler, made again if it has to be.
        clock: Tells the time.
    """

    def __init__(  # noqa: PLR0913 - the parts that a store is made of
        self,
        lives: dict[str, Live],
        *,
        journal: Journal,
        committer: Committer,
        behind: WriteBehind,
        index: Index,
        restore: Callable[[Live], ChunkAssembler],
        clock: Callable[[], float],
    ) -> None:
        """Keep the parts."""
        self._lives = lives
        self._journal = journal
        self._committer = committer
        self._behind = behind
        self._index = index
        self._restore = restore
        self._clock = clock
        self._disk = anyio.CapacityLimiter(_FILES)
        self._first = journal.number
        self._complained = False

    async def begin(self, live: Live, *, is_new: bool) -> None:
        """
        Write a session's first state since it is active; nobody else knows it yet.

        Raises:
            CaptureError: If its file has become shorter, or the store is closed.
            OSError: If its file, or the journal, cannot be written.
            VoicepipeError: If there is no decoder to be had.
        """
        live.segment = self._committer.number
        saved = await anyio.to_thread.run_sync(
            self._open, live, is_new, limiter=self._disk
        )
        try:
            await self._committer.put(_state(live, saved))
        except BaseException:
            if is_new:
                # Nobody has heard of it.
                with anyio.CancelScope(shield=True), contextlib.suppress(OSError):
                    await anyio.to_thread.run_sync(live.tail.wav.path.unlink)
            raise

    def _open(self, live: Live, is_new: bool) -> Saved:  # noqa: FBT001 - a thread's
        """Make or open the file, and the assembler; in a worker thread."""
        wav, frames = live.tail.wav, live.session.frames
        assembler = self._restore(live)
        if is_new:
            wav.create()
        elif wav.frames() < frames:
            msg = "the session's file has become shorter"
            raise CaptureError(msg, session_id=live.session.session_id)
        else:
            wav.append(frames, ())
        return live.saved(self._clock(), assembler.snapshot())

    async def renew(self, due: Iterable[Live]) -> None:
        """
        Write states again, and remove the segments that no session needs any more.

        Args:
            due: Sessions that have grown; besides them those whose last state is in a
                segment that is not written any more.
        """
        current, grown = self._committer.number, set(due)
        self._journal.make_room(_SHARE_BYTES * len(self._lives))
        lives = [
            live
            for live in self._lives.values()
            if live in grown or live.segment < current
        ]
        for first in range(0, len(lives), _TOGETHER):
            await self._renew(lives[first : first + _TOGETHER])
        needed = [live.segment for live in self._lives.values()]
        oldest = min(needed, default=current)
        if oldest > self._first:
            # What replaces them must be on disk first.
            await self._committer.sync()
            await anyio.to_thread.run_sync(
                self._journal.remove_before, oldest, limiter=self._disk
            )
            self._first = oldest

    async def _renew(self, lives: Iterable[Live]) -> None:
        """Write some sessions' states again, when their files have got so far."""
        found: list[tuple[Live, int, Saved]] = []
        puts: list[tuple[Live, int, list[Exception | None]]] = []
        for live in lives:
            segment = self._committer.number
            try:
                saved = await self._saved(live)
            except (LookupError, OSError, ValueError, VoicepipeError) as exc:
                puts.append((live, segment, [exc]))
                continue
            if saved is not None:
                found.append((live, segment, saved))
        async with task_group() as group:
            for live, _, _ in found:
                group.start_soon(self._flush, live)
        errors = await anyio.to_thread.run_sync(
            sync_wavs, [live.tail.wav for live, _, _ in found], limiter=self._disk
        )
        done: anyio.Event | None = None
        for (live, segment, saved), error in zip(found, errors, strict=True):
            told: list[Exception | None] = [live.tail.error or error]
            if told[0] is None and live.session.ending is None:
                told.clear()
                done = self._committer.add(_state(live, saved), told.append)
            puts.append((live, segment, told))
        if done is not None:
            # The batch of the last: those of the others are not later.
            await done.wait()
        self._look_at(puts)

    def _look_at(
        self, puts: Iterable[tuple[Live, int, list[Exception | None]]]
    ) -> None:
        """See which states are in the journal."""
        failed = False
        for live, segment, (error,) in puts:
            if error is not None:
                failed = True
                self._complain("a session's state was not written: %s", error)
            elif live.session.ending is None:
                live.segment = segment
        if not failed:
            self._complained = False

    async def _saved(self, live: Live) -> Saved | None:
        """Give what is to be written of a session; ``None`` where it is not active."""
        async with live.turn:
            if live.session.ending is not None or not live.begun:
                return None
            snapshot = await self._snapshot(live)
            saved = live.saved(self._clock(), snapshot)
            live.new_bytes = live.new_chunks = 0
        return saved

    async def _snapshot(self, live: Live) -> bytes:
        if live.assembler is not None and live.assembler.light:
            return live.assembler.snapshot()
        if live.assembler is None and live.snapshot is not None:
            return live.snapshot
        return await anyio.to_thread.run_sync(
            lambda: self._restore(live).snapshot(), limiter=self._disk
        )

    async def _flush(self, live: Live) -> None:
        # What goes wrong is in the tail's ``error`` as well.
        with contextlib.suppress(OSError):
            await self._behind.flush(live.tail)

    async def retire(self, lives: Sequence[Live], *, completed: bool) -> list[Live]:
        """
        Write what sessions have to the index; their turns are taken and kept.

        Args:
            lives: The sessions.
            completed: Whether they are for good; else they are parked.

        Returns:
            Those of which that could be done, with ``last``: give their turns back when
            nobody knows them any more. The others stay as they were.

        Raises:
            CaptureError: If the index fails; all stay as they were.
            DiskFullError: If there is no space left in it; likewise.
            OSError: If a single session's file cannot be written.
        """
        done: list[tuple[Live, bytes]] = []
        errors: list[OSError] = []
        taken: list[Live] = []

        async def finish(live: Live) -> None:
            await live.turn.acquire()
            taken.append(live)
            try:
                await self._behind.flush(live.tail)
                snapshot = await anyio.to_thread.run_sync(
                    self._finish, live, completed, limiter=self._disk
                )
                done.append((live, snapshot))
            except OSError as exc:
                errors.append(exc)
                taken.remove(live)
                live.turn.release()

        status: CaptureStatus = "completed" if completed else "interrupted"
        try:
            async with task_group() as group:
                for live in lives:
                    group.start_soon(finish, live)
            rows = [Row(status, live.last) for live, _ in done if live.last]
            if rows:
                await anyio.to_thread.run_sync(
                    self._index.put, rows, limiter=self._disk
                )
        except BaseException:
            for live, snapshot in done:
                live.lose_assembler(snapshot)
                live.last = None
            for live in taken:
                live.turn.release()
            raise
        if errors and len(lives) == 1:
            raise errors[0]
        for error in errors:
            self._complain("a session's file could not be finished: %s", error)
        return [live for live, _ in done]

    def _complain(self, message: str, error: Exception) -> None:
        """Log what goes wrong, once while it does: it is tried again and again."""
        if not self._complained:
            _log.warning(message, error)
        self._complained = True

    def forget(self, live: Live) -> None:
        """Let go of a session that is in the index."""
        self._lives.pop(live.session.session_id, None)
        if live.assembler is not None:
            live.assembler.close()
        # If it is lost, the index is believed.
        self._committer.add(Record(FORGET, live.key), _ignore)

    def _finish(self, live: Live, completed: bool) -> bytes:  # noqa: FBT001 - a thread's
        """Finish a file, in a worker thread; give the assembler's state before."""
        snapshot, dropped = b"", live.dropped
        pieces: list[npt.NDArray[np.int16]] = []
        try:
            assembler = self._restore(live)
            snapshot = assembler.snapshot()
            if completed:
                pieces.extend(assembler.flush())
            dropped = assembler.report.dropped_bytes
        except (ValueError, VoicepipeError) as exc:
            if isinstance(exc, OSError):
                raise
            _log.warning("a session's last sound could not be read: %s", exc)
        counters = live.session.counters(self._clock())
        frames = counters.frames
        try:
            frames += _clip(pieces, counters.max_frames - frames)
            live.tail.wav.finish(counters.frames, pieces, closed=True)
        except BaseException:
            live.lose_assembler(snapshot)
            raise
        live.touch()
        live.last = attrs.evolve(
            live.saved(self._clock()),
            counters=attrs.evolve(counters, frames=frames),
            dropped=dropped,
            snapshot=b"" if completed else snapshot,
        )
        return snapshot


def _clip(pieces: list[npt.NDArray[np.int16]], most: int) -> int:
    """Cut pieces to so many frames in all, and tell how many there are."""
    frames = 0
    for at, piece in enumerate(pieces):
        pieces[at] = piece[: max(0, most - frames)]
        frames += len(pieces[at])
    return frames


def _state(live: Live, saved: Saved) -> Record:
    counters = saved.counters
    return Record(STATE, live.key, counters.sequence, counters.received, saved.pack())


def _ignore(_error: Exception | None) -> None:
    pass
