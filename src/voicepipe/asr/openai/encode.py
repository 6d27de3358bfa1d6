"""Sound as a file in memory: the one translator for PyAV's encoders."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Literal

import attrs
import av
import numpy as np


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt


# What the encoder takes at a time, frames: arrays of it are all that is held besides
# the file.
_BLOCK_FRAMES = 1 << 16


@attrs.frozen(kw_only=True)
class SoundFile:
    """
    A file that holds sound.

    Attributes:
        name: Its name; services tell the format by its ending.
        content_type: Its kind.
        data: What is in it, never shown.
    """

    name: str
    content_type: str
    data: bytes = attrs.field(repr=False)


def _go_on() -> None:
    """Let the work go on."""


def encoded(
    sounds: Sequence[npt.NDArray[np.int16]],
    rate: int,
    kind: Literal["flac", "wav"],
    *,
    check: Callable[[], object] = _go_on,
) -> SoundFile:
    """
    Make a file of mono samples, without any loss.

    Args:
        sounds: One behind the other; shape of each ``(n,)``.
        rate: Frames per second, Hz.
        kind: The format.
        check: Called every few seconds of sound; what it raises breaks the work off.
    """
    if kind == "wav":
        return SoundFile(
            name="audio.wav", content_type="audio/wav", data=_wav(sounds, rate)
        )
    return SoundFile(
        name="audio.flac", content_type="audio/flac", data=_flac(sounds, rate, check)
    )


def _wav(sounds: Sequence[npt.NDArray[np.int16]], rate: int) -> bytes:
    size = 2 * sum(map(len, sounds))
    form = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)
    return b"".join(
        (
            struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE"),
            struct.pack("<4sI", b"fmt ", len(form)),
            form,
            struct.pack("<4sI", b"data", size),
            *(sound.astype("<i2", copy=False).tobytes() for sound in sounds),
        )
    )


def _flac(
    sounds: Sequence[npt.NDArray[np.int16]], rate: int, check: Callable[[], object]
) -> bytes:
    buffer = io.BytesIO()
    done = 0
    with av.open(buffer, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=rate, layout="mono", format="s16")
        for block in _blocks(sounds):
            check()
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(block[np.newaxis, :]), format="s16", layout="mono"
            )
            frame.sample_rate = rate
            frame.pts = done
            done += len(block)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _blocks(
    sounds: Sequence[npt.NDArray[np.int16]],
) -> Iterator[npt.NDArray[np.int16]]:
    for sound in sounds:
        for at in range(0, len(sound), _BLOCK_FRAMES):
            yield sound[at : at + _BLOCK_FRAMES]
