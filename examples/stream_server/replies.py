"""What the server says, in its two styles: WebSocket messages and HTTP answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from settings import SETTINGS

from voicepipe import (
    AudioError,
    ChildCrashedError,
    ChunkTooLargeError,
    DiskFullError,
    NotAudioError,
    OffsetGapError,
    SessionBusyError,
    SessionClosedError,
    SessionNotFoundError,
    TooManyConnectionsError,
    TooManySessionsError,
    UnsupportedAudioError,
)


if TYPE_CHECKING:
    from voicepipe import ChunkAck, SessionInfo


class Refused(Exception):  # noqa: N818 - an answer
    """
    A connection that is not taken.

    Attributes:
        code: How it is closed, RFC 6455 section 7.4.
        reason: For the metrics, one of ``REASONS``.
        message: What is said before.
    """

    def __init__(self, code: int, reason: str, **message: Any) -> None:
        """Keep them."""
        super().__init__(reason)
        self.code: int = code
        self.reason: str = reason
        self.message: dict[str, Any] = message


REASONS = (
    "bad_parameter",
    "bad_session_id",
    "unknown_session",
    "closed_session",
    "offset_gap",
    "too_many_sessions",
    "too_many_connections",
    "disk_full",
    "internal",
)
"""Why connections are refused."""

FAULTS = (
    "not_audio",
    "unsupported_audio",
    "damaged_audio",
    "chunk_too_large",
    "busy",
    "disk_full",
    "internal",
)
"""Why chunks fail, as clients are told."""


_REFUSALS = (
    (SessionNotFoundError, 1008, "unknown_session", "Session not found"),
    (SessionClosedError, 1008, "closed_session", "Session is closed"),
    (OffsetGapError, 1008, "offset_gap", "Offset gap"),
    (TooManySessionsError, 1013, "too_many_sessions", "Too many sessions"),
    (TooManyConnectionsError, 1013, "too_many_connections", "Too many connections"),
    (DiskFullError, 1011, "disk_full", "Internal error"),
)

# No text: the error's own, which says what is wrong with the sound.
_FAULTS = (
    (DiskFullError, "disk_full", "no space left"),
    (SessionBusyError, "busy", "another connection is writing"),
    (ChunkTooLargeError, "chunk_too_large", "the chunk is longer than is allowed"),
    (NotAudioError, "not_audio", ""),
    (UnsupportedAudioError, "unsupported_audio", ""),
    (AudioError, "damaged_audio", ""),
    (ChildCrashedError, "damaged_audio", "the decoder has failed"),
)


def bad(
    what: str, *, valid: tuple[Any, ...] = (), reason: str = "bad_parameter"
) -> Refused:
    """Refuse a parameter."""
    more = {"valid_values": list(valid)} if valid else {}
    return Refused(1008, reason, error=f"Invalid {what}", **more)


def refusal_of(error: Exception, session_id: str = "") -> Refused:
    """Give what a connection is told when its session cannot be had."""
    for kind, code, reason, said in _REFUSALS:
        if isinstance(error, kind):
            more: dict[str, Any] = {"session_id": session_id} if code == 1008 else {}
            if isinstance(error, OffsetGapError):
                more["expected_offset"] = error.expected
            return Refused(code, reason, error=said, **more)
    return Refused(1011, "internal", error="Internal error")


def fault_of(error: Exception) -> tuple[str, str]:
    """Give the code and the text of a chunk's error; paths are for the log."""
    for kind, code, said in _FAULTS:
        if isinstance(error, kind):
            return code, said or str(error)
    return "internal", "the chunk could not be stored"


def welcome(info: SessionInfo, *, joined: bool) -> dict[str, Any]:
    """Give the first message of a connection."""
    return {
        "message": "Joined session" if joined else "WebSocket connection established",
        "session_id": info.session_id,
        "chunk_count": info.chunk_count,
        "status": "active",
        "bytes_received": info.bytes_received,
        "sample_rate": info.rate,
        "channels": info.channels,
        "format": info.format,
    }


def acknowledged(ack: ChunkAck) -> str:
    """Give a chunk's answer, as JSON; put together by hand, as it is said so often."""
    return (
        f'{{"message": "Chunk processed successfully", "session_id": "{ack.session_id}"'
        f', "chunk_count": {ack.chunk_count}, "status": "active"'
        f', "bytes_received": {ack.bytes_received}}}'
    )


def failed(info: SessionInfo, what: str, error: Exception) -> dict[str, Any]:
    """Give the answer to something that did not work and may be tried again."""
    code, detail = fault_of(error)
    return {
        "message": what,
        "session_id": info.session_id,
        "chunk_count": info.chunk_count,
        "status": "error",
        "bytes_received": info.bytes_received,
        "error": code,
        "detail": detail,
    }


def completed(info: SessionInfo, reason: str = "") -> dict[str, Any]:
    """Give a session's last word."""
    said = {
        "message": "Session closed successfully",
        "session_id": info.session_id,
        "chunk_count": info.chunk_count,
        "status": "completed",
        "bytes_received": info.bytes_received,
        "duration_seconds": round(info.duration, 6),
        "file_path": file_path(info),
    }
    return {**said, "reason": reason} if reason else said


def described(info: SessionInfo) -> dict[str, Any]:
    """Give a session as HTTP has it."""
    return {
        "session_id": info.session_id,
        "user_id": info.user_id,
        "status": info.status,
        "file_path": file_path(info),
        "duration_seconds": round(info.duration, 6),
        "total_chunks": info.chunk_count,
        "sample_rate": info.rate,
        "channels": info.channels,
        "format": info.format,
        "created_at": info.created_at.isoformat(),
        "updated_at": info.updated_at.isoformat(),
        "bytes_received": info.bytes_received,
        "connections": info.connections,
        "dropped_bytes": info.dropped_bytes,
        "audio_url": f"/api/audio/sessions/{info.session_id}/audio",
    }


def file_path(info: SessionInfo) -> str:
    """Give a file's path as the storage's was written."""
    return f"{SETTINGS.storage.rstrip('/')}/{info.path.name}"


def text(message: dict[str, Any]) -> str:
    """Give a message as JSON."""
    return json.dumps(message)
