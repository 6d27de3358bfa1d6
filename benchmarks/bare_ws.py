"""
The least that a streaming server can be: ``python bare_ws.py PORT FOLDER``.

Appends the bytes of each WebSocket to a file of its own and answers with the same JSON
as the real one. Nothing is checked, limited, resumed or synced; the file has no header.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from typing import TYPE_CHECKING, Any

import uvicorn


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


FOLDER = sys.argv[2]


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Serve one WebSocket."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    session, count, size = str(uuid.uuid4()), 0, 0
    answer = {"session_id": session, "chunk_count": 0, "status": "active"}
    hello = {"message": "WebSocket connection established", **answer}
    await send({"type": "websocket.send", "text": json.dumps(hello)})
    file = os.open(f"{FOLDER}/{session}.raw", os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        while (event := await receive())["type"] == "websocket.receive":
            size += os.write(file, event["bytes"])
            count += 1
            answer = {
                "message": "Chunk processed successfully",
                "session_id": session,
                "chunk_count": count,
                "status": "active",
                "bytes_received": size,
            }
            await send({"type": "websocket.send", "text": json.dumps(answer)})
    finally:
        os.close(file)


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        interface="asgi3",
        lifespan="off",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        access_log=False,
        log_level="warning",
    )
