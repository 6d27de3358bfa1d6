"""The frames of a decoder joined to arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from voicepipe.io.samples import to_float


if TYPE_CHECKING:
    import numpy.typing as npt
    from av.audio.frame import AudioFrame

    from voicepipe.types.audio import Samples


# FFmpeg's sample formats; a "p" at the end says that each channel lies by itself.
_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}

BLOCK_FRAMES = 1 << 17
"""
Frames that make a block: 3 s at 44.1 kHz, 16 s at 8 kHz.

Enough that handing one from thread to thread costs nothing, and little enough that two
channels of it fit into a processor's cache.
"""

# The longest frame that FLAC knows may come on top.
_ROOM_FRAMES = BLOCK_FRAMES + (1 << 16)


class FrameJoiner:
    """
    Joins frames of one format.

    Each is copied once, straight out of the decoder's memory: a frame has a few hundred
    samples, and an array of its own for each costs more than decoding it.

    Args:
        frame: The first frame; it is not taken.

    Attributes:
        rate: Frames per second of what is joined.
        channels: Number of channels.
        frames: How many have been taken.

    Raises:
        ValueError: If the samples are of a type that FFmpeg did not have when this was
            written.
    """

    def __init__(self, frame: AudioFrame) -> None:
        """Make room for a block."""
        self.rate: int = frame.sample_rate
        self.channels: int = frame.layout.nb_channels
        self.frames: int = 0
        self._format = frame.format.name
        kind = _TYPES.get(self._format.removesuffix("p"))
        if kind is None:
            msg = f"unknown sample format {self._format}"
            raise ValueError(msg)
        self._type = np.dtype(kind)
        self._planar = frame.format.is_planar
        self._width = self._type.itemsize  # bytes of a frame in one plane
        if not self._planar:
            self._width *= self.channels
        self._make_room(_ROOM_FRAMES)

    def fits(self, frame: AudioFrame) -> bool:
        """Tell whether a frame has the format of the others."""
        return bool(
            frame.sample_rate == self.rate
            and frame.layout.nb_channels == self.channels
            and frame.format.name == self._format
        )

    def take(self, frame: AudioFrame) -> None:
        """Append a frame that fits."""
        end = self.frames + frame.samples
        if end > self._room:
            self._grow(end)
        size = frame.samples * self._width
        at = self.frames * self._width
        planes: tuple[Any, ...] = frame.planes
        for row, plane in zip(self._rows, planes, strict=False):
            # A plane may be longer than its samples.
            row[at : at + size] = memoryview(plane)[:size]
        self.frames = end

    def give(self) -> Samples:
        """
        Give what has been joined, float32 of shape ``(frames, channels)``; begin anew.

        Where the decoder keeps its channels apart they stay so in memory: the array is
        then in Fortran order.
        """
        joined = self._joined
        taken = joined[:, : self.frames].T if self._planar else joined[: self.frames]
        self._make_room(self._room)
        self.frames = 0
        return to_float(taken)

    def _make_room(self, frames: int) -> None:
        self._room = frames
        shape = (self.channels, frames) if self._planar else (frames, self.channels)
        self._joined: npt.NDArray[Any] = np.empty(shape, self._type)
        rows = self._joined if self._planar else self._joined[np.newaxis]
        self._rows = [memoryview(row).cast("B") for row in rows]

    def _grow(self, frames: int) -> None:
        before = self._rows
        self._make_room(2 * frames)
        size = self.frames * self._width
        for row, old in zip(self._rows, before, strict=True):
            row[:size] = old[:size]
