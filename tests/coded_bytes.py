"""
FLAC, Ogg, Opus and MP3 files made and changed by hand, bit by bit.

FLAC: RFC 9639. Ogg: RFC 3533, section 6. Opus: RFC 6716, section 3.1, and RFC 7845.
MPEG audio: ISO/IEC 11172-3, section 2.4.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING

from voicepipe.stream.mpeg import mpeg_frame


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def crc_table(polynomial: int, bits: int) -> list[int]:
    """Make the table of a checksum that takes the most significant bit first."""
    top, mask = 1 << (bits - 1), (1 << bits) - 1
    table = []
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
        table.append(value)
    return table


def crc(data: bytes, polynomial: int, bits: int, start: int = 0) -> int:
    """Give a checksum, most significant bit first, not inverted."""
    table, mask, shift = _table(polynomial, bits), (1 << bits) - 1, bits - 8
    value = start
    for byte in data:
        value = (value << 8 & mask) ^ table[value >> shift ^ byte]
    return value


_table = functools.cache(crc_table)


# --- FLAC -----------------------------------------------------------------------------


def flac_total(data: bytes, total: int) -> bytes:
    """Overwrite the 36 bits of STREAMINFO that hold the number of frames."""
    fields = int.from_bytes(data[18:26], "big") >> 36 << 36 | total
    return data[:18] + fields.to_bytes(8, "big") + data[26:]


def flac_with(data: bytes, kind: int, body: bytes, size: int | None = None) -> bytes:
    """Put one more metadata block behind STREAMINFO; it may lie about its size."""
    size = len(body) if size is None else size
    block = struct.pack(">I", kind << 24 | size) + body
    # There is another one behind it: STREAMINFO is not the last, nor is this.
    first = data[4] & 0x7F
    last = data[4] & 0x80
    block = bytes([block[0] | last]) + block[1:]
    return data[:4] + bytes([first]) + data[5:42] + block + data[42:]


def flac_tags(*tags: bytes) -> bytes:
    """Make the body of a block of comments."""
    fields = b"".join(struct.pack("<I", len(tag)) + tag for tag in tags)
    return struct.pack("<I4sI", 4, b"test", len(tags)) + fields


FLAC_TAGS, FLAC_PICTURE = 4, 6

FLAC_BLOCK = 65_535
"""Most frames of sound in one frame of FLAC."""


def _flac_number(number: int) -> bytes:
    """Code a frame's number as UTF-8 would, up to 2**36."""
    if number < 0x80:
        return bytes([number])
    rest = []
    length = 1
    while number >= 1 << (6 - length):
        rest.append(0x80 | number & 0x3F)
        number >>= 6
        length += 1
    lead = 0xFF << (8 - length) & 0xFF | number
    return bytes([lead, *reversed(rest)])


def flac_silence(rate: int, channels: int, blocks: int) -> bytes:
    """
    Make FLAC of 16-bit silence, about 15 bytes for each 65,535 frames.

    Every block is one constant for each channel. STREAMINFO tells the length.
    """
    fields = rate << 44 | (channels - 1) << 41 | 15 << 36 | blocks * FLAC_BLOCK
    info = struct.pack(">HH6xQ16x", FLAC_BLOCK, FLAC_BLOCK, fields)
    pieces = [b"fLaC", struct.pack(">I", 0x80000000 | len(info)), info]
    subframes = bytes(3) * channels
    for number in range(blocks):
        # 0111: the number of frames follows in 16 bits. 0000: the rate of STREAMINFO.
        head = b"\xff\xf8\x70" + bytes([(channels - 1) << 4 | 0x08])
        head += _flac_number(number) + struct.pack(">H", FLAC_BLOCK - 1)
        frame = head + bytes([crc(head, 0x07, 8)]) + subframes
        pieces.append(frame + struct.pack(">H", crc(frame, 0x8005, 16)))
    return b"".join(pieces)


# --- Ogg and Opus ---------------------------------------------------------------------

OGG_FIRST, OGG_LAST = 2, 4


def ogg_page(
    flags: int, granule: int, serial: int, number: int, *, lacing: bytes, body: bytes
) -> bytes:
    """Make a page with its checksum."""
    head = struct.pack("<4sBBQII", b"OggS", 0, flags, granule, serial, number)
    tail = bytes([len(lacing)]) + lacing + body
    check = crc(head + bytes(4) + tail, 0x04C11DB7, 32)
    return head + struct.pack("<I", check) + tail


def ogg_pages(data: bytes) -> Iterator[bytes]:
    """Cut a file into its pages."""
    at = 0
    while at < len(data):
        count = data[at + 26]
        end = at + 27 + count + sum(data[at + 27 : at + 27 + count])
        yield data[at:end]
        at = end


def ogg_changed(
    data: bytes,
    *,
    serial: int | None = None,
    granule: Callable[[int, int], int] | None = None,
) -> bytes:
    """
    Write another serial number, or other positions, into all pages.

    Args:
        data: A whole file.
        serial: The serial number to write.
        granule: Gives the position to write for a page's number and position.
    """
    changed = []
    for page in ogg_pages(data):
        _, _, flags, at, own, number = struct.unpack("<4sBBQII", page[:22])
        body = 27 + page[26]
        changed.append(
            ogg_page(
                flags,
                at if granule is None else granule(number, at),
                own if serial is None else serial,
                number,
                lacing=page[27:body],
                body=page[body:],
            )
        )
    return b"".join(changed)


OPUS_PACKET = 5_760
"""Frames at 48 kHz of two times 60 ms, the most that one packet may hold."""

# SILK, narrow band, 60 ms, mono, two frames of the same length: none.
_OPUS_SILENCE = bytes([3 << 3 | 1])


def opus_silence(pages: int) -> bytes:
    """
    Make Opus of silence: a byte for each 120 ms, 536 for each page of 30 s.

    Frames without a byte are what a sender leaves out in a pause (RFC 6716, 3.1).
    """
    head = struct.pack("<8sBBHIHB", b"OpusHead", 1, 1, 0, 48_000, 0, 0)
    tags = b"OpusTags" + struct.pack("<I4sI", 4, b"test", 0)
    made = [
        ogg_page(OGG_FIRST, 0, 1, 0, lacing=bytes([len(head)]), body=head),
        ogg_page(
            0 if pages else OGG_LAST, 0, 1, 1, lacing=bytes([len(tags)]), body=tags
        ),
    ]
    for number in range(1, pages + 1):
        flags = OGG_LAST if number == pages else 0
        granule = number * 255 * OPUS_PACKET
        body = _OPUS_SILENCE * 255
        made.append(
            ogg_page(flags, granule, 1, number + 1, lacing=b"\1" * 255, body=body)
        )
    return b"".join(made)


# --- MP3 ------------------------------------------------------------------------------


def mp3_frames(data: bytes) -> Iterator[bytes]:
    """Cut an MP3 file without tags into its frames."""
    at = 0
    while at < len(data):
        frame = mpeg_frame(data, at)
        assert frame is not None, at
        yield data[at : at + frame.length]
        at += frame.length


def free_format(frames: Iterable[bytes]) -> bytes:
    """Say of frames, all of one length, that their bit rate is none of the table."""
    return b"".join(
        frame[:2] + bytes([frame[2] & 0x0F]) + frame[3:] for frame in frames
    )


def protected(frames: Iterable[bytes], wrong: Iterable[int] = ()) -> bytes:
    """
    Give MPEG-2.5 mono frames a checksum in the place of their last two, unused bytes.

    Args:
        frames: Frames that end in two bytes without meaning.
        wrong: Numbers of the frames to give a wrong one.
    """
    bad = set(wrong)
    made = []
    for number, frame in enumerate(frames):
        # The bit says that there is no checksum. Nine bytes of side information.
        head = frame[:1] + bytes([frame[1] & 0xFE]) + frame[2:4]
        check = crc(head[2:] + frame[4:13], 0x8005, 16, 0xFFFF)
        check ^= 0x5555 if number in bad else 0
        made.append(head + struct.pack(">H", check) + frame[4:-2])
    return b"".join(made)


def xing_count(data: bytes, count: int) -> bytes:
    """Overwrite the number of frames that the first frame announces."""
    at = max(data.find(b"Xing"), data.find(b"Info"))
    assert data[at + 7] & 1
    return data[: at + 8] + struct.pack(">I", count) + data[at + 12 :]


def id3_tag(body: bytes, size: int | None = None) -> bytes:
    """Make an ID3v2.4 tag; it may lie about its size."""
    size = len(body) if size is None else size
    digits = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + digits + body
