"""Limits of time, size and number: each one ends what it is for, and is named."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import anyio
import pytest
from downloading import fetch, limits, names, parts
from fault_answers import (
    MIB,
    Serve,
    big_wav,
    drip,
    endless,
    raw,
    silence,
    wav_of,
)

from voicepipe.errors import (
    BadResponseError,
    ConnectionFailedError,
    FetchError,
    FetchTimeoutError,
    TooLargeError,
)
from voicepipe.io.download.downloader import Downloader
from voicepipe.io.download.values import DownloadOptions, DownloadRequest


if TYPE_CHECKING:
    from pathlib import Path

    from fault_answers import Answer
    from fault_server import Exchange, FaultServer


WAV = wav_of(100_000)
OK = b"HTTP/1.1 200 OK\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def ended(
    server: FaultServer, answer: Answer, folder: Path, **changes: object
) -> tuple[FetchError, float]:
    """Give the error of a download, and how long it took."""
    url = server.on("/a.wav", answer)
    begin = time.monotonic()
    with pytest.raises(FetchError) as told:
        await fetch(limits(server, attempts=1, **changes), url, folder / "a.wav")
    took = time.monotonic() - begin
    assert told.value.url == url
    assert not (folder / "a.wav").exists()
    assert server.open_connections() == 0
    return told.value, took


async def ended_together(
    server: FaultServer, answers: dict[str, Answer], folder: Path, **changes: object
) -> dict[str, tuple[FetchError, float]]:
    """Give how each of many downloads ended; they run side by side to save time."""
    found: dict[str, tuple[FetchError, float]] = {}
    options = limits(server, attempts=1, connections_per_host=32, **changes)

    async def one(case: str, url: str) -> None:
        begin = time.monotonic()
        with pytest.raises(FetchError) as told:
            await fetch(options, url, folder / case)
        found[case] = told.value, time.monotonic() - begin

    async with anyio.create_task_group() as group:
        for index, (case, answer) in enumerate(answers.items()):
            group.start_soon(one, case, server.on(f"/{index}.wav", answer))
    assert not any((folder / case).exists() for case in answers)
    assert server.open_connections() == 0
    return found


def by_limit(error: FetchError, limit: str, limit_s: float) -> None:
    assert isinstance(error, FetchTimeoutError)
    assert (error.limit, error.limit_s) == (limit, limit_s)
    assert error.retryable


GAPS: dict[str, Answer] = {
    "before the headers": silence,
    "in the headers": raw(OK + b"Content-Le", hold=True),
    "before the body": raw(OK + b"Content-Length: 100000\r\n\r\n", hold=True),
    "in the body": Serve(body=WAV, cut=50_000, stall=True),
    "before the last byte": Serve(body=WAV, cut=99_999, stall=True),
    "in a chunk": raw(
        OK + b"Transfer-Encoding: chunked\r\n\r\n186a0\r\n" + WAV[:5_000], hold=True
    ),
}


@pytest.mark.usefixtures("both_ways")
async def test_a_server_that_says_nothing_more_is_given_up(
    server: FaultServer, tmp_path: Path
) -> None:
    errors = await ended_together(server, GAPS, tmp_path, read_s=0.3)

    for case, (error, took) in errors.items():
        by_limit(error, "read", 0.3)
        assert took < 50, case


@pytest.mark.usefixtures("both_ways")
async def test_a_stall_is_followed_by_another_attempt(
    server: FaultServer, tmp_path: Path
) -> None:
    stall = Serve(body=WAV, cut=50_000, stall=True)
    # On a busy machine the answer to the other attempt may take too long, too.
    for read_s in (0.3, 3.0, 30.0):
        url = server.on(f"/{read_s}.wav", stall, Serve(body=WAV))
        options = limits(server, read_s=read_s, attempts=9)
        got = await fetch(options, url, tmp_path / "a.wav")
        assert (tmp_path / "a.wav").read_bytes() == WAV
        # Nor may the first have been given up before its half had come.
        if got.attempts == 2 and server.requests[-1].begin == 50_000:
            break

    assert got.attempts == 2
    assert server.sent(f"/{read_s}.wav", least=len(WAV)) == len(WAV)


DRIPS: dict[str, Answer] = {
    "the body": drip(WAV, 10, 0.1),
    "the headers": endless(OK, b"X-A: b\r\n", most=10**6, every_s=0.1),
    "one header": endless(OK + b"X-A: ", b"b", most=10**6, every_s=0.1),
    "informational answers": endless(b"", CONTINUE, most=10**6, every_s=0.1),
    "chunks": endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"2c\r\n" + WAV[:44] + b"\r\n",
        b"1\r\n\0\r\n",
        most=10**6,
        every_s=0.1,
    ),
    "a chunk's extension": endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a", most=10**6, every_s=0.1
    ),
}


async def test_a_trickle_ends_with_the_time_for_all(
    server: FaultServer, tmp_path: Path
) -> None:
    """No gap is ever long enough for the limit of gaps."""
    errors = await ended_together(
        server, DRIPS, tmp_path, total_s=1.0, min_bytes_per_s=0
    )

    for case, (error, took) in errors.items():
        by_limit(error, "total", 1.0)
        assert 0.9 < took < 50, case


@pytest.mark.usefixtures("both_ways")
async def test_a_body_that_is_too_slow_is_given_up(
    server: FaultServer, tmp_path: Path
) -> None:
    error, took = await ended(
        server,
        drip(WAV, 100, 0.1),
        tmp_path,
        min_bytes_per_s=5_000,
        min_speed_s=0.3,
    )

    by_limit(error, "speed", 0.3)
    assert 0.2 < took < 50


@pytest.mark.usefixtures("both_ways")
async def test_a_body_that_is_fast_enough_is_not(
    server: FaultServer, tmp_path: Path
) -> None:
    # All of it slower again where a busy machine has stopped somebody for too long.
    for times in (1, 5, 20):
        url = server.on("/a.wav", drip(WAV, 10_000, 0.1 * times))
        options = limits(
            server,
            attempts=1,
            min_bytes_per_s=30_000 / times,
            min_speed_s=0.3 * times,
            keep_partial=False,
        )
        with contextlib.suppress(FetchTimeoutError):
            await fetch(options, url, tmp_path / "a.wav")
            break

    assert (tmp_path / "a.wav").read_bytes() == WAV


@pytest.mark.usefixtures("both_ways")
async def test_a_fast_beginning_does_not_pay_for_a_slow_rest(
    server: FaultServer, tmp_path: Path
) -> None:
    """The speed is that of the last moments, not the mean of all."""
    slow = Serve(body=wav_of(2 * MIB), cut=MIB, stall=False)

    def answer(exchange: Exchange) -> None:
        exchange.head(200, f"Content-Length: {2 * MIB}")
        exchange.body(slow.body[:MIB])
        for place in range(MIB, 2 * MIB, 100):
            exchange.body(slow.body[place : place + 100])
            exchange.sleep(0.1)

    error, took = await ended(
        server, answer, tmp_path, min_bytes_per_s=5_000, min_speed_s=0.3
    )

    # By the mean of all, it would be given up after 200 s.
    by_limit(error, "speed", 0.3)
    assert took < 50


@pytest.mark.parametrize(
    "flood",
    [
        endless(OK, b"X-A: " + b"b" * 4_000 + b"\r\n", most=1 << 30),
        endless(OK + b"X-A: ", b"b" * 65_536, most=1 << 30),
        endless(b"", CONTINUE * 1_000, most=1 << 30),
        endless(b"HTTP/1.1 200 ", b"O" * 65_536, most=1 << 30),
    ],
    ids=["headers", "one header", "informational answers", "status line"],
)
async def test_a_flood_of_headers_ends_after_a_bounded_part(
    flood: Answer, server: FaultServer, tmp_path: Path
) -> None:
    error, took = await ended(server, flood, tmp_path)

    assert isinstance(error, BadResponseError | ConnectionFailedError)
    assert took < 50
    # What fits into the sockets' buffers is sent, and not read.
    assert server.sent("/a.wav") < 16 * MIB


async def test_a_flood_of_chunk_extensions_ends_too(
    server: FaultServer, tmp_path: Path
) -> None:
    flood = endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * 65_536, most=1 << 30
    )

    error, took = await ended(server, flood, tmp_path)

    assert isinstance(error, BadResponseError | ConnectionFailedError)
    assert server.sent("/a.wav") < 16 * MIB
    assert took < 50


async def test_a_flood_of_trailers_ends_too(
    server: FaultServer, tmp_path: Path
) -> None:
    flood = endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n186a0\r\n" + WAV + b"\r\n0\r\n",
        b"X-A: " + b"b" * 4_000 + b"\r\n",
        most=1 << 30,
    )

    error, took = await ended(server, flood, tmp_path)

    assert isinstance(error, BadResponseError | ConnectionFailedError)
    assert server.sent("/a.wav") < 16 * MIB
    assert took < 50


@pytest.mark.parametrize("tell", [True, False], ids=["told", "not told"])
@pytest.mark.usefixtures("both_ways")
async def test_a_file_that_is_too_large_stops_at_the_limit(
    server: FaultServer, tmp_path: Path, *, tell: bool
) -> None:
    limit = 4 * MIB

    error, _ = await ended(
        server, big_wav(1 << 30, tell=tell), tmp_path, max_bytes=limit
    )

    assert isinstance(error, TooLargeError)
    assert (error.limit, error.retryable) == (limit, False)
    assert len(server.requests) == 1
    # Beyond what fits into the sockets' buffers nothing is sent.
    assert server.sent("/a.wav") < (0 if tell else limit) + 16 * MIB
    assert names(tmp_path) == set()


async def test_a_file_that_is_just_small_enough_is_taken(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", Serve(body=WAV))

    got = await fetch(limits(server, max_bytes=len(WAV)), url, tmp_path / "a.wav")
    with pytest.raises(TooLargeError):
        await fetch(limits(server, max_bytes=len(WAV) - 1), url, tmp_path / "b.wav")

    assert got.size == len(WAV)


async def test_a_part_and_its_rest_count_together(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", Serve(body=WAV, cut=80_000), Serve(body=WAV))
    with pytest.raises(FetchError):
        await fetch(limits(server, attempts=1), url, tmp_path / "a.wav")

    with pytest.raises(TooLargeError):
        await fetch(limits(server, max_bytes=90_000), url, tmp_path / "a.wav")

    assert names(tmp_path) == set()


@pytest.mark.usefixtures("both_ways")
async def test_a_deadline_keeps_the_part(server: FaultServer, tmp_path: Path) -> None:
    body = wav_of(MIB)
    url = server.on("/a.wav", Serve(body=body, cut=400_000, stall=True))

    # On a busy machine nothing may have come until then.
    for total_s in (0.7, 7.0, 30.0):
        with pytest.raises(FetchTimeoutError) as told:
            await fetch(limits(server, total_s=total_s), url, tmp_path / "a.wav")
        assert told.value.limit == "total"
        if sum(part.stat().st_size for part in tmp_path.glob("*.part")) > 100_000:
            break
    assert parts(tmp_path) == [".json", ".part"]

    server.on("/a.wav", Serve(body=body))
    got = await fetch(limits(server), url, tmp_path / "a.wav")
    assert got.bytes_resumed > 100_000
    assert (tmp_path / "a.wav").read_bytes() == body


def by_name(url: str, server: FaultServer) -> str:
    """Give the URL of a server by its name, which is another host to the downloader."""
    return url.replace(server.host, f"localhost:{server.port}")


async def run_many(
    options: DownloadOptions, urls: list[str], folder: Path
) -> list[float]:
    """Download many and give when each was there."""
    requests = [
        DownloadRequest(url=url, path=folder / f"{index}.wav")
        for index, url in enumerate(urls)
    ]
    times = []
    async with (
        Downloader(options) as downloader,
        downloader.fetch_all(requests) as outcomes,
    ):
        async for outcome in outcomes:
            assert outcome.error is None, outcome.error
            times.append(time.monotonic())
    assert len(times) == len(urls)
    return times


@pytest.mark.parametrize("per_host", [1, 3])
async def test_one_host_gets_so_many_connections_and_no_more(
    per_host: int, server: FaultServer, other: FaultServer, tmp_path: Path
) -> None:
    """A host is a name: its ports count together."""

    def together() -> Answer:
        """Answer when as many are there as should be."""
        barrier = threading.Barrier(per_host)

        def answer(exchange: Exchange) -> None:
            barrier.wait(60)
            exchange.sleep(0.05)
            Serve(body=WAV)(exchange)

        return answer

    answers = [(server, together()), (other, together())]
    urls = [one.on(f"/{i}.wav", answer) for i in range(6) for one, answer in answers]
    urls = [by_name(url, other) for url in urls]
    options = limits(
        allow_hosts=(server.host, f"localhost:{other.port}"),
        connections_per_host=per_host,
    )

    await run_many(options, urls, tmp_path)

    assert (server.most_open, other.most_open) == (per_host, per_host)


async def test_all_hosts_together_get_so_many_connections(
    server: FaultServer, other: FaultServer, tmp_path: Path
) -> None:
    running = [0, 0]
    lock, barrier = threading.Lock(), threading.Barrier(3)

    def counted(exchange: Exchange) -> None:
        with lock:
            running[0] += 1
            running[1] = max(running)
        barrier.wait(60)
        exchange.sleep(0.05)
        with lock:
            running[0] -= 1
        Serve(body=WAV)(exchange)

    urls = [s.on(f"/{i}.wav", counted) for i in range(6) for s in (server, other)]

    await run_many(limits(server, other, connections=3), urls, tmp_path)

    assert running[1] == 3


async def test_one_host_is_asked_so_often_and_not_more(
    server: FaultServer, tmp_path: Path
) -> None:
    urls = [server.on(f"/{i}.wav", Serve(body=WAV)) for i in range(8)]

    # From here, and not from the first one, which a busy server may note too late.
    begin = time.monotonic()
    await run_many(limits(server, requests_per_second=10), urls, tmp_path)

    times = sorted(seen.at for seen in server.requests)
    assert len(times) == 8
    for before, at in enumerate(times):
        assert at - begin >= before * 0.1 - 0.02


@pytest.mark.parametrize(
    "bad",
    [
        {"connections": 0},
        {"connections_per_host": -1},
        {"requests_per_second": 0},
        {"read_s": 0},
        {"total_s": -1},
        {"total_s": float("nan")},
        {"max_bytes": 0},
        {"attempts": 0},
        {"max_redirects": -1},
        {"not_ready_s": -1},
        {"min_bytes_per_s": -1},
    ],
    ids=str,
)
def test_limits_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        DownloadOptions(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("entry", ["", "a/b", "http://a", "a:b", "a:", ":80", "a b:1"])
async def test_a_host_that_cannot_be_allowed_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="allow_hosts"):
        async with Downloader(DownloadOptions(allow_hosts=(entry,))):
            pass
