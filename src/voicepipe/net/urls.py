"""URLs as they are taken, compared and shown."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from typing import Any, TypeAlias

import attrs
import httpx

from voicepipe.errors import InvalidUrlError


Origin: TypeAlias = tuple[str, str, int]
"""Scheme, host and port: who may see the same credentials (RFC 6454)."""

_PORTS = {"http": 80, "https": 443}

# Longer than any signed URL, and what servers take in a request line at most.
_MAX_CHARACTERS = 16_384

# What one parser takes for part of the host and another for its end.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]|^\s|\s$")

# Names and IPv4 addresses (RFC 1123 2.1; "_" is in use all the same).
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)

_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


@attrs.frozen
class Url:
    """
    A URL that can be fetched.

    Attributes:
        scheme: ``"http"`` or ``"https"``.
        host: A name or an address, in ASCII and lower case, without brackets.
        port: The port, the scheme's own where the URL has none.
    """

    scheme: str
    host: str
    port: int
    _url: httpx.URL = attrs.field(alias="url", repr=False)

    @property
    def origin(self) -> Origin:
        """Whom it asks."""
        return (self.scheme, self.host, self.port)

    @property
    def target(self) -> bytes:
        """Path and query, as the request line has them."""
        return self._url.raw_path

    @property
    def authority(self) -> str:
        """Host and port, as the ``Host`` header has them."""
        return self._url.netloc.decode("ascii")

    @property
    def authorization(self) -> str | None:
        """User and password as the ``Authorization`` header has them (RFC 7617)."""
        user, password = self._url.username, self._url.password
        if not user and not password:
            return None
        token = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        return f"Basic {token}"

    def join(self, location: str) -> Url:
        """
        Give the URL that a ``Location`` header of this one means.

        Raises:
            InvalidUrlError: If it is none that can be fetched.
        """
        _check_text(location)
        try:
            joined = self._url.join(location)
        except (httpx.InvalidURL, ValueError):
            raise InvalidUrlError("not a URL") from None
        return _checked(joined)

    def __str__(self) -> str:
        """Show it without user, password, query and fragment."""
        bare = self._url.copy_with(userinfo=b"", query=None, fragment=None)
        return _UNPRINTABLE.sub("?", str(bare))


def parse_url(text: str) -> Url:
    """
    Read a URL.

    Args:
        text: An absolute ``http`` or ``https`` URL of at most 16,384 characters.

    Raises:
        InvalidUrlError: If it is anything else.
    """
    _check_text(text)
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        # Its message quotes the URL.
        raise InvalidUrlError("not a URL") from None
    return _checked(url)


def redact_url(text: str) -> str:
    """Give a URL without user, password, query and fragment; never raises."""
    try:
        return str(parse_url(text))
    except InvalidUrlError as exc:
        return f"<{exc}>"


def url_digest(text: str) -> str:
    """Give the SHA-256 of a URL in hexadecimal: tells it from others, shows nothing."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _check_text(text: Any) -> None:
    if not isinstance(text, str):
        msg = f"a URL must be text, not {type(text).__name__}"
        raise InvalidUrlError(msg)
    if len(text) > _MAX_CHARACTERS:
        msg = f"a URL of more than {_MAX_CHARACTERS} characters"
        raise InvalidUrlError(msg)
    if _UNSAFE.search(text):
        raise InvalidUrlError("a URL with a backslash, a control character or a blank")


def _checked(url: httpx.URL) -> Url:
    if url.scheme not in _PORTS:
        raise InvalidUrlError("a URL whose scheme is neither http nor https")
    host = url.raw_host.decode("ascii").lower().removesuffix(".")
    if not _is_host(host):
        raise InvalidUrlError("a URL without a host, or with none that can be")
    port = _PORTS[url.scheme] if url.port is None else url.port
    if port > 65_535:
        raise InvalidUrlError("a URL with a port that cannot be")
    return Url(scheme=url.scheme, host=host, port=port, url=url)


def _is_host(host: str) -> bool:
    if ":" not in host:
        return len(host) <= 253 and _NAME.fullmatch(host) is not None
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
