"""
Which pages may talk to the server: ``Host``, ``Origin`` and CORS.

A browser lets any page open a WebSocket to any server, and send it simple requests; it
only says in ``Origin`` whose page it is (OWASP, cross-site WebSocket hijacking). And a
page may give its own name this machine's address (DNS rebinding): then it is in
``Host`` that the browser says whose page it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.servers.asgi import Refusal, header_values, peer_of, refuse
from voicepipe.servers.loopback import is_loopback_address, is_loopback_authority


if TYPE_CHECKING:
    from collections.abc import Awaitable

    from voicepipe.servers.asgi import App, ErrorKey, Message, Receive, Scope, Send
    from voicepipe.servers.settings import ServerSettings


_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}

# Nothing here guesses content types, and a key in a URL goes to no other site.
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class OriginGuard:
    """
    ASGI middleware: only pages of the server's own, or listed ones, go through.

    Without an ``Origin`` header, as programs come, all goes through. With one, it must
    be the server's own (scheme, host and port as in ``Host``), or in
    ``allowed_origins``; where that is empty, a localhost of any port, if both ends of
    the connection are on this machine. Without a key, what comes in over loopback must
    name a loopback ``Host``, or that of a listed origin. The rest gets 403, a WebSocket
    before it is accepted. Pages of listed origins may read the answers (CORS).

    Args:
        app: What to guard.
        settings: Uses ``host``, ``api_key`` and ``allowed_origins``.
        error_key: The field of an error's JSON object that has the message.
    """

    def __init__(
        self, app: App, settings: ServerSettings, *, error_key: ErrorKey = "detail"
    ) -> None:
        """Keep the lists."""
        self._app = app
        self._settings = settings
        self._error_key: ErrorKey = error_key
        self._hosts = {o.partition("://")[2] for o in settings.allowed_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the request's headers."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        origins = [v.decode("latin-1") for v in header_values(scope, b"origin")]
        hosts = [v.decode("latin-1") for v in header_values(scope, b"host")]
        listed = len(origins) == 1 and origins[0] in self._settings.allowed_origins
        added = [*_ALWAYS, *(_cors(origins[0]) if listed else ())]
        send = _with_headers(send, added)
        fault = self._fault(scope, origins, hosts)
        if fault:
            refusal = Refusal(status=403, message=fault)
            await refuse(scope, receive, send, refusal, error_key=self._error_key)
        elif listed and _is_preflight(scope):
            await _answer_preflight(scope, send)
        else:
            await self._app(scope, receive, send)

    def _fault(self, scope: Scope, origins: list[str], hosts: list[str]) -> str:
        if len(origins) > 1 or len(hosts) > 1:
            return "Origin and Host may be said once"
        if hosts and not self._knows_host(scope, hosts[0]):
            return "unknown Host"
        if not origins or origins[0] in self._settings.allowed_origins:
            return ""
        if hosts and _is_same(origins[0], scope, hosts[0]):
            return ""
        if not self._settings.allowed_origins and self._is_local_page(
            scope, origins[0]
        ):
            return ""
        return "this origin is not allowed"

    def _knows_host(self, scope: Scope, host: str) -> bool:
        if self._settings.api_key or not self._came_over_loopback(scope):
            return True
        return is_loopback_authority(host) or host in self._hosts

    def _came_over_loopback(self, scope: Scope) -> bool:
        """Go by the address that the peer connected to, if the server tells it."""
        server = scope.get("server")
        if server:
            # A Unix socket, which no browser reaches, has no port.
            return server[1] is not None and is_loopback_address(server[0])
        return self._settings.listens_locally

    def _is_local_page(self, scope: Scope, origin: str) -> bool:
        scheme, _, authority = origin.partition("://")
        return (
            scheme in _DEFAULT_PORTS
            and authority == authority.lower()
            and is_loopback_authority(authority)
            and self._came_over_loopback(scope)
            and is_loopback_address(peer_of(scope) or "")
        )


def _is_same(origin: str, scope: Scope, host: str) -> bool:
    """Tell whether an origin is the server's own, as the browser sees it."""
    scheme = _SCHEMES.get(scope.get("scheme", ""), "")
    host = host.removesuffix(_DEFAULT_PORTS.get(scheme, "?"))
    return origin == f"{scheme}://{host}"


def _is_preflight(scope: Scope) -> bool:
    return (
        scope["type"] == "http"
        and scope["method"] == "OPTIONS"
        and bool(header_values(scope, b"access-control-request-method"))
    )


def _cors(origin: str) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"Origin"),
    )


async def _answer_preflight(scope: Scope, send: Send) -> None:
    """Let the page go on; whether it has the key, its request itself will show."""
    headers = [
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
        (b"access-control-max-age", b"600"),
    ]
    if wanted := header_values(scope, b"access-control-request-headers"):
        headers.append((b"access-control-allow-headers", b", ".join(wanted)))
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _with_headers(send: Send, added: list[tuple[bytes, bytes]]) -> Send:
    """Add headers to any answer that has not got them."""

    def send_with_headers(message: Message) -> Awaitable[None]:
        if message["type"] in {"http.response.start", "websocket.http.response.start"}:
            present = list(message.get("headers", ()))
            names = {name.lower() for name, _ in present} - {b"vary"}
            new = [header for header in added if header[0] not in names]
            message = {**message, "headers": [*present, *new]}
        return send(message)

    return send_with_headers
