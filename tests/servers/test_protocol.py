from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

import pytest
from websockets.sync.client import connect as connect_ws

from voicepipe.servers.protocol import DeadlineProtocol


if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.servers.asgi import App

    Reader = Callable[[socket.socket], bytes]


LIMIT_S = 0.4
KEEP_ALIVE_S = 1


REQUEST = b"GET /data HTTP/1.1\r\nHost: h\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Impatient(DeadlineProtocol):
    head_timeout_s = LIMIT_S


@pytest.fixture(scope="module")
def port(serving: Callable[..., int], app: App) -> int:
    return serving(app, http=Impatient, timeout_keep_alive=KEEP_ALIVE_S)


def asked(sock: socket.socket, read_one: Reader, request: bytes = REQUEST) -> bytes:
    sock.sendall(request)
    return read_one(sock)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def closed_after(sock: socket.socket, dribble: bytes = b"") -> tuple[bytes, float]:
    """Give what came, and the seconds until the server closed the connection."""
    began, data = time.monotonic(), b""
    sock.settimeout(0.05 if dribble else 20)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while True:
            try:
                piece = sock.recv(4_096)
            except TimeoutError:
                sock.sendall(dribble)
                continue
            if not piece:
                break
            data += piece
    return data, time.monotonic() - began


def test_it_waits_for_ten_seconds() -> None:
    assert DeadlineProtocol.head_timeout_s == 10.0


def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    with connect(port) as sock:
        data, took_s = closed_after(sock)

    assert data == b""
    assert LIMIT_S * 0.8 < took_s < 15


@pytest.mark.parametrize("start", [b"G", b"GET / HTTP/1.1\r\n", b"\r\n\r\n"])
def test_a_head_that_dribbles_in_is_cut_off(port: int, start: bytes) -> None:
    with connect(port) as sock:
        sock.sendall(start)
        data, took_s = closed_after(sock, b"x")

    assert data == b"" or data.split()[1] in {b"408", b"400"}
    assert took_s < 15


def test_a_head_that_stops_is_answered(port: int) -> None:
    with connect(port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n")
        data, took_s = closed_after(sock)

    assert data.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in data.lower()
    assert LIMIT_S * 0.8 < took_s < 15


def test_many_slow_connections_do_not_stop_others(port: int) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(port)) for _ in range(200)]
        for sock in slow[::2]:
            sock.sendall(b"GET / HT")
        with connect(port) as good:
            good.sendall(REQUEST)
            assert good.recv(4_096).split()[1] == b"200"
        began = time.monotonic()
        for sock in slow:
            closed_after(sock)

    assert time.monotonic() - began < 15


def test_between_requests_uvicorns_own_time_counts(port: int, read_one: Reader) -> None:
    with connect(port) as sock:
        assert asked(sock, read_one).split()[1] == b"200"
        time.sleep(LIMIT_S * 1.2)
        assert asked(sock, read_one).split()[1] == b"200"
        data, took_s = closed_after(sock)

    assert data == b""
    assert KEEP_ALIVE_S * 0.8 < took_s < 15


def test_a_later_head_has_the_same_time(port: int, read_one: Reader) -> None:
    with connect(port) as sock:
        assert asked(sock, read_one).split()[1] == b"200"
        time.sleep(LIMIT_S * 1.2)
        sock.sendall(b"GET")
        data, took_s = closed_after(sock, b"x")

    assert data.startswith(b"HTTP/1.1 408 ")
    assert took_s < 15


def test_a_slow_body_is_not_its_business(port: int, read_one: Reader) -> None:
    with connect(port) as sock:
        sock.sendall(b"POST /data HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n")
        for _ in range(4):
            time.sleep(LIMIT_S / 2)
            sock.sendall(b"x")

        assert b'"size": 4' in read_one(sock)


def test_a_body_behind_its_answer_is_not_waited_for_for_ever(port: int) -> None:
    with connect(port) as sock:
        sock.sendall(
            b"POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n"
        )
        assert sock.recv(4_096).split()[1] == b"200"
        _, took_s = closed_after(sock, b"x")

    assert took_s < 15


def test_a_connection_whose_late_body_ended_may_go_on_and_then_is_closed(
    port: int, read_one: Reader
) -> None:
    unread = b"POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"
    with connect(port) as sock:
        assert asked(sock, read_one, unread).split()[1] == b"200"
        sock.sendall(b"abc")
        assert asked(sock, read_one).split()[1] == b"200"
        assert asked(sock, read_one, unread).split()[1] == b"200"
        sock.sendall(b"abc")
        _, took_s = closed_after(sock)

    assert took_s < 15


def test_requests_that_come_at_once_are_all_answered(port: int) -> None:
    with connect(port) as sock:
        sock.sendall(REQUEST * 20)
        data, _ = closed_after(sock)

    assert data.count(b"HTTP/1.1 200") == 20


@pytest.mark.parametrize("pauses", [False, True])
def test_websockets_go_on(port: int, *, pauses: bool) -> None:
    with connect_ws(f"ws://127.0.0.1:{port}/ws") as ws:
        for number in range(3):
            if pauses:
                time.sleep(LIMIT_S * 1.2)
            ws.send(f"{number}")
            assert ws.recv(timeout=15) == f"{number}"


def test_a_websocket_asked_for_behind_a_request_works(
    port: int, read_one: Reader
) -> None:
    with connect(port) as sock:
        assert asked(sock, read_one).split()[1] == b"200"
        sock.sendall(UPGRADE)
        assert sock.recv(4_096).split()[1] == b"101"
        time.sleep(max(LIMIT_S, KEEP_ALIVE_S) * 1.2)
        sock.sendall(b"\x82\x81\x00\x00\x00\x00x")

        assert sock.recv(4_096) == b"\x82\x01x"
