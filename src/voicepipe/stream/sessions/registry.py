"""Who may begin, join and write, what of a chunk counts, and what is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from voicepipe.errors import (
    CaptureError,
    ChunkTooLargeError,
    OffsetGapError,
    SessionBusyError,
    SessionClosedError,
    SessionFullError,
    TooManyConnectionsError,
    TooManySessionsError,
)
from voicepipe.stream.sessions.session import (
    Chunk,
    Connection,
    Counters,
    Session,
)


if TYPE_CHECKING:
    from voicepipe.stream.sessions.session import Ending, SessionLimits


class Expired(NamedTuple):
    """
    What is over by now.

    Attributes:
        connections: Connections that were idle; they are ended.
        parked: Sessions without a connection that are to be parked.
        full: Sessions that were active for too long and are to be completed.
    """

    connections: list[Connection]
    parked: list[Session]
    full: list[Session]


class Sessions:
    """
    The active sessions of one recorder.

    Pure: whoever uses it tells the time, writes the bytes, and says how that went. A
    chunk takes two calls, ``begin`` and then ``accept`` or ``refuse``, one chunk of a
    session at a time; nothing else may be decided for the session in between. All that
    is decided depends on what was accepted, never on what was only begun.

    Args:
        limits: How much is taken.

    Attributes:
        active: The active sessions by their ids.
    """

    def __init__(self, limits: SessionLimits) -> None:
        """Begin without a session."""
        self.active: dict[str, Session] = {}
        self._limits = limits

    def create(self, session_id: str, rate: int, now: float) -> Session:
        """
        Begin a session; nobody is connected to it yet.

        Args:
            session_id: A new id.
            rate: Frames per second, Hz: the longest duration is counted in frames.
            now: The time, seconds.

        Raises:
            TooManySessionsError: If there are too many.
        """
        most = max(1, round(self._limits.max_duration_s * rate))
        return self.resume(session_id, Counters(max_frames=most), now)

    def resume(self, session_id: str, counters: Counters, now: float) -> Session:
        """
        Go on with a session that was parked.

        Raises:
            SessionFullError: If it has reached its longest duration.
            TooManySessionsError: If there are too many.
        """
        if session_id in self.active:
            raise ValueError("the session is active")
        if counters.is_full:
            raise _full(session_id)
        if len(self.active) >= self._limits.max_sessions:
            msg = f"there are {self._limits.max_sessions} active sessions already"
            raise TooManySessionsError(msg)
        session = self.active[session_id] = Session(session_id, counters, now)
        return session

    def longest_left(self) -> Session | None:
        """
        Give the session to park so that there is room for another one.

        Returns:
            That without a connection for longest; ``None`` where there is room, or
            somebody is connected to each.
        """
        if len(self.active) < self._limits.max_sessions:
            return None
        left = [
            session
            for session in self.active.values()
            if not session.connections and session.chunk is None
        ]
        return min(left, key=lambda session: session.left_at, default=None)

    def join(
        self, session: Session, now: float, *, offset: int | None = None
    ) -> Connection:
        """
        Connect to a session.

        Args:
            session: The session.
            now: The time, seconds.
            offset: Where the connection's first byte stands among the session's; it
                then takes over: others' chunks are refused while it is there. ``None``:
                at the end, wherever that is.

        Raises:
            OffsetGapError: If the offset is behind what was accepted.
            SessionClosedError: If the session is not active any more.
            TooManyConnectionsError: If there are too many.
            ValueError: If the offset is negative, or a chunk is under way.
        """
        self._check_active(session)
        if len(session.connections) >= self._limits.max_connections:
            msg = f"the session has {len(session.connections)} connections already"
            raise TooManyConnectionsError(msg, session_id=session.session_id)
        if offset is not None:
            self._check_offset(session, offset)
        connection = Connection(session, offset, now)
        session.connections.append(connection)
        if offset is not None:
            session.writer = connection
        return connection

    def check(self, connection: Connection, size: int) -> None:
        """
        Refuse a chunk that would not be taken.

        Raises:
            CaptureError: If the connection is over.
            ChunkTooLargeError: If it is too long.
            SessionBusyError: If another connection is writing.
            SessionClosedError: If the session is completed.
        """
        session = connection.session
        if session.is_full or connection.ending is not None:
            self._check_active(session)
            msg = f"the connection is over: {connection.ending}"
            raise CaptureError(msg, session_id=session.session_id)
        if size > self._limits.max_chunk_bytes:
            most = self._limits.max_chunk_bytes
            msg = f"a chunk may have {most} bytes, not {size}"
            raise ChunkTooLargeError(msg, session_id=session.session_id, limit=most)
        chunk = session.chunk
        writer = session.writer if chunk is None else chunk.connection
        if writer is not None and writer is not connection:
            msg = "another connection is writing the session"
            raise SessionBusyError(msg, session_id=session.session_id)

    def begin(self, connection: Connection, size: int, now: float) -> Chunk:
        """
        Take up a chunk.

        One that is known whole must be accepted too: with no frames.

        Returns:
            What of it is new.

        Raises:
            CaptureError: As ``check``.
            ValueError: If another chunk of the session is under way.
        """
        self.check(connection, size)
        session = connection.session
        if session.chunk is not None:
            raise ValueError("another chunk is under way")
        connection.last = now
        skip = 0
        if connection.position is not None:
            skip = min(size, session.received - connection.position)
        begins = connection.is_new and session.received > 0
        chunk = session.chunk = Chunk(connection, size, skip, begins=begins)
        return chunk

    def accept(self, chunk: Chunk, frames: int) -> int:
        """
        Count a chunk.

        Args:
            chunk: What ``begin`` gave.
            frames: Frames of sound that it made.

        Returns:
            How many of them the session has room for; the others do not count. Look at
            ``Session.is_full`` then.
        """
        connection = chunk.connection
        session = connection.session
        session.chunk = None
        new = chunk.size - chunk.skip
        if connection.position is not None:
            connection.position += chunk.size
        if connection.ending is None:
            session.writer = connection
        if not new:
            return 0
        connection.is_new = False
        session.chunks += 1
        session.sequence += 1
        session.received += new
        frames = min(frames, session.max_frames - session.frames)
        session.frames += frames
        return frames

    def refuse(self, chunk: Chunk) -> None:
        """Forget a chunk: nothing of it counts."""
        chunk.connection.session.chunk = None

    def leave(self, connection: Connection, now: float) -> None:
        """Take a connection away; again is harmless."""
        self._end(connection, "left", now)

    def expire(self, now: float) -> Expired:
        """
        End what has been idle for too long, and tell what else is over.

        A connection is not idle while a call of its owner is under way. The sessions
        that are told stay active until ``finish``.

        Args:
            now: The time, seconds.
        """
        limits = self._limits
        idle_since = now - limits.idle_s
        ended: list[Connection] = []
        parked: list[Session] = []
        full: list[Session] = []
        for session in self.active.values():
            for connection in tuple(session.connections):
                if connection.last <= idle_since and not connection.calls:
                    # That was the session's own time to be idle too.
                    self._end(connection, "idle", idle_since)
                    ended.append(connection)
            if session.is_full or session.active_s(now) >= limits.max_duration_s:
                full.append(session)
            elif not session.connections and session.left_at <= idle_since:
                parked.append(session)
        return Expired(ended, parked, full)

    def finish(self, session: Session, ending: Ending, now: float) -> list[Connection]:
        """
        Take a session out of the active ones.

        Args:
            session: The session.
            ending: ``completed`` and ``full`` are for good; others leave it to be gone
                on with, by ``resume``.
            now: The time, seconds.

        Returns:
            Its connections, which are ended.
        """
        connections = session.connections[:]
        for connection in connections:
            self._end(connection, ending, now)
        session.ending = ending
        del self.active[session.session_id]
        return connections

    def _end(self, connection: Connection, ending: Ending, now: float) -> None:
        if connection.ending is not None:
            return
        connection.ending = ending
        session = connection.session
        session.connections.remove(connection)
        if session.writer is connection:
            session.writer = None
        session.left_at = max(connection.last, now)

    def _check_active(self, session: Session) -> None:
        if session.is_full or session.ending == "full":
            raise _full(session.session_id)
        if session.ending == "completed":
            msg = "the session is completed"
            raise SessionClosedError(msg, session_id=session.session_id)
        if session.ending is not None:
            msg = f"the session is not active: {session.ending}"
            raise CaptureError(msg, session_id=session.session_id)

    def _check_offset(self, session: Session, offset: int) -> None:
        if session.chunk is not None:
            raise ValueError("a chunk is under way")
        if offset < 0:
            msg = f"offset must be at least 0, not {offset}"
            raise ValueError(msg)
        if offset > session.received:
            msg = f"the session has {session.received} bytes, not {offset}"
            raise OffsetGapError(
                msg, session_id=session.session_id, expected=session.received
            )


def _full(session_id: str) -> SessionFullError:
    msg = "the session has reached its longest duration"
    return SessionFullError(msg, session_id=session_id)
