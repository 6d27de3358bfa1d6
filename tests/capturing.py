"""What the tests of captured sessions share."""

from __future__ import annotations

import contextlib
import functools
import shutil
from typing import TYPE_CHECKING

import anyio
import numpy as np
import soundfile

from voicepipe.io.capture.journal import opened, segments
from voicepipe.io.capture.records import HEAD_BYTES, Head
from voicepipe.io.capture.values import SessionSpec


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from voicepipe.io.capture.connection import CaptureConnection
    from voicepipe.io.capture.values import SessionInfo


RATE = 16_000

SPEC = SessionSpec(rate=RATE)


def sound(begin: int, end: int, seed: int = 0) -> bytes:
    """Give some bytes out of a long row of samples; each seed has another one."""
    row = _row(seed)
    assert end <= len(row)
    return row[begin:end]


@functools.cache
def _row(seed: int) -> bytes:
    row = np.random.default_rng(seed).integers(-9_000, 9_000, 1 << 20)
    return bytes(row.astype("<i2").tobytes())


async def write_all(
    connection: CaptureConnection, begin: int, end: int, size: int, seed: int = 0
) -> None:
    """Write a stretch of the row in chunks."""
    for at in range(begin, end, size):
        await connection.write(sound(at, min(at + size, end), seed))


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that nobody tells."""
    with anyio.fail_after(60):
        while not true():  # noqa: ASYNC110
            await anyio.sleep(0.01)


def samples_of(info: SessionInfo) -> bytes:
    """Give the samples of a file, as bytes."""
    samples, rate = soundfile.read(info.path, dtype="int16")
    assert rate == info.rate
    assert len(samples) == round(info.duration * info.rate)
    return bytes(np.asarray(samples).astype("<i2").tobytes())


def killed(folder: Path, copy: Path) -> Path:
    """
    Copy a folder as a process that is killed now would leave it.

    A store's threads may be at work on it: copied again until nothing has changed.
    """
    while True:
        before = _looks(folder)
        with contextlib.suppress(shutil.Error):
            shutil.copytree(folder, copy)
            if _looks(folder) == before:
                return copy
        shutil.rmtree(copy)


def _looks(folder: Path) -> dict[str, tuple[int, int]]:
    """Give each file's size and time of its last change."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found[str(path)] = (status.st_size, status.st_mtime_ns)
    return found


def after_power_cut(folder: Path) -> Path:
    """Let a journal look as if it was written before the machine was started."""
    for _, path in segments(folder):
        with opened(path) as segment:
            assert segment is not None
            head = segment[0]
        other = Head(number=head.number, boot=bytes(16), seed=head.seed)
        with path.open("r+b") as file:
            file.write(other.pack())
            assert file.tell() == HEAD_BYTES
    return folder
