"""Where a capture server is, and what may be said of it."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING

from voicepipe.errors import InvalidUrlError
from voicepipe.net.headers import checked_headers
from voicepipe.net.urls import parse_url


if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicepipe.io.streaming.values import StreamOptions


_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
_PATH = "/api/ws/audio"

# Shorter texts are no secrets, and would be found everywhere.
_SHORTEST_SECRET = 4


class Endpoint:
    """
    A capture server, as its clients reach it.

    Args:
        url: See ``StreamClient``.
        options: With key and headers.

    Attributes:
        secure: Whether it wants TLS.
        host: Its name or address.
        port: Its port.
        headers: What each connection sends, names in lower case.

    Raises:
        InvalidUrlError: If the URL is none of a server; the message does not quote it.
    """

    def __init__(self, url: str, options: StreamOptions) -> None:
        """Take the URL apart."""
        scheme, separator, rest = url.partition("://")
        if not separator or scheme.lower() not in _SCHEMES:
            raise InvalidUrlError("a stream's URL must begin with ws:// or wss://")
        parsed = parse_url(f"{_SCHEMES[scheme.lower()]}://{rest}")
        self.secure: bool = parsed.scheme == "https"
        self.host: str = parsed.host
        self.port: int = parsed.port
        self.headers: dict[str, str] = _headers(options, parsed.authorization)
        path, _, self._query = parsed.target.decode("ascii").partition("?")
        self._base = f"{'wss' if self.secure else 'ws'}://{parsed.authority}"
        self._path = path.rstrip("/") + _PATH
        self._shown = f"{self._base}{path.rstrip('/')}"
        self._secrets = _secrets(self.headers, self._query)

    def new_session(self, wanted: Mapping[str, str | int]) -> str:
        """Give the URL that makes a session."""
        return self._url(self._path, wanted)

    def join(self, session_id: str, wanted: Mapping[str, str | int]) -> str:
        """Give the URL that joins a session."""
        return self._url(f"{self._path}/{session_id}", wanted)

    def hide(self, text: str) -> str:
        """Take what only this client and the server may know out of a text."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _url(self, path: str, wanted: Mapping[str, str | int]) -> str:
        query = "&".join(filter(None, (self._query, urllib.parse.urlencode(wanted))))
        return f"{self._base}{path}" + (f"?{query}" if query else "")

    def __str__(self) -> str:
        """Show it without user, password and query."""
        return self._shown


def _headers(options: StreamOptions, authorization: str | None) -> dict[str, str]:
    headers = checked_headers(options.headers)
    if options.api_key is not None:
        headers["authorization"] = f"Bearer {options.api_key}"
    elif authorization is not None:
        headers.setdefault("authorization", authorization)
    return headers


def _secrets(headers: Mapping[str, str], query: str) -> list[str]:
    found = set(headers.values())
    # Behind "Bearer" and "Basic".
    found |= {value.rpartition(" ")[2] for value in headers.values()}
    for part in query.split("&"):
        value = part.partition("=")[2]
        found |= {value, urllib.parse.unquote_plus(value)}
    return sorted(
        (secret for secret in found if len(secret) >= _SHORTEST_SECRET),
        key=len,
        reverse=True,
    )
