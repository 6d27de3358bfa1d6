"""
An HTTP/1.1 server that does what it is told, wrong as it may be.

It writes raw bytes to real sockets, a thread for each connection, and keeps a log of
what it was asked for. What it answers is in ``fault_answers``.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Self

import attrs
import pytest


if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator


class HangUpError(Exception):
    """The server stops, or has had enough of a connection."""


@attrs.define
class Seen:
    """
    One request, and what came of it.

    Attributes:
        method: Such as ``"GET"``.
        target: As in the request line.
        headers: Names in lower case, in their order.
        at: When it came, ``time.monotonic``.
        sent: Bytes of the body that were sent.
        begin: Where in the file they begin.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    at: float = attrs.field(factory=time.monotonic)
    sent: int = 0
    begin: int = 0

    def header(self, name: str) -> str | None:
        """Give the value of a header, ``None`` where it was not sent."""
        return dict(self.headers).get(name.lower())


class Exchange:
    """
    A request that is being answered.

    Attributes:
        seen: The request.
        stay: Whether the connection stays open for the next one.
        rest: What has come behind it and belongs to no body that was read.
    """

    def __init__(
        self,
        connection: socket.socket,
        seen: Seen,
        rest: bytes,
        stopping: threading.Event,
    ) -> None:
        """Keep whom to answer, and what came behind the head."""
        self.seen = seen
        self.stay = False
        self.rest = rest
        self._connection = connection
        self._stopping = stopping

    def head(self, status: int, *headers: str) -> None:
        """Send a status line and headers."""
        lines = [f"HTTP/1.1 {status} Status", *headers, "", ""]
        self.raw("\r\n".join(lines).encode("latin-1"))

    def raw(self, data: bytes) -> None:
        """Send bytes that are no part of a body."""
        if self._stopping.is_set():
            raise HangUpError
        self._connection.sendall(data)

    def body(self, data: bytes) -> None:
        """Send bytes of a body, and count them."""
        self.raw(data)
        self.seen.sent += len(data)

    def sleep(self, seconds: float) -> None:
        """Wait, but not after the end."""
        if self._stopping.wait(seconds):
            raise HangUpError

    def wait(self, event: threading.Event) -> None:
        """Wait for what a test does, but not after the end."""
        while not event.wait(0.01):
            self.sleep(0.0)

    def wait_until_taken(self) -> None:
        """Wait until the other side's system has all that was sent."""
        import fcntl
        import termios

        left = bytes(4)
        while any(left := fcntl.ioctl(self._connection, termios.TIOCOUTQ, left)):
            self.sleep(0.005)

    def hold(self) -> None:
        """Say nothing until the other side hangs up."""
        while self._connection.recv(65_536):
            pass

    def reset(self) -> None:
        """Break the connection off with a reset."""
        self._connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        raise HangUpError

    def not_found(self) -> None:
        """Answer for a path that nobody has said anything about, and stay."""
        # Who is not told may ask again by a connection that is being closed.
        self.stay = True
        self.head(404, "Content-Length: 0")


class FaultServer:
    """
    A server on a port of its own.

    Attributes:
        requests: All there were, in the order in which they came.
        connects: How many connections there were.
        most_open: How many of them there were at the same time, at most.
    """

    _seen: type[Seen] = Seen
    _exchange: type[Exchange] = Exchange

    def __init__(
        self, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None
    ) -> None:
        """Listen."""
        self.requests: list[Seen] = []
        self.connects = 0
        self.most_open = 0
        self._tls = tls
        self._scripts: dict[str, list[Callable[[Exchange], None]]] = {}
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=256)
        port = self._listener.getsockname()[1]
        self.host: str = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.port: int = port

    def on(self, path: str, *answers: Callable[[Exchange], None]) -> str:
        """Say how a path answers: once each, the last one for ever; give the URL."""
        self._scripts[path] = list(answers)
        return self.url(path)

    def url(self, path: str) -> str:
        """Give the URL of a path."""
        return f"{'https' if self._tls else 'http'}://{self.host}{path}"

    def asked(self, path: str) -> list[Seen]:
        """Give the requests for a path, whatever their queries."""
        return [seen for seen in self.requests if seen.target.split("?")[0] == path]

    def sent(self, path: str, *, least: int = 0) -> int:
        """
        Give how many bytes of bodies were sent for a path.

        They are counted a moment after the other side may have them: this waits, for a
        minute, until there are so many at ``least``.
        """
        until = time.monotonic() + 60.0
        while True:
            count = sum(seen.sent for seen in self.asked(path))
            if count >= least or time.monotonic() > until:
                return count
            time.sleep(0.01)

    def open_connections(self, *, within_s: float = 10.0) -> int:
        """Give how many connections are open, when all are closed or time is up."""
        until = time.monotonic() + within_s
        while self._open and time.monotonic() < until:
            time.sleep(0.01)
        return len(self._open)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        # One more, so that nobody waits for the next one.
        with contextlib.suppress(OSError):
            socket.create_connection(self._listener.getsockname()[:2], 1).close()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _start(self, run: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._stopping.is_set():
                connection.close()
                return
            # For who would never leave: tests end what they begin.
            connection.settimeout(600)
            # What is sent is soon what has come: little of it is on its way.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 131_072)
            self.connects += 1
            with self._lock:
                self._open.add(connection)
                self.most_open = max(self.most_open, len(self._open))
            self._start(self._talk, connection)

    def _talk(self, connection: socket.socket) -> None:
        plain = connection
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            rest: bytes | None = b""
            while rest is not None:
                rest = self._answer(connection, rest)
        except (OSError, HangUpError):
            pass
        finally:
            # Both: a wrapped socket takes the other one's descriptor away.
            for one in (connection, plain):
                with contextlib.suppress(OSError):
                    one.close()
            with self._lock:
                self._open.discard(plain)

    def _answer(self, connection: socket.socket, rest: bytes) -> bytes | None:
        """Answer one request; give what came behind it, ``None`` at the end."""
        while b"\r\n\r\n" not in rest:
            more = connection.recv(65_536)
            if not more:
                return None
            rest += more
        head, _, rest = rest.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ", 2)
        headers = (one.partition(":") for one in lines)
        seen = self._seen(
            method, target, tuple((n.lower(), v.strip()) for n, _, v in headers)
        )
        unknown = [self._exchange.not_found]
        with self._lock:
            self.requests.append(seen)
            script = self._scripts.get(target.split("?")[0], unknown)
            answer = script.pop(0) if len(script) > 1 else script[0]
        exchange = self._exchange(connection, seen, rest, self._stopping)
        answer(exchange)
        return exchange.rest if exchange.stay else None


@pytest.fixture(name="server")
def a_server() -> Iterator[FaultServer]:
    """Give a server that answers as a test says."""
    with FaultServer() as server:
        yield server


@pytest.fixture(name="other")
def another_server() -> Iterator[FaultServer]:
    """Give another one: another port is another origin."""
    with FaultServer() as server:
        yield server


class Canary:
    """
    A listener that nobody should come to.

    It takes no thread: the system keeps who has come until it is asked.
    """

    def __init__(self, host: str, port: int = 0) -> None:
        """Listen; ``OSError`` where that address is not to be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self._listener.settimeout(0)
        self.port: int = self._listener.getsockname()[1]
        self._came = 0

    @property
    def connects(self) -> int:
        """How many have come."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()
                self._came += 1
        return self._came

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
