"""
Many streaming clients in one process, as cheap as can be: prints one line of JSON.

``python ws_load.py turns PORT PATH CONNECTIONS CHUNKS BYTES``: each connection sends a
chunk, waits for its answer and sends the next one; ``seconds`` is what all took.

``python ws_load.py live PORT PATH CONNECTIONS SECONDS BYTES INTERVAL``: each sends a
chunk every ``INTERVAL`` seconds, whether it was answered or not. Latencies count from
the moment at which the chunk was due, so that the load's own delays are in them.

``python ws_load.py stall PORT PATH CONNECTIONS SECONDS BYTES``: each sends one frame
but for its last byte, and then nothing more for so many seconds.

Frames are masked, as they must be, with a key of zeros, which costs nothing.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - protocols are the cheapest clients
import collections
import json
import os
import struct
import sys
import time
from typing import TypeAlias


Where: TypeAlias = tuple[int, str, int]
"""The server's port, the path, and how many connections."""

REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def frame(payload: bytes, first: int = 0x82) -> bytes:
    """Make a frame, RFC 6455 section 5.2: a binary one, if nothing else is said."""
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", first, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, size)
    return head + bytes(4) + payload


class Client(asyncio.Protocol):
    """One connection; counts the messages that it gets."""

    def __init__(self, request: bytes) -> None:
        """Keep what is sent first."""
        self.request = request
        self.ready = asyncio.get_running_loop().create_future()
        self.over = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self.data = bytearray()
        self.shaken = False
        self.answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Count messages; the first one is the greeting."""
        self.data += data
        if not self.shaken:
            head, found, rest = self.data.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.splitlines()[0]:
                self.fail(head.splitlines()[0].decode())
                return
            self.shaken, self.data = True, rest
        while len(self.data) >= 2:
            size, at = self.data[1], 2
            if size == 126:
                size, at = int.from_bytes(self.data[2:4], "big"), 4
            if len(self.data) < at + size:
                return
            kind, message = self.data[0] & 15, bytes(self.data[at : at + size])
            del self.data[: at + size]
            if kind == 1:
                self.take(message)
            elif kind == 9:
                self.transport.write(frame(message, 0x8A))
            elif kind == 8:
                self.fail(f"closed with {int.from_bytes(message[:2], 'big')}")

    def take(self, message: bytes) -> None:
        """Take a text message."""
        if not self.ready.done():
            self.ready.set_result(None)
            return
        if b'"active"' not in message:
            self.fail(message.decode())
            return
        self.answered += 1
        self.on_answer()

    def on_answer(self) -> None:
        """Do what an answer calls for."""

    def fail(self, reason: str) -> None:
        """End everything: the server does not do what it should."""
        error = RuntimeError(reason)
        for future in (self.ready, self.over):
            if not future.done():
                future.set_exception(error)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        self.fail(f"the connection was lost: {exc}")


class Turns(Client):
    """Sends a chunk for each answer."""

    chunk: bytes
    left: int

    def on_answer(self) -> None:
        """Send the next one, or be done."""
        if self.left:
            self.left -= 1
            self.transport.write(self.chunk)
        elif not self.over.done():
            self.over.set_result(None)


class Live(Client):
    """Sends by the clock."""

    chunk: bytes
    interval: float
    left: int
    due: collections.deque[float]
    latencies: list[float]

    def begin(self, at: float) -> None:
        """Send from a moment on."""
        self.due = collections.deque()
        self.latencies = []
        self.at = at
        asyncio.get_running_loop().call_at(at, self.send)

    def send(self) -> None:
        """Send a chunk, and plan the next."""
        self.due.append(self.at)
        self.transport.write(self.chunk)
        self.left -= 1
        self.at += self.interval
        if self.left:
            asyncio.get_running_loop().call_at(self.at, self.send)

    def on_answer(self) -> None:
        """Note how long it took."""
        now = asyncio.get_running_loop().time()
        self.latencies.append(now - self.due.popleft())
        if not self.left and not self.due and not self.over.done():
            self.over.set_result(None)


async def connect(kind: type[Client], where: Where) -> list[Client]:
    """Open connections, some at a time, and wait for their greetings."""
    port, path, count = where
    loop = asyncio.get_running_loop()
    request = REQUEST.format(path=path, port=port).encode()
    clients: list[Client] = []
    while len(clients) < count:
        batch = [
            (await loop.create_connection(lambda: kind(request), "127.0.0.1", port))[1]
            for _ in range(min(50, count - len(clients)))
        ]
        await asyncio.gather(*(client.ready for client in batch))
        clients += batch
    return clients


async def turns(where: Where, chunks: int, size: int) -> object:
    """Send and wait in turn."""
    clients, count = await connect(Turns, where), where[2]
    begin = time.perf_counter()
    for client in clients:
        assert isinstance(client, Turns)
        client.chunk, client.left = frame(os.urandom(size)), chunks - 1
        client.transport.write(client.chunk)
    await asyncio.gather(*(client.over for client in clients))
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "per_second": count * chunks / seconds}


async def live(where: Where, seconds: float, size: int, interval: float) -> object:
    """Send by the clock."""
    clients, count = await connect(Live, where), where[2]
    begin = asyncio.get_running_loop().time() + 0.2
    for number, client in enumerate(clients):
        assert isinstance(client, Live)
        client.chunk, client.interval = frame(os.urandom(size)), interval
        client.left = round(seconds / interval)
        client.begin(begin + interval * number / count)
    await asyncio.gather(*(client.over for client in clients))
    found = sorted(
        latency
        for client in clients
        if isinstance(client, Live)
        for latency in client.latencies
    )
    return {
        "acks": len(found),
        "p50_ms": 1e3 * found[len(found) // 2],
        "p99_ms": 1e3 * found[len(found) * 99 // 100],
        "max_ms": 1e3 * found[-1],
        "late": sum(latency > interval for latency in found),
    }


async def stall(where: Where, seconds: float, size: int) -> object:
    """Send all but the last byte of a long frame."""
    clients = await connect(Client, where)
    data = frame(bytes(size))[:-1]
    for client in clients:
        client.transport.write(data)
    lost = [client.over for client in clients]
    await asyncio.wait(lost, timeout=seconds)
    return {
        "sent": sum(
            len(data) - client.transport.get_write_buffer_size() for client in clients
        ),
        "closed": sum(future.done() for future in lost),
    }


def main() -> None:
    """Run what is asked for, and print what came of it."""
    what, port, path, count, *rest = sys.argv[1:]
    where = (int(port), path, int(count))
    if what == "turns":
        found = asyncio.run(turns(where, int(rest[0]), int(rest[1])))
    elif what == "live":
        found = asyncio.run(live(where, float(rest[0]), int(rest[1]), float(rest[2])))
    else:
        found = asyncio.run(stall(where, float(rest[0]), int(rest[1])))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
