"""
WAV files: the header, samples out of it, and 16-bit files written.

Sources: RIFF and WAVE (Multimedia Programming Interface and Data Specifications 1.0,
IBM and Microsoft, 1991), WAVEFORMATEXTENSIBLE (Microsoft, 2001), RF64 (EBU Tech 3306)
and BW64 (ITU-R BS.2088), which give sizes over 4 GiB in a chunk of their own, ``ds64``.

Uncompressed samples are read here and not by libsndfile, which gives no samples at all
for headers that a killed recorder leaves, loses a fifth of a 5 GiB file, does not know
BW64, and prints the disk's errors instead of raising them.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

import attrs
import numpy as np

from voicepipe.errors import (
    DamagedAudioError,
    TruncatedAudioError,
    UnsupportedAudioError,
)
from voicepipe.io.samples import to_float
from voicepipe.types.audio import pcm16


if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from voicepipe.io.source import SourceFile
    from voicepipe.types.audio import Samples


PCM, FLOAT, EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
"""Format tags: integers, IEEE floats, and "see the subformat"."""

MAX_DATA_BYTES = 0xFFFFFFFF - 36
"""Most bytes of samples that a WAV file with a 44-byte header can hold."""

# Chunks before the samples; more would keep a reader busy for nothing.
_MAX_CHUNKS = 1_000

# Sizes that mean "not known": FFmpeg, and RF64 without sizes, say 0xFFFFFFFF; SoX says
# 0x7FFFF000 (MS_UNSPEC in its wav.c), rounded down to whole frames; arecord stops just
# short of, or at, 2 GiB. A size within 64 KiB of these limits is not believed.
_UNKNOWN_32 = ((0x7FFF0000, 0x80000000), (0xFFFF0000, 0xFFFFFFFF))
_UNKNOWN_64 = frozenset({0, (1 << 63) - 1, (1 << 64) - 1})


@attrs.frozen(kw_only=True)
class WavHeader:
    """
    What a WAV file's header says, checked against the size of the file.

    Attributes:
        tag: Format of the samples: ``PCM``, ``FLOAT`` or that of a compression.
        channels: Number of channels, as written.
        rate: Frames per second, as written.
        bits: Bits of one sample, as written.
        data_at: Offset of the samples.
        data_bytes: Bytes of samples in the file.
        declared_bytes: Bytes of samples that the header announces, ``None`` where it
            leaves them open.
    """

    tag: int
    channels: int
    rate: int
    bits: int
    data_at: int
    data_bytes: int
    declared_bytes: int | None

    @property
    def cut(self) -> bool:
        """Whether the header announces more samples than there are."""
        return self.declared_bytes is not None and self.data_bytes < self.declared_bytes

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame of uncompressed samples; the written number may be off."""
        return self.channels * self.bits // 8


def read_header(file: SourceFile) -> WavHeader:
    """
    Walk the chunks to the samples.

    Raises:
        TruncatedAudioError: If the file ends before the samples begin.
        DamagedAudioError: If there are more than 1,000 chunks before the samples, or no
            format among them.
        OSError: If reading fails.
    """
    riff_bytes = struct.unpack("<I", _exactly(file, 0, 12)[4:8])[0]
    at, form, long_bytes = 12, b"", None
    for _ in range(_MAX_CHUNKS):
        name, size = struct.unpack("<4sI", _exactly(file, at, 8))
        body = at + 8
        if name == b"data":
            break
        if name == b"fmt ":
            form = _exactly(file, body, min(size, 40))
        elif name == b"ds64":
            long_bytes = struct.unpack("<Q", _exactly(file, body, 16)[8:])[0]
        at = body + size + size % 2
    else:
        raise DamagedAudioError("no samples among 1,000 chunks", source=file.label)
    if len(form) < 16:
        raise DamagedAudioError("no format before the samples", source=file.label)
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", form[:16])
    if tag == EXTENSIBLE and len(form) >= 26:
        tag = struct.unpack("<H", form[24:26])[0]  # the subformat's first two bytes
    there = file.size - body
    # No samples, in a file as long as its header says (or padded): that is meant.
    empty = size == 0 and file.size - 8 - riff_bytes in {0, 1}
    declared = 0 if empty else _declared(size, long_bytes)
    return WavHeader(
        tag=tag,
        channels=channels,
        rate=rate,
        bits=bits,
        data_at=body,
        data_bytes=there if declared is None else min(there, declared),
        declared_bytes=declared,
    )


def _exactly(file: SourceFile, at: int, size: int) -> bytes:
    file.seek(at)
    data = file.read(size)
    file.check()
    if len(data) < size:
        msg = "the file ends before its samples begin"
        raise TruncatedAudioError(msg, source=file.label)
    return data


def _declared(size: int, long_bytes: int | None) -> int | None:
    """Give the size that a header announces, ``None`` where it leaves it open."""
    if size == 0xFFFFFFFF and long_bytes is not None:
        return None if long_bytes in _UNKNOWN_64 else long_bytes
    if size == 0 or any(low <= size <= high for low, high in _UNKNOWN_32):
        return None
    return size


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
