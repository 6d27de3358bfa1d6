from __future__ import annotations

import asyncio  # noqa: TID251 - what cancels from outside anyio is tested
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import numpy as np
import psutil
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from make_audio import EIGHT, encode, signal

from voicepipe.errors import (
    AudioError,
    DamagedAudioError,
    NotAudioError,
    TruncatedAudioError,
    UnsupportedAudioError,
)
from voicepipe.io.options import DecodeOptions
from voicepipe.io.read import iter_audio, read_audio
from voicepipe.io.write import standardize, write_wav
from voicepipe.types import Audio


if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable


TESTS = Path(__file__).parents[1]


async def collect(source: Path | bytes, **how: object) -> list[Audio]:
    async with aclosing(iter_audio(source, **how)) as blocks:  # type: ignore[arg-type]
        return [block async for block in blocks]


def joined(blocks: list[Audio]) -> np.ndarray:
    return np.concatenate([block.samples for block in blocks])


def busy_threads() -> int:
    return int(anyio.to_thread.current_default_thread_limiter().borrowed_tokens)


def open_files(path: Path) -> list[str]:
    opened = psutil.Process().open_files()
    return [file.path for file in opened if file.path.startswith(str(path))]


# --- blocks ---------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [None, 8_000, 16_000])
@pytest.mark.parametrize("kind", EIGHT)
async def test_blocks_put_together_are_the_whole_bit_for_bit(
    recording: Callable[..., Path], kind: str, rate: int | None
) -> None:
    path = recording(kind)
    whole = await read_audio(path, rate=rate)

    for block_s in (0.1, 1.0, 3.7, 100.0):
        blocks = await collect(path, rate=rate, block_s=block_s)

        assert np.array_equal(joined(blocks), whole.samples)
        size = round(block_s * whole.rate)
        assert {block.frames for block in blocks[:-1]} <= {size}
        assert 0 < blocks[-1].frames <= size
        assert [block.start for block in blocks] == [
            index * size for index in range(len(blocks))
        ]
        assert {(block.rate, block.channels) for block in blocks} == {(whole.rate, 2)}


SHORT = encode("mp3", signal(44_100, 2, 2.0), 44_100)


@given(
    block_s=st.floats(0.004, 3.0),
    rate=st.sampled_from([None, 4_000, 16_000, 48_000]),
    channels=st.sampled_from([None, 1, 2]),
)
@settings(max_examples=25)
def test_any_block_length_gives_the_same_sound(
    block_s: float, rate: int | None, channels: int | None
) -> None:
    async def both() -> tuple[list[Audio], Audio]:
        whole = await read_audio(SHORT, rate=rate, channels=channels)
        how = {"rate": rate, "channels": channels, "block_s": block_s}
        return await collect(SHORT, **how), whole

    blocks, whole = anyio.run(both)

    assert np.array_equal(joined(blocks), whole.samples)
    assert all(block.frames == round(block_s * whole.rate) for block in blocks[:-1])


async def test_one_channel_is_the_mean(recording: Callable[..., Path]) -> None:
    stereo = await read_audio(recording("wav"))

    mono = await read_audio(recording("wav"), channels=1)

    assert np.array_equal(mono.samples, stereo.mono().samples)


async def test_channels_that_are_not_there_are_refused(
    recording: Callable[..., Path],
) -> None:
    with pytest.raises(UnsupportedAudioError) as error:
        await read_audio(recording("wav"), channels=3)

    assert (error.value.got, error.value.wanted) == ("2 channels", "3 channels")


@pytest.mark.parametrize("block_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_block_has_a_length(block_s: float) -> None:
    with pytest.raises(ValueError, match="block_s"):
        iter_audio("any", block_s=block_s)


async def test_a_block_is_at_least_one_frame(recording: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match="block_s"):
        await collect(recording("wav"), block_s=1e-6)


async def test_a_rate_out_of_range_is_a_value_error(
    recording: Callable[..., Path],
) -> None:
    with pytest.raises(ValueError, match="rate"):
        await read_audio(recording("wav"), rate=1)


async def test_full_scale_stays_within_full_scale_when_resampled() -> None:
    square = np.where(np.arange(44_100) % 100 < 50, 1.0, -1.0)
    data = encode("flac", square.astype(np.float32)[:, np.newaxis], 44_100)

    audio = await read_audio(data, rate=16_000)

    assert audio.samples.max() == 1.0


@pytest.mark.parametrize("kind", EIGHT)
async def test_progress_never_falls_and_ends_at_one(
    recording: Callable[..., Path], kind: str
) -> None:
    shares: list[float] = []

    await collect(recording(kind), block_s=0.5, progress=shares.append)

    assert len(shares) >= 16
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.5
    assert shares[-1] == 1.0


async def test_the_blocks_before_an_error_are_given(
    recording: Callable[..., Path],
) -> None:
    data = recording("flac").read_bytes()
    whole = await read_audio(data, rate=16_000)
    middle = len(data) // 2

    for part, kind in (
        (data[:middle], TruncatedAudioError),
        (data[:middle] + data[middle + 100 :], DamagedAudioError),
    ):
        blocks: list[Audio] = []
        error = await failure(iter_audio(part, rate=16_000, block_s=1.0), blocks)
        assert isinstance(error, kind)
        assert len(blocks) == 3
        assert np.array_equal(joined(blocks), whole.samples[:48_000])


async def failure(
    blocks: AsyncGenerator[Audio, None], given: list[Audio]
) -> AudioError | None:
    try:
        async for block in blocks:
            given.append(block)  # noqa: PERF401 - it is to hold what came before
    except AudioError as error:
        return error
    return None


async def test_leaving_a_loop_early_closes_the_file(
    long_mp3: Path,
) -> None:
    async with aclosing(iter_audio(long_mp3, block_s=0.1)) as blocks:
        async for _ in blocks:
            assert open_files(long_mp3)
            break

    assert not open_files(long_mp3)
    assert busy_threads() == 0


# --- long recordings ------------------------------------------------------------------


async def test_the_event_loop_stays_free(
    long_mp3: Path, least_lag: Callable[..., Awaitable[float]]
) -> None:
    async def read() -> None:
        with anyio.move_on_after(1.5):
            await read_audio(long_mp3, rate=16_000)

    assert await least_lag(read) < 0.05


@pytest.mark.parametrize("function", ["read", "iterate", "standardize"])
async def test_cancellation_takes_effect_and_leaves_nothing(
    long_mp3: Path, tmp_path: Path, function: str
) -> None:
    work = {
        "read": lambda: read_audio(long_mp3, rate=16_000),
        "iterate": lambda: collect(long_mp3, block_s=3_600.0),
        "standardize": lambda: standardize(long_mp3, tmp_path / "out.wav"),
    }[function]

    for delay in (0.0, 0.03, 0.2):
        late: list[float] = []
        # About 0.1 s on a machine that does nothing else, now and then more on another.
        while len(late) < 4 and min(late, default=1.0) >= 0.5:
            with anyio.move_on_after(delay) as scope:
                await work()
            late.append(anyio.current_time() - scope.deadline)

            assert scope.cancelled_caught
            assert busy_threads() == 0
            assert list(tmp_path.iterdir()) == []
            assert not open_files(long_mp3)
        assert min(late) < 0.5


def test_a_task_cancelled_from_outside_anyio_leaves_nothing(
    long_mp3: Path, tmp_path: Path
) -> None:
    async def main(delay: float) -> None:
        task = asyncio.create_task(standardize(long_mp3, tmp_path / "out.wav"))
        await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list(tmp_path.iterdir()) == []
        assert not open_files(long_mp3)

    for delay in (0.0, 0.001, 0.05, 0.13):
        asyncio.run(main(delay))


MEMORY = """
import sys
import anyio
from voicepipe.io.read import iter_audio

sys.path.append(sys.argv[2])
from own_peak import peak_bytes

async def main():
    seconds = early = 0.0
    async for block in iter_audio(sys.argv[1], rate=16_000, channels=1):
        seconds += block.duration
        early = early or peak_bytes()
    print(seconds, peak_bytes() - early)

anyio.run(main)
"""


def test_an_hour_takes_no_more_memory_than_its_first_seconds(long_mp3: Path) -> None:
    out = subprocess.run(
        [sys.executable, "-c", MEMORY, long_mp3, TESTS],
        capture_output=True,
        check=True,
        text=True,
    )

    seconds, grown = map(float, out.stdout.split())
    assert seconds == pytest.approx(3_600, rel=0.01)
    # As float32 at 16 kHz it would be 230 MB.
    assert grown < 20 << 20


# --- files ----------------------------------------------------------------------------


async def test_a_standard_file_is_what_was_read(
    recording: Callable[..., Path], tmp_path: Path
) -> None:
    source, target = recording("opus"), tmp_path / "out.wav"
    audio = await read_audio(source, rate=16_000, channels=1)

    written = await standardize(source, target)

    samples, rate = sf.read(target, dtype="int16", always_2d=True)
    assert (rate, sf.info(target).subtype) == (16_000, "PCM_16")
    assert np.array_equal(samples, audio.pcm16())
    assert (written.path, written.rate, written.channels) == (target, 16_000, 1)
    assert written.frames == audio.frames
    assert list(tmp_path.iterdir()) == [target]


async def test_a_channel_can_be_picked(
    recording: Callable[..., Path], tmp_path: Path
) -> None:
    source, target = recording("wav"), tmp_path / "out.wav"
    audio = await read_audio(source)

    for index in (0, 1):
        await standardize(source, target, rate=44_100, channel=index)
        samples, _ = sf.read(target, dtype="float32")
        assert np.array_equal(samples, audio.samples[:, index])

    with pytest.raises(UnsupportedAudioError) as error:
        await standardize(source, target, channel=2)
    assert error.value.got == "2 channels"
    for bad in ({"channel": -1}, {"channel": 0, "channels": 2}):
        with pytest.raises(ValueError, match="channel"):
            await standardize(source, target, **bad)


async def test_all_channels_can_be_kept(
    recording: Callable[..., Path], tmp_path: Path
) -> None:
    target = tmp_path / "out.wav"

    written = await standardize(recording("wav"), target, rate=44_100, channels=None)

    assert written.channels == 2
    kept, rate = sf.read(target, dtype="int16")
    source, _ = sf.read(recording("wav"), dtype="int16")
    assert rate == 44_100
    assert np.array_equal(kept, source)


async def test_a_file_can_be_standardized_in_place(
    recording: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(recording("mp3").read_bytes())

    await standardize(path, path)

    assert sf.info(path).samplerate == 16_000


async def test_sound_is_written_and_read_back(tmp_path: Path) -> None:
    audio = Audio(samples=signal(11_025, 2, 3.0), rate=11_025)

    written = await write_wav(tmp_path / "out.wav", audio)

    again = await read_audio(written.path)
    assert (again.rate, written.duration) == (11_025, 3.0)
    assert np.array_equal(again.pcm16(), audio.pcm16())


async def test_no_frames_make_an_empty_file(tmp_path: Path) -> None:
    audio = Audio(samples=np.zeros((0, 1)), rate=8_000)

    written = await write_wav(tmp_path / "out.wav", audio)

    assert (written.frames, sf.info(written.path).frames) == (0, 0)


@pytest.mark.parametrize("before", [None, b"the old file"])
async def test_after_an_error_the_target_is_as_it_was(
    recording: Callable[..., Path], tmp_path: Path, before: bytes | None
) -> None:
    target = tmp_path / "out.wav"
    if before is not None:
        target.write_bytes(before)
    data = recording("flac").read_bytes()
    middle = len(data) // 2
    options = DecodeOptions(max_duration_s=5.0)

    with pytest.raises(NotAudioError):
        await standardize(b"text", target)
    with pytest.raises(TruncatedAudioError):
        await standardize(data[:middle], target)
    with pytest.raises(DamagedAudioError):
        await standardize(data[:middle] + data[middle + 99 :], target)
    with pytest.raises(UnsupportedAudioError):
        await standardize(data, target, options=options)
    with pytest.raises(FileNotFoundError):
        await standardize(tmp_path / "none.wav", target)

    assert (target.read_bytes() if target.exists() else None) == before
    assert len(list(tmp_path.iterdir())) == (before is not None)


async def test_a_symbolic_link_is_replaced_and_its_target_untouched(
    recording: Callable[..., Path], tmp_path: Path
) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(b"somebody's")
    link = tmp_path / "out.wav"
    link.symlink_to(other)

    await standardize(recording("wav"), link)

    assert not link.is_symlink()
    assert sf.info(link).samplerate == 16_000
    assert other.read_bytes() == b"somebody's"


@pytest.mark.parametrize("kind", ["missing", "file", "directory"])
async def test_a_target_that_cannot_be_is_an_os_error(
    recording: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    target = {
        "missing": tmp_path / "none" / "out.wav",
        "file": tmp_path / "file" / "out.wav",
        "directory": tmp_path / "directory",
    }[kind]

    with pytest.raises(OSError, match=r"No such|Not a directory|Is a directory"):
        await standardize(recording("wav"), target)
    with pytest.raises(OSError, match=r"No such|Not a directory|Is a directory"):
        await write_wav(target, Audio(samples=np.zeros(9), rate=8_000))

    assert sorted(p.name for p in tmp_path.rglob("*")) == ["directory", "file"]


FULL_DISK = """
import resource, sys, anyio
from voicepipe.io.write import standardize

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    anyio.run(standardize, *sys.argv[1:])
except OSError as error:
    print(error.strerror)
"""


def test_a_disk_that_is_full_leaves_nothing(
    recording: Callable[..., Path], tmp_path: Path
) -> None:
    target = tmp_path / "out.wav"
    target.write_bytes(b"the old file")

    out = subprocess.run(
        [sys.executable, "-c", FULL_DISK, recording("wav"), target],
        capture_output=True,
        check=True,
        text=True,
    )

    assert out.stdout.strip() == "File too large"
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_bytes() == b"the old file"


WRITERS = """
import sys, anyio
from voicepipe.io.write import standardize

while True:
    anyio.run(standardize, *sys.argv[1:])
"""


def test_a_kill_leaves_the_old_file_or_the_new_one(
    recording: Callable[..., Path], tmp_path: Path
) -> None:
    target = tmp_path / "out.wav"
    anyio.run(standardize, recording("wav"), target)
    whole = target.read_bytes()

    for wait in (0.01, 0.05):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITERS, recording("wav"), target]
        )
        target.unlink()
        while not target.exists():
            time.sleep(0.005)
        time.sleep(wait)
        child.kill()
        child.wait()

        assert target.read_bytes() == whole
        left = {path.name for path in tmp_path.iterdir()} - {"out.wav"}
        assert all(name.startswith(".voicepipe-") for name in left)
