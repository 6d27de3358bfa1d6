"""Recordings by FFmpeg's encoders with what ``make_audio`` leaves out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import av
import av.stream
import numpy as np


if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicepipe.types.audio import Samples


Beside: TypeAlias = Literal["film", "picture"]
"""What stands beside the sound: pictures that move, or one that is attached."""

PLAIN_MP3 = {"write_xing": "0", "id3v2_version": "0"}
"""Options of the muxer: frames and nothing else."""


def mux(
    muxer: str,
    codec: str,
    *tracks: Samples,
    rate: int = 8_000,
    options: Mapping[str, str] | None = None,
    coding: Mapping[str, str] | None = None,
    beside: Beside | None = None,
) -> bytes:
    """
    Encode mono samples, shape ``(frames, 1)``, each to an audio stream of its own.

    Args:
        muxer: FFmpeg's name of the container.
        codec: FFmpeg's name of the encoder.
        tracks: What to encode.
        rate: Frames per second.
        options: Of the container.
        coding: Of the encoder.
        beside: What else to put into the file.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "file")
        with av.open(path, "w", format=muxer, options=dict(options or {})) as file:
            streams: list[Any] = [
                file.add_stream(
                    codec, rate=rate, layout="mono", options=dict(coding or {})
                )
                for _ in tracks
            ]
            pictures = _add_pictures(file, beside) if beside else None
            file.start_encoding()
            for stream, samples in zip(streams, tracks, strict=True):
                if len(samples):
                    file.mux(stream.encode(_frame(samples, rate)))
                file.mux(stream.encode(None))
            if pictures is not None:
                _draw(file, pictures, 1 if beside == "picture" else 20)
        return path.read_bytes()


def _frame(samples: Samples, rate: int) -> av.AudioFrame:
    planar = np.ascontiguousarray(samples.T)
    frame = av.AudioFrame.from_ndarray(planar, format="fltp", layout="mono")
    frame.sample_rate, frame.pts = rate, 0
    return frame


def _add_pictures(file: Any, beside: Beside) -> Any:
    stream = file.add_stream("mjpeg", rate=10)
    stream.width = stream.height = 16
    stream.pix_fmt = "yuvj420p"
    if beside == "picture":
        stream.disposition = av.stream.Disposition.attached_pic
    return stream


def _draw(file: Any, stream: Any, count: int) -> None:
    for index in range(count):
        picture = np.full((16, 16, 3), index, np.uint8)
        frame = av.VideoFrame.from_ndarray(picture)
        frame.pts = index
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))
