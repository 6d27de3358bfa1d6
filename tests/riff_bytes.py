"""WAV files made by hand, chunk by chunk."""

from __future__ import annotations

import struct

import numpy as np
from make_audio import signal


SOUND = np.rint(signal(8_000, 1, 1.0) * 32_768).astype("<i2")
"""A second of 16-bit sound, shape ``(8000, 1)``."""

PCM = SOUND.tobytes()


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    """Make a chunk; it may lie about its size."""
    return struct.pack("<4sI", name, len(body) if size is None else size) + body


def form(
    *,
    tag: int = 1,
    channels: int = 1,
    rate: int = 8_000,
    bits: int = 16,
    align: int | None = None,
) -> bytes:
    """Make the body of a format chunk; numbers that do not fit are written short."""
    align = channels * bits // 8 if align is None else align
    numbers = struct.pack("<HHI", tag, channels, rate)
    second = rate * align & 0xFFFFFFFF
    return numbers + struct.pack("<IHH", second, align & 0xFFFF, bits)


def riff(*chunks: bytes, magic: bytes = b"RIFF", size: int | None = None) -> bytes:
    """Make a file of chunks; it may lie about its size."""
    body = b"WAVE" + b"".join(chunks)
    return struct.pack("<4sI", magic, len(body) if size is None else size) + body


def ds64(data_bytes: int, riff_bytes: int = 0) -> bytes:
    """Make the chunk that holds the sizes of RF64."""
    return chunk(b"ds64", struct.pack("<QQQI", riff_bytes, data_bytes, 0, 0))


def rf64(data_bytes: int | None, magic: bytes = b"RF64") -> bytes:
    """Make an RF64 file that announces some bytes of samples; ``None``: no ds64."""
    sizes = b"" if data_bytes is None else ds64(data_bytes)
    data = chunk(b"data", PCM, 0xFFFFFFFF)
    return riff(sizes, FORM, data, magic=magic, size=0xFFFFFFFF)


FORM = chunk(b"fmt ", form())
DATA = chunk(b"data", PCM)
