"""Errors about live audio: sessions that are recorded, and clients that stream."""

from __future__ import annotations

from voicepipe.errors.base import VoicepipeError


class CaptureError(VoicepipeError):
    """
    Something is wrong with a recorded session.

    Attributes:
        session_id: The session's id; empty where no single session is meant.
    """

    def __init__(self, message: str, *, session_id: str = "") -> None:
        """Keep the session's id."""
        super().__init__(message)
        self.session_id: str = session_id


class SessionNotFoundError(CaptureError, LookupError):
    """No session has this id."""


class SessionClosedError(CaptureError):
    """The session has been completed: nothing can be added to it any more."""


class SessionFullError(SessionClosedError):
    """The session has reached its longest duration, and is completed."""


class SessionBusyError(CaptureError):
    """Another connection is writing the session."""

    retryable: bool = True


class OffsetGapError(CaptureError):
    """
    A connection wants to go on behind what the server has; bytes are missing.

    Attributes:
        expected: The offset to go on from: bytes that have been accepted.
    """

    def __init__(
        self, message: str, *, session_id: str = "", expected: int = 0
    ) -> None:
        """Keep the offset to go on from."""
        super().__init__(message, session_id=session_id)
        self.expected: int = expected


class TooManySessionsError(CaptureError):
    """There are as many open sessions as are allowed."""

    retryable: bool = True


class TooManyConnectionsError(CaptureError):
    """The session has as many connections as are allowed."""

    retryable: bool = True


class ChunkTooLargeError(CaptureError):
    """
    A chunk is longer than is allowed; nothing of it was taken.

    Attributes:
        limit: Most bytes of one chunk.
    """

    def __init__(self, message: str, *, session_id: str = "", limit: int = 0) -> None:
        """Keep the limit."""
        super().__init__(message, session_id=session_id)
        self.limit: int = limit


class StreamError(VoicepipeError):
    """
    A stream to a server cannot go on.

    Attributes:
        code: The close code of the WebSocket, RFC 6455 section 7.4; ``None`` where
            the server gave none.
        session_id: The session's id as far as it is known, to go on with later.
    """

    def __init__(
        self, message: str, *, code: int | None = None, session_id: str = ""
    ) -> None:
        """Keep the close code and the session's id."""
        super().__init__(message)
        self.code: int | None = code
        self.session_id: str = session_id


class StreamRefusedError(StreamError):
    """The server does not want the stream, and would not in a second try."""


class StreamLostError(StreamError):
    """The connection broke, and could not be made again in time."""

    retryable: bool = True
