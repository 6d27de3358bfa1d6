"""Who may come: with a key whoever has it, without one this machine."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from voicepipe.servers.asgi import Refusal, header_values, path_of, peer_of, refuse
from voicepipe.servers.loopback import is_loopback_address


if TYPE_CHECKING:
    from collections.abc import Collection

    from voicepipe.servers.asgi import App, ErrorKey, Receive, Scope, Send
    from voicepipe.servers.settings import ServerSettings


OPEN_PATHS = ("/", "/health", "/docs", "/redoc", "/openapi.json", "/favicon.ico")
"""Paths that carry no data and need no key."""

_NO_KEY = Refusal(
    status=401,
    message="a valid key is needed: Authorization: Bearer …, or ?token=…",
    headers=((b"www-authenticate", b"Bearer"),),
)

_NOT_LOCAL = Refusal(
    status=403,
    message="without a key, only this machine is answered, and through no proxy",
)

# Any client can write them, and some servers believe any client.
_FORWARDED = (b"x-forwarded-for", b"forwarded", b"x-real-ip")


def presents_key(scope: Scope, key: str) -> bool:
    """
    Tell whether a request presents the key, once.

    As ``Authorization: Bearer``, or where there is none as ``?token=``. Two of either
    are refused: what checks them and what logs them might not see the same one.
    """
    fields = header_values(scope, b"authorization")
    tokens = _tokens(scope.get("query_string", b""))
    if len(fields) > 1 or len(tokens) > 1:
        return False
    wanted = key.encode("utf-8", "surrogateescape")
    scheme, _, credential = (fields[0] if fields else b"").partition(b" ")
    # Other schemes are for others: a proxy in front may ask for a password.
    if scheme.lower() == b"bearer":
        return hmac.compare_digest(credential.strip(), wanted)
    # A form writes a blank as "+"; a script that does not know of it, "+" as "+".
    return any(
        hmac.compare_digest(unquote_to_bytes(form), wanted)
        for token in tokens
        for form in (token, token.replace(b"+", b" "))
    )


def _tokens(query: bytes) -> list[bytes]:
    pairs = (field.partition(b"=") for field in query.split(b"&"))
    return [value for name, _, value in pairs if unquote_to_bytes(name) == b"token"]


def _is_local(scope: Scope) -> bool:
    return is_loopback_address(peer_of(scope) or "") and not any(
        header_values(scope, name) for name in _FORWARDED
    )


class AccessGuard:
    """
    ASGI middleware: lets in whoever has the key, or where there is none this machine.

    With a key, everything but GET and HEAD of the open paths wants it, WebSockets
    before they are accepted; 401 otherwise. Without one, a peer that is not on loopback
    gets 403, and whoever comes through a proxy or a Unix socket, also on open paths,
    unless ``insecure`` is set.

    Args:
        app: What to guard.
        settings: Uses ``api_key`` and ``insecure``.
        open_paths: Exact paths that need no key.
        open_prefixes: Beginnings of paths that need no key, such as ``/static/``.
        error_key: The field of an error's JSON object that has the message.

    Raises:
        ValueError: If a prefix does not begin and end with a slash.
    """

    def __init__(
        self,
        app: App,
        settings: ServerSettings,
        *,
        open_paths: Collection[str] = OPEN_PATHS,
        open_prefixes: Collection[str] = (),
        error_key: ErrorKey = "detail",
    ) -> None:
        """Keep the lists."""
        if not all(p.startswith("/") and p.endswith("/") for p in open_prefixes):
            raise ValueError("open prefixes must begin and end with a slash")
        self._app = app
        self._settings = settings
        self._open_paths = frozenset(open_paths)
        self._open_prefixes = tuple(open_prefixes)
        self._error_key: ErrorKey = error_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in, or refuse it."""
        refusal = None
        if scope["type"] in {"http", "websocket"}:
            refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refuse(scope, receive, send, refusal, error_key=self._error_key)

    def _refusal(self, scope: Scope) -> Refusal | None:
        key = self._settings.api_key
        if key is None:
            if self._settings.insecure or _is_local(scope):
                return None
            return _NOT_LOCAL
        if self._is_open(scope) or presents_key(scope, key):
            return None
        return _NO_KEY

    def _is_open(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            return False
        path = path_of(scope)
        if path in self._open_paths:
            return True
        # Whatever serves the files may understand these otherwise than a prefix does.
        odd = "\\" in path or not {"", ".", ".."}.isdisjoint(path.split("/")[1:-1])
        return not odd and path.startswith(self._open_prefixes)
