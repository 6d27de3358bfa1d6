"""
A capture server for the tests, written from the contract alone, and a bad line to it.

The server uses the plain ``websockets`` package on an event loop in a thread of its
own. It keeps sessions in memory, also over a restart.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - the independent server's own loop
import contextlib
import http
import json
import logging
import re
import socket
import struct
import threading
import urllib.parse
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio.lowlevel
import attrs
from app_runner import kept_port
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine

    import pytest
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response


T = TypeVar("T")

_PATH = re.compile(r"(?P<base>.*)/api/ws/audio(/(?P<id>[^/]+))?")

# A busy machine may stop any thread for seconds.
_WAIT_S = 60

# Its own log would show what the tests look for in the client's.
_LOG = logging.Logger("stream peer")  # noqa: LOG001
_LOG.disabled = True


@attrs.define
class PeerSession:
    """
    One session, and what came for it.

    Attributes:
        id: Its id.
        query: What it was made with.
        data: The accepted bytes, in their order.
        chunks: The accepted chunks.
        status: ``"active"`` or ``"completed"``.
        writer: The connection that may write.
    """

    id: str
    query: dict[str, str]
    data: bytearray = attrs.field(factory=bytearray)
    chunks: list[int] = attrs.field(factory=list)
    status: str = "active"
    writer: object = None


class StreamPeer:
    """
    The server. What it does wrong is in its attributes.

    Attributes:
        sessions: All there are, in their order.
        requests: The target of each handshake.
        headers: The headers of each handshake.
        http: Answers to the next handshakes instead of a WebSocket.
        refusals: What the next connections get, and the code they are closed with.
        judge: Says of a chunk why it is not taken: a code and a text.
        each_takes_s: Seconds that each chunk takes.
        speechless: Whether connections that are not refused are never greeted.
        silent: Whether chunks are taken and not answered.
        reading: Cleared to have no chunk looked at, and soon nothing read any more.
        hello: Sent instead of the first message.
        answer: Makes other answers of the right ones.
        close_faults: Why the next closes fail: a code and a text.
        after_close: Called instead of saying that a session is completed.
        fragments: Whether answers to chunks come in three fragments.
        most_open: Connections at the same time, at most.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.sessions: dict[str, PeerSession] = {}
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.http: deque[int] = deque()
        self.refusals: deque[tuple[dict[str, Any], int]] = deque()
        self.judge: Callable[[PeerSession, bytes], tuple[str, str] | None] | None = None
        self.each_takes_s = 0.0
        self.reading = threading.Event()
        self.reading.set()
        self.silent = False
        self.speechless = False
        self.hello: str | None = None
        self.answer: Callable[[dict[str, Any]], dict[str, Any]] | None = None
        self.close_faults: deque[tuple[str, str]] = deque()
        self.after_close: Callable[[ServerConnection], None] | None = None
        self.fragments = False
        self.most_open = 0
        self._tls = tls
        self._open: set[ServerConnection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="peer")
        self._thread.start()
        self._server: Server | None = None
        self.port = kept_port(self)
        self.start()

    @property
    def url(self) -> str:
        return f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self.port}"

    @property
    def session(self) -> PeerSession:
        """The only session there is."""
        (session,) = self.sessions.values()
        return session

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._do(self._start())

    def stop(self) -> None:
        """Break all connections and listen no more; sessions stay."""
        self._do(self._stop())

    def cut(self) -> None:
        """Break all connections."""
        self._do(self._cut())

    def close_all(self, code: int, reason: str = "") -> None:
        """Close all connections with a code."""
        self._do(self._close_all(code, reason))

    def say(self, message: dict[str, Any]) -> None:
        """Send something to all connections."""
        self._do(self._say(message))

    def flood(self, pings: int) -> None:
        """Read no more, and ping."""
        self._do(self._flood(pings))

    def ping(self) -> float:
        """Ping all connections; give how long the last answer took, seconds."""
        return self._do(self._ping())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_WAIT_S)

    async def _start(self) -> None:
        self._server = await serve(
            self._connection,
            "127.0.0.1",
            self.port,
            ssl=self._tls,
            process_request=self._request,
            max_size=10 << 20,
            compression=None,
            logger=_LOG,
            ping_interval=None,
            open_timeout=_WAIT_S,
            reuse_address=True,
        )

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close(close_connections=False)
        closed = asyncio.create_task(self._server.wait_closed())
        while not closed.done():
            # One may still be shaking hands, and open only then.
            await self._cut()
            await asyncio.wait({closed}, timeout=0.05)

    async def _cut(self) -> None:
        for connection in list(self._open):
            connection.transport.abort()

    async def _close_all(self, code: int, reason: str) -> None:
        for connection in list(self._open):
            await connection.close(code, reason)

    async def _say(self, message: dict[str, Any]) -> None:
        for connection in list(self._open):
            await connection.send(json.dumps(message))

    async def _flood(self, pings: int) -> None:
        for connection in list(self._open):
            connection.transport.pause_reading()
            connection.transport.write(b"\x89\x7d" + bytes(125))
            connection.transport.writelines([b"\x89\x7d" + bytes(125)] * pings)

    async def _ping(self) -> float:
        begun = self._loop.time()
        for connection in list(self._open):
            await (await connection.ping())
        return self._loop.time() - begun

    def _request(
        self, connection: ServerConnection, request: Request
    ) -> Response | None:
        self.requests.append(request.path)
        self.headers.append({k.lower(): v for k, v in request.headers.raw_items()})
        if self.http:
            return connection.respond(http.HTTPStatus(self.http.popleft()), "no\n")
        return None

    async def _connection(self, connection: ServerConnection) -> None:
        self._open.add(connection)
        self.most_open = max(self.most_open, len(self._open))
        try:
            with contextlib.suppress(ConnectionClosed):
                await self._serve(connection)
        finally:
            self._open.discard(connection)
            for session in self.sessions.values():
                if session.writer is connection:
                    session.writer = None

    async def _serve(self, connection: ServerConnection) -> None:
        if self.refusals:
            message, code = self.refusals.popleft()
            await self._refuse(connection, message, code)
            return
        if self.speechless:
            await connection.wait_closed()
            return
        assert connection.request is not None
        path, _, query = connection.request.path.partition("?")
        wanted = dict(urllib.parse.parse_qsl(query))
        match = _PATH.fullmatch(path)
        assert match is not None
        if match["id"] is None:
            session = PeerSession(id=str(uuid.uuid4()), query=wanted)
            self.sessions[session.id] = session
        elif match["id"] not in self.sessions:
            said = {"error": "Session not found", "session_id": match["id"]}
            await self._refuse(connection, said, 1008)
            return
        else:
            session = self.sessions[match["id"]]
        position = await self._begin(connection, session, wanted)
        if position is not None:
            await self._listen(connection, session, position)

    async def _begin(
        self, connection: ServerConnection, session: PeerSession, wanted: dict[str, str]
    ) -> int | None:
        if session.status == "completed":
            said: dict[str, Any] = {"error": "Session is closed"}
            await self._refuse(connection, {**said, "session_id": session.id}, 1008)
            return None
        had = len(session.data)
        offset = int(wanted.get("offset", had))
        if offset > had:
            said = {"error": "Offset gap", "expected_offset": had}
            await self._refuse(connection, {**said, "session_id": session.id}, 1008)
            return None
        if "offset" in wanted:
            session.writer = connection
        hello = self._state(session, "WebSocket connection established")
        await connection.send(self.hello or json.dumps(hello))
        return offset

    async def _refuse(
        self, connection: ServerConnection, message: dict[str, Any], code: int
    ) -> None:
        if message:
            await connection.send(json.dumps(message))
        await connection.close(code)

    async def _listen(
        self, connection: ServerConnection, session: PeerSession, position: int
    ) -> None:
        async for message in connection:
            if isinstance(message, str):
                if json.loads(message).get("action") == "close_session":
                    await self._close(connection, session)
                    if session.status == "completed":
                        return
                continue
            await asyncio.sleep(self.each_takes_s)
            while not self.reading.is_set():  # noqa: ASYNC110 - set by a thread
                await asyncio.sleep(0.01)
            answer, taken = self._chunk(connection, session, message, position)
            position += taken
            if not self.silent:
                if self.answer is not None:
                    answer = self.answer(answer)
                text = json.dumps(answer)
                await connection.send(
                    [text[:5], text[5:9], text[9:]] if self.fragments else text
                )

    def _chunk(
        self,
        connection: ServerConnection,
        session: PeerSession,
        data: bytes,
        position: int,
    ) -> tuple[dict[str, Any], int]:
        fault = self.judge(session, data) if self.judge is not None else None
        if session.writer not in {None, connection}:
            fault = ("busy", "another connection writes")
        if fault is not None:
            return self._failed(session, "Failed to process chunk", *fault), 0
        session.writer = connection
        new = data[max(len(session.data) - position, 0) :]
        if new or not data:
            session.data += new
            session.chunks.append(len(new))
        return self._state(session, "Chunk processed successfully"), len(data)

    async def _close(self, connection: ServerConnection, session: PeerSession) -> None:
        if self.close_faults:
            what = "Failed to close session"
            answer = self._failed(session, what, *self.close_faults.popleft())
            await connection.send(json.dumps(answer))
            return
        session.status = "completed"
        if self.after_close is not None:
            self.after_close(connection)
            return
        message = self._state(session, "Session closed successfully")
        message |= {"duration_seconds": 1.5, "file_path": f"/rec/{session.id}.wav"}
        await connection.send(json.dumps(message))
        await connection.close(1000)

    def _failed(
        self, session: PeerSession, what: str, error: str, detail: str
    ) -> dict[str, Any]:
        answer = self._state(session, what)
        return answer | {"status": "error", "error": error, "detail": detail}

    def _state(self, session: PeerSession, message: str) -> dict[str, Any]:
        return {
            "message": message,
            "session_id": session.id,
            "chunk_count": len(session.chunks),
            "status": session.status,
            "bytes_received": len(session.data),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.reading.set()
        self.stop()
        self._do(self._settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_WAIT_S)
        self._loop.close()

    async def _settle(self) -> None:
        own = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not own]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.shutdown_default_executor()


class Waits:
    """
    A client's waits between two tries: they take no time, and nothing else takes any.

    Each is the longest that may be drawn.

    Attributes:
        all: What was waited, seconds.
        now: The time that the client counts its tries in, seconds.
        each_takes: How much of that time passes for each second.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.all: list[float] = []
        self.now = 100.0
        self.each_takes = 1.0
        monkeypatch.setattr("voicepipe.io.streaming.backoff.anyio", self)
        monkeypatch.setattr("voicepipe.io.streaming.backoff.random", self)

    def current_time(self) -> float:
        return self.now

    def uniform(self, _: float, most: float) -> float:
        return most

    async def sleep(self, seconds: float) -> None:
        self.all.append(seconds)
        self.now += seconds * self.each_takes
        await anyio.lowlevel.checkpoint()


class BadLine:
    """
    A TCP proxy that breaks connections as told.

    Attributes:
        cuts: For each connection that comes: after how many bytes it is reset, to the
            server and to the client; ``None`` for never.
        url: The proxy.
        bytes_per_s: How fast bytes pass on the way to the server, if not at once.
        made: Connections there were.
        cut: Connections that were reset.
    """

    def __init__(self, port: int) -> None:
        self.cuts: deque[tuple[int | None, int | None]] = deque()
        self.bytes_per_s: float | None = None
        self.made = 0
        self.cut = 0
        self._port = port
        self._lock = threading.Lock()
        self._pairs: set[_Pair] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        # A short buffer: what the client has sent is soon what has passed.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}"
        self._spawn(self._accept)

    def freeze(self) -> None:
        """Let nothing pass any more on the connections that are open."""
        with self._lock:
            for pair in self._pairs:
                pair.frozen = True

    def _spawn(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, name="bad line", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.made += 1
            try:
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                client.close()
                continue
            pair = _Pair(client, server)
            up, down = self.cuts.popleft() if self.cuts else (None, None)
            with self._lock:
                self._pairs.add(pair)
            self._spawn(self._pump, pair, client, server, up)
            self._spawn(self._pump, pair, server, client, down)

    def _pump(
        self,
        pair: _Pair,
        source: socket.socket,
        target: socket.socket,
        left: int | None,
    ) -> None:
        try:
            self._pass_on(pair, source, target, left)
        finally:
            pair.ended()

    def _pass_on(
        self,
        pair: _Pair,
        source: socket.socket,
        target: socket.socket,
        left: int | None,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                while pair.frozen:
                    if pair.over.wait(0.01):
                        return
                if left is not None and len(data) >= left:
                    target.sendall(data[:left])
                    self.cut += 1
                    pair.reset()
                    return
                left = None if left is None else left - len(data)
                target.sendall(data)
                if self.bytes_per_s and source is pair.client:
                    pair.over.wait(len(data) / self.bytes_per_s)
        pair.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(_WAIT_S)  # no pairs are added any more
        for pair in self._pairs:
            pair.close()
        for thread in self._threads:
            thread.join(_WAIT_S)
        for pair in self._pairs:
            pair.release()


class _Pair:
    """Two sockets that are one line."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.frozen = False
        self.over = threading.Event()
        self.client = client
        self._sockets = (client, server)
        self._lock = threading.Lock()
        self._pumps = 2
        self._reset = False

    def reset(self) -> None:
        self._reset = True
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        self.close()

    def ended(self) -> None:
        """Reset at last: the descriptor of a closed socket is soon somebody else's."""
        with self._lock:
            self._pumps -= 1
            last = not self._pumps
        if last and self._reset:
            self.release()

    def close(self) -> None:
        self.over.set()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        for one in self._sockets:
            one.close()
