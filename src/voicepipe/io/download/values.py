"""What is downloaded, under which limits, and what has become of it."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from voicepipe.errors import VoicepipeError
from voicepipe.net.engine import HttpLimits
from voicepipe.net.headers import checked_headers
from voicepipe.net.urls import redact_url


_positive: Any = attrs.validators.gt(0)


def _hosts(value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise TypeError("allow_hosts must be a list of texts, not one text")
    return tuple(value)


@attrs.frozen(kw_only=True)
class DownloadOptions:
    """
    Where downloads may lead, and what they may take.

    Attributes:
        allow_hosts: Hosts that may be reached although their addresses are private, as
            ``"host"`` for the usual ports or ``"host:port"`` for exactly that one.
        connections: Transfers at the same time.
        connections_per_host: Transfers at the same time from one host.
        requests_per_second: Most requests per second to one host, ``None`` for any
            number.
        resolve_s: Longest wait for a host's addresses, seconds.
        connect_s: Longest wait for a connection, TLS included, seconds.
        read_s: Longest gap between two pieces, seconds.
        total_s: Longest time for one download with all attempts and waits, seconds.
        min_bytes_per_s: Slowest speed, measured over ``min_speed_s``.
        min_speed_s: For how long a transfer may be slower, seconds.
        max_bytes: Largest file.
        max_redirects: Redirects that are followed, each checked like the first URL.
        attempts: Attempts in a row that bring nothing new.
        not_ready_s: How long a 404 is waited for, seconds: a recording may appear
            some time after its call.
        require_audio: Refuse what does not begin like a recording, before anything is
            written.
        durable: Flush each file to disk before it gets its name.
        keep_partial: Keep what has come of a download that was broken off beside its
            target, for the next one to go on from.
        ssl_context: Whom to trust; ``None`` for the certificates that come with httpx.

    Raises:
        ValueError: If a number is out of its range.
    """

    allow_hosts: tuple[str, ...] = attrs.field(default=(), converter=_hosts)
    connections: int = attrs.field(default=32, validator=_positive)
    connections_per_host: int = attrs.field(default=8, validator=_positive)
    requests_per_second: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(_positive)
    )
    resolve_s: float = attrs.field(default=5.0, validator=_positive)
    connect_s: float = attrs.field(default=10.0, validator=_positive)
    read_s: float = attrs.field(default=30.0, validator=_positive)
    total_s: float = attrs.field(default=1800.0, validator=_positive)
    min_bytes_per_s: float = attrs.field(
        default=1024.0, validator=attrs.validators.ge(0)
    )
    min_speed_s: float = attrs.field(default=30.0, validator=_positive)
    max_bytes: int = attrs.field(default=1 << 31, validator=_positive)
    max_redirects: int = attrs.field(default=5, validator=attrs.validators.ge(0))
    attempts: int = attrs.field(default=5, validator=_positive)
    not_ready_s: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    require_audio: bool = True
    durable: bool = True
    keep_partial: bool = True
    ssl_context: ssl.SSLContext | None = attrs.field(default=None, repr=False)


def http_limits(options: DownloadOptions) -> HttpLimits:
    """Give the part of the options that holds for each request."""
    names = (field.name for field in attrs.fields(HttpLimits))
    return HttpLimits(**{name: getattr(options, name) for name in names})


def check_headers(_: object, __: object, value: Mapping[str, str]) -> None:
    """Validate headers where they are given: one that cannot be sent is misuse."""
    checked_headers(value)


@attrs.frozen(kw_only=True)
class DownloadRequest:
    """
    One file to download.

    Attributes:
        url: Where it is; shown without user, password and query.
        path: Where it is to be written.
        headers: Sent with the request, and to no other origin; never shown.
        sha256: What the file must have, in hexadecimal; ``None`` where it is not known.

    Raises:
        ValueError: If a header cannot be sent, or is not the caller's to set.
    """

    url: str = attrs.field(repr=redact_url)
    path: Path = attrs.field(converter=Path)
    headers: Mapping[str, str] = attrs.field(
        factory=dict, repr=False, validator=check_headers
    )
    sha256: str | None = None


@attrs.frozen(kw_only=True)
class Download:
    """
    A file that was downloaded whole.

    Attributes:
        path: Where it is.
        url: Where it came from, without user, password, query and fragment.
        size: Bytes.
        sha256: Of the file, in hexadecimal.
        content_type: As the server said; the content itself decides what it is.
        etag: As the server said, ``None`` where it did not.
        length_verified: Whether the server told the length. Where it did not and just
            closed the connection, the file was decoded to its end to see that it is
            whole, which some formats cannot tell.
        bytes_resumed: Bytes that were there from before and not fetched again.
        attempts: Requests that were made, redirects not counted.
        reused: Whether another process has downloaded it while this one waited.
    """

    path: Path
    url: str
    size: int
    sha256: str
    content_type: str | None = None
    etag: str | None = None
    length_verified: bool = True
    bytes_resumed: int = 0
    attempts: int = 1
    reused: bool = False


@attrs.frozen(kw_only=True)
class DownloadProgress:
    """
    How far a download has come.

    Attributes:
        url: Without user, password, query and fragment.
        received: Bytes that are there, those of earlier attempts included; less than
            before where the file had to be begun anew.
        size: Bytes of the whole file, ``None`` where the server does not say.
    """

    url: str
    received: int
    size: int | None


@attrs.frozen(kw_only=True)
class DownloadOutcome:
    """
    What has become of one download of many.

    Attributes:
        index: Its place among the requests, from 0.
        request: What was asked for.
        download: What was downloaded; ``None`` after an error.
        error: Why it was not; ``None`` if all is well.
    """

    index: int
    request: DownloadRequest
    download: Download | None = None
    error: VoicepipeError | OSError | None = None
