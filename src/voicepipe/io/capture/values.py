"""What is asked of a capture, and what it says."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import attrs

from voicepipe.stream.assembler.detect import StreamFormat
from voicepipe.stream.resample import MAX_RATE, MIN_RATE


CaptureStatus: TypeAlias = Literal["active", "interrupted", "completed"]
"""Being recorded, parked until somebody goes on with it, or closed for good."""

EndReason: TypeAlias = Literal["idle", "full", "completed", "stopped"]
"""
Why a connection is over from the store's side.

``idle``: nothing came for too long, and the session can be gone on with; ``full``: the
session has reached its longest duration and is completed; ``completed``: somebody has
closed it; ``stopped``: the store is closing, and the session can be gone on with.
"""

Durability: TypeAlias = Literal["process", "fsync"]
"""What an acknowledged chunk outlives: the process, or the machine's power too."""

# Longest name of a user, characters.
_MAX_USER_ID = 256

_positive = attrs.validators.gt(0.0)
_at_least_one = attrs.validators.ge(1)


def _no_controls(_owner: object, _field: Any, value: str) -> None:
    if len(value) > _MAX_USER_ID:
        msg = f"user_id must have at most {_MAX_USER_ID} characters"
        raise ValueError(msg)
    if not value.isprintable():
        raise ValueError("user_id must have no control characters")


@attrs.frozen(kw_only=True)
class SessionSpec:
    """
    What a new session is to be.

    Attributes:
        rate: Frames per second of its WAV file, Hz, 4,000 to 192,000.
        channels: Channels of its WAV file, 1 or 2.
        format: What will be sent. The bytes themselves decide; this breaks ties.
        user_id: Whose it is: at most 256 printable characters, or empty.

    Raises:
        ValueError: If one of them is out of its range.
    """

    rate: int = attrs.field(
        default=44_100,
        validator=attrs.validators.and_(
            attrs.validators.ge(MIN_RATE), attrs.validators.le(MAX_RATE)
        ),
    )
    channels: int = attrs.field(default=1, validator=attrs.validators.in_((1, 2)))
    format: StreamFormat = attrs.field(
        default="wav", validator=attrs.validators.in_(get_args(StreamFormat))
    )
    user_id: str = attrs.field(default="", validator=_no_controls)


@attrs.frozen(kw_only=True)
class SessionInfo:
    """
    A session as it is now.

    Attributes:
        session_id: A UUID of version 4.
        user_id: Whose it is; empty where nobody said so.
        status: ``active`` while it is recorded, also between two connections;
            ``interrupted`` when it waits for somebody to go on with it; ``completed``
            when nothing can be added any more.
        path: Its WAV file. Of an active session it is half a second behind, or two
            seconds where a thousand are active.
        rate: Frames per second, Hz.
        channels: Channels.
        format: What the session said that it would send.
        duration: Sound that has been accepted, seconds.
        chunk_count: Chunks that have been accepted.
        bytes_received: Bytes of them.
        created_at: When it began, UTC.
        updated_at: When the last chunk was accepted, or its status changed, UTC.
        connections: Connections to it now.
        dropped_bytes: Accepted bytes that could not become sound, such as the half of a
            frame at the end.
    """

    session_id: str
    user_id: str
    status: CaptureStatus
    path: Path
    rate: int
    channels: int
    format: StreamFormat
    duration: float
    chunk_count: int
    bytes_received: int
    created_at: dt.datetime
    updated_at: dt.datetime
    connections: int = 0
    dropped_bytes: int = 0


@attrs.frozen(kw_only=True)
class ChunkAck:
    """
    That a chunk is safe.

    Attributes:
        session_id: The session's id.
        chunk_count: Chunks that the session has accepted by now.
        bytes_received: Bytes of them: the offset to go on from.
        duration_s: Sound that the session has by now, seconds.
        completed: Whether the session is completed, as it has reached its longest
            duration.
    """

    session_id: str
    chunk_count: int
    bytes_received: int
    duration_s: float
    completed: bool = False


@attrs.frozen(kw_only=True)
class CaptureOptions:
    """
    How much a store takes, and how safe that is.

    Attributes:
        max_sessions: Active sessions at the same time.
        max_connections: Connections to one session at the same time.
        max_chunk_bytes: Longest chunk, bytes.
        max_duration_s: Longest session, seconds: of sound, and of time in which it is
            active. The chunk that reaches it is cut there, and the session completed.
        idle_s: Time without a chunk after which a connection is ended, and time without
            a connection after which a session is parked, seconds.
        durability: ``process``: an acknowledged chunk outlives the process, however
            that ends; a power cut may take the last second. ``fsync``: it outlives a
            power cut as well, and each acknowledgement waits for the disk.
        max_pending_bytes: Bytes of all sessions that are accepted and not yet in their
            WAV files, for which there is memory; above it, ``write`` waits.
        isolated: Decode compressed sound in limited helper processes; for bytes from
            strangers.
        clock: Gives the time from which durations are told, seconds; never goes back.

    Raises:
        ValueError: If a number is out of its range.
    """

    max_sessions: int = attrs.field(default=100, validator=_at_least_one)
    max_connections: int = attrs.field(default=5, validator=_at_least_one)
    max_chunk_bytes: int = attrs.field(default=10 << 20, validator=_at_least_one)
    max_duration_s: float = attrs.field(
        default=86_400.0, validator=attrs.validators.gt(0.0)
    )
    idle_s: float = attrs.field(default=300.0, validator=attrs.validators.gt(0.0))
    durability: Durability = attrs.field(
        default="process", validator=attrs.validators.in_(get_args(Durability))
    )
    max_pending_bytes: int = attrs.field(default=256 << 20, validator=_at_least_one)
    isolated: bool = False
    clock: Callable[[], float] = attrs.field(default=time.monotonic, repr=False)
