"""Samples out of an uncompressed WAV file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from voicepipe.errors import TruncatedAudioError, UnsupportedAudioError
from voicepipe.io.samples import to_float
from voicepipe.io.wav.header import FLOAT, PCM


if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from voicepipe.io.source import SourceFile
    from voicepipe.io.wav.header import WavHeader
    from voicepipe.types.audio import Samples


class PcmDecoder:
    """
    Gives the samples of an uncompressed WAV file.

    A last frame that is not whole is dropped.

    Args:
        file: The file; stays the caller's to close.
        header: Its header.

    Attributes:
        rate: Frames per second.
        channels: Number of channels.
        fraction: Share of the samples that has been read, 0 to 1.

    Raises:
        UnsupportedAudioError: If the samples have a width that is not read.
    """

    def __init__(self, file: SourceFile, header: WavHeader) -> None:
        """Check the sample format."""
        self._file = file
        self._header = header
        self._view = _VIEWS.get((header.tag, header.bits))
        self.rate: int = header.rate
        self.channels: int = header.channels
        self.fraction: float = 0.0
        if self._view is None:
            kind = "float" if header.tag == FLOAT else "integer"
            raise UnsupportedAudioError(
                f"{header.bits}-bit {kind} samples are not supported",
                source=file.label,
                got=f"{header.bits}-bit {kind}",
                wanted="8, 16, 24 or 32-bit integer, 32 or 64-bit float",
            )

    def blocks(self) -> Iterator[Samples]:
        """
        Give the samples, a second at a time; floats as they are, even beyond [-1, 1].

        Raises:
            TruncatedAudioError: At the end, if the header announced more.
            OSError: If reading fails.
        """
        frame, header = self._header.frame_bytes, self._header
        total = header.data_bytes // frame
        self._file.seek(header.data_at)
        done = 0
        while done < total:
            size = min(self.rate, total - done) * frame
            data = self._file.read(size)
            self._file.check()
            done += len(data) // frame
            self.fraction = done / total
            if len(data) < size:  # the file has been cut since its header was read
                total = done
            raw = np.frombuffer(data[: len(data) // frame * frame], np.uint8)
            whole = raw.view(self._view) if self._view else _from_24_bits(raw)
            yield to_float(whole).reshape(-1, self.channels)
        if header.cut or done < header.data_bytes // frame:
            declared = header.declared_bytes
            raise TruncatedAudioError(
                "the file ends before its last sample",
                source=self._file.label,
                decoded_s=done / self.rate,
                declared_s=None if declared is None else declared / frame / self.rate,
            )

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""


def _from_24_bits(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Widen to 32 bits, at the upper end."""
    wide = np.zeros((len(raw) // 3, 4), np.uint8)
    wide[:, 1:] = raw.reshape(-1, 3)
    return wide.reshape(-1).view("<i4")


_VIEWS = {
    (PCM, 8): "u1",
    (PCM, 16): "<i2",
    (PCM, 24): "",  # no type has 24 bits
    (PCM, 32): "<i4",
    (FLOAT, 32): "<f4",
    (FLOAT, 64): "<f8",
}
