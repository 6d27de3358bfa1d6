"""A real uvicorn on a free port, an app that tells what it got, and raw requests."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import uvicorn
from websockets.exceptions import WebSocketException


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from voicepipe.servers.asgi import App, Message, Receive, Scope, Send


@attrs.frozen(kw_only=True)
class Answer:
    """What came back: all of it, until the server closed the connection."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def parse(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return Answer(
        status=int(first.split()[1]),
        headers={name.lower(): value for name, _, value in pairs},
        body=body,
    )


def read_all(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65_536):
            data += piece
    return data


@pytest.fixture(scope="session")
def ask() -> Callable[..., Answer]:
    """Send a request as it is written, headers in their order and number."""

    def send(
        port: int,
        target: str = "/data",
        *headers: str,
        method: str = "GET",
        body: bytes = b"",
        host: str | None = None,
    ) -> Answer:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host or f'127.0.0.1:{port}'}"]
        lines += [*headers, "Connection: close"]
        if body and not any("content-length" in h.lower() for h in headers):
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "", ""]).encode("utf-8")
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            sock.sendall(head + body)
            return parse(read_all(sock))

    return send


@pytest.fixture(scope="session")
def read_one() -> Callable[[socket.socket], bytes]:
    """Read one answer, up to the end that its head tells."""

    def read(sock: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = sock.recv(65_536)
            if not piece:
                return data
            data += piece
        answer = parse(data)
        missing = int(answer.headers.get("content-length", 0)) - len(answer.body)
        while missing > 0 and (piece := sock.recv(missing)):
            data += piece
            missing -= len(piece)
        return data

    return read


@pytest.fixture(scope="session")
def unhurried() -> Callable[[Callable[[int], object]], None]:
    """
    Do what must come before a limit of time.

    The limit is short, to be passed soon where it should be. A busy machine may pass
    it where it should not: then all of it is done with ten times as much time.
    """

    def run(talk: Callable[[int], object]) -> None:
        try:
            talk(1)
        except (AssertionError, EOFError, OSError, WebSocketException):
            talk(10)

    return run


WS_HEADERS = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


@pytest.fixture(scope="session")
def ask_ws() -> Callable[..., int]:
    """Ask for a WebSocket, and give the status of the answer."""

    def send(port: int, target: str, *headers: str, host: str | None = None) -> int:
        lines = [f"GET {target} HTTP/1.1", f"Host: {host or f'127.0.0.1:{port}'}"]
        head = "\r\n".join([*lines, *WS_HEADERS, *headers, "", ""]).encode("utf-8")
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            sock.sendall(head)
            return int(sock.recv(65_536).split()[1])

    return send


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what came in; echo WebSocket messages."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})
        return
    if scope["type"] != "http":
        return
    size, more = 0, scope["path"] != "/unread"
    while more:
        message: Message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = json.dumps({"path": scope["path"], "size": size}).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="session")
def app() -> App:
    return tell


@pytest.fixture(scope="module")
def serving() -> Iterator[Callable[..., int]]:
    """Start apps, each on a port of its own; they stop when the module is done."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(app: App, **config: Any) -> int:
        sock = socket.create_server(("127.0.0.1", 0))
        # A client that a busy machine holds up is not left between two requests.
        config = {"timeout_keep_alive": 60, **config}
        server = uvicorn.Server(
            uvicorn.Config(
                app, log_config=None, lifespan="off", interface="asgi3", **config
            )
        )
        sockets = None if "uds" in config else [sock]
        thread = threading.Thread(target=server.run, args=(sockets,))
        thread.start()
        running.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        if sockets is None:
            sock.close()
            return 0
        return sock.getsockname()[1]

    yield start
    for server, _ in running:
        server.should_exit = True
        server.force_exit = True
    for _, thread in running:
        thread.join()
