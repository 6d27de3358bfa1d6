"""A server as an example app starts one; told by the environment how to behave."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from voicepipe.servers.env import env_text
from voicepipe.servers.logs import setup_logging
from voicepipe.servers.protect import protect
from voicepipe.servers.protocol import DeadlineProtocol
from voicepipe.servers.run import ServeOptions, serve
from voicepipe.servers.settings import ServerSettings


if TYPE_CHECKING:
    from voicepipe.servers.asgi import Receive, Scope, Send


log = logging.getLogger("served")
settings = ServerSettings.from_env(os.environ, port=0)
trouble = env_text(os.environ, "SERVED_TROUBLE")
folder = env_text(os.environ, "SERVED_LOGS") or None

setup_logging(folder, "served.log", secrets=[settings.api_key or ""])
if trouble == "slow import":
    sys.stderr.write("importing\n")
    time.sleep(60)
if trouble == "no import" and __name__ != "__main__":
    raise ImportError("this app is broken")


class Impatient(DeadlineProtocol):
    """Closes silent connections soon."""

    head_timeout_s = 0.5


async def lifespan(receive: Receive, send: Send) -> None:
    """Start and end, or fail to, or hang."""
    await receive()
    if trouble == "no startup":
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if trouble == "slow shutdown":
        await anyio.sleep(60)
    log.info("the app is closed")
    await send({"type": "lifespan.shutdown.complete"})


async def website(scope: Scope, receive: Receive, send: Send) -> None:
    """Flood a WebSocket's client, or answer, soon or late or never."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    log.info("came in %s", scope["path"])
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "bytes": bytes(1 << 20)})
    if scope["path"] == "/thread":
        await anyio.to_thread.run_sync(time.sleep, 60)
    if scope["path"] == "/stubborn":
        threading.Thread(target=time.sleep, args=(60,)).start()
        while True:
            with contextlib.suppress(BaseException):
                await anyio.sleep(60)
    if scope["path"] == "/late":
        await anyio.sleep(0.7)
    body = json.dumps({"pid": os.getpid(), "client": scope["client"][0]}).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = protect(website, settings)


if __name__ == "__main__":
    given = json.loads(env_text(os.environ, "SERVED_OPTIONS", "{}"))
    workers = given.pop("workers", 1)
    if given.pop("impatient", False):
        given["protocol"] = Impatient
    sys.exit(
        serve("served:app", settings, workers=workers, options=ServeOptions(**given))
    )
