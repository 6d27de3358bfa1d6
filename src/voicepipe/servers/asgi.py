"""
The ASGI interface, as far as the protections need it.

They decide by ``scope["path"]``: it is what the app's router goes by, and unlike a URL
put together of headers no client can bend it (CVE-2026-48710 of Starlette).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Literal, TypeAlias

import anyio
import attrs


Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

ErrorKey: TypeAlias = Literal["detail", "error"]
"""The field of an error's JSON object that has the message."""


SEND_NOW = "voicepipe.websocket.send_now"
"""
An extension of WebSocket scopes: ``{"call": (text) -> bool}`` sends without a task.

For answers that come up where nothing can be awaited. It gives whether the client keeps
up; where not, the next message should be sent by awaiting ``send``. On a connection
that is over it does nothing.
"""


@attrs.frozen(kw_only=True)
class Refusal:
    """
    An answer that lets the request go no further.

    Attributes:
        status: The HTTP status.
        message: For the client, in the body.
        headers: Added headers.
        close_code: For a WebSocket, where the server cannot answer with a status.
        linger_s: How long to go on reading a body that nobody wants, seconds: closed
            at once, the connection would be reset, and the answer lost on its way.
    """

    status: int
    message: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    close_code: int = 1008
    linger_s: float = 2.0


def header_values(scope: Scope, name: bytes) -> list[bytes]:
    """Give the values of a header, named in lower case, in their order."""
    return [value for key, value in scope["headers"] if key.lower() == name]


def peer_of(scope: Scope) -> str | None:
    """Give the peer's address, ``None`` where there is none, as on a Unix socket."""
    client = scope.get("client")
    return client[0] if client else None


def path_of(scope: Scope) -> str:
    """Give the path below the app's own root, as the router sees it."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(f"{root.rstrip('/')}/"):
        return path[len(root.rstrip("/")) :]
    return path


def may_have_body(scope: Scope) -> bool:
    """Tell whether a body may come with the request."""
    if not scope.get("http_version", "1.1").startswith("1"):
        return True  # where a body needs no header
    if header_values(scope, b"transfer-encoding"):
        return True
    return any(value != b"0" for value in header_values(scope, b"content-length"))


async def drain(receive: Receive, limit_s: float) -> None:
    """Read and forget the rest of a body, for so long at the most."""
    with anyio.move_on_after(limit_s):
        more = True
        while more:
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)


async def refuse(
    scope: Scope,
    receive: Receive,
    send: Send,
    refusal: Refusal,
    *,
    error_key: ErrorKey = "detail",
) -> None:
    """
    Answer a request, or a WebSocket before it is accepted, with an error.

    Args:
        scope: The request's scope.
        receive: The server's ``receive``; a body must not have been read to its end.
        send: The server's ``send``; nothing must have been sent.
        refusal: What to say.
        error_key: The field of the body's JSON object that has the message.
    """
    body = json.dumps({error_key: refusal.message}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *refusal.headers,
    ]
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": refusal.close_code})
            return
        kind, unread = "websocket.http.response", False
    else:
        kind, unread = "http.response", may_have_body(scope)
    if unread:
        headers.append((b"connection", b"close"))
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body, "more_body": unread})
    if unread:
        await drain(receive, refusal.linger_s)
        await send({"type": f"{kind}.body", "body": b"", "more_body": False})
