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
    Unhurried = Callable[[Callable[[int], object]], None]


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


@pytest.fixture(scope="module")
def slower(serving: Callable[..., int], app: App, port: int) -> Callable[[int], int]:
    """Give a server whose limits are so many times as long."""

    class Slower(DeadlineProtocol):
        head_timeout_s = LIMIT_S * 10

    ports = {1: port}

    def start(times: int) -> int:
        if times not in ports:
            keep_s = KEEP_ALIVE_S * times
            ports[times] = serving(app, http=Slower, timeout_keep_alive=keep_s)
        return ports[times]

    return start


def asked(sock: socket.socket, read_one: Reader, request: bytes = REQUEST) -> bytes:
    sock.sendall(request)
    return read_one(sock)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def closed_after(sock: socket.socket, dribble: bytes = b"") -> tuple[bytes, float]:
    """Give what came, and the seconds until the server closed the connection."""
    began, data = time.monotonic(), b""
    sock.settimeout(0.05 if dribble else 60)
    with contextlib.suppress(ConnectionResetError):
        while True:
            try:
                piece = sock.recv(4_096)
            except TimeoutError:
                # What was said before the end is still to be read.
                with contextlib.suppress(ConnectionError):
                    sock.sendall(dribble)
                continue
            if not piece:
                break
            data += piece
    return data, time.monotonic() - began


def test_it_waits_for_ten_seconds() -> None:
    assert DeadlineProtocol.head_timeout_s == 10.0


def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    # Before the server can have begun to count.
    began = time.monotonic()
    with connect(port) as sock:
        data, _ = closed_after(sock)
    took_s = time.monotonic() - began

    assert data == b""
    assert LIMIT_S * 0.8 < took_s < 50


@pytest.mark.parametrize("start", [b"G", b"GET / HTTP/1.1\r\n", b"\r\n\r\n"])
def test_a_head_that_dribbles_in_is_cut_off(port: int, start: bytes) -> None:
    with connect(port) as sock:
        sock.sendall(start)
        data, took_s = closed_after(sock, b"x")

    assert data == b"" or data.split()[1] in {b"408", b"400"}
    assert took_s < 50


def test_a_head_that_stops_is_answered(port: int) -> None:
    began = time.monotonic()
    with connect(port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n")
        data, _ = closed_after(sock)
    took_s = time.monotonic() - began

    assert data.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in data.lower()
    assert LIMIT_S * 0.8 < took_s < 50


def test_many_slow_connections_do_not_stop_others(
    slower: Callable[[int], int], unhurried: Unhurried
) -> None:
    def talk(times: int) -> None:
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(connect(slower(times))) for _ in range(200)]
            for sock in slow[::2]:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(b"GET / HT")
            with connect(slower(times)) as good:
                good.sendall(REQUEST)
                answer = good.recv(4_096)
            began = time.monotonic()
            for sock in slow:
                closed_after(sock)

        assert answer.startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - began < 50

    unhurried(talk)


def test_between_requests_uvicorns_own_time_counts(
    slower: Callable[[int], int], unhurried: Unhurried, read_one: Reader
) -> None:
    def talk(times: int) -> None:
        with connect(slower(times)) as sock:
            assert asked(sock, read_one).startswith(b"HTTP/1.1 200 ")
            time.sleep(LIMIT_S * times * 1.2)
            assert asked(sock, read_one).startswith(b"HTTP/1.1 200 ")
            data, took_s = closed_after(sock)

        assert data == b""
        assert KEEP_ALIVE_S * times * 0.8 < took_s < 50

    unhurried(talk)


def test_a_later_head_has_the_same_time(
    slower: Callable[[int], int], unhurried: Unhurried, read_one: Reader
) -> None:
    def talk(times: int) -> None:
        with connect(slower(times)) as sock:
            assert asked(sock, read_one).startswith(b"HTTP/1.1 200 ")
            time.sleep(LIMIT_S * times * 1.2)
            sock.sendall(b"GET")
            data, took_s = closed_after(sock, b"x")

        assert data.startswith(b"HTTP/1.1 408 ")
        assert took_s < 50

    unhurried(talk)


def test_a_slow_body_is_not_its_business(
    slower: Callable[[int], int], unhurried: Unhurried, read_one: Reader
) -> None:
    def talk(times: int) -> None:
        with connect(slower(times)) as sock:
            sock.sendall(b"POST /data HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n")
            for _ in range(4):
                time.sleep(LIMIT_S * times / 2)
                sock.sendall(b"x")

            assert b'"size": 4' in read_one(sock)

    unhurried(talk)


def test_a_body_behind_its_answer_is_not_waited_for_for_ever(
    slower: Callable[[int], int], unhurried: Unhurried
) -> None:
    def talk(times: int) -> None:
        with connect(slower(times)) as sock:
            sock.sendall(
                b"POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n"
            )
            assert sock.recv(4_096).startswith(b"HTTP/1.1 200 ")
            _, took_s = closed_after(sock, b"x")

        assert took_s < 50

    unhurried(talk)


def test_a_connection_whose_late_body_ended_may_go_on_and_then_is_closed(
    slower: Callable[[int], int], unhurried: Unhurried, read_one: Reader
) -> None:
    unread = b"POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"

    def talk(times: int) -> None:
        with connect(slower(times)) as sock:
            assert asked(sock, read_one, unread).startswith(b"HTTP/1.1 200 ")
            sock.sendall(b"abc")
            assert asked(sock, read_one).startswith(b"HTTP/1.1 200 ")
            assert asked(sock, read_one, unread).startswith(b"HTTP/1.1 200 ")
            sock.sendall(b"abc")
            _, took_s = closed_after(sock)

        assert took_s < 50

    unhurried(talk)


def test_requests_that_come_at_once_are_all_answered(
    slower: Callable[[int], int], unhurried: Unhurried
) -> None:
    def talk(times: int) -> None:
        with connect(slower(times)) as sock:
            sock.sendall(REQUEST * 20)
            data, _ = closed_after(sock)

        assert data.count(b"HTTP/1.1 200") == 20

    unhurried(talk)


@pytest.mark.parametrize("pauses", [False, True])
def test_websockets_go_on(
    slower: Callable[[int], int], unhurried: Unhurried, *, pauses: bool
) -> None:
    def talk(times: int) -> None:
        url = f"ws://127.0.0.1:{slower(times)}/ws"
        with connect_ws(url, open_timeout=60) as ws:
            for number in range(3):
                if pauses:
                    time.sleep(LIMIT_S * times * 1.2)
                ws.send(f"{number}")
                assert ws.recv(timeout=60) == f"{number}"

    unhurried(talk)


def test_a_websocket_asked_for_behind_a_request_works(
    slower: Callable[[int], int], unhurried: Unhurried, read_one: Reader
) -> None:
    def talk(times: int) -> None:
        with connect(slower(times)) as sock:
            assert asked(sock, read_one).startswith(b"HTTP/1.1 200 ")
            sock.sendall(UPGRADE)
            assert sock.recv(4_096).startswith(b"HTTP/1.1 101 ")
            time.sleep(max(LIMIT_S, KEEP_ALIVE_S) * times * 1.2)
            sock.sendall(b"\x82\x81\x00\x00\x00\x00x")

            assert sock.recv(4_096) == b"\x82\x01x"

    unhurried(talk)
