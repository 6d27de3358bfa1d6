from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

import anyio
import httpcore
import pytest
import trustme
from downloading import until
from fault_answers import chunked, drip, hang_up, raw, redirect, silence, status
from fault_server import Canary, Exchange
from upload_server import UploadExchange, UploadServer, after

from voicepipe.errors import (
    BadResponseError,
    BlockedUrlError,
    ConnectionFailedError,
    FetchError,
    FetchTimeoutError,
    TooLargeError,
)
from voicepipe.net.body import Body, Upload
from voicepipe.net.engine import HttpLimits
from voicepipe.net.guard import Wire
from voicepipe.net.http import HttpClient
from voicepipe.net.policy import UrlPolicy
from voicepipe.net.urls import parse_url


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


MIB = 1 << 20
KEY = "k3y-that-nobody-may-read"
SMALL = Body(content_type="text/plain", parts=(b"one, ", b"", b"two"))
PATIENT = {"connect_s": 60.0, "read_s": 60.0, "resolve_s": 60.0}


@pytest.fixture
def server() -> Iterator[UploadServer]:
    with UploadServer() as started:
        yield started


def client(
    url: str, *, ssl_context: ssl.SSLContext | None = None, **limits: float
) -> HttpClient:
    return HttpClient(
        UrlPolicy.trusting(parse_url(url)),
        HttpLimits(**{**PATIENT, **limits}),  # type: ignore[arg-type]
        ssl_context=ssl_context,
    )


async def post(
    url: str,
    body: Body = SMALL,
    *,
    ssl_context: ssl.SSLContext | None = None,
    **limits: float,
) -> tuple[int, bytes]:
    async with (
        client(url, ssl_context=ssl_context, **limits) as http,
        http.post(parse_url(url), {"authorization": KEY}, body) as answer,
    ):
        return answer.status, await answer.read(MIB)


def large(mib: float = 8) -> Body:
    part = bytes(range(256)) * 256
    return Body(content_type="audio/flac", parts=(part * round(mib * 16),))


async def test_the_body_arrives_with_its_length_and_its_kind(
    server: UploadServer,
) -> None:
    url = server.on("/up?token=1", after(status(201, body=b"taken")))

    assert await post(server.url("/up?token=1")) == (404, b"")
    url = server.on("/up", after(status(201, body=b"taken")))
    assert await post(url) == (201, b"taken")

    seen = server.uploads[-1]
    assert (seen.method, seen.target) == ("POST", "/up")
    assert seen.body == b"one, two"
    assert seen.header("content-length") == "8"
    assert seen.header("content-type") == "text/plain"
    assert seen.header("authorization") == KEY
    assert seen.header("accept-encoding") == "identity"
    assert seen.header("transfer-encoding") is None


async def test_a_large_body_arrives_whole(server: UploadServer) -> None:
    url = server.on("/up", after(status(200, body=b"ok")))
    body = large()

    assert await post(url, body) == (200, b"ok")

    assert server.uploads[0].body == b"".join(body.parts)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_large_body_arrives_whole_over_tls(version: ssl.TLSVersion) -> None:
    authority = trustme.CA()
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    theirs.minimum_version = theirs.maximum_version = version
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    body = large(4)

    with UploadServer(tls=theirs) as server:
        # Version 1.3 sends tickets after the handshake: readable, and no answer.
        url = server.on("/up", after(status(200, body=b"ok")))
        for _ in range(3):
            assert await post(url, body, ssl_context=ours) == (200, b"ok")

        assert [len(one.body) for one in server.uploads] == [body.length] * 3


async def test_one_connection_serves_several_bodies(server: UploadServer) -> None:
    url = server.on("/up", after(status(200, body=b"ok")))

    async with client(url) as http:
        for count in range(1, 4):
            body = Body(content_type="text/plain", parts=(b"x" * 100_000,) * count)
            async with http.post(parse_url(url), {}, body) as answer:
                assert await answer.read(10) == b"ok"
        async with http.get(parse_url(url), {}) as answer:
            assert await answer.read(10) == b"ok"

    assert [len(one.body) for one in server.uploads] == [100_000, 200_000, 300_000, 0]
    assert server.connects == 1


async def test_a_body_without_bytes_is_sent_as_such(server: UploadServer) -> None:
    url = server.on("/up", after(status(200, body=b"ok")))

    assert await post(url, Body(content_type="text/plain", parts=())) == (200, b"ok")

    assert server.uploads[0].header("content-length") == "0"


@pytest.mark.parametrize("read", [0, 100_000])
@pytest.mark.parametrize("reads_on", [True, False])
async def test_an_answer_in_the_midst_of_the_body_is_heard(
    server: UploadServer, read: int, *, reads_on: bool
) -> None:
    def refuse(exchange: Exchange) -> None:
        assert isinstance(exchange, UploadExchange)
        exchange.take(read)
        exchange.head(401, "Content-Length: 3", "Connection: close")
        exchange.body(b"no!")
        # Whoever does not read on leaves the sender waiting in the midst of a piece.
        exchange.hold() if reads_on else exchange.sleep(600)

    url = server.on("/up", refuse)

    for _ in range(3):
        assert await post(url, large(16)) == (401, b"no!")
    assert not reads_on or server.open_connections() == 0


class Halves(httpcore.AsyncNetworkStream):
    """A connection whose other side answers beside the second write."""

    def __init__(self) -> None:
        self.send, self._receive = anyio.create_memory_object_stream[bytes](2)
        self._writes = 0

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own
    ) -> bytes:
        return await self._receive.receive()

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own
    ) -> None:
        self._writes += 1
        if self._writes == 2:
            await self.send.send(b"HTTP/1.1 401 No\r\nContent-Length: 3\r\n\r\n")
            await anyio.wait_all_tasks_blocked()  # it has been taken

    async def aclose(self) -> None:
        self.send.close()
        self._receive.close()

    def get_extra_info(self, info: str) -> Any:
        waiting = self._receive.statistics().current_buffer_used
        return waiting > 0 if info == "is_readable" else None


async def test_an_answer_that_comes_beside_two_pieces_is_heard_whole() -> None:
    stream = Halves()
    wire = Wire(stream)

    await wire.write(b"POST / HTTP/1.1\r\n\r\n")
    await wire.write(b"one piece, sent whole")
    await stream.send.send(b"no!")
    with pytest.raises(httpcore.WriteError):
        await wire.write(b"another one")

    assert await wire.read(65_536) == (
        b"HTTP/1.1 401 No\r\nContent-Length: 3\r\n\r\nno!"
    )
    await wire.aclose()


async def test_an_answer_behind_which_the_connection_is_reset_may_be_heard(
    server: UploadServer,
) -> None:
    def refuse(exchange: Exchange) -> None:
        assert isinstance(exchange, UploadExchange)
        exchange.take(100_000)
        exchange.head(401, "Content-Length: 3")
        exchange.body(b"no!")  # and closes, with a body that nobody has read

    url = server.on("/up", refuse)
    answers = []
    for count in range(100):
        # Not where the reset came in the very instant in which more was sent.
        with contextlib.suppress(ConnectionFailedError, BadResponseError):
            answers.append(await post(url, large()))
        if answers and count >= 9:
            break
    assert answers
    assert set(answers) == {(401, b"no!")}


async def test_a_server_that_listens_slowly_is_no_fault(server: UploadServer) -> None:
    def listen(exchange: Exchange) -> None:
        assert isinstance(exchange, UploadExchange)
        # What waits inside of the system is soon taken.
        exchange._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        for _ in range(16):
            exchange.take(MIB)
            exchange.sleep(0.1)
        after(status(200, body=b"ok"))(exchange)

    url = server.on("/up", listen)

    assert await post(url, large(16)) == (200, b"ok")


async def test_each_piece_of_a_body_has_the_limit_of_time_to_itself() -> None:
    body = Body(content_type="text/plain", parts=(b"a" * 10, b"b" * 1_000_000))

    pieces = [piece async for piece in Upload(body)]

    assert b"".join(pieces) == b"".join(body.parts)
    assert max(map(len, pieces)) == 65_536


async def test_a_server_that_stops_listening_is_given_up(server: UploadServer) -> None:
    def stop(exchange: Exchange) -> None:
        assert isinstance(exchange, UploadExchange)
        exchange.take(100_000)
        exchange.sleep(600)

    url = server.on("/up", stop)

    with pytest.raises(
        FetchTimeoutError, match=r"nothing was taken for 0\.3 s"
    ) as told:
        await post(url, large(32), read_s=0.3)
    assert told.value.retryable


async def test_a_server_that_never_answers_is_given_up(server: UploadServer) -> None:
    url = server.on("/up", after(silence))

    with pytest.raises(FetchTimeoutError, match=r"nothing came for 0\.3 s"):
        await post(url, read_s=0.3)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(server: UploadServer, code: int) -> None:
    with Canary("127.0.0.1") as other:
        to = f"http://127.0.0.1:{other.port}/x?secret=1"
        url = server.on("/up", after(redirect(to, code)))

        with pytest.raises(BadResponseError, match="it redirects to http") as told:
            await post(url)

        assert "secret" not in str(told.value)
        assert str(other.port) in str(told.value)
        assert other.connects == 0
    assert len(server.uploads) == 1


@pytest.mark.parametrize("to", ["ftp://example.com/", "//", "http://a\\b/", ""])
async def test_a_redirect_to_nowhere_is_told(server: UploadServer, to: str) -> None:
    url = server.on("/up", after(redirect(to)))

    with pytest.raises(BadResponseError, match="it redirects to"):
        await post(url)


@pytest.mark.parametrize(
    "answer",
    [
        hang_up,
        raw(b"HTTP/1.1 200 OK\r\nContent-"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunked(b"half")),
        raw(b"\x00\x01\x02\x03\r\n\r\n"),
    ],
)
async def test_a_cut_answer_is_told_and_may_be_tried_again(
    server: UploadServer, answer: Callable[[Exchange], None]
) -> None:
    url = server.on("/up", after(answer))

    with pytest.raises(FetchError) as told:
        await post(url)

    assert isinstance(told.value, BadResponseError | ConnectionFailedError)
    assert told.value.retryable


async def test_an_answer_has_its_limits(server: UploadServer) -> None:
    url = server.on("/up", after(status(200, body=bytes(MIB + 1))))
    with pytest.raises(TooLargeError):
        await post(url)

    url = server.on("/slow", after(drip(bytes(10_000), 1, 0.01)))
    with pytest.raises(FetchTimeoutError, match="slower than"):
        await post(url, min_bytes_per_s=1_000.0, min_speed_s=0.3)


async def test_only_what_the_policy_allows_is_asked(server: UploadServer) -> None:
    url = parse_url(server.on("/up", after(status(200))))

    async with HttpClient(UrlPolicy.allowing(()), HttpLimits()) as http:
        with pytest.raises(BlockedUrlError):
            async with http.post(url, {}, SMALL):
                pass

    assert not server.connects


@pytest.mark.parametrize(
    "header", ["content-length", "Transfer-Encoding", "host", "bad\r\nname"]
)
async def test_framing_is_not_the_callers_to_set(
    server: UploadServer, header: str
) -> None:
    url = server.on("/up", after(status(200)))

    async with client(url) as http:
        with pytest.raises(ValueError, match="header"):
            async with http.post(parse_url(url), {header: "1"}, SMALL):
                pass

    assert not server.connects


async def test_a_cancelled_body_leaves_no_connection(server: UploadServer) -> None:
    begun, given_up = threading.Event(), threading.Event()

    def listen(exchange: Exchange) -> None:
        assert isinstance(exchange, UploadExchange)
        while exchange.take(MIB):
            begun.set()
            # What waits inside of the system is soon taken when nobody sends any more.
            given_up.wait(0.1)

    url = server.on("/up", listen)

    scope = anyio.CancelScope()

    async def cancel() -> None:
        await until(begun.is_set)
        await anyio.sleep(0.3)
        scope.cancel()

    async with client(url) as http:
        async with anyio.create_task_group() as group:
            with scope:
                group.start_soon(cancel)
                async with http.post(parse_url(url), {}, large(64)):
                    pass
            given_up.set()
        assert scope.cancelled_caught
        assert server.open_connections() == 0


async def test_credentials_are_in_no_log_and_no_error(
    server: UploadServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    errors = []
    answers = [after(hang_up), after(redirect("http://e.com/")), after(status(500))]
    for answer in answers:
        url = server.on("/up", answer).replace("//", "//user:p4ssw0rd@")
        with contextlib.suppress(FetchError):
            try:
                await post(url + "?token=t0k3n")
            except FetchError as exc:
                errors.append(f"{exc!r} {exc} {exc.__cause__!r} {exc.__context__!r}")

    assert len(errors) == 2
    assert "POST" in caplog.text
    for secret in (KEY, "p4ssw0rd", "t0k3n"):
        assert secret not in caplog.text
        assert secret not in "".join(errors)


def test_a_body_does_not_show_what_is_in_it() -> None:
    assert "two" not in repr(SMALL)
    assert SMALL.length == 8
