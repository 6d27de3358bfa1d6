"""Answers that contradict themselves: no case may pass for a whole recording."""

from __future__ import annotations

import gzip
import threading
import zlib
from typing import TYPE_CHECKING

import pytest
from downloading import fetch, limits, names, parts, until
from fault_answers import bomb, chunked, framed, raw, redirect, status, wav_of

from voicepipe.errors import (
    BadResponseError,
    ConnectionFailedError,
    FetchError,
    HttpStatusError,
    VoicepipeError,
)
from voicepipe.io.download.downloader import Downloader


if TYPE_CHECKING:
    from pathlib import Path

    from fault_answers import Answer
    from fault_server import Exchange, FaultServer


pytestmark = pytest.mark.usefixtures("both_ways")


WAV = wav_of(100_000)
CHUNKED = chunked(WAV)
IN_CHUNKS = "Transfer-Encoding: chunked"
LENGTH = f"Content-Length: {len(WAV)}"


CASES: dict[str, Answer] = {
    "length longer than the body": framed(WAV[:-1], LENGTH),
    "length longer by far": framed(WAV, "Content-Length: 123456789"),
    "length shorter than the body": framed(WAV, "Content-Length: 99000"),
    "length shorter, connection kept": framed(WAV + b"x", LENGTH, stay=True),
    "length negative": framed(WAV, "Content-Length: -100000"),
    "length no number": framed(WAV, "Content-Length: many"),
    "length with a sign": framed(WAV, "Content-Length: +100000"),
    "length of 10,000 digits": framed(WAV, f"Content-Length: {'9' * 10_000}"),
    "length in a list": framed(WAV, "Content-Length: 100000, 99000"),
    "two lengths": framed(WAV, LENGTH, "Content-Length: 99000"),
    "length and chunks": framed(CHUNKED + b"0\r\n\r\n", LENGTH, IN_CHUNKS),
    "shorter length and chunks": framed(WAV, "Content-Length: 99000", IN_CHUNKS),
    "chunks cut": framed(CHUNKED[:50_000], IN_CHUNKS),
    "no last chunk": framed(CHUNKED, IN_CHUNKS),
    "last chunk cut": framed(CHUNKED + b"0\r\n", IN_CHUNKS),
    "chunk longer than its size": framed(b"5\r\n" + WAV, IN_CHUNKS),
    "chunk shorter than its size": framed(b"30d40\r\n%b\r\n0\r\n\r\n" % WAV, IN_CHUNKS),
    "chunk size no number": framed(b"zz\r\n%b\r\n0\r\n\r\n" % WAV, IN_CHUNKS),
    "chunk size negative": framed(b"-5\r\n%b\r\n0\r\n\r\n" % WAV, IN_CHUNKS),
    "chunk size of 20 digits": framed(b"f" * 20 + b"\r\n%b" % WAV, IN_CHUNKS),
    "chunk size of 1,000 digits": framed(
        b"0" * 1_000 + b"186a0\r\n%b" % WAV, IN_CHUNKS
    ),
    "unknown transfer coding": framed(WAV, "Transfer-Encoding: gzip"),
    "two transfer codings": framed(CHUNKED, "Transfer-Encoding: chunked, identity"),
    "no HTTP": raw(WAV),
    "no status": raw(b"HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"),
    "status no number": raw(b"HTTP/1.1 2x0 OK\r\nContent-Length: 5\r\n\r\nhello"),
    "another protocol": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "HTTP/2": raw(b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x80\0\4\0\1\0\0"),
    "header without a colon": framed(WAV, LENGTH, "nonsense"),
    "header with a NUL": framed(WAV, LENGTH, "X: a\0b"),
    "header name with a space": framed(WAV, LENGTH, "X Y: a"),
    "connection closed at once": raw(),
    "closed in the headers": raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "204": status(204, LENGTH),
    "206 that nobody asked for": status(
        206, "Content-Range: bytes 0-99999/100000", body=WAV
    ),
    "206 without a range": status(206, body=WAV),
    "304": status(304, "ETag: x"),
    "201": status(201, body=WAV),
    "203": status(203, body=WAV),
    "299": status(299, body=WAV),
    "300 without a place": status(300, body=WAV),
    "302 without a place": redirect(None),
    "101": raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + WAV),
    "999": status(999, body=WAV),
    "only 100 Continue": raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 5),
}


@pytest.mark.parametrize("case", CASES)
async def test_an_answer_that_contradicts_itself_is_no_recording(
    case: str, server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", CASES[case])

    with pytest.raises(FetchError) as told:
        await fetch(limits(server, attempts=1), f"{url}?key=1", tmp_path / "a.wav")

    kinds = BadResponseError | ConnectionFailedError | HttpStatusError
    assert isinstance(told.value, kinds)
    assert told.value.url == url
    assert not (tmp_path / "a.wav").exists()
    # Removed after a final error; a part without a state helps nobody.
    assert parts(tmp_path) in ([], [".json", ".part"])
    if not told.value.retryable:
        assert names(tmp_path) == set()
    assert server.open_connections() == 0


async def test_an_answer_that_stays_wrong_is_tried_as_often_as_allowed(
    server: FaultServer, tmp_path: Path
) -> None:
    """Whatever a cut body brings again and again is nothing new."""
    url = server.on("/a.wav", CASES["no last chunk"])

    with pytest.raises(FetchError):
        await fetch(limits(server, attempts=2), url, tmp_path / "a.wav")

    assert 2 <= len(server.asked("/a.wav")) <= 3


CODED: dict[str, tuple[str, bytes]] = {
    "gzip": ("gzip", gzip.compress(WAV)),
    "a gzip bomb": ("gzip", bomb(1)),
    "a gzip bomb in gzip": ("gzip, gzip", bomb(2)),
    "50 deep": (", ".join(["gzip"] * 50), bomb(3)),
    "deflate": ("deflate", zlib.compress(WAV)),
    "br": ("br", b"\x0b\x02\x80hello\x03"),
    "zstd": ("zstd", b"\x28\xb5\x2f\xfd" + bytes(100)),
    "a coding that nobody knows": ("x-mystery", WAV),
    "gzip that is none": ("gzip", WAV),
}


@pytest.mark.parametrize("case", CODED)
async def test_compression_that_was_not_asked_for_is_refused(
    case: str, server: FaultServer, tmp_path: Path
) -> None:
    coding, body = CODED[case]
    answer = status(200, f"Content-Encoding: {coding}", body=body)
    url = server.on("/a.wav", answer)

    with pytest.raises(BadResponseError, match=r"(?i)compress|encod"):
        await fetch(limits(server), url, tmp_path / "a.wav")

    (seen,) = server.requests
    assert seen.header("accept-encoding") == "identity"
    assert names(tmp_path) == set()


WHOLE: dict[str, Answer] = {
    "length": framed(WAV, LENGTH),
    "the same length twice": framed(WAV, LENGTH, LENGTH),
    "chunks": framed(CHUNKED + b"0\r\n\r\n", IN_CHUNKS),
    "chunks with trailers": framed(CHUNKED + b"0\r\nX-Sum: 1\r\n\r\n", IN_CHUNKS),
    "chunks with extensions": framed(
        CHUNKED.replace(b"2710\r\n", b"2710;a=b\r\n") + b"0\r\n\r\n", IN_CHUNKS
    ),
    "identity": framed(WAV, LENGTH, "Content-Encoding: identity"),
    "after 100 Continue": raw(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + WAV
    ),
}


@pytest.mark.parametrize("case", WHOLE)
async def test_every_right_framing_is_read(
    case: str, server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", WHOLE[case])

    got = await fetch(limits(server), url, tmp_path / "a.wav")

    assert (tmp_path / "a.wav").read_bytes() == WAV
    assert (got.size, got.length_verified, got.attempts) == (len(WAV), True, 1)
    assert names(tmp_path) == {"a.wav"}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_body_without_a_length_is_accepted_when_it_decodes_whole(
    version: str, server: FaultServer, tmp_path: Path
) -> None:
    head = f"HTTP/{version} 200 OK\r\nContent-Type: audio/wav\r\n\r\n".encode()
    url = server.on("/a.wav", raw(head + WAV))

    got = await fetch(limits(server), url, tmp_path / "a.wav")

    assert not got.length_verified
    assert (tmp_path / "a.wav").read_bytes() == WAV


@pytest.mark.parametrize("size", [0, 10, 43, 44, 45, 50_000, 99_998])
async def test_a_cut_body_without_a_length_is_not_accepted(
    size: int, server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", framed(WAV[:size]))

    with pytest.raises(VoicepipeError):
        await fetch(limits(server, attempts=1), url, tmp_path / "a.wav")

    assert not (tmp_path / "a.wav").exists()


async def test_bytes_behind_a_body_never_begin_the_next_answer(
    server: FaultServer, tmp_path: Path
) -> None:
    """Whether they come with the body or later, while the connection waits."""
    evil = wav_of(1_000, seed=6)
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + evil
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + WAV
    waits, said = threading.Event(), threading.Event()

    def at_once(exchange: Exchange) -> None:
        try:
            exchange.raw(good + forged)
        finally:
            said.set()
        exchange.hold()

    def later(exchange: Exchange) -> None:
        exchange.raw(good)
        exchange.wait(waits)
        try:
            exchange.raw(forged)
        finally:
            said.set()
        exchange.hold()

    firsts = [server.on("/at-once.wav", at_once), server.on("/later.wav", later)]
    url = server.on("/a.wav", framed(WAV, LENGTH, "Connection: close"))

    async with Downloader(limits(server, connections=1, attempts=1)) as downloader:
        for first in firsts:
            waits.clear()
            said.clear()
            try:
                got = await downloader.fetch(first, tmp_path / "first.wav")
            except BadResponseError:
                pass
            else:
                assert got.size == len(WAV)
            waits.set()
            await until(said.is_set)
            await downloader.fetch(url, tmp_path / "a.wav")
            assert (tmp_path / "a.wav").read_bytes() == WAV
