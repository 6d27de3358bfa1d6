"""Every request and response, in the log."""

from __future__ import annotations

import logging
import secrets
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from voicepipe.servers.asgi import peer_of


if TYPE_CHECKING:
    from collections.abc import Awaitable

    from voicepipe.servers.asgi import App, Message, Receive, Scope, Send


_log = logging.getLogger(__name__)

# What redaction goes by is left as it is; blanks and controls are not.
_LEGIBLE = "/:@!$&'()*+,;=~-._[]"

_MAX_PATH = 500


class RequestLog:
    """
    ASGI middleware: logs each request as it comes, and how it was answered.

    At INFO, without query, headers and content::

        3f2a91c4 GET /storage/info from 127.0.0.1
        3f2a91c4 GET /storage/info 200 in 12.3 ms from 127.0.0.1
        8d01b7aa WS /ws from 127.0.0.1
        8d01b7aa WS /ws accepted in 2.0 ms from 127.0.0.1
        8d01b7aa WS /ws closed 1000 in 60312.0 ms from 127.0.0.1

    Args:
        app: What to log for.
    """

    def __init__(self, app: App) -> None:
        """Keep the app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and log it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        entry = _Entry(scope)

        # No coroutine of its own, and a WebSocket's messages pass unseen: there may be
        # ten thousand in a second.
        def send_and_see(message: Message) -> Awaitable[None]:
            if message["type"] != "websocket.send":
                entry.see(message)
            return send(message)

        async def receive_and_see() -> Message:
            message = await receive()
            if message["type"] != "websocket.receive":
                entry.see(message)
            return message

        try:
            await self._app(scope, receive_and_see, send_and_see)
        except Exception as exc:
            entry.fail(type(exc).__name__)
            raise
        finally:
            entry.end()


class _Entry:
    """What is known of one request."""

    def __init__(self, scope: Scope) -> None:
        method = scope["method"] if scope["type"] == "http" else "WS"
        path = quote(scope["path"][:_MAX_PATH], safe=_LEGIBLE, errors="replace")
        self._what = f"{secrets.token_hex(4)} {method[:20]} {path}"
        self._peer = peer_of(scope) or "a socket"
        self._began = time.perf_counter()
        self._outcome = "not answered"
        self._ended = False
        _log.info("%s from %s", self._what, self._peer)

    def see(self, message: Message) -> None:
        kind = message["type"]
        if kind in {"http.response.start", "websocket.http.response.start"}:
            self._outcome = str(message["status"])
        elif kind == "websocket.accept":
            self._say("accepted")
            self._outcome = "closed"
        elif kind in {"websocket.close", "websocket.disconnect"}:
            # The first counts; what comes after is the other side's echo.
            if self._outcome in {"not answered", "closed"}:
                self._outcome = f"closed {message.get('code', 1000)}"
        elif kind == "http.response.body" and not message.get("more_body", False):
            self.end()

    def fail(self, error: str) -> None:
        self._outcome += f", then {error}"

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self._say(self._outcome)

    def _say(self, outcome: str) -> None:
        took_ms = (time.perf_counter() - self._began) * 1e3
        _log.info("%s %s in %.1f ms from %s", self._what, outcome, took_ms, self._peer)
