"""Errors in the shape that OpenAI's clients expect, whoever raises them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from voicepipe.servers.asgi import App, Message, Receive, Scope, Send


PREFIX = "/v1/"
"""Below it errors have this shape."""

# The type and the code of an error, by status, as OpenAI's API has them.
_KINDS: dict[int, tuple[str, str | None]] = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("permission_error", None),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}


def openai_error(
    status: int, message: str, *, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """Give an error's JSON object."""
    otherwise = ("server_error" if status >= 500 else "invalid_request_error", None)
    kind, usual = _KINDS.get(status, otherwise)
    return {
        "error": {
            "message": message,
            "type": kind,
            "param": param,
            "code": code or usual,
        }
    }


class OpenAIErrors:
    """
    ASGI middleware: turns ``{"error": "…"}`` of routes below ``/v1/`` into the object.

    Access, rate and size are checked in front of the app and for all routes alike; what
    they say is translated here.

    Args:
        app: The protected app.
    """

    def __init__(self, app: App) -> None:
        """Keep the app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its answer back."""
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            send = _Translator(send).send
        await self._app(scope, receive, send)


class _Translator:
    """One answer; it is held back until its body has begun, if it is an error."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._held = message
            return
        if self._held is not None and message["type"] == "http.response.body":
            start, self._held = self._held, None
            body = _translated(start["status"], message.get("body", b""))
            headers = [
                (name, b"%d" % len(body) if name == b"content-length" else value)
                for name, value in start.get("headers", ())
            ]
            await self._send({**start, "headers": headers})
            message = {**message, "body": body}
        await self._send(message)


def _translated(status: int, body: bytes) -> bytes:
    try:
        said = json.loads(body)
    except ValueError:
        return body
    if not isinstance(said, dict) or not isinstance(said.get("error"), str):
        return body
    return json.dumps(openai_error(status, said["error"])).encode()
