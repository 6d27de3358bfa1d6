"""
Frame headers of MPEG audio and ADTS, and the size of ID3v2 tags.

Sources: ISO/IEC 11172-3 section 2.4.1.3 and 13818-3 (MPEG audio; "2.5" is Fraunhofer's
extension of it to lower rates), ISO/IEC 13818-7 section 6.2 (ADTS), and
id3.org/id3v2.4.0-structure section 3.1 (tags).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple, TypeAlias


if TYPE_CHECKING:
    from collections.abc import Callable


HEADER_BYTES = 7
"""Bytes that a header parser looks at: 4 of MPEG audio, 7 of ADTS."""

ID3_HEADER_BYTES = 10
"""Bytes that ``id3v2_size`` looks at."""

# Chance makes one header in about 5,000 places of random bytes; one more that agrees
# with it costs a factor of 2**17. Two are proof enough at the very beginning, four at
# any of 65,536 places.
_RUN_AT_START = 2
_RUN_ELSEWHERE = 4

# Bit rates in kbit/s by (is MPEG-1, layer) and index; index 0, a free rate, and 15 are
# not among them: FFmpeg does not decode the one, the other is forbidden.
_BITRATES: dict[tuple[bool, int], tuple[int, ...]] = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}

# By the header's two version bits; 1 is reserved.
_MPEG_RATES = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}

_ADTS_RATES = (
    *(96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000),
    *(22_050, 16_000, 12_000, 11_025, 8_000, 7_350),
)


class Frame(NamedTuple):
    """
    What a frame header says.

    Attributes:
        length: Bytes of the whole frame, header included.
        samples: Frames of sound per channel that it decodes to.
        rate: Frames of sound per second.
        kind: The header's bits that stay the same through a stream.
    """

    length: int
    samples: int
    rate: int
    kind: int


FrameParser: TypeAlias = "Callable[[bytes, int], Frame | None]"
"""Reads the header at an offset; ``None`` where there is no valid and whole one."""


def mpeg_frame(data: bytes, at: int) -> Frame | None:
    """Read the header of an MPEG audio frame, layer I to III."""
    return _mpeg_header(int.from_bytes(data[at : at + 4], "big"))


# A stream has a handful of different headers and thousands of frames a minute.
@functools.lru_cache(maxsize=1024)
def _mpeg_header(header: int) -> Frame | None:
    version, layer = header >> 19 & 3, 4 - (header >> 17 & 3)
    bitrate, rate = header >> 12 & 15, header >> 10 & 3
    if (
        header >> 21 != 0x7FF
        or version == 1
        or layer == 4
        or bitrate in {0, 15}
        or rate == 3
    ):
        return None
    hertz = _MPEG_RATES[version][rate]
    bits = 1000 * _BITRATES[version == 3, layer][bitrate - 1]
    padding = header >> 9 & 1
    if layer == 1:
        return Frame((12 * bits // hertz + padding) * 4, 384, hertz, header & _MPEG)
    samples = 576 if layer == 3 and version != 3 else 1152
    length = samples // 8 * bits // hertz + padding
    return Frame(length, samples, hertz, header & _MPEG)


_MPEG = 0xFFFE0C00  # sync word, version, layer, rate
_ADTS = 0xFFFEFC00  # sync word, version, layer, profile, rate


def adts_frame(data: bytes, at: int) -> Frame | None:
    """Read the header of an ADTS frame."""
    header = int.from_bytes(data[at : at + 7], "big")
    rate, length = header >> 34 & 15, header >> 13 & 0x1FFF
    if (
        header >> 44 != 0xFFF
        or header >> 41 & 3
        or rate >= len(_ADTS_RATES)
        or length <= 7
    ):
        return None
    blocks = 1 + (header & 3)
    return Frame(length, 1024 * blocks, _ADTS_RATES[rate], header >> 24 & _ADTS)


CHECKED_BYTES = 38
"""Bytes of a frame that ``has_bad_checksum`` looks at, at most."""

# By (is MPEG-1, is mono): bytes of side information behind the checksum.
_SIDE_BYTES = {
    (True, False): 32,
    (True, True): 17,
    (False, False): 17,
    (False, True): 9,
}


def has_bad_checksum(data: bytes, at: int) -> bool:
    """
    Tell whether a layer III frame has a checksum, and a wrong one.

    It covers half of the header and the side information (ISO/IEC 11172-3, section
    2.4.3.1): CRC-16 with the polynomial 0x8005, started at 0xFFFF.
    """
    header = int.from_bytes(data[at : at + 4], "big")
    if header >> 21 != 0x7FF or header >> 17 & 3 != 1 or header >> 16 & 1:
        return False
    side = _SIDE_BYTES[header >> 19 & 3 == 3, header >> 6 & 3 == 3]
    if at + 6 + side > len(data):
        return False
    covered = data[at + 2 : at + 4] + data[at + 6 : at + 6 + side]
    crc = 0xFFFF
    for byte in covered:
        crc = (crc << 8 & 0xFFFF) ^ _CRC_16[crc >> 8 ^ byte]
    return crc != int.from_bytes(data[at + 4 : at + 6], "big")


def _crc_16(byte: int) -> int:
    crc = byte << 8
    for _ in range(8):
        crc = (crc << 1 ^ (0x8005 if crc & 0x8000 else 0)) & 0xFFFF
    return crc


_CRC_16 = tuple(map(_crc_16, range(256)))


def is_free_format(data: bytes) -> bool:
    """
    Tell whether MPEG frames of a free rate stand at the beginning.

    Their headers do not give their length, so that three of the same kind have to
    follow at equal distances, a byte of padding more or less.
    """
    first = int.from_bytes(data[:4], "big")
    # With some rate instead, everything else must make a valid header.
    if first >> 12 & 15 or _mpeg_header(first | 1 << 12) is None:
        return False
    kind = (first & 0xFFFFFC00).to_bytes(4, "big")[:3]
    second = data.find(kind, HEADER_BYTES)
    return second > 0 and any(
        data.startswith(kind, 2 * second + padding) for padding in (-1, 0, 1)
    )


def find_frames(data: bytes, parse: FrameParser) -> int | None:
    """
    Find where frames begin that follow one another.

    At the very beginning two agreeing headers are enough, or one whose frame is longer
    than the data; behind leading garbage it takes four.

    Args:
        data: The first bytes of a file, behind its tags.
        parse: ``mpeg_frame`` or ``adts_frame``.

    Returns:
        Offset of the first frame, ``None`` where there is none.
    """
    at = data.find(b"\xff")
    while at >= 0:
        run, reaches_end = _run(data, at, parse)
        if run >= _RUN_ELSEWHERE or (at == 0 and (run >= _RUN_AT_START or reaches_end)):
            return at
        at = data.find(b"\xff", at + 1)
    return None


def _run(data: bytes, at: int, parse: FrameParser) -> tuple[int, bool]:
    """Count agreeing headers, at most ``_RUN_ELSEWHERE``; tell if data ended there."""
    first = frame = parse(data, at)
    run = 0
    while frame is not None and first is not None and frame.kind == first.kind:
        run += 1
        at += frame.length
        if run == _RUN_ELSEWHERE:
            break
        if at + HEADER_BYTES > len(data):
            return run, True
        frame = parse(data, at)
    return run, False


def id3v2_size(data: bytes, at: int = 0) -> int:
    """
    Give the size of the ID3v2 tag at an offset, in bytes with its header and footer.

    Zero where there is none. The tag itself need not be within the data: ten bytes are
    enough.
    """
    header = data[at : at + ID3_HEADER_BYTES]
    if len(header) < ID3_HEADER_BYTES or not header.startswith(b"ID3"):
        return 0
    version, flags, digits = header[3], header[5], header[6:]
    # Versions 2 to 4 exist. The digits are "synchsafe": seven bits in each byte.
    if version not in {2, 3, 4} or max(digits) > 0x7F:
        return 0
    size = functools.reduce(lambda size, digit: size << 7 | digit, digits, 0)
    footer = ID3_HEADER_BYTES if flags & 0x10 else 0
    return ID3_HEADER_BYTES + size + footer
