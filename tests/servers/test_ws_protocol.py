from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import attrs
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_ws

from voicepipe.servers.ws_memory import WsLimits
from voicepipe.servers.ws_protocol import LimitedWebSockets


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from voicepipe.servers.asgi import App, Message, Receive, Scope, Send

    Unhurried = Callable[[Callable[[int], object]], None]

MAX = 1 << 20
LIMITS = WsLimits(
    memory_bytes=4 * MAX,
    max_message_bytes=MAX,
    stall_s=1.0,
    send_timeout_s=1.0,
    linger_s=1.0,
)

# Nobody is cut off only because a busy machine does not let him agree in time.
LINGERING = attrs.evolve(LIMITS, linger_s=60.0)

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


@attrs.define
class Server:
    """A server in a thread, and what its app has seen."""

    port: int
    kind: type[LimitedWebSockets]
    server: uvicorn.Server
    events: list[Message]
    errors: list[BaseException]
    gate: threading.Event
    longest_gap_s: float = 0.0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    async def say(self, send: Send, **message: Any) -> bool:
        try:
            await send({**message, "type": "websocket.send"})
        except OSError as exc:
            self.errors.append(exc)
            return False
        return True

    def wait_for(self, kind: str, count: int = 1) -> Message:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = [e for e in self.events if e["type"] == kind]
            if len(found) >= count:
                return found[-1]
            time.sleep(0.01)
        raise AssertionError(f"no {kind}: {self.events}")

    def holds(self, least: int, most: int | None = None) -> int:
        """Wait until messages take so many bytes, and give how many they take."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            used = self.kind.memory.used
            if used >= least and (most is None or used <= most):
                break
            time.sleep(0.01)
        return self.kind.memory.used


def app_of(told: Server) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Echo; on other paths than / what their names say."""
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/refuse":
            await anyio.sleep(0.3)
            await send({"type": "websocket.close", "code": 1013})
            return
        if scope["path"] == "/busy":
            await anyio.to_thread.run_sync(told.gate.wait)
        deaf = False
        while not deaf and scope["path"] == "/flood":
            deaf = not await told.say(send, bytes=bytes(1 << 16))
        while True:
            message = await receive()
            told.events.append(message)
            if message["type"] != "websocket.receive":
                return
            if message.get("text") == "close me":
                await send({"type": "websocket.close", "code": 1000})
            elif not deaf and scope["path"] != "/mute":
                deaf = not await told.say(send, **message)

    return app


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Start a server with these limits and uvicorn's options."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []
    begun: list[Server] = []

    def begin(limits: WsLimits = LIMITS, **config: Any) -> Server:
        kind = LimitedWebSockets.within(limits)
        sock = socket.create_server(("127.0.0.1", 0))
        told = Server(sock.getsockname()[1], kind, None, [], [], threading.Event())  # type: ignore[arg-type]
        app = app_of(told)

        async def watch_gaps() -> None:
            while True:
                began, worked = time.monotonic(), time.thread_time()
                await anyio.sleep(0.01)
                gap = time.monotonic() - began - 0.01
                # On a busy machine most of it is not the server's. Of its own the
                # senders, in this process, have taken up to half.
                gap = min(gap, 2 * (time.thread_time() - worked))
                told.longest_gap_s = max(told.longest_gap_s, gap)

        async def whole(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "lifespan":
                await app(scope, receive, send)
                return
            async with anyio.create_task_group() as group:
                group.start_soon(watch_gaps)
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                group.cancel_scope.cancel()
            await send({"type": "lifespan.shutdown.complete"})

        config = {"ws_ping_interval": None, **config}
        told.server = uvicorn.Server(
            uvicorn.Config(
                whole,
                log_config=None,
                interface="asgi3",
                ws=kind,
                ws_max_size=limits.max_message_bytes,
                ws_per_message_deflate=False,
                timeout_graceful_shutdown=60,
                **config,
            )
        )
        thread = threading.Thread(target=told.server.run, args=([sock],))
        thread.start()
        running.append((told.server, thread))
        begun.append(told)
        while not told.server.started:
            time.sleep(0.01)
        return told

    yield begin
    for server, _ in running:
        server.should_exit = True
    for told in begun:
        told.gate.set()
    for _, thread in running:
        thread.join()


def frame(
    opcode: int, data: bytes = b"", *, fin: bool = True, length: int | None = None
) -> bytes:
    """Give a client's frame; ``length`` claims another one. The mask is zeros."""
    length = len(data) if length is None else length
    head = bytes([opcode | (0x80 if fin else 0)])
    if length < 126:
        head += bytes([0x80 | length])
    elif length < 1 << 16:
        head += struct.pack("!BH", 0x80 | 126, length)
    else:
        head += struct.pack("!BQ", 0x80 | 127, length)
    return head + bytes(4) + data


@contextlib.contextmanager
def raw(server: Server, path: str = "/", *, buffer: int = 0) -> Iterator[socket.socket]:
    """Give a socket on which the opening handshake is done."""
    with socket.socket() as sock:
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.settimeout(60)
        sock.connect(("127.0.0.1", server.port))
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: h",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            "",
            "",
        ]
        sock.sendall("\r\n".join(lines).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += sock.recv(1)
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        yield sock


def exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def read_frame(sock: socket.socket) -> tuple[int, bytes]:
    first, length = exactly(sock, 2)
    if length == 126:
        (length,) = struct.unpack("!H", exactly(sock, 2))
    elif length == 127:
        (length,) = struct.unpack("!Q", exactly(sock, 8))
    return first & 15, exactly(sock, length)


def close_code(sock: socket.socket) -> int:
    """Read on until the server closes; give its code, 0 where there is none."""
    with contextlib.suppress(EOFError, ConnectionError, TimeoutError):
        while True:
            opcode, data = read_frame(sock)
            if opcode == CLOSE:
                return int(struct.unpack("!H", data[:2])[0])
    return 0


# Memory.


def test_stalled_senders_hold_what_is_allowed_and_give_way(
    start: Callable[..., Server],
) -> None:
    server = start()
    with contextlib.ExitStack() as stack:
        stalled = [stack.enter_context(raw(server)) for _ in range(12)]
        for sock in stalled:
            sock.settimeout(0.0)
        half = frame(BINARY, bytes(MAX // 2), length=MAX)
        sent = [0] * len(stalled)
        most = 0
        began = time.monotonic()
        deadline = began + 60
        # A busy machine takes longer to bring it there; some may then have gone.
        while time.monotonic() < began + 0.7 or (
            most <= LIMITS.memory_bytes / 2 and time.monotonic() < deadline
        ):
            for number, sock in enumerate(stalled):
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    sent[number] += sock.send(half[sent[number] :])
                most = max(most, server.kind.memory.used)
            time.sleep(0.01)
        assert most <= LIMITS.memory_bytes + 12 * (5 << 16)
        assert most > LIMITS.memory_bytes / 2

        with connect_ws(server.url, open_timeout=60, max_size=None) as ws:
            # Short messages take nothing of it.
            ws.send(b"x" * 4_096)
            assert ws.recv(timeout=90) == b"x" * 4_096
            ws.send(bytes(MAX))
            assert ws.recv(timeout=90) == bytes(MAX)
        codes = []
        for sock in stalled:
            sock.settimeout(0.2)
            codes.append(close_code(sock))

    assert codes.count(1013) >= 4
    assert set(codes) <= {1013, 0}


def test_who_stalls_is_left_alone_while_nobody_waits(
    start: Callable[..., Server],
) -> None:
    server = start()
    with raw(server) as sock:
        sock.sendall(frame(BINARY, bytes(MAX // 2), length=MAX))
        time.sleep(LIMITS.stall_s * 2)
        sock.sendall(bytes(MAX // 2))

        assert read_frame(sock) == (BINARY, bytes(MAX))


def test_many_long_messages_at_once_all_arrive(start: Callable[..., Server]) -> None:
    server = start(attrs.evolve(LIMITS, memory_bytes=2 * MAX, stall_s=90.0))
    payload = os.urandom(MAX)
    wrong: list[object] = []
    most = 0

    def client() -> None:
        try:
            with connect_ws(server.url, open_timeout=60, max_size=None) as ws:
                for _ in range(3):
                    ws.send([payload[: MAX // 3], payload[MAX // 3 :]])
                    if ws.recv(timeout=90) != payload:
                        wrong.append("other bytes")
        except Exception as exc:  # noqa: BLE001 - told below
            wrong.append(exc)

    threads = [threading.Thread(target=client) for _ in range(10)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most = max(most, server.kind.memory.used)
        time.sleep(0.005)

    assert wrong == []
    assert most <= 2 * MAX + 10 * (5 << 16)
    assert server.holds(0, 0) == 0


def test_who_sends_one_long_message_after_another_lets_others_have_their_turn(
    start: Callable[..., Server],
) -> None:
    server = start(attrs.evolve(LIMITS, memory_bytes=2 * MAX, stall_s=90.0))
    stop = threading.Event()

    with raw(server, "/mute") as greedy:

        def send() -> None:
            with contextlib.suppress(ConnectionError):
                while not stop.is_set():
                    greedy.sendall(frame(BINARY, bytes(MAX)))

        thread = threading.Thread(target=send)
        thread.start()
        time.sleep(0.3)
        with connect_ws(server.url, open_timeout=60, max_size=None) as other:
            for _ in range(3):
                other.send(bytes(MAX))
                assert other.recv(timeout=90) == bytes(MAX)
        server.wait_for("websocket.receive", 11)
        stop.set()
        thread.join()


def test_what_waits_for_the_app_counts_and_holds_others_up(
    start: Callable[..., Server],
) -> None:
    server = start()
    with contextlib.ExitStack() as stack:
        busy = [stack.enter_context(raw(server, "/busy")) for _ in range(5)]
        threads = [
            threading.Thread(target=sock.sendall, args=(frame(BINARY, bytes(MAX)),))
            for sock in busy
        ]
        for thread in threads:
            thread.start()
        assert server.holds(3 * MAX + 1) > 3 * MAX
        time.sleep(LIMITS.stall_s * 2)
        held = server.kind.memory.used
        server.gate.set()
        for thread in threads:
            thread.join()
        answers = [read_frame(sock) for sock in busy]

    # It was the app's fault, and nobody is closed for it.
    assert answers == [(BINARY, bytes(MAX))] * 5
    assert 3 * MAX < held <= LIMITS.memory_bytes + 5 * (5 << 16)


def test_a_client_that_goes_leaves_what_the_app_has_and_then_nothing(
    start: Callable[..., Server],
) -> None:
    server = start()
    with raw(server, "/busy") as sock:
        sock.sendall(frame(BINARY, bytes(MAX)))
        assert server.holds(MAX) >= MAX
        time.sleep(0.3)
    time.sleep(0.3)
    assert server.kind.memory.used >= MAX

    server.gate.set()
    server.wait_for("websocket.disconnect")
    assert server.holds(0, 0) == 0


# Floods.


@pytest.mark.parametrize(("size", "code"), [(1, 1008), (64, 0)])
def test_a_message_in_crumbs_is_refused_and_in_small_fragments_taken(
    start: Callable[..., Server], size: int, code: int
) -> None:
    server = start()
    payload = os.urandom(MAX // 2)
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    crumbs = b"".join(
        frame(BINARY if number == 0 else CONT, piece, fin=number == len(pieces) - 1)
        for number, piece in enumerate(pieces)
    )
    with raw(server) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(crumbs)
        if code:
            assert close_code(sock) == code
        else:
            assert read_frame(sock) == (BINARY, payload)


@pytest.mark.parametrize("flood", [PING, PONG, BINARY])
def test_floods_leave_others_their_turn(
    start: Callable[..., Server], flood: int
) -> None:
    gaps: list[float] = []
    # Other processes may take the core away, but hardly each time.
    while len(gaps) < 3 and min(gaps, default=1.5) >= 1.5:
        gaps.append(longest_gap_in_a_flood(start(), flood))
    assert min(gaps) < 1.5, gaps


def longest_gap_in_a_flood(server: Server, flood: int) -> float:
    """Flood a server with empty frames from ten sides, beside one who asks."""
    stop = threading.Event()
    many = frame(flood) * 20_000

    def send(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                sock.sendall(many)

    def read(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while sock.recv(1 << 16):
                pass

    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(raw(server)) for _ in range(10)]
        threads = [
            threading.Thread(target=work, args=(sock,))
            for sock in socks
            for work in (send, read)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        with connect_ws(server.url, open_timeout=60) as ws:
            for _ in range(50):
                ws.send(b"x" * 4_096)
                assert ws.recv(timeout=90) == b"x" * 4_096
                time.sleep(0.02)
        stop.set()
        for sock in socks:
            sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()

    return server.longest_gap_s


def test_pings_whose_answers_nobody_reads_do_not_pile_up(
    start: Callable[..., Server],
) -> None:
    server = start(attrs.evolve(LIMITS, send_timeout_s=5.0))
    many = frame(PING, bytes(100)) * 100
    sent = 0
    with raw(server, buffer=4_096) as sock:
        # Reading stops; what the two systems keep is not the server's.
        sock.settimeout(1.0)
        with contextlib.suppress(TimeoutError):
            while sent < 64 << 20:
                sent += sock.send(many)
        sock.settimeout(90.0)
        with contextlib.suppress(ConnectionError):
            sock.sendall(bytes(64 << 20))

    assert sent < 32 << 20


def test_a_client_that_is_ahead_of_the_app_waits_in_its_own_socket(
    start: Callable[..., Server],
) -> None:
    server = start()
    many = frame(BINARY, bytes(4_096)) * 16
    sent = 0
    with raw(server, "/busy") as sock:
        sock.settimeout(1.0)
        with contextlib.suppress(TimeoutError):
            while sent < 64 << 20:
                sent += sock.send(many)
        held = server.kind.memory.used
        server.gate.set()

    assert sent < 32 << 20
    assert held < 5 << 16


# What goes out.


def test_a_client_that_takes_nothing_is_cut_off(start: Callable[..., Server]) -> None:
    server = start()
    with raw(server, "/flood", buffer=4_096):
        gone = server.wait_for("websocket.disconnect")

    assert gone["code"] in {1005, 1006}
    assert isinstance(server.errors[0], OSError)


def test_a_client_that_is_only_slow_is_not_cut_off(
    start: Callable[..., Server], unhurried: Unhurried
) -> None:
    def talk(times: int) -> None:
        server = start(attrs.evolve(LIMITS, send_timeout_s=1.0 * times))
        with raw(server, "/flood", buffer=1 << 16) as sock:
            began = time.monotonic()
            while time.monotonic() - began < 3 * times:
                exactly(sock, 1 << 18)
                time.sleep(0.05)

            assert not server.errors

    unhurried(talk)


# Whether somebody is there.


def test_a_client_is_not_closed_while_the_app_is_busy(
    start: Callable[..., Server], unhurried: Unhurried
) -> None:
    def talk(times: int) -> None:
        server = start(ws_ping_interval=0.2, ws_ping_timeout=0.3 * times)
        url = f"{server.url}busy"
        with connect_ws(url, ping_interval=None, open_timeout=60) as ws:
            for number in range(200):
                ws.send(bytes([number]) * 10_000)
            time.sleep(2 * times)
            server.gate.set()

            for number in range(200):
                assert ws.recv(timeout=90) == bytes([number]) * 10_000
            time.sleep(1 * times)
            ws.send("still there")
            assert ws.recv(timeout=90) == "still there"

    unhurried(talk)


def test_a_client_whose_answer_stands_behind_a_long_message_is_not_closed(
    start: Callable[..., Server], unhurried: Unhurried
) -> None:
    def talk(times: int) -> None:
        server = start(ws_ping_interval=0.2, ws_ping_timeout=0.4 * times)
        with raw(server) as sock:
            sock.sendall(frame(BINARY, length=3_000))
            for _ in range(30):
                sock.sendall(bytes(100))
                time.sleep(0.1 * times)
            opcode = PING
            while opcode == PING:
                opcode, data = read_frame(sock)

        assert (opcode, data) == (BINARY, bytes(3_000))

    unhurried(talk)


def test_a_client_that_is_silent_is_closed(start: Callable[..., Server]) -> None:
    server = start(ws_ping_interval=0.2, ws_ping_timeout=0.4)
    with raw(server) as sock:
        assert close_code(sock) == 1011

    assert server.wait_for("websocket.disconnect")


# What is wrong.


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(BINARY, length=MAX + 1), 1009),
        (frame(BINARY, bytes(MAX // 2), fin=False) + frame(CONT, length=MAX), 1009),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"\xe2", fin=False) + frame(CONT, b"\x28"), 1007),
        (b"\x82\x01x", 1002),
        (frame(BINARY | 0x40, b"x"), 1002),
        (frame(3, b"x"), 1002),
        (frame(11), 1002),
        (frame(PING, fin=False), 1002),
        (frame(PING, bytes(126)), 1002),
        (frame(CONT, b"x"), 1002),
        (frame(BINARY, b"x", fin=False) + frame(BINARY, b"x"), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, struct.pack("!H", 1005)), 1002),
        (frame(CLOSE, struct.pack("!H", 1000) + b"\xff"), 1007),
        (frame(CLOSE, struct.pack("!H", 3000)), 3000),
    ],
)
@pytest.mark.parametrize("goes_on", [False, True])
def test_what_is_wrong_is_told_with_its_code(
    start: Callable[..., Server], data: bytes, code: int, *, goes_on: bool
) -> None:
    server = start(LINGERING)
    with raw(server) as sock:
        sock.sendall(data)
        if goes_on:
            # Its client has not heard yet, and is not cut off before it has. One that
            # has closed has nothing more to say.
            said_all = [ConnectionError] if code == 3000 else []
            with contextlib.suppress(*said_all):
                for _ in range(10):
                    sock.sendall(frame(BINARY, bytes(1_000)) * 100)
                    time.sleep(0.02)
        assert close_code(sock) == code

    assert server.wait_for("websocket.disconnect")["code"] in {code, 1005}
    assert server.holds(0, 0) == 0


def test_a_library_in_the_middle_of_sending_hears_why(
    start: Callable[..., Server],
) -> None:
    server = start(LINGERING)
    with connect_ws(server.url, open_timeout=60) as ws:
        with contextlib.suppress(ConnectionClosed):
            ws.send(bytes(8 * MAX))
        with pytest.raises(ConnectionClosed) as caught:
            ws.recv(timeout=90)

    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


def test_a_ping_between_fragments_is_answered_first(
    start: Callable[..., Server],
) -> None:
    server = start()
    with raw(server) as sock:
        sock.sendall(frame(TEXT, b"\xe2\x82", fin=False) + frame(PING, b"now"))
        assert read_frame(sock) == (PONG, b"now")
        sock.sendall(frame(CONT, b"\xac"))
        assert read_frame(sock) == (TEXT, "€".encode())
        for byte in frame(BINARY, b"by the byte"):
            sock.sendall(bytes([byte]))
        assert read_frame(sock) == (BINARY, b"by the byte")


def test_messages_before_a_fault_and_before_a_close_reach_the_app(
    start: Callable[..., Server],
) -> None:
    server = start()
    for number, end in enumerate((frame(3), frame(CLOSE, struct.pack("!H", 1000)))):
        with raw(server) as sock:
            sock.sendall(b"".join(frame(BINARY, b"%d" % n) for n in range(40)) + end)
            assert close_code(sock) in {1000, 1002}
        server.wait_for("websocket.disconnect", number + 1)
        got = [e["bytes"] for e in server.events if e["type"] == "websocket.receive"]
        assert got[number * 40 :] == [b"%d" % n for n in range(40)]


def test_after_the_apps_close_the_rest_is_thrown_away(
    start: Callable[..., Server],
) -> None:
    server = start(LINGERING)
    with raw(server) as sock:
        sock.sendall(frame(TEXT, b"close me") + frame(BINARY, bytes(1_000)) * 500)
        assert read_frame(sock) == (CLOSE, struct.pack("!H", 1000))
        began = time.monotonic()
        sock.sendall(frame(CLOSE, struct.pack("!H", 1000)))
        assert sock.recv(1) == b""

    assert time.monotonic() - began < 30
    # The next message, where it was with the app already, or the end.
    deadline = time.monotonic() + 60
    while len(server.events) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(server.events) == 2


def test_a_client_that_is_refused_while_it_sends_is_let_go_when_it_agrees(
    start: Callable[..., Server],
) -> None:
    took_s: list[float] = []
    # A busy machine may take its time, but hardly each time.
    while len(took_s) < 3 and min(took_s, default=5.0) >= 5.0:
        server = start(LINGERING)
        with raw(server, "/refuse") as sock:
            sock.sendall(frame(BINARY, bytes(1_000)) * 500)
            assert close_code(sock) == 1013
            began = time.monotonic()
            sock.sendall(frame(CLOSE, struct.pack("!H", 1013)))
            assert sock.recv(1) == b""
        took_s.append(time.monotonic() - began)

    # uvicorn itself would wait for ten seconds.
    assert min(took_s) < 5


def test_a_head_that_is_too_long_is_answered(start: Callable[..., Server]) -> None:
    server = start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
        head = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade"
        long = f"{head}\r\nX-Long: {'x' * 10_000}\r\n\r\n"
        sock.sendall(long.encode())
        answer = sock.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 431 ")


# The end of the server.


def test_a_stop_is_told_to_all_also_in_the_middle_of_a_message(
    start: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    server = start(LINGERING)
    with raw(server) as idle, raw(server) as sending, raw(server, "/busy") as busy:
        sending.sendall(frame(BINARY, bytes(MAX // 2), length=MAX))
        busy.sendall(frame(BINARY, b"x") * 3)
        time.sleep(0.3)
        server.server.should_exit = True
        time.sleep(0.3)
        sending.sendall(bytes(MAX // 2))
        codes = [close_code(sock) for sock in (idle, sending, busy)]
        began = time.monotonic()
        server.gate.set()
        for sock in (idle, sending, busy):
            sock.sendall(frame(CLOSE, struct.pack("!H", 1012)))
            assert sock.recv(1) == b""
        took_s = time.monotonic() - began

    assert codes == [1012, 1012, 1012]
    assert took_s < 30
    server.wait_for("websocket.disconnect", 3)
    assert caplog.messages == []
