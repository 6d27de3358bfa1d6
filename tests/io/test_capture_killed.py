"""Killed at any moment: no acknowledged byte is lost, and each session goes on."""

from __future__ import annotations

import random
import signal as signals
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import av
import numpy as np
import pytest
import soundfile
from capture_child import RATE, REPORT
from make_audio import encode, signal

from voicepipe.io.capture.store import CaptureStore
from voicepipe.stream.assembler.assembler import ChunkAssembler


if TYPE_CHECKING:
    import numpy.typing as npt
    from stress_report import Report

    from voicepipe.io.capture.values import SessionInfo


CHILD = Path(__file__).parents[1] / "capture_child.py"

# Kinds whose sessions go on bit by bit; the others have a seam.
EXACT = {"raw", "wav", "flac"}

SEAM_S = 0.05

# What a reader may hold back to tell what comes next, bytes of 16-bit samples.
HELD_BYTES = 256


def sources(folder: Path, seconds: float) -> dict[str, bytes]:
    """Write what is to be streamed, and give it."""
    folder.mkdir()
    samples = signal(RATE, 1, seconds)
    raw = np.random.default_rng(5).integers(-9_000, 9_000, round(RATE * seconds))
    made = {
        "raw": raw.astype("<i2").tobytes(),
        "wav": encode("wav", samples, RATE),
        "flac": encode("flac", samples, RATE),
        "mp3": encode("mp3-plain", signal(RATE, 1, seconds), RATE),
        "resampled": encode("wav", signal(8_000, 1, seconds), 8_000),
    }
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return made


def decoded(name: str, data: bytes, *, ended: bool = True) -> npt.NDArray[np.int16]:
    """Give what an uninterrupted session makes of some bytes."""
    form = name if name in {"mp3", "flac"} else "wav"
    assembler = ChunkAssembler(rate=RATE, format=form)  # type: ignore[arg-type]
    pieces = [*assembler.push(data), *(assembler.flush() if ended else ())]
    return np.concatenate([np.zeros((0, 1), np.int16), *pieces])[:, 0]


class Run:
    """One life of the process that streams."""

    def __init__(
        self, loop: str, folder: Path, given: Path, pause_s: float, seed: int
    ) -> None:
        command = [sys.executable, str(CHILD), loop, str(folder), str(given)]
        self._process = subprocess.Popen(
            [*command, str(pause_s), str(seed)], stdout=subprocess.PIPE
        )
        self.acknowledged: dict[int, int] = {}
        self.reports = 0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        while len(report := self._process.stdout.read(REPORT.size)) == REPORT.size:
            number, size = REPORT.unpack(report)
            self.acknowledged[number] = size
            self.reports += 1

    def kill(self, after_s: float) -> None:
        """Kill it some time after it has begun to stream."""
        while not self.reports and self._process.poll() is None:
            time.sleep(0.005)
        time.sleep(after_s)
        self._process.send_signal(signals.SIGKILL)
        self.end()

    def end(self) -> int:
        """Wait for its end, and for what it has told."""
        status = self._process.wait()
        self._reader.join()
        assert self._process.stdout
        self._process.stdout.close()
        return status


def recovered(folder: Path) -> dict[str, SessionInfo]:
    """Open the store, and give its sessions by name."""

    async def ask() -> dict[str, SessionInfo]:
        async with CaptureStore(folder) as store:
            return {info.user_id: info for info in await store.list()}

    return anyio.run(ask)


def check_readable(info: SessionInfo) -> npt.NDArray[np.int16]:
    """Read a file with two independent readers; give its samples."""
    samples, rate = soundfile.read(info.path, dtype="int16")
    assert rate == RATE
    with av.open(str(info.path)) as container:
        stream = container.streams.audio[0]
        assert stream.rate == RATE
        frames = sum(frame.samples for frame in container.decode(stream))
    assert frames == len(samples) == round(info.duration * RATE)
    return np.asarray(samples)


def seconds_apart(found: npt.NDArray[np.int16], wanted: npt.NDArray[np.int16]) -> float:
    return float(np.count_nonzero(found != wanted)) / RATE


def stream_and_kill(tmp_path: Path, kills: int, seconds: float) -> dict[str, float]:
    """Kill the process so often; give the seams' seconds by kind."""
    given = tmp_path / "sources"
    made = sources(given, seconds)
    names = sorted(made)
    folder = tmp_path / "store"
    chance = random.Random(kills)
    acknowledged: dict[int, int] = {}
    for turn in range(kills):
        loop = ("asyncio", "trio")[turn % 2]
        run = Run(loop, folder, given, 0.004, turn)
        run.kill(chance.uniform(0.0, 0.3))
        acknowledged |= run.acknowledged
        for name, info in recovered(folder).items():
            assert info.status == "interrupted"
            assert info.bytes_received >= acknowledged.get(names.index(name), 0)
            assert info.bytes_received <= len(made[name])
            samples = check_readable(info)
            if name in EXACT:
                wanted = decoded(name, made[name][: info.bytes_received])
                assert np.array_equal(samples, wanted[: len(samples)])
            if name in {"raw", "wav"}:
                missing = len(wanted) - len(samples)
                assert missing * 2 <= HELD_BYTES
    # The last life goes on to the end.
    run = Run("asyncio", folder, given, 0.0, kills)
    assert run.end() == 0
    found = anyio.run(close_all, folder)
    assert set(found) == set(names)
    apart = {}
    for name, info in found.items():
        assert info.status == "completed"
        assert info.bytes_received == len(made[name])
        samples, wanted = check_readable(info), decoded(name, made[name])
        assert len(samples) == len(wanted)
        apart[name] = seconds_apart(samples, wanted)
    return apart


async def close_all(folder: Path) -> dict[str, SessionInfo]:
    async with CaptureStore(folder) as store:
        return {
            info.user_id: await store.close_session(info.session_id)
            for info in await store.list()
        }


def test_no_acknowledged_byte_is_lost_in_ten_kills(tmp_path: Path) -> None:
    apart = stream_and_kill(tmp_path, 10, 150.0)

    assert {name: apart[name] for name in EXACT} == dict.fromkeys(EXACT, 0.0)
    for name in apart.keys() - EXACT:
        assert apart[name] <= 10 * SEAM_S


@pytest.mark.stress
@pytest.mark.timeout(3_600)
def test_no_acknowledged_byte_is_lost_in_a_hundred_kills(
    tmp_path: Path, stress_report: Report
) -> None:
    apart = stream_and_kill(tmp_path, 100, 900.0)

    stress_report(
        "process that records 5 live sessions killed 100 times",
        "0 acknowledged bytes lost; seams: "
        + ", ".join(f"{name} {apart[name] * 1_000:.0f} ms" for name in sorted(apart)),
    )
    assert {name: apart[name] for name in EXACT} == dict.fromkeys(EXACT, 0.0)
    for name in apart.keys() - EXACT:
        assert apart[name] <= 100 * SEAM_S
