"""16-bit WAV files written."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

from voicepipe.errors import UnsupportedAudioError
from voicepipe.io.wav.header import PCM
from voicepipe.types.audio import pcm16


if TYPE_CHECKING:
    from voicepipe.types.audio import Samples


MAX_DATA_BYTES = 0xFFFFFFFF - 36
"""Most bytes of samples that a WAV file with a 44-byte header can hold."""


class WavWriter:
    """
    Writes a 16-bit WAV file: header first, samples as they come, sizes at the end.

    Args:
        file: Empty binary file that can seek; stays the caller's to close.
        rate: Frames per second, Hz.
        channels: Number of channels.

    Attributes:
        rate: Frames per second, Hz.
        channels: Number of channels.
        frames: Frames written so far.
    """

    def __init__(self, file: BinaryIO, *, rate: int, channels: int) -> None:
        """Leave room for the header."""
        self._file = file
        self.rate: int = rate
        self.channels: int = channels
        self.frames: int = 0
        self._write_header()

    def write(self, samples: Samples) -> None:
        """
        Write samples, float32 in [-1, 1], shape ``(frames, channels)``.

        Raises:
            UnsupportedAudioError: If the file would be too long for a WAV header.
            OSError: If writing fails.
        """
        if (self.frames + len(samples)) * 2 * self.channels > MAX_DATA_BYTES:
            raise UnsupportedAudioError(
                "a WAV file cannot hold more than 4 GiB",
                got="more than 4 GiB of samples",
                wanted="a shorter recording, a lower rate or fewer channels",
            )
        self._file.write(pcm16(samples).astype("<i2", copy=False).tobytes())
        self.frames += len(samples)

    def finish(self) -> None:
        """
        Write the sizes.

        Raises:
            OSError: If writing fails.
        """
        self._file.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        frame = 2 * self.channels
        size = self.frames * frame
        form = struct.pack(
            "<HHIIHH", PCM, self.channels, self.rate, self.rate * frame, frame, 16
        )
        self._file.write(
            struct.pack("<4sI8sI", b"RIFF", 36 + size, b"WAVEfmt ", len(form))
            + form
            + struct.pack("<4sI", b"data", size)
        )
