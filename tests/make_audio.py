"""Recordings made while the tests run: the sound, and an encoder for each container."""

from __future__ import annotations

import io
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import av
import numpy as np
import soundfile as sf


if TYPE_CHECKING:
    import numpy.typing as npt


@attrs.frozen
class Encoder:
    """
    How to make one kind of file with PyAV.

    Attributes:
        muxer: FFmpeg's name of the container.
        codec: FFmpeg's name of the encoder.
        rate: The only rate the encoder is given, ``None`` for any.
        options: Of the muxer.
    """

    muxer: str
    codec: str
    rate: int | None = None
    options: dict[str, str] = attrs.field(factory=dict)


ENCODERS = {
    "mp3": Encoder("mp3", "libmp3lame"),
    "mp3-plain": Encoder(
        "mp3", "libmp3lame", options={"write_xing": "0", "id3v2_version": "0"}
    ),
    "opus": Encoder("ogg", "libopus", rate=48_000),
    "webm": Encoder("webm", "libopus", rate=48_000),
    "webm-live": Encoder("webm", "libopus", rate=48_000, options={"live": "1"}),
    "aac": Encoder("adts", "aac"),
    "m4a": Encoder("ipod", "aac"),
    "m4a-faststart": Encoder("ipod", "aac", options={"movflags": "faststart"}),
    "m4a-fragmented": Encoder(
        "mp4",
        "aac",
        options={
            "movflags": "frag_keyframe+empty_moov",
            "frag_duration": "500000",
        },
    ),
}

# PyAV has no encoder for Vorbis; libsndfile writes it, and the two exact formats.
SOUNDFILE = {"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS"}

EIGHT = ("mp3", "wav", "ogg", "opus", "flac", "aac", "m4a", "webm")
"""The kinds that a recording is expected in."""


def signal(rate: int, channels: int, seconds: float = 8.0) -> npt.NDArray[np.float32]:
    """Give tones, a sweep and noise, different on each channel; peak below 0.6."""
    frames = round(rate * seconds)
    t = np.arange(frames) / rate
    noise = np.random.default_rng(1).standard_normal((frames, channels))
    sweep = np.sin(2 * np.pi * (300 + 150 * t) * t)
    tones = [np.sin(2 * np.pi * (220 + 60 * index) * t) for index in range(channels)]
    mixed = 0.25 * np.stack(tones, axis=1) + 0.1 * sweep[:, None] + 0.02 * noise
    return mixed.astype(np.float32)


def encode(kind: str, samples: npt.NDArray[np.float32], rate: int) -> bytes:
    """Encode samples, shape ``(frames, channels)``, to a file of a kind."""
    if kind in SOUNDFILE:
        buffer = io.BytesIO()
        sf.write(buffer, samples, rate, format=kind.upper(), subtype=SOUNDFILE[kind])
        return buffer.getvalue()
    # By path: to move an index to the front, FFmpeg opens the file once more.
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "encoded")
        _encode(path, ENCODERS[kind], samples, rate)
        return path.read_bytes()


def _encode(
    path: Path, encoder: Encoder, samples: npt.NDArray[np.float32], rate: int
) -> None:
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    with av.open(path, "w", format=encoder.muxer, options=encoder.options) as file:
        stream = file.add_stream(
            encoder.codec, rate=encoder.rate or rate, layout=layout
        )
        codec = stream.codec_context
        resampler = av.AudioResampler(codec.format, layout, codec.sample_rate)
        fifo = av.AudioFifo()
        for start in range(0, len(samples), rate):
            piece = np.ascontiguousarray(samples[start : start + rate].T)
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
            frame.sample_rate = rate
            for part in resampler.resample(frame):
                part.pts = None
                fifo.write(part)
        for part in resampler.resample(None):
            part.pts = None
            fifo.write(part)
        done = 0
        while frame := fifo.read(codec.frame_size or 1024, partial=True):
            frame.pts, frame.time_base = done, Fraction(1, codec.sample_rate)
            done += frame.samples
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
