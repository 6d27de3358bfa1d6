"""What the HTTP engine may take, and what its errors mean."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import attrs
import httpcore

from voicepipe.errors import (
    BadResponseError,
    ConnectionFailedError,
    FetchError,
    FetchTimeoutError,
)


if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.net.urls import Url


@attrs.frozen(kw_only=True)
class HttpLimits:
    """What requests may take; see ``DownloadOptions`` for each."""

    connections: int = 32
    connections_per_host: int = 8
    requests_per_second: float | None = None
    resolve_s: float = 5.0
    connect_s: float = 10.0
    read_s: float = 30.0
    min_bytes_per_s: float = 1024.0
    min_speed_s: float = 30.0
    max_redirects: int = 5


ENGINE_ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)


def translated(exc: Exception, url: Url, limits: HttpLimits) -> FetchError:
    """Give what an error of the engine means."""
    if isinstance(exc, FetchError):
        exc.url = exc.url or str(url)
        return exc
    if isinstance(exc, httpcore.ProtocolError):
        # Without the cause: its text may quote what the server has sent.
        return BadResponseError(
            "the answer is cut, or no valid HTTP", url=str(url), retryable=True
        )
    error: FetchError
    if isinstance(exc, httpcore.TimeoutException):
        connecting = isinstance(exc, httpcore.ConnectTimeout)
        limit_s = limits.connect_s if connecting else limits.read_s
        sending = isinstance(exc, httpcore.WriteTimeout)
        what = "no connection" if connecting else "nothing came"
        what = "nothing was taken" if sending else what
        error = FetchTimeoutError(
            f"{what} for {limit_s:g} s",
            url=str(url),
            limit="connect" if connecting else "read",
            limit_s=limit_s,
        )
    elif any(isinstance(one, ssl.SSLCertVerificationError) for one in _causes(exc)):
        error = ConnectionFailedError(
            "the server's certificate does not hold", url=str(url), retryable=False
        )
    elif isinstance(exc, httpcore.ConnectError):
        error = ConnectionFailedError("no connection", url=str(url))
    else:
        error = ConnectionFailedError("the connection broke", url=str(url))
    error.__cause__ = exc
    return error


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
