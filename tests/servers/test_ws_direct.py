from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import uvicorn
from websockets.sync.client import connect

from voicepipe.servers.asgi import SEND_NOW
from voicepipe.servers.ws_direct import DirectWebSockets
from voicepipe.servers.ws_memory import WsLimits


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from voicepipe.servers.asgi import Receive, Scope, Send


class App:
    """Answers texts without a task; keeps what sending has told."""

    def __init__(self) -> None:
        self.kept_up: list[bool] = []
        self.calls: list[Callable[[str], bool]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call: Callable[[str], bool] = scope["extensions"][SEND_NOW]["call"]
        self.calls.append(call)
        call("too early: nobody is connected yet")
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                return
            for _ in range(int(message["text"])):
                # From a callback, where nothing can be awaited.
                self.kept_up.append(call("x" * 60_000))
            await send({"type": "websocket.send", "text": "done"})
            if message["text"] == "0":
                await send({"type": "websocket.close", "code": 1000})


@pytest.fixture
def app() -> Iterator[tuple[App, int]]:
    app = App()
    limits = WsLimits(max_message_bytes=1 << 20, memory_bytes=1 << 22)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config: Any = uvicorn.Config(
            app, ws=DirectWebSockets.within(limits), log_level="error", lifespan="off"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield app, listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def test_texts_sent_at_once_come_in_their_order(app: tuple[App, int]) -> None:
    told, port = app
    with connect(
        f"ws://127.0.0.1:{port}/", compression=None, open_timeout=60
    ) as client:
        client.send("2")
        assert [client.recv() for _ in range(3)] == ["x" * 60_000] * 2 + ["done"]
    assert all(told.kept_up)


def test_a_client_that_does_not_read_is_told_of(app: tuple[App, int]) -> None:
    told, port = app
    connection = socket.socket()
    # Set before it is connected, it also keeps the system from making the buffer grow.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    connection.connect(("127.0.0.1", port))
    with connect(
        f"ws://127.0.0.1:{port}/",
        sock=connection,
        compression=None,
        max_queue=1,
        open_timeout=60,
    ) as client:
        client.send("200")
        # Nothing is read before all 12 MB are on their way, more than the sender's
        # buffer and this one take.
        deadline = time.monotonic() + 60.0
        while len(told.kept_up) < 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert [client.recv() for _ in range(201)][-1] == "done"
    assert told.kept_up[0]
    assert not told.kept_up[-1]


async def test_on_a_connection_that_is_over_it_does_nothing(
    app: tuple[App, int],
) -> None:
    told, port = app

    def talk() -> None:
        url = f"ws://127.0.0.1:{port}/"
        with connect(url, compression=None, open_timeout=60) as client:
            client.send("0")
            assert client.recv() == "done"

    await anyio.to_thread.run_sync(talk)
    assert told.calls[0]("nobody hears this")
