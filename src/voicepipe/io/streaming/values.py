"""How audio is streamed to a server, and what comes back."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from voicepipe.net.headers import checked_headers


_positive: Any = attrs.validators.gt(0)


def _check_headers(_: object, __: object, value: Mapping[str, str]) -> None:
    for name in checked_headers(value):
        if name.startswith("sec-websocket-"):
            msg = f"the header {name!r} is not the caller's to set"
            raise ValueError(msg)


def _check_key(_: object, __: object, value: str | None) -> None:
    if value is None:
        return
    try:
        checked_headers({"authorization": value})
    except ValueError:
        # Said again: the header's name would be no help.
        raise ValueError("the api_key cannot be sent: ASCII only") from None
    if not value.strip():
        raise ValueError("the api_key is empty")


@attrs.frozen(kw_only=True)
class StreamOptions:
    """
    How a stream reaches its server, and what it may take.

    Attributes:
        api_key: Sent as ``Authorization: Bearer …``; never shown.
        headers: Sent with each connection; never shown.
        max_unacked_bytes: Bytes that may be on their way without an acknowledgement,
            all kept in memory to be sent again. A chunk that is larger goes alone.
        connect_s: Longest wait for a connection, the server's first message included,
            seconds.
        reconnect_s: For how long a connection is tried to be made, or made again,
            before it counts as lost, seconds; anew after each acknowledgement.
        ping_s: Seconds of silence after which the server is asked whether it is there.
        answer_s: Seconds of further silence after which the connection counts as dead.
            A server whose disk stalls may read nothing, pings included, for as long.
        ssl_context: Whom to trust; ``None`` for the certificates that come with httpx.

    Raises:
        ValueError: If a number is not positive, or a header or the key cannot be sent
            or is not the caller's to set. The message does not hold values.
    """

    api_key: str | None = attrs.field(default=None, repr=False, validator=_check_key)
    headers: Mapping[str, str] = attrs.field(
        factory=dict, repr=False, validator=_check_headers
    )
    max_unacked_bytes: int = attrs.field(default=1 << 20, validator=_positive)
    connect_s: float = attrs.field(default=10.0, validator=_positive)
    reconnect_s: float = attrs.field(default=60.0, validator=_positive)
    ping_s: float = attrs.field(default=10.0, validator=_positive)
    answer_s: float = attrs.field(default=30.0, validator=_positive)
    ssl_context: ssl.SSLContext | None = attrs.field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        """Refuse two keys at once."""
        if self.api_key is not None and "authorization" in map(str.lower, self.headers):
            raise ValueError(
                "an api_key and an Authorization header exclude each other"
            )


@attrs.frozen(kw_only=True)
class StreamAck:
    """
    What the server says of one chunk.

    Attributes:
        session_id: The session's id.
        chunk_count: Chunks of the session that the server has taken.
        bytes_received: Bytes of the session that it has taken, for certain.
        status: ``"active"`` if it took the chunk, ``"error"`` if not.
        message: In its words; with ``"error"``, why.
    """

    session_id: str
    chunk_count: int
    bytes_received: int
    status: Literal["active", "error"]
    message: str


@attrs.frozen(kw_only=True)
class StreamSummary:
    """
    What the server says last of a session that is completed.

    Attributes:
        session_id: The session's id.
        chunk_count: Chunks that it took.
        bytes_received: Bytes that it took.
        duration_s: Length of the recording, seconds; ``None`` where it was not told:
            the connection broke on the server's last word.
        file_path: Where the recording is, as the server says; ``None`` likewise.
        reason: Why it is completed: ``"closed"`` by a client, or what the server says,
            such as ``"max_duration"``.
    """

    session_id: str
    chunk_count: int
    bytes_received: int
    duration_s: float | None = None
    file_path: str | None = None
    reason: str = "closed"
