"""Errors about what is fetched: URLs, transfers, calls and lists of them."""

from __future__ import annotations

from typing import Literal, TypeAlias

from voicepipe.errors.base import VoicepipeError


TimeLimit: TypeAlias = Literal["resolve", "connect", "read", "speed", "total"]
"""
Which limit of time was passed.

Resolving a name, connecting, the gap between two pieces, the slowest speed, all of it.
"""


class FetchError(VoicepipeError):
    """
    A URL could not be fetched.

    Attributes:
        url: The URL without user, password, query and fragment: those may be secrets.
    """

    def __init__(self, message: str, *, url: str = "") -> None:
        """Keep the message and the redacted URL."""
        super().__init__(message)
        self.url: str = url

    def __str__(self) -> str:
        """Begin with the redacted URL, where there is one."""
        message = super().__str__()
        return f"{self.url}: {message}" if self.url else message


class InvalidUrlError(FetchError, ValueError):
    """The URL cannot be fetched: no host, another scheme, a control character."""


class BlockedUrlError(FetchError):
    """
    The URL leads to where it may not: a private address, a port that is not allowed.

    Raised before any connection. The message says what would allow it.

    Attributes:
        host: The host that was refused.
    """

    def __init__(self, message: str, *, url: str = "", host: str = "") -> None:
        """Keep the refused host."""
        super().__init__(message, url=url)
        self.host: str = host


class ConnectionFailedError(FetchError):
    """
    The server was not found, refused, hung up, or could not prove who it is.

    Attributes:
        retryable: True, but for a certificate that does not hold.
    """

    def __init__(self, message: str, *, url: str = "", retryable: bool = True) -> None:
        """Keep whether another try may help."""
        super().__init__(message, url=url)
        self.retryable: bool = retryable


class FetchTimeoutError(FetchError, TimeoutError):
    """
    The transfer took longer than it may.

    Attributes:
        limit: Which limit was passed: ``"resolve"``, ``"connect"``, ``"read"`` (the gap
            between two pieces), ``"speed"`` (too few bytes for too long), ``"total"``.
        limit_s: That limit, seconds.
    """

    retryable = True

    def __init__(
        self,
        message: str,
        *,
        url: str = "",
        limit: TimeLimit = "total",
        limit_s: float = 0.0,
    ) -> None:
        """Keep which limit it was."""
        super().__init__(message, url=url)
        self.limit: TimeLimit = limit
        self.limit_s: float = limit_s


class HttpStatusError(FetchError):
    """
    The server answered with an error.

    Attributes:
        status: The HTTP status code.
        retry_after: Seconds that the server asks to wait, ``None`` where it does not.
        retryable: True for 408, 425, 429, 500, 502, 503, 504, 522 and 524.
    """

    def __init__(
        self,
        message: str,
        *,
        url: str = "",
        status: int = 0,
        retry_after: float | None = None,
    ) -> None:
        """Keep the status and the wait that was asked for."""
        super().__init__(message, url=url)
        self.status: int = status
        self.retry_after: float | None = retry_after
        self.retryable: bool = status in _TRY_AGAIN


# Time-outs, too early, too many requests, and what gateways say of servers behind them:
# RFC 9110 15.5.9 and 15.6, RFC 8470 5.2, RFC 6585 4; 522 and 524 are Cloudflare's.
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 522, 524})


class BadResponseError(FetchError):
    """
    The server's answer contradicts itself, or is not what was asked for.

    A body that is shorter or longer than its length, a range that was not asked for,
    compression that was not asked for, a loop of redirects, a checksum that differs.

    Attributes:
        retryable: Whether another try may help, as with a body that was cut.
    """

    def __init__(self, message: str, *, url: str = "", retryable: bool = False) -> None:
        """Keep whether another try may help."""
        super().__init__(message, url=url)
        self.retryable: bool = retryable


class TooLargeError(FetchError):
    """
    There is more to fetch than is allowed.

    Attributes:
        limit: The most bytes that are.
    """

    def __init__(self, message: str, *, url: str = "", limit: int = 0) -> None:
        """Keep the limit."""
        super().__init__(message, url=url)
        self.limit: int = limit


class InvalidIdError(VoicepipeError, ValueError):
    """An id or a label cannot be part of a file's name, and is not made to fit."""


class CallError(VoicepipeError):
    """
    Something is wrong with a call at the telephony API.

    Attributes:
        order_id: The order whose call it is.
    """

    def __init__(self, message: str, *, order_id: str = "") -> None:
        """Keep the order's id."""
        super().__init__(message)
        self.order_id: str = order_id


class CallNotFoundError(CallError, LookupError):
    """The telephony API does not know the order."""


class NoRecordingError(CallError, LookupError):
    """The call has no recording, or none yet."""


class BatchError(VoicepipeError):
    """
    A batch cannot be run: its list cannot be read, or its ledger not be used.

    Attributes:
        retryable: Whether the same call may succeed later, as when another process is
            at work on the same folder.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        """Keep whether another try may help."""
        super().__init__(message)
        self.retryable: bool = retryable
