"""
Headers of FLAC's frames, and its checksums.

Source: RFC 9639, sections 9.1 (frame header) and 9.3 (frame footer).
"""

from __future__ import annotations

from typing import NamedTuple


HEADER_BYTES = 16
"""Bytes of a frame's header, at most."""

MAX_FRAME_BYTES = 160_000
"""
Longest frame that is waited for.

The streamable subset has at most 98 kB (16,384 frames of 24-bit stereo); the format
itself would allow 2 MB.
"""


class FlacHeader(NamedTuple):
    """
    A frame's header.

    Attributes:
        length: Its own bytes.
        frames: Frames of sound per channel.
        number: Of this frame, or of its first frame of sound.
        following: The number of the next one, or what it may be.
        kind: What is the same in all frames of a stream: rate, sample size, strategy.
        longest: Bytes of the whole frame, if nothing in it were compressed.
    """

    length: int
    frames: int
    number: int
    following: tuple[int, ...]
    kind: int
    longest: int


def follows(header: FlacHeader, other: FlacHeader) -> bool:
    """Tell whether one frame is the next one behind another."""
    return other.kind == header.kind and other.number in header.following


def read_header(data: bytes, streaminfo: bytes) -> FlacHeader | None:
    """Read a frame's header; ``None`` where there is no whole and valid one."""
    if len(data) < 6 or data[3] & 1:
        return None
    block, rate = data[2] >> 4, data[2] & 15
    layout, width = data[3] >> 4, data[3] >> 1 & 7
    number, at = _coded_number(data, 4)
    size_at = at
    at += _SIZE_BYTES.get(block, 0)
    at += _RATE_BYTES.get(rate, 0)
    if (
        min(block, 15 - rate, 11 - layout) <= 0
        or width == 3
        or number < 0
        or at >= len(data)
        or _crc_8(data[:at]) != data[at]
    ):
        return None
    frames = _block_frames(block, data[size_at:])
    channels = layout + 1 if layout < 8 else 2
    bits = _WIDTHS[width] or _width(streaminfo)
    return FlacHeader(
        length=at + 1,
        frames=frames,
        number=number,
        # Before 2007, encoders counted frames of sound and did not say so.
        following=(number + frames,) if data[1] & 1 else (number + 1, number + frames),
        kind=(data[1] & 1) << 16 | rate << 12 | width << 8 | channels,
        # The difference of two channels has a bit more.
        longest=min(MAX_FRAME_BYTES, 32 + channels * (8 + (bits + 1) * frames // 8)),
    )


# By the code in the header: bytes at its end that hold the number of frames, or the
# rate; and bits of a sample, zero for those of STREAMINFO.
_SIZE_BYTES = {6: 1, 7: 2}
_RATE_BYTES = {12: 1, 13: 2, 14: 2}
_WIDTHS = (0, 8, 12, 0, 16, 20, 24, 32)


def _block_frames(code: int, data: bytes) -> int:
    if code in _SIZE_BYTES:
        return int.from_bytes(data[: _SIZE_BYTES[code]], "big") + 1
    if code == 1:
        return 192
    return 576 << (code - 2) if code < 6 else 256 << (code - 8)


def _width(streaminfo: bytes) -> int:
    fields = int.from_bytes(streaminfo[12:14].rjust(2, b"\xff"), "big")
    return (fields >> 4 & 31) + 1


def _coded_number(data: bytes, at: int) -> tuple[int, int]:
    """Read a number coded as in UTF-8, up to 2**36; -1 where there is none."""
    first = data[at]
    if first < 0x80:
        return first, at + 1
    length = 8 - (first ^ 0xFF).bit_length()
    rest = data[at + 1 : at + length]
    if length < 2 or length > 7 or len(rest) < length - 1:
        return -1, at
    value = first & (0x7F >> length)
    for byte in rest:
        if byte & 0xC0 != 0x80:
            return -1, at
        value = value << 6 | byte & 0x3F
    return value, at + length


def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    top, mask = 1 << (bits - 1), (1 << bits) - 1
    table = []
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
        table.append(value)
    return tuple(table)


_CRC_8 = _table(0x07, 8)
_CRC_16 = _table(0x8005, 16)


def _crc_8(data: bytes) -> int:
    value = 0
    for byte in data:
        value = _CRC_8[value ^ byte]
    return value


def crc_16(data: bytes) -> int:
    """Give the checksum of frames; zero if it is right, and stands behind them."""
    value = 0
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ _CRC_16[value >> 8 ^ byte]
    return value
