"""A live session and its connections, as plain state."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs


Ending: TypeAlias = Literal["idle", "full", "completed", "stopped", "left"]
"""Why a connection is over; ``left``: it went by itself."""


@attrs.frozen(kw_only=True)
class SessionLimits:
    """
    How much is taken.

    Attributes:
        max_sessions: Active sessions at the same time.
        max_connections: Connections to one session at the same time.
        max_chunk_bytes: Longest chunk, bytes.
        max_duration_s: Longest session, seconds of sound and seconds of being active.
        idle_s: Seconds until what is idle is over.
    """

    max_sessions: int = 100
    max_connections: int = 5
    max_chunk_bytes: int = 10 << 20
    max_duration_s: float = 86_400.0
    idle_s: float = 300.0


@attrs.frozen(kw_only=True)
class Counters:
    """
    What a session has, to be kept while it is not active.

    Attributes:
        chunks: Chunks that were accepted.
        received: Bytes of them.
        frames: Frames of sound that they made.
        max_frames: Most frames that it may have.
        sequence: Number of the next thing that happens to it: chunks, so far.
        active_s: Seconds in which it was active.
    """

    chunks: int = 0
    received: int = 0
    frames: int = 0
    max_frames: int
    sequence: int = 0
    active_s: float = 0.0

    @property
    def is_full(self) -> bool:
        """Whether there is no room for one more frame."""
        return self.frames >= self.max_frames


class Session:
    """
    An active session; only ``Sessions`` changes one.

    Attributes:
        session_id: Its id.
        chunks: As in ``Counters``, and so the next four.
        received: Bytes that were accepted.
        frames: Frames of sound that they made.
        max_frames: Most frames that it may have.
        sequence: Number of the next thing that happens to it.
        connections: Its connections, in the order in which they came.
        writer: The one whose chunks are taken; ``None``: the next one that writes.
        chunk: The chunk that is under way.
        ending: Why it is not active any more, ``None`` while it is.
    """

    __slots__ = (
        "_active_before_s",
        "_active_since",
        "chunk",
        "chunks",
        "connections",
        "ending",
        "frames",
        "left_at",
        "max_frames",
        "received",
        "sequence",
        "session_id",
        "writer",
    )

    def __init__(self, session_id: str, counters: Counters, now: float) -> None:
        """Go on from what it has."""
        self.session_id: str = session_id
        self.chunks: int = counters.chunks
        self.received: int = counters.received
        self.frames: int = counters.frames
        self.max_frames: int = counters.max_frames
        self.sequence: int = counters.sequence
        self.connections: list[Connection] = []
        self.writer: Connection | None = None
        self.chunk: Chunk | None = None
        self.ending: Ending | None = None
        self.left_at: float = now
        self._active_before_s = counters.active_s
        self._active_since = now

    @property
    def is_full(self) -> bool:
        """Whether there is no room for one more frame."""
        return self.frames >= self.max_frames

    def active_s(self, now: float) -> float:
        """Give the seconds in which it has been active."""
        return self._active_before_s + now - self._active_since

    def counters(self, now: float) -> Counters:
        """Give what it has."""
        return Counters(
            chunks=self.chunks,
            received=self.received,
            frames=self.frames,
            max_frames=self.max_frames,
            sequence=self.sequence,
            active_s=self.active_s(now),
        )


class Connection:
    """
    A connection to a session; only ``Sessions`` changes one.

    Attributes:
        session: The session.
        joined_at: Bytes that the session had when it joined.
        position: Where its next byte stands, if it said where the first one does.
        is_new: Whether nothing that came over it was accepted yet: a container's
            header may come next.
        calls: Calls of its owner that are under way: it is not idle then.
        last: When something came over it.
        ending: Why it is over, ``None`` while it is not.
    """

    __slots__ = (
        "calls",
        "ending",
        "is_new",
        "joined_at",
        "last",
        "position",
        "session",
    )

    def __init__(self, session: Session, offset: int | None, now: float) -> None:
        """Begin."""
        self.session: Session = session
        self.joined_at: int = session.received
        self.position: int | None = offset
        self.is_new: bool = True
        self.calls: int = 0
        self.last: float = now
        self.ending: Ending | None = None


class Chunk:
    """
    A chunk that is under way.

    Attributes:
        connection: Where it came from.
        size: Its bytes.
        skip: How many of them the session has already, at its beginning.
        begins: Whether its bytes are the first of a connection, not the session's.
    """

    __slots__ = ("begins", "connection", "size", "skip")

    def __init__(
        self, connection: Connection, size: int, skip: int, *, begins: bool
    ) -> None:
        """Keep what was decided."""
        self.connection: Connection = connection
        self.size: int = size
        self.skip: int = skip
        self.begins: bool = begins

    @property
    def is_known(self) -> bool:
        """Whether nothing of it is new."""
        return self.skip == self.size
