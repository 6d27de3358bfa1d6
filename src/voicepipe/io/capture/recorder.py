"""The running part of a store: its tasks, and what it has in memory."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
import uuid
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from voicepipe.errors import (
    CaptureError,
    SessionBusyError,
    SessionClosedError,
    SessionFullError,
    TooManySessionsError,
)
from voicepipe.io.capture.apart import apart
from voicepipe.io.capture.behind import WriteBehind
from voicepipe.io.capture.budget import Budget
from voicepipe.io.capture.catalogue import Catalogue
from voicepipe.io.capture.commit import Committer
from voicepipe.io.capture.connection import CaptureConnection, Desk
from voicepipe.io.capture.intake import Intake
from voicepipe.io.capture.keeper import Keeper
from voicepipe.io.capture.live import Live
from voicepipe.io.capture.records import FORGET, Record
from voicepipe.io.capture.states import Saved, wav_path
from voicepipe.io.capture.turns import Turns
from voicepipe.stream.sessions.registry import Sessions
from voicepipe.stream.sessions.session import Session, SessionLimits


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path
    from typing import TypeVar

    from anyio.abc import TaskGroup

    from voicepipe.io.capture.disk import Disk
    from voicepipe.io.capture.values import (
        CaptureOptions,
        SessionInfo,
        SessionSpec,
    )
    from voicepipe.stream.sessions.session import Connection, Ending

    T = TypeVar("T")


_log = logging.getLogger(__name__)

# How often sessions are looked at that may have ended, seconds.
_LOOK_S = 0.25


class Recorder:
    """
    What ``CaptureStore`` does while it is open; see there for each method.

    All that takes a session from one state to another is done by tasks of the group, so
    that it comes to its end whoever is cancelled.

    Args:
        folder: Where the files are.
        options: Limits and durability.
        disk: The folder, held.
        group: Whose tasks do the work.
    """

    def __init__(
        self, folder: Path, options: CaptureOptions, disk: Disk, group: TaskGroup
    ) -> None:
        """Begin without an active session."""
        self.lives: dict[str, Live] = {}
        self.budget: Budget = Budget(options.max_pending_bytes)
        self._folder = folder
        self._clock = options.clock
        self._catalogue = Catalogue(folder, self.lives, disk.index, options.clock)
        self._group = group
        self._is_closed = False
        self._wake = anyio.Event()
        self._grown: set[Live] = set()
        self._ends: dict[Connection, CaptureConnection] = {}
        self._doors = Turns()
        self._many = anyio.Semaphore(1)
        self._newest = 0
        self._sessions = Sessions(
            SessionLimits(
                max_sessions=options.max_sessions,
                max_connections=options.max_connections,
                max_chunk_bytes=options.max_chunk_bytes,
                max_duration_s=options.max_duration_s,
                idle_s=options.idle_s,
            )
        )
        self._committer = Committer(disk.journal, durable=options.durability == "fsync")
        self._behind = WriteBehind(self.budget)
        self._intake = Intake(
            folder,
            sessions=self._sessions,
            committer=self._committer,
            behind=self._behind,
            budget=self.budget,
            make=disk.make,
            clock=self._clock,
            group=group,
            grown=self._note_grown,
        )
        self._keeper = Keeper(
            self.lives,
            journal=disk.journal,
            committer=self._committer,
            behind=self._behind,
            index=disk.index,
            restore=self._intake.assembler_of,
            clock=self._clock,
        )
        self._desk = Desk(
            tell=self._catalogue.tell,
            complete_full=self._complete_full,
            close_session=self.close_session,
            leave=self._leave,
        )

    async def start(self) -> None:
        """Start the tasks."""
        self._newest = await self._catalogue.ask(self._catalogue.index.newest)
        for task in (
            self._committer.run,
            self._committer.run_sync,
            self._behind.run,
            self._keep,
        ):
            self._group.start_soon(task)

    async def stop(self) -> bool:
        """Park all sessions, and tell whether the journal is not needed any more."""
        self._is_closed = True
        begun = tuple(live for live in self.lives.values() if live.begun)
        try:
            await self._park(begun, "stopped")
        except (CaptureError, OSError) as exc:
            _log.warning("sessions stay in the journal: %s", exc)
        for connection in self._ends.values():
            connection.tell_ended()
        return not self.lives

    async def create(self, spec: SessionSpec) -> CaptureConnection:
        """Begin a session."""
        return await self._apart(functools.partial(self._create, spec), self._unclaimed)

    async def join(self, session_id: str, offset: int | None) -> CaptureConnection:
        """Connect to a session."""
        work = functools.partial(self._join, session_id, offset)
        return await self._apart(work, self._unclaimed)

    async def close_session(self, session_id: str) -> SessionInfo:
        """Complete a session."""
        return await self._apart(functools.partial(self._close, session_id))

    async def delete(self, session_id: str) -> None:
        """Remove a session and its file."""
        await self._apart(functools.partial(self._delete, session_id))

    async def expire(self) -> None:
        """End what is over by now."""
        errors = await self._apart(self._expire)
        if errors:
            raise errors[0]

    @property
    def catalogue(self) -> Catalogue:
        """
        All sessions, for who asks.

        Raises:
            CaptureError: If the store is closed.
        """
        self._check_open()
        return self._catalogue

    async def _make_place(self) -> None:
        """Where all places are taken, park a session whose clients have gone."""
        # Others who look for one may choose the same session, and be faster.
        while (session := self._sessions.longest_left()) is not None:
            await self._park([self.lives[session.session_id]], "idle")

    async def _create(self, spec: SessionSpec) -> CaptureConnection:
        await self._make_place()
        now = self._clock()
        session = self._sessions.create(str(uuid.uuid4()), spec.rate, now)
        # The clock of the day may stand still, or go back.
        self._newest = max(self._newest + 1, time.time_ns() // 1_000)
        saved = Saved(
            session_id=session.session_id,
            spec=spec,
            created=self._newest,
            updated=self._newest,
            counters=session.counters(now),
        )
        return await self._begin(session, saved, None, is_new=True)

    async def _join(self, session_id: str, offset: int | None) -> CaptureConnection:
        while True:
            if session_id not in self.lives:
                await self._make_place()
            async with self._doors.of(session_id):
                try:
                    return await self._enter(session_id, offset)
                except TooManySessionsError:
                    # Unless somebody else has just taken the place.
                    if self._sessions.longest_left() is None:
                        raise

    async def _enter(self, session_id: str, offset: int | None) -> CaptureConnection:
        live = self.lives.get(session_id)
        if live is None:
            return await self._resume(session_id, offset)
        # What is under way is counted, or not, before anybody takes over.
        async with live.turn if offset is not None else contextlib.nullcontext():
            connection = self._sessions.join(live.session, self._clock(), offset=offset)
        return self._connect(live, connection)

    async def _resume(self, session_id: str, offset: int | None) -> CaptureConnection:
        row = await self._catalogue.row(session_id)
        counters = row.saved.counters
        if row.status == "completed":
            kind = SessionFullError if counters.is_full else SessionClosedError
            raise kind("the session is completed", session_id=session_id)
        session = self._sessions.resume(session_id, counters, self._clock())
        return await self._begin(session, row.saved, offset, is_new=False)

    async def _begin(
        self, session: Session, saved: Saved, offset: int | None, *, is_new: bool
    ) -> CaptureConnection:
        live = Live(session, saved, self._folder)
        try:
            connection = self._sessions.join(session, self._clock(), offset=offset)
            self.lives[saved.session_id] = live
            await self._keeper.begin(live, is_new=is_new)
            live.begun = True
        except BaseException:
            self._sessions.finish(session, "stopped", self._clock())
            self.lives.pop(saved.session_id, None)
            live.lose_assembler(None)
            raise
        return self._connect(live, connection)

    def _connect(self, live: Live, connection: Connection) -> CaptureConnection:
        made = CaptureConnection(live, connection, self._intake, self._desk)
        self._ends[connection] = made
        return made

    def _leave(self, connection: Connection) -> None:
        self._sessions.leave(connection, self._clock())
        self._ends.pop(connection, None)

    def _unclaimed(self, connection: CaptureConnection) -> None:
        connection.drop()

    async def _close(self, session_id: str) -> SessionInfo:
        async with self._doors.of(session_id):
            live = self.lives.get(session_id)
            if live is not None:
                await self._keeper.retire([live], completed=True)
                self._end(live, "full" if live.session.is_full else "completed")
                return self._catalogue.tell(live)
            row = await self._catalogue.row(session_id)
            if row.status == "completed":
                return self._catalogue.tell_row(row)
            # Active for a moment, and for nobody else.
            session = Session(session_id, row.saved.counters, self._clock())
            live = Live(session, row.saved, self._folder)
            await self._catalogue.ask(live.tail.wav.frames)  # which is there
            await self._keeper.retire([live], completed=True)
            live.lose_assembler(None)
            session.ending = "completed"
            return self._catalogue.tell(live)

    async def _delete(self, session_id: str) -> None:
        async with self._doors.of(session_id):
            if session_id in self.lives:
                msg = "the session is active"
                raise SessionBusyError(msg, session_id=session_id)
            row = await self._catalogue.row(session_id)
            # The file first: there is room for the rest then.
            path = wav_path(self._folder, session_id)
            await self._catalogue.ask(functools.partial(path.unlink, missing_ok=True))
            # That it was parked may not be in the journal yet, or not on disk.
            await self._committer.put(Record(FORGET, row.saved.key))
            await self._committer.sync()
            await self._catalogue.ask(
                functools.partial(self._catalogue.index.remove, session_id)
            )

    async def _complete_full(self, live: Live) -> None:
        # If the disk is full, that is tried again and again.
        with contextlib.suppress(OSError):
            await self.close_session(live.session.session_id)

    def _note_grown(self, live: Live) -> None:
        self._grown.add(live)
        self._wake.set()

    async def _keep(self) -> None:
        """Look after the sessions until cancelled."""
        complained = False
        while True:
            with anyio.move_on_after(_LOOK_S):
                await self._wake.wait()
            self._wake = anyio.Event()
            errors = await self._expire()
            grown, self._grown = self._grown, set()
            try:
                await self._keeper.renew(grown)
            except (CaptureError, OSError) as exc:
                self._grown |= grown
                errors.append(exc)
            if errors and not complained:
                _log.warning("sessions could not be looked after: %s", errors[0])
            complained = bool(errors)

    async def _expire(self) -> list[Exception]:
        """End what is over; give what went wrong: the others are ended all the same."""
        expired = self._sessions.expire(self._clock())
        for connection in expired.connections:
            ended = self._ends.pop(connection, None)
            if ended is not None:
                ended.tell_ended()
        works: list[Callable[[], Awaitable[None]]] = [
            functools.partial(self._end_full, session) for session in expired.full
        ]
        if expired.parked:
            lives = [self.lives[session.session_id] for session in expired.parked]
            works.insert(0, functools.partial(self._park, lives, "idle"))
        errors: list[Exception] = []
        for work in works:
            try:
                await work()
            except (CaptureError, OSError) as exc:
                errors.append(exc)
        return errors

    async def _end_full(self, session: Session) -> None:
        async with self._doors.of(session.session_id):
            live = self.lives.get(session.session_id)
            if live is not None and live.session is session:
                await self._keeper.retire([live], completed=True)
                self._end(live, "full")

    async def _park(self, lives: Sequence[Live], ending: Ending) -> None:
        # Who has one door and waits for another one must be alone in that.
        async with self._many, contextlib.AsyncExitStack() as stack:
            for live in lives:
                await stack.enter_async_context(self._doors.of(live.session.session_id))
            wanted = [
                live
                for live in lives
                if live.session.ending is None
                and (ending == "stopped" or not live.session.connections)
            ]
            for live in await self._keeper.retire(wanted, completed=False):
                self._end(live, ending)

    def _end(self, live: Live, ending: Ending) -> None:
        """Take a session out that is in the index."""
        connections = self._sessions.finish(live.session, ending, self._clock())
        self._keeper.forget(live)
        live.turn.release()
        for connection in connections:
            ended = self._ends.pop(connection, None)
            if ended is not None:
                ended.tell_ended()

    async def _apart(
        self,
        work: Callable[[], Awaitable[T]],
        unclaimed: Callable[[T], None] | None = None,
    ) -> T:
        self._check_open()
        return await apart(self._group, work, unclaimed)

    def _check_open(self) -> None:
        if self._is_closed:
            raise CaptureError("the store is closed")
