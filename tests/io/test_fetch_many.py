"""Many recordings fetched and standardized: one downloads while another decodes."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import time
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import attrs
import psutil
import pytest
import soundfile as sf
from coded_bytes import opus_silence
from downloading import Downloader, limits, names, until
from fault_answers import Serve, page, silence, status, wav_of
from fault_server import a_server  # noqa: F401 - a fixture
from make_audio import encode, signal

from voicepipe import ChildLimits, DecodeOptions, standardize
from voicepipe.errors import (
    BlockedUrlError,
    FetchTimeoutError,
    HttpStatusError,
    InvalidUrlError,
    NotAudioError,
    TruncatedAudioError,
)
from voicepipe.io import fetch
from voicepipe.io.fetch import fetch_wavs
from voicepipe.io.recordings import FetchOutcome, Recording


if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Callable,
        Iterable,
        Iterator,
    )
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from fault_server import FaultServer


TINY = wav_of(4_000)

# Hours of silence in a few bytes: decoding takes seconds.
LONG = opus_silence(2_000)


def of(name: object, url: str, **more: Any) -> Recording:
    return Recording(conversation_id=f"c{name}", url=url, **more)


async def all_of(
    downloader: Downloader, recordings: Iterable[Recording], folder: Path, **more: Any
) -> dict[int, FetchOutcome]:
    async with fetch_wavs(downloader, recordings, folder, **more) as outcomes:
        found = [outcome async for outcome in outcomes]
    assert len({outcome.index for outcome in found}) == len(found)
    return {outcome.index: outcome for outcome in found}


def is_decoding(folder: Path) -> bool:
    """Tell whether a WAV is being written beside what was downloaded."""
    return len(list(folder.glob("*.part"))) == 2


async def one_by_one(recordings: Iterable[Recording]) -> AsyncIterator[Recording]:
    for recording in recordings:
        await anyio.lowlevel.checkpoint()
        yield recording


@pytest.mark.parametrize("way", [iter, one_by_one], ids=["sync", "async"])
async def test_every_recording_has_one_outcome(
    server: FaultServer, tmp_path: Path, way: Callable[..., Any]
) -> None:
    server.on("/good", Serve(body=TINY))
    server.on("/gone", status(410))
    server.on("/page", page(b"<html>", "audio/wav"))
    server.on("/cut", Serve(body=encode("flac", signal(8_000, 1, 2.0), 8_000)[:9_000]))
    server.on("/silent", silence)
    kinds = [
        (server.url("/good"), None),
        (server.url("/gone"), HttpStatusError),
        (server.url("/page"), NotAudioError),
        (server.url("/cut"), TruncatedAudioError),
        ("http://10.0.0.1/a", BlockedUrlError),
        ("ftp://example.com/a", InvalidUrlError),
    ]
    wanted = [kinds[index % len(kinds)] for index in range(120)]
    wanted[7] = (server.url("/silent"), FetchTimeoutError)
    recordings = [of(index, url) for index, (url, _) in enumerate(wanted)]
    one = await standardize(TINY, tmp_path / "one.wav", rate=8_000)

    # On a busy machine others may be silent for as long as the silent one.
    for read_s in (3.0, 30.0):
        options = limits(server, attempts=1, read_s=read_s)
        async with Downloader(options) as downloader:
            found = await all_of(
                downloader, way(recordings), tmp_path, workers=2, rate=8_000
            )
        errors = {index: outcome.error for index, outcome in found.items()}
        if [i for i, e in errors.items() if isinstance(e, FetchTimeoutError)] == [7]:
            break

    assert sorted(found) == list(range(120))
    for index, outcome in found.items():
        kind = wanted[index][1]
        assert outcome.recording is recordings[index]
        assert type(outcome.error) is (kind or type(None))
        if kind is None:
            path = tmp_path / f"c{index}_speaker.wav"
            assert outcome.wav is not None
            assert outcome.wav.file == attrs.evolve(one, path=path)
            assert path.read_bytes() == one.path.read_bytes()
        else:
            assert outcome.wav is None
    good = {f"c{i}_speaker.wav" for i, (_, kind) in enumerate(wanted) if kind is None}
    assert names(tmp_path) == {"one.wav", *good}


async def test_no_recordings_have_no_outcomes(
    server: FaultServer, tmp_path: Path
) -> None:
    async with Downloader(limits(server)) as downloader:
        assert await all_of(downloader, [], tmp_path) == {}


async def test_a_folder_that_is_missing_is_told_of_each(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a", Serve(body=TINY))

    async with Downloader(limits(server)) as downloader:
        found = await all_of(
            downloader, [of(1, url), of(2, url)], tmp_path / "missing", workers=1
        )

    assert {type(outcome.error) for outcome in found.values()} == {FileNotFoundError}


async def test_each_has_its_channel_and_all_have_the_options(
    server: FaultServer, tmp_path: Path
) -> None:
    samples = signal(8_000, 2, 2.0)
    url = server.on("/a", Serve(body=encode("wav", samples, 8_000)))
    recordings = [
        of(1, url, channel=0),
        of(1, url, channel=1, speaker_label="caller"),
        of(2, url),
    ]
    short = DecodeOptions(max_duration_s=1.0)

    async with Downloader(limits(server)) as downloader:
        await all_of(downloader, recordings, tmp_path, workers=2, rate=8_000)
        found = await all_of(downloader, [of(3, url)], tmp_path, options=short)

    left, right, both = (
        sf.read(tmp_path / name)[0]
        for name in ("c1_speaker.wav", "c1_caller.wav", "c2_speaker.wav")
    )
    assert abs(left - samples[:, 0]).max() < 1e-4
    assert abs(right - samples[:, 1]).max() < 1e-4
    assert abs(both - samples.mean(axis=1)).max() < 1e-4
    assert "more than 1 s" in str(found[0].error)


async def test_recordings_are_taken_only_as_outcomes_are(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a", Serve(body=TINY))
    taken = 0

    def endless() -> Iterator[Recording]:
        nonlocal taken
        while True:
            taken += 1
            yield of(taken, url)

    options = limits(server, connections=3)
    async with (
        Downloader(options) as downloader,
        fetch_wavs(downloader, endless(), tmp_path, workers=2) as outcomes,
    ):
        for _ in range(5):
            await anext(outcomes)
        await until(lambda: taken > 7)
        # Enough time for more, if anything asked for them.
        await anyio.sleep(0.5)

        # Three that download, two that decode, two that come to disk.
        assert 7 < taken <= 7 + 5


async def test_what_is_done_with_is_let_go_of(
    server: FaultServer, tmp_path: Path
) -> None:
    server.on("/good", Serve(body=TINY))
    server.on("/gone", status(410))
    made: list[weakref.ref[Recording]] = []

    def many() -> Iterator[Recording]:
        for index in range(240):
            recording = of(index % 20, server.url("/gone" if index % 4 else "/good"))
            made.append(weakref.ref(recording))
            yield recording

    most = count = 0
    async with (
        Downloader(limits(server, connections=3)) as downloader,
        fetch_wavs(downloader, many(), tmp_path, workers=2) as outcomes,
    ):
        async for _ in outcomes:
            count += 1
            if count % 20 == 0:
                gc.collect()
                most = max(most, sum(ref() is not None for ref in made))

    assert count == 240
    # Seven under way, the one in hand and the one before.
    assert 1 <= most <= 9


async def test_one_downloads_while_another_decodes(
    server: FaultServer, tmp_path: Path
) -> None:
    """With one connection and one decoder; none of it depends on the time it takes."""
    long = server.on("/0", Serve(body=LONG))
    tiny = [server.on(f"/{index}", Serve(body=TINY)) for index in range(1, 4)]

    async def come() -> AsyncGenerator[Recording, None]:
        yield of(0, long)
        await until(lambda: is_decoding(tmp_path))
        for index, url in enumerate(tiny, 1):
            yield of(index, url)

    ended: list[int] = []

    async def take(outcomes: AsyncIterator[FetchOutcome]) -> None:
        async for outcome in outcomes:
            ended.append(outcome.index)  # noqa: PERF401 - seen as they come

    async with (
        Downloader(limits(server, connections=1)) as downloader,
        contextlib.aclosing(come()) as recordings,
        fetch_wavs(downloader, recordings, tmp_path, workers=1) as outcomes,
        anyio.create_task_group() as group,
    ):
        group.start_soon(take, outcomes)
        await until(lambda: server.sent("/2") == len(TINY))
        # The only decoder is at work on the first one; another one would be ready.
        await anyio.sleep(1.0)
        assert ended == []
        group.cancel_scope.cancel()


async def test_there_are_as_many_decoders_as_workers(
    server: FaultServer, tmp_path: Path
) -> None:
    long = server.on("/0", Serve(body=LONG))
    tiny = server.on("/1", Serve(body=TINY))

    async def come() -> AsyncIterator[Recording]:
        yield of(0, long)
        await until(lambda: is_decoding(tmp_path))
        yield of(1, tiny)

    with anyio.fail_after(60):
        async with (
            Downloader(limits(server)) as downloader,
            fetch_wavs(downloader, come(), tmp_path, workers=2) as outcomes,
        ):
            assert (await anext(outcomes)).index == 1


def busy() -> set[int]:
    """Give the helper processes that use the processor."""

    def used() -> dict[int, float]:
        found = {}
        for child in psutil.Process().children():
            try:
                found[child.pid] = child.cpu_times().user
            except psutil.Error:
                continue
        return found

    before = used()
    time.sleep(0.3)
    return {pid for pid, now in used().items() if now - before.get(pid, now) > 0.05}


@pytest.mark.parametrize("way", ["left", "error", "cancelled"])
async def test_leaving_the_block_early_stops_everything(
    server: FaultServer, tmp_path: Path, way: str
) -> None:
    server.on("/tiny", Serve(body=TINY, stay=False))
    server.on("/long", Serve(body=LONG, stay=False))
    server.on("/stall", Serve(body=wav_of(900_000), cut=600_000, stall=True))
    paths = ["tiny", "long", "long", "stall", "stall", "tiny", "long"]

    async def come() -> AsyncIterator[Recording]:
        for index, path in enumerate(paths):
            yield of(index, server.url(f"/{path}"))
            # Before the long ones take all decoders.
            await until(lambda: "c0_speaker.wav" in names(tmp_path))

    own = DecodeOptions(limits=ChildLimits(open_files=77))

    async def use(downloader: Downloader) -> None:
        async with fetch_wavs(
            downloader, come(), tmp_path, workers=2, options=own
        ) as outcomes:
            async for outcome in outcomes:
                assert outcome.error is None
                assert outcome.wav is not None
                await until(lambda: server.sent("/stall") == 1_200_000)
                await until(lambda: len(list(tmp_path.glob("*.part"))) >= 2)
                if way == "error":
                    raise ZeroDivisionError
                if way == "cancelled":
                    scope.cancel()
                    await anyio.sleep_forever()
                return

    async with Downloader(limits(server)) as downloader:
        with anyio.fail_after(60), anyio.CancelScope() as scope:
            try:
                await use(downloader)
            except ZeroDivisionError:
                assert way == "error"
        assert scope.cancelled_caught == (way == "cancelled")
        assert server.open_connections() == 0

    limiter = anyio.to_thread.current_default_thread_limiter()
    assert limiter.borrowed_tokens == 0
    # One that is being killed is busy for a moment; one that decodes for much longer.
    assert any(busy() == set() for _ in range(5))
    assert not [path for path in tmp_path.glob("*.wav") if path.stat().st_size > 10_000]
    # Each part that is left has its state, and there are no others.
    left = {path.stem for path in tmp_path.glob("*.part")}
    assert {path.stem for path in tmp_path.glob("*.json")} == left


async def test_two_of_one_name_come_one_after_the_other(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are fetched, and what is told of each is true of it."""
    real = fetch._facts

    def slow(path: Path) -> tuple[int, str]:
        # Long enough for the next one, if it came to that.
        time.sleep(0.2)
        return real(path)

    monkeypatch.setattr(fetch, "_facts", slow)
    seconds = (1.0, 2.0, 3.0)
    bodies = [encode("flac", signal(8_000, 1, one), 8_000) for one in seconds]
    for index, body in enumerate(bodies):
        server.on(f"/{index}", Serve(body=body, etag=f'"{index}"'))
    recordings = [of("same", server.url(f"/{index}")) for index in range(3)]
    wavs = set()
    for body in bodies:
        await standardize(body, tmp_path / "o.wav")
        wavs.add(hashlib.sha256((tmp_path / "o.wav").read_bytes()).hexdigest())

    async with Downloader(limits(server)) as downloader:
        for _ in range(2):
            found = await all_of(downloader, recordings, tmp_path, workers=2)
            for index, outcome in found.items():
                assert outcome.error is None
                assert outcome.wav is not None
                frames = 16_000 * int(seconds[index])
                assert outcome.wav.file.frames == frames
                assert outcome.wav.size == (tmp_path / "o.wav").stat().st_size - (
                    2 * (48_000 - frames)
                )
                assert outcome.wav.source.size == len(bodies[index])
            assert {one.wav.sha256 for one in found.values() if one.wav} == wavs
            last = (tmp_path / "csame_speaker.wav").read_bytes()
            assert hashlib.sha256(last).hexdigest() in wavs
            assert names(tmp_path) == {"o.wav", "csame_speaker.wav"}


async def test_an_error_of_the_recordings_is_raised_bare(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a", Serve(body=TINY, stay=False))

    def broken() -> Iterator[Recording]:
        yield of(1, url)
        raise LookupError("no such column")

    async with Downloader(limits(server)) as downloader:
        with pytest.raises(LookupError, match="no such column"):
            await all_of(downloader, broken(), tmp_path)

    assert server.open_connections() == 0


@pytest.mark.parametrize("workers", [0, -1])
async def test_there_is_at_least_one_worker(
    server: FaultServer, tmp_path: Path, workers: int
) -> None:
    async with Downloader(limits(server)) as downloader:
        with pytest.raises(
            ValueError, match=f"workers must be at least 1, not {workers}"
        ):
            await all_of(downloader, [], tmp_path, workers=workers)


async def test_a_rate_out_of_range_is_raised_bare(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a", Serve(body=TINY))

    async with Downloader(limits(server)) as downloader:
        with pytest.raises(ValueError, match="rate must be 4000 to 192000 Hz, not 1"):
            await all_of(downloader, [of(1, url)], tmp_path, rate=1)

    assert names(tmp_path) == set()


async def test_a_progress_bar_goes_round_it(
    server: FaultServer, tmp_path: Path
) -> None:
    from tqdm.asyncio import tqdm

    url = server.on("/a", Serve(body=TINY))
    recordings = [of(index, url) for index in range(3)]
    screen = io.StringIO()

    async with (
        Downloader(limits(server)) as downloader,
        fetch_wavs(downloader, recordings, tmp_path) as outcomes,
    ):
        async for _ in tqdm(outcomes, total=3, file=screen):
            pass

    assert "3/3" in screen.getvalue()


async def test_the_event_loop_is_not_held_up(
    server: FaultServer,
    tmp_path: Path,
    recording: Callable[..., Path],
    loop_lag: Callable[[], AbstractAsyncContextManager[Any]],
) -> None:
    for kind in ("mp3", "flac", "m4a"):
        server.on(f"/{kind}", Serve(body=recording(kind).read_bytes()))
    recordings = [
        of(index, server.url(f"/{('mp3', 'flac', 'm4a')[index % 3]}"))
        for index in range(30)
    ]

    lags: list[float] = []
    async with Downloader(limits(server, durable=True)) as downloader:
        # What is imported and started once is not what is measured.
        await all_of(downloader, recordings[:3], tmp_path, workers=2)
        # On a busy machine a thread may be stopped while it holds the interpreter's
        # lock; what blocks the loop by itself does it each time.
        while len(lags) < 3 and min(lags, default=1.0) >= 0.05:
            async with loop_lag() as lag:
                found = await all_of(downloader, recordings, tmp_path, workers=2)
            lags.append(lag.longest_s)
            assert len(found) == 30
            assert all(outcome.error is None for outcome in found.values())

    assert len(names(tmp_path)) == 30
    assert min(lags) < 0.05
