"""Many downloads side by side, their progress, and what is left of stopped ones."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import time
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import psutil
import pytest
from downloading import fetch, limits, names, parts
from fault_answers import MIB, Serve, framed, hang_up, page, silence, status, wav_of

from voicepipe.errors import (
    BlockedUrlError,
    FetchError,
    FetchTimeoutError,
    HttpStatusError,
    InvalidUrlError,
    NotAudioError,
)
from voicepipe.io.download.downloader import Downloader
from voicepipe.io.download.values import DownloadOutcome, DownloadRequest


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path

    from fault_server import Exchange, FaultServer
    from stress_report import Report

    from voicepipe.io.download.values import DownloadProgress


WAV = wav_of(20_000)
BIG = wav_of(4 * MIB)
BIG_SHA = hashlib.sha256(BIG).hexdigest()


def request(url: str, path: Path) -> DownloadRequest:
    return DownloadRequest(url=url, path=path)


async def all_of(
    downloader: Downloader, requests: Iterable[DownloadRequest]
) -> dict[int, DownloadOutcome]:
    async with downloader.fetch_all(requests) as outcomes:
        return {outcome.index: outcome async for outcome in outcomes}


async def test_every_request_has_one_outcome(
    server: FaultServer, tmp_path: Path
) -> None:
    server.on("/good", Serve(body=WAV))
    server.on("/gone", status(410))
    server.on("/page", page(b"<html>", "text/html"))
    kinds = [
        (server.url("/good"), None),
        (server.url("/gone"), HttpStatusError),
        (server.url("/page"), NotAudioError),
        ("http://10.0.0.1/a", BlockedUrlError),
        ("ftp://example.com/a", InvalidUrlError),
    ]
    wanted = [kinds[index % len(kinds)] for index in range(200)]
    requests = [
        request(url, tmp_path / f"{index}.wav") for index, (url, _) in enumerate(wanted)
    ]
    requests[0] = request(server.url("/good"), tmp_path / "missing" / "a.wav")

    async with Downloader(limits(server)) as downloader:
        outcomes = await all_of(downloader, requests)

    assert sorted(outcomes) == list(range(200))
    assert isinstance(outcomes[0].error, FileNotFoundError)
    for index, (_, kind) in list(enumerate(wanted))[1:]:
        outcome = outcomes[index]
        assert outcome.request is requests[index]
        assert (outcome.download is None) == (outcome.error is not None)
        assert type(outcome.error) is (kind or type(None))
        path = tmp_path / f"{index}.wav"
        assert path.exists() == (kind is None)
        if kind is None:
            assert path.read_bytes() == WAV


async def test_requests_may_come_one_by_one(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", Serve(body=WAV))

    async def come() -> AsyncIterator[DownloadRequest]:
        for index in range(10):
            await anyio.sleep(0.001)
            yield request(url, tmp_path / f"{index}.wav")

    async with (
        Downloader(limits(server, connections=3)) as downloader,
        downloader.fetch_all(come()) as outcomes,
    ):
        found = [outcome async for outcome in outcomes]

    assert sorted(outcome.index for outcome in found) == list(range(10))
    assert all(outcome.error is None for outcome in found)


async def test_requests_are_taken_only_as_they_are_needed(
    server: FaultServer, tmp_path: Path
) -> None:
    """A list without an end can be stopped at any outcome."""
    url = server.on("/a.wav", Serve(body=WAV))
    taken = 0

    def endless() -> Iterator[DownloadRequest]:
        nonlocal taken
        while True:
            taken += 1
            yield request(url, tmp_path / f"{taken}.wav")

    count = 0
    async with (
        Downloader(limits(server, connections=4)) as downloader,
        downloader.fetch_all(endless()) as outcomes,
    ):
        async for _ in outcomes:
            count += 1
            if count == 5:
                await anyio.sleep(0.3)
                break

    assert taken <= 5 + 4 + 1
    assert server.open_connections() == 0


async def test_what_the_list_raises_is_raised(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", Serve(body=WAV))

    def broken() -> Iterator[DownloadRequest]:
        yield request(url, tmp_path / "a.wav")
        raise ZeroDivisionError

    async with Downloader(limits(server)) as downloader:
        with pytest.raises(ZeroDivisionError):
            await all_of(downloader, broken())

    assert server.open_connections() == 0


async def test_no_requests_have_no_outcomes(server: FaultServer) -> None:
    async with Downloader(limits(server)) as downloader:
        assert await all_of(downloader, []) == {}


async def test_leaving_the_block_stops_what_is_under_way(
    server: FaultServer, tmp_path: Path
) -> None:
    slow = Serve(body=BIG, cut=MIB, stall=True)
    requests = [
        request(server.on(f"/{index}.wav", slow), tmp_path / f"{index}.wav")
        for index in range(4)
    ]
    quick = request(
        server.on("/q.wav", Serve(body=WAV, stay=False)), tmp_path / "q.wav"
    )

    options = limits(server, read_s=600, total_s=600)
    async with Downloader(options) as downloader:
        with anyio.fail_after(60):
            async with downloader.fetch_all([*requests, quick]) as outcomes:
                async for outcome in outcomes:
                    assert outcome.index == 4
                    break
        assert server.open_connections() == 0

    assert (tmp_path / "q.wav").read_bytes() == WAV
    assert not [name for name in names(tmp_path) if name[0].isdigit()]


async def test_a_downloader_may_be_used_again_after_errors(
    server: FaultServer, tmp_path: Path
) -> None:
    bad = [
        server.on("/1", hang_up),
        server.on("/2", framed(WAV, "Content-Length: 5")),
        server.on("/3", status(500)),
        server.on("/4", silence),
    ]
    url = server.on("/a.wav", Serve(body=WAV))

    async def use(read_s: float) -> None:
        options = limits(server, attempts=1, read_s=read_s, connections=1)
        async with Downloader(options) as downloader:
            for one in bad:
                with pytest.raises(FetchError):
                    await downloader.fetch(one, tmp_path / "x.wav")
                got = await downloader.fetch(url, tmp_path / "a.wav")
                assert got.size == len(WAV)

    # On a busy machine the good one may take too long, too.
    for read_s in (0.1, 2.0):
        with contextlib.suppress(FetchTimeoutError):
            await use(read_s)
            break
    else:
        await use(20.0)

    assert server.open_connections() == 0


async def test_connections_are_used_again(server: FaultServer, tmp_path: Path) -> None:
    url = server.on("/a.wav", Serve(body=WAV))

    async with Downloader(limits(server)) as downloader:
        for _ in range(10):
            await downloader.fetch(url, tmp_path / "a.wav")

    assert server.connects == 1
    assert server.open_connections() == 0


async def test_progress_rises_to_the_size(server: FaultServer, tmp_path: Path) -> None:
    seen: list[DownloadProgress] = []

    def answer(exchange: Exchange) -> None:
        exchange.head(200, f"Content-Length: {len(BIG)}")
        exchange.body(BIG[:MIB])
        while not seen:
            exchange.sleep(0.01)
        # Later than the first time that it was told.
        exchange.sleep(0.06)
        for place in range(MIB, len(BIG), 65_536):
            exchange.body(BIG[place : place + 65_536])
            exchange.sleep(0.008)

    url = server.on("/a.wav", answer)
    begin = time.monotonic()
    await fetch(limits(server), f"{url}?s=1", tmp_path / "a.wav", progress=seen.append)
    took = time.monotonic() - begin

    received = [progress.received for progress in seen]
    assert received == sorted(received)
    assert received[-1] == len(BIG)
    assert {(progress.url, progress.size) for progress in seen} == {(url, len(BIG))}
    # Not for each piece: twenty times a second.
    assert 3 <= len(seen) <= 20 * took + 2


async def test_progress_goes_on_after_a_cut_and_back_after_a_change(
    server: FaultServer, tmp_path: Path
) -> None:
    body, changed = wav_of(400_000), wav_of(300_000, seed=2)
    url = server.on(
        "/a.wav",
        Serve(body=body, cut=200_000),
        Serve(body=changed, etag='"two"', rate=MIB, piece=10_000),
    )
    seen: list[DownloadProgress] = []

    await fetch(limits(server), url, tmp_path / "a.wav", progress=seen.append)

    assert seen[0].size == 400_000
    assert (seen[-1].received, seen[-1].size) == (300_000, 300_000)
    assert all(one.received <= (one.size or 0) for one in seen)


async def test_progress_of_a_body_without_a_length_has_no_size(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", framed(WAV))
    seen: list[DownloadProgress] = []

    await fetch(limits(server), url, tmp_path / "a.wav", progress=seen.append)

    assert {one.size for one in seen} == {None}
    assert seen[-1].received == len(WAV)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, OSError])
async def test_what_the_callback_raises_is_raised(
    error: type[BaseException], server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", Serve(body=BIG))

    def fail(_: DownloadProgress) -> None:
        raise error

    async with Downloader(limits(server)) as downloader:
        with pytest.raises(error):
            await downloader.fetch(url, tmp_path / "a.wav", progress=fail)
        assert server.open_connections() == 0

    assert not (tmp_path / "a.wav").exists()
    assert len(server.requests) == 1


async def cancelled_at(
    server: FaultServer, downloader: Downloader, path: Path, seconds: float
) -> bool:
    """Cancel a download after some time; tell whether it came to that."""
    url = server.on("/a.wav", Serve(body=BIG, rate=32 * MIB, stay=False))
    limiter = anyio.to_thread.current_default_thread_limiter()
    with anyio.move_on_after(seconds) as scope:
        await downloader.fetch(url, path)
    assert limiter.borrowed_tokens == 0
    assert server.open_connections() == 0
    return scope.cancelled_caught


async def cancel_many(server: FaultServer, folder: Path, count: int) -> int:
    """Cancel at many points, and go on each time; give how often it came to that."""
    cancelled = 0
    path = folder / "a.wav"
    async with Downloader(limits(server)) as downloader:
        warm = server.on("/w.wav", Serve(body=WAV, stay=False))
        await downloader.fetch(warm, folder / "w.wav")
        assert server.open_connections() == 0
        gc.collect()
        before = psutil.Process().num_fds()
        for index in range(count):
            seconds = 0.15 * index / count
            cancelled += await cancelled_at(server, downloader, path, seconds)
            assert parts(folder) in ([], [".json", ".part"])
            if index % 5 == 4:
                got = await downloader.fetch(server.url("/a.wav"), path)
                assert got.sha256 == BIG_SHA
                assert hashlib.sha256(path.read_bytes()).hexdigest() == BIG_SHA
                assert parts(folder) == []
                path.unlink()
        assert server.open_connections() == 0
        # The connection for the next request, and the one it has replaced.
        assert psutil.Process().num_fds() <= before + 1
    return cancelled


async def test_a_cancelled_download_leaves_nothing_open_and_can_go_on(
    server: FaultServer, tmp_path: Path
) -> None:
    assert await cancel_many(server, tmp_path, 20) >= 10


@pytest.mark.stress
async def test_two_hundred_cancelled_downloads(
    server: FaultServer,
    tmp_path: Path,
    stress_report: Report,
    anyio_backend_name: str,
) -> None:
    count = await cancel_many(server, tmp_path, 200)

    stress_report(
        f"downloads of 4 MiB cancelled after 0 to 0.15 s, {anyio_backend_name}",
        f"{count} of 200 before their end; each went on, no file, connection or thread "
        "was left",
    )
    assert count >= 100
