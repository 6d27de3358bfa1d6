"""Decoding in helper processes: the same sound, and no harm done."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import attrs
import numpy as np
import psutil
import pytest
from make_audio import EIGHT, encode
from make_audio import signal as sound

from voicepipe import (
    ChildLimits,
    DecodeOptions,
    DecoderCrashedError,
    DecoderTimeoutError,
    NotAudioError,
    TruncatedAudioError,
    UnsupportedAudioError,
    iter_audio,
    read_audio,
    standardize,
)


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path


ISOLATED = DecodeOptions(isolated=True)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test has a temporary directory of its own, empty again at the end."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(scratch))
    yield
    assert list(scratch.iterdir()) == []


def decoders() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if is_decoder(child)]


def pids() -> set[int]:
    return {helper.pid for helper in decoders()}


def is_decoder(process: psutil.Process) -> bool:
    try:
        return "serve" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def worked_s(process: psutil.Process) -> float:
    try:
        return process.cpu_times().user
    except psutil.Error:
        return 0.0


@pytest.mark.parametrize("kind", EIGHT)
async def test_the_sound_is_the_same_bit_for_bit(
    recording: Callable[..., Path], kind: str
) -> None:
    path = recording(kind)

    here = await read_audio(path, rate=16_000)
    there = await read_audio(path, rate=16_000, options=ISOLATED)

    assert np.array_equal(here.samples, there.samples)
    assert (here.rate, here.report) == (there.rate, there.report)


async def test_blocks_and_files_are_the_same_too(
    recording: Callable[..., Path], tmp_path: Path
) -> None:
    path = recording("mp3")
    shares: list[float] = []

    here = [block async for block in iter_audio(path, rate=8_000, block_s=1.0)]
    there = [
        block
        async for block in iter_audio(
            path, rate=8_000, block_s=1.0, options=ISOLATED, progress=shares.append
        )
    ]
    one = await standardize(path, tmp_path / "here.wav")
    two = await standardize(path, tmp_path / "there.wav", options=ISOLATED)

    assert [b.start for b in here] == [b.start for b in there]
    assert all(
        np.array_equal(a.samples, b.samples) for a, b in zip(here, there, strict=True)
    )
    assert there[-1].report == here[-1].report
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert one.path.read_bytes() == two.path.read_bytes()
    assert attrs.evolve(one, path=two.path) == two


async def test_bytes_and_file_objects_are_read(recording: Callable[..., Path]) -> None:
    data = recording("flac").read_bytes()
    here = await read_audio(data)
    file = io.BytesIO(data)
    file.seek(100)

    there = [
        await read_audio(data, options=ISOLATED),
        await read_audio(file, options=ISOLATED),
    ]

    assert not file.closed
    assert all(np.array_equal(here.samples, audio.samples) for audio in there)


async def test_errors_are_those_of_the_recording(
    recording: Callable[..., Path], tmp_path: Path
) -> None:
    page = tmp_path / "page.wav"
    page.write_text("<html>")
    cut = tmp_path / "cut.mp3"
    cut.write_bytes(recording("mp3").read_bytes()[:50_000])

    with pytest.raises(NotAudioError) as not_audio:
        await read_audio(page, options=ISOLATED)
    with pytest.raises(NotAudioError) as nameless:
        await read_audio(b"<html>", options=ISOLATED)
    with pytest.raises(TruncatedAudioError) as truncated:
        await standardize(cut, tmp_path / "out.wav", options=ISOLATED)
    with pytest.raises(FileNotFoundError):
        await read_audio(tmp_path / "nothing.wav", options=ISOLATED)
    with pytest.raises(ValueError, match="rate must be"):
        await read_audio(recording("wav"), rate=1, options=ISOLATED)
    with pytest.raises(UnsupportedAudioError) as unsupported:
        await read_audio(recording("wav"), channels=5, options=ISOLATED)

    assert not_audio.value.source == os.fspath(page)
    assert nameless.value.source is None
    assert truncated.value.decoded_s > 1
    assert unsupported.value.got == "2 channels"
    assert not (tmp_path / "out.wav").exists()


async def test_what_is_accepted_goes_along(recording: Callable[..., Path]) -> None:
    data = recording("mp3").read_bytes()
    lenient = attrs.evolve(ISOLATED, allow_truncated=True)
    short = attrs.evolve(ISOLATED, max_duration_s=2.0)

    audio = await read_audio(data[:50_000], options=lenient)
    with pytest.raises(UnsupportedAudioError, match="more than 2 s"):
        await read_audio(data, options=short)

    assert audio.report is not None
    assert audio.report.truncated


async def killed(number: int, call: Callable[[], Awaitable[object]]) -> None:
    """Kill the helper in the midst of its work."""

    before = {helper.pid: worked_s(helper) for helper in decoders()}

    def kill() -> None:
        until = time.monotonic() + 100
        while time.monotonic() < until:
            for helper in decoders():
                # At work on the long recording, and no more being started.
                if worked_s(helper) - before.get(helper.pid, 0.0) > 1.0:
                    helper.send_signal(number)
                    return
            time.sleep(0.005)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        await call()
    finally:
        thread.join()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_a_decoder_that_dies_costs_its_call_and_no_more(
    hours_mp3: Path, recording: Callable[..., Path], tmp_path: Path, number: int
) -> None:
    options = attrs.evolve(ISOLATED, limits=ChildLimits(open_files=100 + number))
    target = tmp_path / "out.wav"

    with pytest.raises(DecoderCrashedError) as error:
        await killed(number, lambda: standardize(hours_mp3, target, options=options))
    after = await read_audio(recording("mp3"), options=options)

    assert error.value.returncode == -number
    assert error.value.retryable == (number == signal.SIGKILL)
    assert error.value.source == os.fspath(hours_mp3)
    assert list(tmp_path.glob("*.wav")) == list(tmp_path.glob(".*.part")) == []
    assert after.duration == 8.0


async def test_a_decoder_that_hangs_is_given_up(
    hours_mp3: Path, tmp_path: Path
) -> None:
    limits = ChildLimits(open_files=40, stall_s=3.0)
    options = attrs.evolve(ISOLATED, limits=limits)

    begin = time.monotonic()
    with pytest.raises(DecoderTimeoutError, match="no sign of life") as error:
        await killed(
            signal.SIGSTOP,
            lambda: standardize(hours_mp3, tmp_path / "o", options=options),
        )

    assert error.value.limit_s == 3.0
    assert isinstance(error.value, TimeoutError)
    assert time.monotonic() - begin < 110
    assert list(tmp_path.glob("o*")) == []


async def test_a_decoder_that_takes_too_long_is_stopped(
    tmp_path: Path, hours_mp3: Path
) -> None:
    limits = ChildLimits(open_files=41, cpu_s=1.0)
    options = attrs.evolve(ISOLATED, limits=limits)
    with pytest.raises(DecoderTimeoutError, match="processor time") as error:
        async for _ in iter_audio(hours_mp3, options=options):
            pass

    assert error.value.limit_s == 1.0


async def test_cancelling_stops_the_decoder_at_once(
    hours_mp3: Path, tmp_path: Path
) -> None:
    options = attrs.evolve(ISOLATED, limits=ChildLimits(open_files=42))
    others = pids()
    await read_audio(sound_bytes(), options=options)
    used = pids() - others

    took_s: list[float] = []
    # Shorter than decoding it would take; a busy machine may be slower, but not often.
    while len(took_s) < 3 and min(took_s, default=10.0) >= 10.0:
        begin = time.monotonic()
        with anyio.move_on_after(0.3):
            await standardize(hours_mp3, tmp_path / "o.wav", options=options)
        took_s.append(time.monotonic() - begin)

    assert min(took_s) < 10.0
    assert list(tmp_path.glob("*.wav")) == list(tmp_path.glob(".*.part")) == []
    assert len(used) == 1
    assert used.isdisjoint(pids())


async def test_leaving_a_loop_early_leaves_nothing(long_mp3: Path) -> None:
    limits = ChildLimits(open_files=43)
    options = attrs.evolve(ISOLATED, limits=limits)

    async with aclosing(iter_audio(long_mp3, options=options)) as blocks:
        async for block in blocks:
            assert block.frames == 441_000
            break
    audio = await read_audio(sound_bytes(), options=options)

    assert audio.duration == 1.0


async def test_helpers_are_kept_for_the_next_call() -> None:
    options = attrs.evolve(ISOLATED, limits=ChildLimits(open_files=50))
    await read_audio(sound_bytes(), options=options)
    before = pids()

    for _ in range(3):
        await read_audio(sound_bytes(), options=options)
        with pytest.raises(NotAudioError):
            await read_audio(b"<html>", options=options)

    # Those of other tests may have ended meanwhile.
    assert before
    assert pids() <= before


def sound_bytes() -> bytes:
    return encode("wav", sound(8_000, 1, 1.0), 8_000)


SCRIPT = """
import sys
import anyio
from voicepipe import DecodeOptions, read_audio
audio = anyio.run(
    lambda: read_audio(sys.argv[1], options=DecodeOptions(isolated=True)),
    backend=sys.argv[2],
)
print(audio.duration)
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("way", ["script", "stdin"])
def test_a_script_needs_no_main_guard(
    recording: Callable[..., Path], tmp_path: Path, way: str, backend: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    name = "-" if way == "stdin" else os.fspath(script)

    out = subprocess.run(
        [sys.executable, name, recording("mp3"), backend],
        input=SCRIPT if way == "stdin" else None,
        capture_output=True,
        check=True,
        text=True,
    )

    assert out.stdout == "8.0\n"
    assert out.stderr == ""
