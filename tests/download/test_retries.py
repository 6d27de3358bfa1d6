"""When another attempt is made, after which wait, and when it is over."""

from __future__ import annotations

import email.utils
import itertools
import time
from typing import TYPE_CHECKING

import anyio
import pytest
from downloading import fetch, limits, names
from fault_answers import Serve, hang_up, page, reset, status, wav_of

from voicepipe.errors import (
    BadResponseError,
    ConnectionFailedError,
    FetchError,
    HttpStatusError,
    NotAudioError,
)
from voicepipe.io.download.downloader import Downloader


if TYPE_CHECKING:
    from pathlib import Path

    from fault_server import FaultServer


WAV = wav_of(20_000)
SERVE = Serve(body=WAV)


def gaps(server: FaultServer, path: str = "/a.wav") -> list[float]:
    """Give the times between the requests, seconds."""
    times = [seen.at for seen in server.asked(path)]
    return [after - before for before, after in itertools.pairwise(times)]


PASSING = [408, 425, 429, 500, 502, 503, 504, 522, 524]


async def test_a_status_that_may_pass_is_tried_again(
    server: FaultServer, tmp_path: Path
) -> None:
    async def one(code: int) -> None:
        url = server.on(f"/{code}", status(code, body=b"<html>busy"), SERVE)
        got = await downloader.fetch(url, tmp_path / str(code))
        assert got.attempts == 2, code

    async with (
        Downloader(limits(server)) as downloader,
        anyio.create_task_group() as group,
    ):
        for code in PASSING:
            group.start_soon(one, code)

    assert all((tmp_path / str(code)).read_bytes() == WAV for code in PASSING)


REFUSALS = [400, 401, 402, 403, 404, 405, 407, 410, 411, 417, 418, 422, 451, 501, 505]


async def test_a_status_that_stays_is_told_at_once(
    server: FaultServer, tmp_path: Path
) -> None:
    async with Downloader(limits(server, attempts=5)) as downloader:
        for code in REFUSALS:
            url = server.on(f"/{code}", status(code, body=b"no"))
            with pytest.raises(HttpStatusError) as told:
                await downloader.fetch(f"{url}?sig=1", tmp_path / "a.wav")
            assert (told.value.status, told.value.retryable) == (code, False)
            assert told.value.url == url
            assert len(server.asked(f"/{code}")) == 1

    assert names(tmp_path) == set()


async def test_attempts_are_counted(server: FaultServer, tmp_path: Path) -> None:
    url = server.on("/a.wav", status(503))

    with pytest.raises(HttpStatusError) as told:
        await fetch(limits(server, attempts=3), url, tmp_path / "a.wav")

    assert (told.value.status, told.value.retryable) == (503, True)
    assert told.value.retry_after is None
    assert len(server.requests) == 3
    first, second = gaps(server)
    # Doubling from half a second, a tenth of it in these tests.
    assert first >= 0.05
    assert second >= 0.1


@pytest.mark.parametrize("fault", [hang_up, reset], ids=["closed", "reset"])
async def test_a_broken_connection_is_tried_again(
    fault: object, server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", fault, SERVE)  # type: ignore[arg-type]

    got = await fetch(limits(server), url, tmp_path / "a.wav")

    assert got.attempts == 2
    assert (tmp_path / "a.wav").read_bytes() == WAV


async def test_a_server_that_is_not_there_is_told(
    server: FaultServer, tmp_path: Path
) -> None:
    with pytest.raises(ConnectionFailedError) as told:
        async with Downloader(limits(allow_hosts=("127.0.0.1:1",))) as downloader:
            await downloader.fetch("http://127.0.0.1:1/a.wav?k=1", tmp_path / "a.wav")

    assert told.value.retryable
    assert told.value.url == "http://127.0.0.1:1/a.wav"
    assert names(tmp_path) == set()


async def test_a_kept_connection_that_went_stale_costs_no_attempt_or_one(
    server: FaultServer, tmp_path: Path
) -> None:
    """A server may close a waiting connection at any time."""

    def close_after(exchange: object) -> None:
        SERVE(exchange)  # type: ignore[arg-type]
        exchange.stay = False  # type: ignore[attr-defined]

    url = server.on("/a.wav", close_after)
    async with Downloader(limits(server)) as downloader:
        for name in ("a.wav", "b.wav", "c.wav"):
            await downloader.fetch(url, tmp_path / name)
            assert (tmp_path / name).read_bytes() == WAV


async def test_the_wait_that_a_server_asks_for_is_obeyed(
    server: FaultServer, tmp_path: Path
) -> None:
    """A date is by the server's own clock, which may be wrong by an hour."""
    now = time.time()
    then, later = (email.utils.formatdate(now - s, usegmt=True) for s in (3_600, 3_599))
    asked = {
        "/429": status(429, "Retry-After: 1"),
        "/503": status(503, "Retry-After: 1"),
        "/date": status(503, f"Retry-After: {later}", f"Date: {then}"),
    }
    async with (
        Downloader(limits(server, attempts=3)) as downloader,
        anyio.create_task_group() as group,
    ):
        for path, answer in asked.items():
            url = server.on(path, answer, answer, SERVE)
            group.start_soon(downloader.fetch, url, tmp_path / path[1:])

    for path in asked:
        assert len(server.asked(path)) == 3
        # A busy machine may make a wait longer, but hardly both.
        assert 0.95 <= min(gaps(server, path)) < 3, path
        assert (tmp_path / path[1:]).read_bytes() == WAV


@pytest.mark.parametrize("code", [429, 503])
async def test_a_wait_that_would_take_too_long_is_told_at_once(
    code: int, server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", status(code, "Retry-After: 86400"))

    begin = time.monotonic()
    with pytest.raises(HttpStatusError) as told:
        await fetch(limits(server), url, tmp_path / "a.wav")

    assert (told.value.status, told.value.retry_after) == (code, 86_400)
    assert told.value.retryable
    # Not when all must be over.
    assert time.monotonic() - begin < 50
    assert len(server.requests) == 1


GARBAGE = [
    "-5",
    "0",
    "",
    "soon",
    "1e9",
    "2.5",
    "NaN",
    "inf",
    "0x10",
    "٣",
    "9" * 400 + "x",
    "Mon, 99 Foo 2026 99:99:99 GMT",
    "Fri, 31 Dec 1999 23:59:59 GMT",
    "2, 3",
]


async def test_a_wait_that_makes_no_sense_means_the_usual_one(
    server: FaultServer, tmp_path: Path
) -> None:
    shortest: dict[str, float] = {}
    # A busy machine may make a wait longer, but hardly each time.
    for turn in range(3):
        async with (
            Downloader(limits(server)) as downloader,
            anyio.create_task_group() as group,
        ):
            for index, value in enumerate(GARBAGE):
                header = f"Retry-After: {value}".encode().decode("latin-1")
                path = f"/{turn}-{index}.wav"
                url = server.on(path, status(429, header), SERVE)
                group.start_soon(downloader.fetch, url, tmp_path / path[1:])
        for index, value in enumerate(GARBAGE):
            (gap,) = gaps(server, f"/{turn}-{index}.wav")
            shortest[value] = min(gap, shortest.get(value, gap))
        if max(shortest.values()) < 1.0:
            break

    for value, gap in shortest.items():
        # Never at once: many would come together.
        assert 0.05 <= gap < 1.0, value


async def test_a_wait_of_400_digits_is_told_at_once(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", status(429, f"Retry-After: {'9' * 400}"))

    with pytest.raises(HttpStatusError):
        await fetch(limits(server), url, tmp_path / "a.wav")

    assert len(server.requests) == 1


async def test_retries_end_with_the_time_for_all(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", status(503))

    begin = time.monotonic()
    with pytest.raises(FetchError):
        await fetch(limits(server, attempts=99, total_s=1), url, tmp_path / "a.wav")

    assert time.monotonic() - begin < 50
    assert len(server.requests) < 8


async def test_a_recording_that_is_not_ready_is_waited_for(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", status(404), status(404), SERVE)

    got = await fetch(
        limits(server, attempts=1, not_ready_s=60), url, tmp_path / "a.wav"
    )

    assert got.attempts == 3
    assert (tmp_path / "a.wav").read_bytes() == WAV


async def test_a_recording_that_never_comes_is_told(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", status(404))

    begin = time.monotonic()
    with pytest.raises(HttpStatusError) as told:
        await fetch(limits(server, not_ready_s=0.4), url, tmp_path / "a.wav")

    assert told.value.status == 404
    assert time.monotonic() - begin < 50
    assert len(server.requests) >= 2
    assert names(tmp_path) == set()


async def test_a_gone_recording_is_not_waited_for(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", status(410))

    with pytest.raises(HttpStatusError):
        await fetch(limits(server, not_ready_s=8), url, tmp_path / "a.wav")

    assert len(server.requests) == 1


async def test_a_busy_server_after_a_part_keeps_the_part(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", Serve(body=WAV, cut=9_000), status(503), SERVE)

    got = await fetch(limits(server, attempts=3), url, tmp_path / "a.wav")

    assert (tmp_path / "a.wav").read_bytes() == WAV
    assert server.sent("/a.wav", least=len(WAV)) == len(WAV)
    assert got.attempts == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (page(b"<html><form>Log in</form>", "text/html"), NotAudioError),
        (status(200, "Content-Encoding: gzip", body=WAV), BadResponseError),
    ],
    ids=["login page", "compressed"],
)
async def test_what_will_not_change_is_not_asked_for_again(
    answer: object, error: type[Exception], server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", answer)  # type: ignore[arg-type]

    with pytest.raises(error):
        await fetch(limits(server, attempts=5), url, tmp_path / "a.wav")

    assert len(server.requests) == 1
