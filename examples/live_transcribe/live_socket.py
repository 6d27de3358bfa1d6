"""
The WebSocket side: sound comes in, text goes out.

A plain ASGI app beside FastAPI's routes; what is said on a connection is in
``conversation``.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

import anyio
from conversation import Conversation
from line import Line, Over, connections, places
from settings import SETTINGS

from voicepipe.servers.asgi import Message, Refusal, path_of, refuse


if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectSendStream

    from voicepipe.servers.asgi import Receive, Scope, Send


_logger = logging.getLogger("live_transcribe")

_PATH = "/ws"


async def live_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a connection: the ASGI app for WebSockets."""
    if path_of(scope) != _PATH:
        refusal = Refusal(status=404, message="Not found")
        await refuse(scope, receive, send, refusal, error_key="error")
        return
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    line = Line(send)
    if places.connections >= SETTINGS.max_connections:
        await line.end(Over(1013, "The server is full, try again later", "full"))
        return
    connections.value += 1
    places.connections += 1
    state = scope["state"]
    try:
        with contextlib.closing(
            Conversation(line, state["engine"], state["decoders"])
        ) as conversation:
            await _serve(conversation, line, receive)
    finally:
        places.connections -= 1


async def _serve(conversation: Conversation, line: Line, receive: Receive) -> None:
    """Talk until one of both has had enough."""
    send, incoming = anyio.create_memory_object_stream[Message](0)
    async with send, incoming, anyio.create_task_group() as group:

        async def listen() -> None:
            # A task of its own: it hears at any time that the client has gone.
            await _pass_on(receive, send)
            group.cancel_scope.cancel()

        group.start_soon(listen)
        try:
            over = await conversation.run(incoming)
        except Exception:
            _logger.exception("a connection failed")
            over = Over(1011, "Internal error", "internal")
        await line.end(over)
        group.cancel_scope.cancel()


async def _pass_on(receive: Receive, send: MemoryObjectSendStream[Message]) -> None:
    message = await receive()
    while message["type"] == "websocket.receive":
        await send.send(message)
        message = await receive()
