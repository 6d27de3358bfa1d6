"""How much may be sent with a request, and how long that may take."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import attrs

from voicepipe.servers.asgi import Refusal, drain, header_values, may_have_body, refuse


if TYPE_CHECKING:
    from voicepipe.servers.asgi import App, ErrorKey, Message, Receive, Scope, Send


_log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class BodyRules:
    """
    The limits of a request's body.

    Attributes:
        max_bytes: The longest body.
        timeout_s: How long the server may be kept waiting for the whole body, seconds.
        min_rate: Bytes that, once they have come, buy another second; ``None`` sells
            none, and a body of 200 MiB must then come at 28 Mbit/s.
        linger_s: How long to go on reading a body that nobody wants, seconds, so that
            the answer is not lost on its way.
    """

    max_bytes: int = 16 << 20
    timeout_s: float = 60.0
    min_rate: float | None = None
    linger_s: float = 2.0


class BodyLimit:
    """
    ASGI middleware: counts a body while it is read, and does not wait for it for ever.

    Too long is 413, before anything is read where ``Content-Length`` says so already.
    Not whole in time is 408. Both end the connection. If the app has begun its answer,
    the app hears that the client has gone, and the connection ends with the app's task.
    If the app answers without reading the body, the connection ends too: what the
    client still sends is no request.

    Args:
        app: What to guard.
        rules: The limits.
        error_key: The field of an error's JSON object that has the message.
    """

    def __init__(
        self, app: App, rules: BodyRules, *, error_key: ErrorKey = "detail"
    ) -> None:
        """Keep the limits."""
        self._app = app
        self._rules = rules
        self._error_key: ErrorKey = error_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body under watch."""
        if scope["type"] != "http" or not may_have_body(scope):
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(
            scope, receive, send, self._rules, error_key=self._error_key
        )
        if any(
            # h11 has seen that they are digits; other servers may not have.
            not value.isdigit() or int(value[:20]) > self._rules.max_bytes
            for value in header_values(scope, b"content-length")
        ):
            await exchange.cut(_too_long(self._rules))
            return
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            if not exchange.is_cut:
                raise
            _log.debug("after its body was cut, the app said", exc_info=True)


def _too_long(rules: BodyRules) -> Refusal:
    return Refusal(
        status=413,
        message=f"the body is longer than {rules.max_bytes} bytes",
        linger_s=rules.linger_s,
    )


class _Exchange:
    """One request and its answer."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        rules: BodyRules,
        *,
        error_key: ErrorKey,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._rules = rules
        self._error_key: ErrorKey = error_key
        self._left_s = rules.timeout_s
        self._left_bytes = rules.max_bytes
        self._whole = False
        self._began = False
        self.is_cut: bool = False

    async def receive(self) -> Message:
        """Give the app the next piece of the body, or tell it that the client left."""
        if self.is_cut:
            return {"type": "http.disconnect"}
        if self._whole:
            return await self._receive()
        asked = anyio.current_time()
        message: Message | None = None
        with anyio.move_on_after(self._left_s):
            message = await self._receive()
        # Time that the app takes is not the client's.
        self._left_s -= anyio.current_time() - asked
        if message is None:
            late = Refusal(status=408, message="the body did not come", linger_s=0.0)
            return await self.cut(late)
        size = len(message.get("body", b""))
        self._left_bytes -= size
        if self._left_bytes < 0:
            return await self.cut(_too_long(self._rules))
        if self._rules.min_rate:
            self._left_s += size / self._rules.min_rate
        # A disconnect too is the end of it.
        self._whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass on what the app says, unless it has been answered for."""
        if self.is_cut:
            return
        if message["type"] == "http.response.start":
            self._began = True
            headers = message.get("headers", ())
            if not self._whole and not any(
                k.lower() == b"connection" for k, _ in headers
            ):
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
        if message["type"] != "http.response.body" or message.get("more_body", False):
            await self._send(message)
            return
        if not self._whole:
            await self._send({**message, "more_body": True})
            await drain(self._receive, self._rules.linger_s)
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def cut(self, refusal: Refusal) -> Message:
        """Answer for the app, if it has not begun to."""
        self.is_cut = True
        if not self._began:
            await refuse(
                self._scope,
                self._receive,
                self._send,
                refusal,
                error_key=self._error_key,
            )
        return {"type": "http.disconnect"}
