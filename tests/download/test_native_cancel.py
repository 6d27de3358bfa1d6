"""
Downloads cancelled by asyncio itself, as by ``asyncio.timeout`` or a web framework.

No shield holds that off, and it does not wait for a thread that is at work.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import random
import time
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from downloading import Downloader, limits, names, parts, until
from fault_answers import MIB, Serve, wav_of

from voicepipe import standardize
from voicepipe.errors import NotAudioError
from voicepipe.io.download import partial as partial_file
from voicepipe.io.download.values import DownloadRequest
from voicepipe.io.fetch import fetch_wav
from voicepipe.io.recordings import Recording


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fault_server import Exchange, FaultServer
    from stress_report import Report


SIZE = 6 * MIB
WAV = wav_of(SIZE)
SHA = hashlib.sha256(WAV).hexdigest()
# Comes at once, and is written by one call.
SMALL = wav_of(50_000)

WARM_S = 0.05

SAMPLE = Path(__file__).parents[2] / "examples" / "data" / "sample_call.mp3"


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a write take a while, and take less than it was given, as it may."""
    real = os.write

    def write(file: int, data: memoryview) -> int:
        time.sleep(0.001)
        return real(file, data[: 1 << 17])

    monkeypatch.setattr(partial_file.os, "write", write)


@pytest.fixture
def anyio_backend() -> object:
    """Run on asyncio alone: trio knows no other cancellation than its own."""
    return ("asyncio", {"debug": False})


async def cancelled(
    begin: Callable[[], Awaitable[object]],
    when: float | Callable[[], bool],
    rounds: int,
) -> bool:
    """
    Begin something and cancel it; tell whether it came to that.

    Args:
        begin: What to begin.
        when: After so many seconds, or when this is true.
        rounds: And after so many turns of the event loop.
    """
    import asyncio  # noqa: TID251

    task = asyncio.ensure_future(begin())
    if callable(when):
        while not when():  # noqa: ASYNC110 - a file is no event
            await asyncio.sleep(0)
    elif when:
        await asyncio.sleep(when)
    for _ in range(rounds):
        await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


def first_slow_then_fast(exchange: Exchange) -> None:
    """Serve 1.5 MiB in 0.05 s, and the rest as fast as it goes."""
    begin = Serve(body=WAV)._wanted(exchange)
    if begin is None:
        exchange.head(200, f"Content-Length: {SIZE}", 'ETag: "one"')
        at = 0
    else:
        at = begin[0]
        told = f"Content-Range: bytes {at}-{SIZE - 1}/{SIZE}"
        length = f"Content-Length: {SIZE - at}"
        exchange.head(206, told, length, 'ETag: "one"')
    slow = at + 3 * MIB // 2
    while at < SIZE:
        exchange.body(WAV[at : at + 65_536])
        if at < slow:
            exchange.sleep(WARM_S / 24)
        at += 65_536


async def cancel_many(
    server: FaultServer, folder: Path, count: int, seed: int
) -> tuple[int, int]:
    """
    Cancel at many moments; after each, go on and look at every byte.

    Returns:
        How often it came to that, and how often something was there to go on with.
    """
    chance = random.Random(seed)
    path = folder / "a.wav"
    url = server.on("/a.wav", first_slow_then_fast)
    caught = resumed = 0
    async with Downloader(limits(server)) as downloader:
        for index in range(count):
            # Every other one by the clock; or when so much was sent, however slow the
            # machine is.
            when: float | Callable[[], bool] = chance.uniform(0.0, WARM_S)
            if index % 2:
                place = server.sent("/a.wav") + chance.randrange(1, SIZE)
                when = partial(has_come_to, server, place, path)
            caught += await cancelled(
                partial(downloader.fetch, url, path), when, chance.randrange(20)
            )
            # A thread may be at work that nobody waits for.
            await until(lambda: parts(folder) in ([], [".json", ".part"]))
            assert names(folder) <= {"a.wav"} | unfinished(folder)
            for part in folder.glob("*.part"):
                there = part.read_bytes()
                assert there == WAV[: len(there)]
            with anyio.fail_after(60):
                got = await downloader.fetch(url, path)
            assert (got.size, got.sha256) == (SIZE, SHA)
            assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA
            assert names(folder) == {"a.wav"}
            resumed += got.bytes_resumed > 0
            path.unlink()
    return caught, resumed


def has_come_to(server: FaultServer, place: int, path: Path) -> bool:
    """Tell whether so much was sent, or all that was missing is there."""
    return server.sent("/a.wav") >= place or path.exists()


def unfinished(folder: Path) -> set[str]:
    return {name for name in names(folder) if name.startswith(".voicepipe-")}


async def test_what_was_cancelled_goes_on_with_every_byte_in_its_place(
    server: FaultServer,
    tmp_path: Path,
    slow_disk: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # What other tests have left is not told of here.
    gc.collect()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        caught, resumed = await cancel_many(server, tmp_path, 40, seed=7)
        gc.collect()

    assert caught >= 20
    assert resumed >= 10
    assert [str(one.message) for one in warned] == []
    # An error of a thread that nobody waits for any more would be said here.
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


@pytest.mark.stress
async def test_four_hundred_go_on_with_every_byte_in_its_place(
    server: FaultServer,
    tmp_path: Path,
    slow_disk: None,
    stress_report: Report,
) -> None:
    caught, resumed = await cancel_many(server, tmp_path, 400, seed=8)

    stress_report(
        "downloads of 6 MiB cancelled by asyncio itself at random moments",
        f"{caught} of 400 before their end, {resumed} went on with what was there; "
        "each file right in every byte, no other file left",
    )
    assert caught >= 200
    assert resumed >= 100


async def test_a_recording_that_was_cancelled_while_it_was_converted_comes_whole(
    server: FaultServer, tmp_path: Path
) -> None:
    chance = random.Random(9)
    url = server.on("/a.mp3", Serve(body=SAMPLE.read_bytes()))
    wanted = (await standardize(SAMPLE, tmp_path / "o.wav")).path.read_bytes()
    recording = Recording(conversation_id="c", url=url)
    target = tmp_path / recording.filename
    caught = 0
    async with Downloader(limits(server)) as downloader:
        fetch = partial(fetch_wav, downloader, recording, tmp_path)
        for index in range(24):
            if index % 2:
                # When it has its name, and all that is left to do is to let go.
                caught += await cancelled(fetch, target.exists, index // 2)
            else:
                caught += await cancelled(fetch, chance.uniform(0.0, 0.1), 0)
            # The thread that was bringing it to disk is not waited for.
            await until(lambda: len(descriptors(tmp_path)) == 0)
            await until(lambda: parts(tmp_path) in ([], [".json", ".part"]))
            assert not target.exists() or target.read_bytes() == wanted
            if index % 4 > 1:
                await fetch()
                assert target.read_bytes() == wanted
                assert names(tmp_path) == {"o.wav", target.name}
            target.unlink(missing_ok=True)

    assert caught >= 5


@pytest.mark.parametrize("error", [None, NotAudioError("no sound")], ids=str)
async def test_a_cancellation_that_comes_at_the_end_leaves_no_lock(
    server: FaultServer, tmp_path: Path, error: Exception | None
) -> None:
    """It strikes before a thread for the last of the work is there."""
    import asyncio  # noqa: TID251

    url = server.on("/a.wav", Serve(body=SMALL))
    request = DownloadRequest(url=url, path=tmp_path / "a.wav")

    async def use() -> None:
        async with downloader.transfer(request) as transfer:
            await transfer.settle()
            task.cancel()
            if error is not None:
                raise error

    async with Downloader(limits(server)) as downloader:
        task = asyncio.ensure_future(use())
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: len(descriptors(tmp_path)) == 0)
        assert parts(tmp_path) in ([], [".json", ".part"])
        await downloader.fetch(url, request.path)

    assert names(tmp_path) == {"a.wav"}


def descriptors(folder: Path) -> set[str]:
    """Give the unfinished files that this process has open, deleted ones too."""
    found = set()
    for file in Path("/proc/self/fd").iterdir():
        # It may be closed meanwhile.
        with contextlib.suppress(FileNotFoundError):
            found.add(os.fspath(file.readlink()))
    return {one for one in found if one.startswith(os.fspath(folder))}


@pytest.mark.parametrize("keep", [True, False])
async def test_no_target_stays_locked(
    server: FaultServer, tmp_path: Path, *, keep: bool
) -> None:
    """Its thread may take the lock when nobody waits for that any more."""
    url = server.on("/a.wav", Serve(body=SMALL))
    caught = 0
    async with Downloader(limits(server, keep_partial=keep)) as downloader:
        for index in range(150):
            path = tmp_path / f"{index}.wav"
            caught += await cancelled(
                partial(downloader.fetch, url, path), 0.0, index % 50
            )
        await until(lambda: not descriptors(tmp_path))
        # Who is locked out waits until all of the time for one is over.
        with anyio.fail_after(80):
            for index in range(150):
                got = await downloader.fetch(url, tmp_path / f"{index}.wav")
                assert got.size == len(SMALL)

    assert caught >= 50
    assert names(tmp_path) == {f"{index}.wav" for index in range(150)}
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {SMALL}
