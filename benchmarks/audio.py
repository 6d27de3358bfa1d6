"""Reading, standardizing and resampling against what users would pick instead."""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import anyio
import av
import imageio_ffmpeg
import numpy as np
import soundfile
import soxr
from case import Case

from voicepipe import (
    DecodeOptions,
    Resampler,
    read_audio,
    standardize,
    standardize_many,
)


SAMPLE = Path(__file__).parents[1] / "examples" / "data" / "sample_call.flac"
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
INSTALLED = shutil.which("ffmpeg")
CODECS = {".mp3": "libmp3lame", ".m4a": "aac", ".flac": "flac"}
CALLS = 200
WORKERS = 2


def standardize_cases(folder: Path) -> list[Case]:
    """Ten minutes of 44.1 kHz stereo to a 16 kHz mono WAV."""
    return [
        Case(
            name=f"`standardize`, 10 min 44.1 kHz stereo {suffix[1:].upper()}",
            peer_name="ffmpeg (static build), `-ar 16000 -ac 1`",
            ours=lambda source=source: anyio.run(
                standardize, source, folder / "ours.wav"
            ),
            peer=lambda source=source: ffmpeg(source, folder / "peer.wav"),
        )
        for suffix, source in ((suffix, long_file(folder, suffix)) for suffix in CODECS)
    ]


def ffmpeg(source: Path, target: Path) -> None:
    """Convert as the command line does."""
    subprocess.run(
        [
            *(FFMPEG, "-v", "error", "-y", "-i", source),
            *("-ar", "16000", "-ac", "1", target),
        ],
        check=True,
    )


def many_cases(folder: Path) -> list[Case]:
    """
    Two hundred telephone calls of 30 s, two at a time.

    Much of a short call's time goes into starting the program, and a static build
    starts faster than a distribution's, which loads two hundred libraries.
    """
    sources, ours, peers = (folder / name for name in ("calls", "ours", "peers"))
    for place in (sources, ours, peers):
        place.mkdir()
    samples, rate = soundfile.read(SAMPLE, dtype="float32")
    samples = soxr.resample(samples.mean(axis=1), rate, 8_000)
    for index in range(CALLS):
        begin = 1_000 * (index % 40)
        call = samples[begin : begin + 30 * 8_000, np.newaxis]
        encode(sources / f"{index}.mp3", "libmp3lame", call, 8_000)
    pairs = [(path, ours / f"{path.stem}.wav") for path in sources.iterdir()]

    async def convert() -> None:
        async with standardize_many(pairs, workers=WORKERS) as outcomes:
            async for outcome in outcomes:
                if outcome.error is not None:
                    raise outcome.error

    def by_xargs(program: str) -> None:
        command = [program, "-v", "error", "-y", "-i", sources / "{}.mp3"]
        subprocess.run(
            [
                *("xargs", f"-P{WORKERS}", "-I{}", *command),
                *("-ar", "16000", "-ac", "1", peers / "{}.wav"),
            ],
            input="\n".join(path.stem for path in sources.iterdir()),
            check=True,
            text=True,
        )

    return [
        Case(
            name=f"`standardize_many(workers={WORKERS})`, {CALLS} telephone MP3s, 30 s",
            peer_name=f"`xargs -P{WORKERS} ffmpeg` ({kind})",
            ours=lambda: anyio.run(convert),
            peer=None if program is None else functools.partial(by_xargs, program),
        )
        for kind, program in (
            ("static build", FFMPEG),
            ("the system's", INSTALLED),
        )
    ]


def isolated_cases(folder: Path) -> list[Case]:
    """What a process of its own costs."""
    isolated = DecodeOptions(isolated=True)
    short = folder / "short.mp3"
    samples, rate = soundfile.read(SAMPLE, dtype="float32")
    encode(short, "libmp3lame", samples[: 30 * rate], rate)

    async def read(source: Path, options: DecodeOptions, times: int) -> None:
        for _ in range(times):
            await read_audio(source, rate=16_000, channels=1, options=options)

    return [
        Case(
            name=f"`read_audio(isolated=True)`, {name}",
            peer_name="`read_audio` in the same process",
            ours=lambda source=source, times=times: anyio.run(
                read, source, isolated, times
            ),
            peer=lambda source=source, times=times: anyio.run(
                read, source, DecodeOptions(), times
            ),
        )
        for name, source, times in (
            ("10 min 44.1 kHz stereo MP3", long_file(folder, ".mp3"), 1),
            ("30 s 16 kHz stereo MP3, 20 times", short, 20),
        )
    ]


def library_cases(folder: Path) -> list[Case]:
    """Ten minutes of MP3 to 16 kHz mono floats in memory, by other libraries."""
    source = long_file(folder, ".mp3")

    def ours() -> None:
        anyio.run(lambda: read_audio(source, rate=16_000, channels=1))

    def by_librosa() -> None:
        librosa.load(source, sr=16_000)

    def by_pydub() -> None:
        sound = pydub.AudioSegment.from_file(os.fspath(source), format="mp3")
        sound = sound.set_channels(1).set_frame_rate(16_000)
        np.array(sound.get_array_of_samples(), np.float32)

    librosa, pydub = installed("librosa"), installed("pydub")
    if pydub is not None:
        pydub.AudioSegment.converter = FFMPEG
    name = "`read_audio(rate=16_000, channels=1)`, 10 min 44.1 kHz stereo MP3"
    return [
        Case(
            name=name,
            peer_name="`librosa.load(sr=16_000)`",
            ours=ours,
            peer=None if librosa is None else by_librosa,
        ),
        Case(
            name=name,
            peer_name="`pydub`: `from_file`, `set_channels`, `set_frame_rate`",
            ours=ours,
            peer=None if pydub is None else by_pydub,
        ),
    ]


def installed(name: str) -> Any:
    """Import a peer, ``None`` where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def resample_case() -> Case:
    """Ten minutes in 20 ms pieces, against one call for all of it."""
    samples = np.random.default_rng(0).uniform(-1, 1, (600 * 8_000, 1))
    samples = samples.astype(np.float32)

    def pieces() -> None:
        resampler = Resampler(8_000, 16_000)
        for at in range(0, len(samples), 160):
            resampler.push(samples[at : at + 160])
        resampler.flush()

    return Case(
        name="`Resampler`, 10 min 8 to 16 kHz in 20 ms pieces",
        peer_name="`soxr.resample`, one call",
        ours=pieces,
        peer=lambda: soxr.resample(samples, 8_000, 16_000),
    )


def long_file(folder: Path, suffix: str) -> Path:
    """Give ten minutes of 44.1 kHz stereo of the sample call; made once."""
    path = folder / f"long{suffix}"
    if not path.exists():
        samples, rate = soundfile.read(SAMPLE, dtype="float32")
        samples = soxr.resample(samples, rate, 44_100)
        samples = np.tile(samples, (9, 1))[: 600 * 44_100]
        encode(path, CODECS[suffix], samples, 44_100)
    return path


def encode(
    path: Path,
    codec: str,
    samples: Any,
    rate: int,
    *,
    options: dict[str, str] | None = None,
    bitrate: int | None = None,
) -> None:
    """Encode samples, shape ``(frames, channels)``."""
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    with av.open(os.fspath(path), "w", options=options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate, layout=layout)
        if bitrate is not None:
            stream.bit_rate = bitrate
        resampler = av.AudioResampler(
            format=stream.codec_context.format.name, layout=layout, rate=rate
        )
        for at in range(0, len(samples), rate):
            block = np.ascontiguousarray(samples[at : at + rate].T)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate = rate
            for piece in resampler.resample(frame):
                container.mux(stream.encode(piece))
        for piece in resampler.resample(None):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
