"""What is held back of a recording is given at a pause, and never twice."""

from __future__ import annotations

import importlib.util
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from live_runner import APP, pcm, pieces, speech, wav, webm

from voicepipe.stream.packets.codec import AvPacketDecoder


if TYPE_CHECKING:
    from numpy.typing import NDArray


SAID = speech("thank you goodbye")


def app_module(name: str) -> Any:
    """Load a module of the app that needs none of its settings."""
    spec = importlib.util.spec_from_file_location(f"live_{name}", APP / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


intake = app_module("intake")


def file_of(form: str) -> bytes:
    if form == "webm":
        return webm(SAID)
    if form == "pcm":
        return pcm(SAID)
    if form == "flac":
        target = io.BytesIO()
        soundfile.write(target, SAID.samples, 16_000, format="FLAC")
        return target.getvalue()
    return wav(SAID)


async def heard(
    data: bytes, size: int, *, rate: int = 16_000, pauses: bool
) -> NDArray[np.int16]:
    """Take a file in pieces, with or without a pause behind each."""
    files = intake.Files(rate, 1, AvPacketDecoder)
    given = [np.zeros((0, 1), np.int16)]
    for piece in pieces(data, size):
        given += [samples async for samples in files.take(piece)]
        if pauses:
            given.append(await files.drain())
            given.append(await files.drain())
    given.append(await files.drain())
    files.close()
    return np.concatenate(given)


@pytest.mark.parametrize("size", [1_001, 7_777, 40_000])
@pytest.mark.parametrize("form", ["wav", "pcm", "flac"])
async def test_pauses_change_nothing_where_nothing_is_converted(
    form: str, size: int
) -> None:
    data = file_of(form)

    whole = await heard(data, len(data), pauses=False)
    paused = await heard(data, size, pauses=True)

    assert np.array_equal(paused, whole)
    assert len(whole) == len(SAID.samples)


@pytest.mark.parametrize("size", [1_777, 5_001])
@pytest.mark.parametrize(("form", "rate"), [("wav", 48_000), ("webm", 16_000)])
async def test_pauses_lose_no_time_and_double_none_where_sound_is_converted(
    form: str, rate: int, size: int
) -> None:
    data = file_of(form)

    whole = await heard(data, len(data), rate=rate, pauses=False)
    paused = await heard(data, size, rate=rate, pauses=True)

    assert len(paused) == len(whole)
    # Where a pause was, the filter had to end early; a little of that may be heard.
    difference = np.abs(paused.astype(float) - whole).mean()
    assert difference < 0.02 * np.abs(whole.astype(float)).mean() + 1


async def test_samples_are_cut_anywhere() -> None:
    data = pcm(SAID)
    samples = intake.Samples(2)
    given = [
        block for piece in pieces(data, 333) async for block in samples.take(piece)
    ]

    assert np.concatenate(given).tobytes() == data[: len(data) - len(data) % 4]


@pytest.mark.parametrize(
    ("data", "begins"),
    [
        (b"RIFF\0\0\0\0WAVEfmt ", True),
        (b"RIFF\0\0\0\0AVI LIST", False),
        (b"\x1a\x45\xdf\xa3\x9f", True),
        (b"OggS\0\2" + bytes(20), True),
        (b"OggS\0\0" + bytes(20), False),
        (b"fLaC\0", True),
        (b"\x1f\x43\xb6\x75", False),
        (b"", False),
    ],
)
def test_what_begins_a_recording_is_known(data: bytes, *, begins: bool) -> None:
    assert intake.begins_file(data) is begins
