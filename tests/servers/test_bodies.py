from __future__ import annotations

import contextlib
import logging
import socket
import time
from typing import TYPE_CHECKING, Annotated

import httpx
import pytest
from fastapi import FastAPI, File, UploadFile

from voicepipe.servers.bodies import BodyLimit, BodyRules
from voicepipe.servers.protect import AppRules, protect
from voicepipe.servers.settings import ServerSettings


if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.servers.asgi import App, Receive, Scope, Send


LIMIT = 100_000
TIMEOUT_S = 0.5


@pytest.fixture(scope="module")
def limited(serving: Callable[..., int], app: App) -> int:
    return serving(
        BodyLimit(app, BodyRules(max_bytes=LIMIT, timeout_s=TIMEOUT_S, linger_s=0.5))
    )


@pytest.fixture(scope="module")
def patient(serving: Callable[..., int], app: App) -> int:
    """Give a server that a busy machine does not keep waiting for too long."""
    return serving(
        BodyLimit(app, BodyRules(max_bytes=LIMIT, timeout_s=60.0, linger_s=0.5))
    )


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def head(*headers: str, path: str = "/data") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: h", *headers, "", ""]
    return "\r\n".join(lines).encode()


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b"0\r\n\r\n"


def until_closed(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65_536):
            data += piece
    return data


def status(answer: bytes) -> int:
    return int(answer.split()[1])


@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
def test_a_body_up_to_the_limit_passes_whole(patient: int, size: int) -> None:
    with httpx.Client(timeout=60) as client:
        url = f"http://127.0.0.1:{patient}/data"
        assert client.post(url, content=bytes(size)).json()["size"] == size
        pieces = (bytes(size // 2), bytes(size - size // 2))
        assert client.post(url, content=iter(pieces)).json()["size"] == size


def test_a_length_over_the_limit_is_refused_before_anything_is_read(
    limited: int,
) -> None:
    with connect(limited) as sock:
        sock.sendall(head(f"Content-Length: {LIMIT + 1}", "Expect: 100-continue"))
        answer = sock.recv(4_096)

    assert status(answer) == 413
    assert b"connection: close" in answer


@pytest.mark.parametrize("length", ["9" * 30, "99999999999"])
def test_an_absurd_length_is_refused(limited: int, length: str) -> None:
    with connect(limited) as sock:
        sock.sendall(head(f"Content-Length: {length}"))

        assert status(sock.recv(4_096)) in {400, 413}


def test_a_body_without_a_length_is_counted(patient: int) -> None:
    with connect(patient) as sock:
        sock.sendall(head("Transfer-Encoding: chunked"))
        sock.sendall(chunked(bytes(LIMIT)) + chunked(b"x"))
        answer = sock.recv(4_096)

    assert status(answer) == 413


def test_a_client_that_goes_on_sending_hears_the_answer(limited: int) -> None:
    with connect(limited) as sock:
        sock.sendall(head(f"Content-Length: {LIMIT * 10}"))
        # A busy machine may take longer than the server lingers.
        with contextlib.suppress(ConnectionError):
            for _ in range(10):
                sock.sendall(bytes(LIMIT))
                time.sleep(0.01)
        answer = until_closed(sock)

    assert status(answer) == 413


def test_a_client_that_goes_on_for_ever_does_not(limited: int) -> None:
    began = time.monotonic()
    with connect(limited) as sock, contextlib.suppress(OSError):
        sock.sendall(head("Transfer-Encoding: chunked"))
        while time.monotonic() < began + 100:
            sock.sendall(chunked(bytes(20_000)))
            time.sleep(0.005)

    assert time.monotonic() < began + 60


@pytest.mark.parametrize(
    "headers", [["Content-Length: 1000"], ["Transfer-Encoding: chunked"]]
)
@pytest.mark.parametrize("dribbles", [False, True])
def test_a_body_that_does_not_come_in_time_is_not_waited_for(
    limited: int, headers: list[str], *, dribbles: bool
) -> None:
    with connect(limited) as sock:
        began = time.monotonic()
        sock.sendall(head(*headers))
        sock.settimeout(0.05)
        answer = b""
        while not answer and time.monotonic() < began + 60:
            # A busy machine may take longer than the server lingers.
            with contextlib.suppress(ConnectionError):
                sock.sendall(chunked(b"x") if dribbles else b"")
            with contextlib.suppress(TimeoutError):
                answer = sock.recv(4_096)
        took_s = time.monotonic() - began
        sock.settimeout(60)
        rest = until_closed(sock)

    assert status(answer) == 408
    assert b"connection: close" in answer
    assert TIMEOUT_S * 0.9 < took_s < 60
    assert rest == b"" or rest.startswith(b"{")


def test_bytes_that_come_may_buy_time(serving: Callable[..., int], app: App) -> None:
    # A hundred of them buy a minute.
    rules = BodyRules(max_bytes=LIMIT, timeout_s=0.3, min_rate=100 / 60)
    port = serving(BodyLimit(app, rules))
    with connect(port) as sock:
        first = bytes(100)
        sock.sendall(head("Content-Length: 1000", "Connection: close") + first)
        for _ in range(9):
            time.sleep(0.08)
            sock.sendall(bytes(100))

        assert status(until_closed(sock)) == 200
    # And here, a tenth of a second.
    rules = BodyRules(max_bytes=LIMIT, timeout_s=0.3, min_rate=1_000.0)
    with connect(serving(BodyLimit(app, rules))) as sock:
        sock.sendall(head("Content-Length: 1000"))
        sock.sendall(bytes(100))

        assert status(sock.recv(4_096)) == 408


def test_the_apps_own_time_is_not_the_clients(serving: Callable[..., int]) -> None:
    import anyio

    def answer(timeout_s: float) -> int:
        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            more = True
            while more:
                await anyio.sleep(timeout_s * 1.5)
                more = (await receive()).get("more_body", False)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

        port = serving(BodyLimit(slow, BodyRules(timeout_s=timeout_s)))
        with connect(port) as sock:
            whole = head("Content-Length: 200000", "Connection: close")
            sock.sendall(whole + bytes(200_000))
            return status(until_closed(sock))

    # On a busy machine the client may be late, too.
    assert 204 in (answer(timeout_s) for timeout_s in (0.2, 2.0, 10.0))


@pytest.mark.parametrize("too_long", [True, False])
def test_an_answer_that_has_begun_is_broken_off(
    serving: Callable[..., int], *, too_long: bool
) -> None:
    heard = []

    async def eager(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        while (message := await receive())["type"] == "http.request":
            if not message.get("more_body", False):
                break
        heard.append(message["type"])
        await send({"type": "http.response.body", "body": b"end"})

    rules = BodyRules(max_bytes=10, timeout_s=0.3)
    port = serving(BodyLimit(eager, rules))
    with connect(port) as sock:
        sock.sendall(head("Transfer-Encoding: chunked"))
        if too_long:
            sock.sendall(chunked(bytes(11)))
        answer = until_closed(sock)

    until = time.monotonic() + 60
    while not heard and time.monotonic() < until:
        time.sleep(0.01)
    assert status(answer) == 200
    assert b"begun" in answer
    assert b"end" not in answer
    assert not answer.endswith(b"0\r\n\r\n")
    assert heard == ["http.disconnect"]


def test_a_body_that_nobody_reads_ends_the_connection(limited: int) -> None:
    with connect(limited) as sock:
        sock.sendall(head("Content-Length: 1000", path="/unread"))
        # Its time-out would be an error.
        answer = until_closed(sock)

    assert status(answer) == 200
    assert b"connection: close" in answer


def test_a_client_hears_an_answer_that_did_not_wait_for_its_body(limited: int) -> None:
    with connect(limited) as sock:
        sock.sendall(head(f"Content-Length: {LIMIT}", path="/unread"))
        time.sleep(0.1)
        # A busy machine may take longer than the server lingers.
        with contextlib.suppress(ConnectionError):
            for _ in range(5):
                sock.sendall(bytes(LIMIT // 5))
                time.sleep(0.01)
        answer = sock.recv(65_536)

    assert status(answer) == 200


def test_an_answer_to_a_whole_body_is_not_held_up(
    limited: int, read_one: Callable[[socket.socket], bytes]
) -> None:
    took_s = []
    with connect(limited) as sock:
        for _ in range(20):
            began = time.monotonic()
            sock.sendall(head("Content-Length: 1") + b"x")
            assert status(read_one(sock)) == 200
            took_s.append(time.monotonic() - began)

    # Each would linger for half a second; a busy machine does not hold up all of them.
    assert min(took_s) < 0.4


def test_protect_limits_bodies_too(
    serving: Callable[..., int], app: App, ask: Callable[..., object]
) -> None:
    rules = AppRules(body=BodyRules(max_bytes=10))
    port = serving(protect(app, ServerSettings(), rules))

    assert ask(port, "/data", method="POST", body=bytes(10)).status == 200
    assert ask(port, "/data", method="POST", body=bytes(11)).status == 413


def test_requests_that_are_read_keep_their_connection(
    patient: int, read_one: Callable[[socket.socket], bytes]
) -> None:
    with connect(patient) as sock:
        for _ in range(3):
            sock.sendall(b"GET /data HTTP/1.1\r\nHost: h\r\n\r\n")
            answer = read_one(sock)
            assert status(answer) == 200
            assert b"connection: close" not in answer
        sock.sendall(head("Content-Length: 3") + b"abc")
        assert b'"size": 3' in read_one(sock)
        sock.sendall(head("Content-Length: 4") + b"abcd")
        assert b'"size": 4' in read_one(sock)


def test_fastapi_answers_no_parsing_error_of_its_own(
    serving: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    api = FastAPI()

    @api.post("/upload")
    async def upload(file: Annotated[UploadFile, File()]) -> int:
        return file.size or 0

    upload.__annotations__["file"] = Annotated[UploadFile, File()]
    port = serving(BodyLimit(api, BodyRules(max_bytes=LIMIT), error_key="error"))
    url = f"http://127.0.0.1:{port}/upload"
    with caplog.at_level(logging.WARNING), httpx.Client(timeout=60) as client:
        small = client.post(url, files={"file": bytes(1_000)})
        declared = client.post(url, files={"file": bytes(LIMIT)})
        body = declared.request.read()
        kind = declared.request.headers["content-type"]
        counted = client.post(url, content=iter([body]), headers={"Content-Type": kind})

    assert (small.status_code, small.json()) == (200, 1_000)
    assert (declared.status_code, counted.status_code) == (413, 413)
    assert list(counted.json()) == ["error"]
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


def test_an_error_of_the_apps_own_is_not_hidden(
    serving: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    port = serving(BodyLimit(broken, BodyRules()))
    with connect(port) as sock:
        sock.sendall(head("Content-Length: 1") + b"x")

        assert status(sock.recv(4_096)) == 500
    assert any(
        r.exc_info and r.exc_info[0] is ZeroDivisionError for r in caplog.records
    )
