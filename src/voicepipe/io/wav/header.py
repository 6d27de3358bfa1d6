"""What the header of a WAV file says, checked against the bytes on disk."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import attrs

from voicepipe.errors import (
    DamagedAudioError,
    TruncatedAudioError,
)


if TYPE_CHECKING:
    from voicepipe.io.source import SourceFile


PCM, FLOAT, EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
"""Format tags: integers, IEEE floats, and "see the subformat"."""

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
