"""WebM put together byte by byte, with whatever is to be wrong about it."""

from __future__ import annotations

import io
import itertools
import struct
from typing import TYPE_CHECKING, Literal

import av


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


EBML, SEGMENT, INFO, TRACKS = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B
CLUSTER, TIMESTAMP, SIMPLE_BLOCK, GROUP, BLOCK = 0x1F43B675, 0xE7, 0xA3, 0xA0, 0xA1
ENTRY, NUMBER, TYPE, CODEC, PRIVATE = 0xAE, 0xD7, 0x83, 0x86, 0x63A2
AUDIO, CHANNELS, CODEC_DELAY, ENCODINGS = 0xE1, 0x9F, 0x56AA, 0x6D80
SCALE, PADDING, VOID, CUES, TAGS = 0x2AD7B1, 0x75A2, 0xEC, 0x1C53BB6B, 0x1254C367

UNKNOWN = -1
"""The length of an element that does not tell it."""

FRAMES = 960
"""Frames of sound in a packet of ``packets_of`` as FFmpeg's encoder makes them."""


def number(value: int, width: int = 0) -> bytes:
    """Write a number of variable length, in as few bytes as can be; or unknown."""
    if value == UNKNOWN:
        return b"\x01" + b"\xff" * 7
    while not width or value >= (1 << 7 * width) - 1:
        width += 1
    return (1 << 7 * width | value).to_bytes(width, "big")


def element(kind: int, body: bytes = b"", size: int | None = None) -> bytes:
    """Make an element, of another length than its own if one is given."""
    length = len(body) if size is None else size
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + number(length) + body


def value(kind: int, number_: int) -> bytes:
    """Make an element of a number."""
    return element(kind, number_.to_bytes((number_.bit_length() + 7) // 8 or 1, "big"))


def head(channels: int = 1, lead: int = 0) -> bytes:
    """Make the header of Opus."""
    return struct.pack("<8sBBHIHB", b"OpusHead", 1, channels, lead, 48_000, 0, 0)


def track(
    index: int = 1,
    *,
    kind: int = 2,
    codec: bytes = b"A_OPUS",
    private: bytes | None = None,
    more: bytes = b"",
) -> bytes:
    """Make the entry of a track; ``more`` are other elements of it."""
    fields = value(NUMBER, index) + value(TYPE, kind) + element(CODEC, codec)
    private = head() if private is None else private
    return element(
        ENTRY, fields + (element(PRIVATE, private) if private else b"") + more
    )


def beginning(
    tracks: bytes | None = None, *, doc_type: bytes = b"webm", scale: int = 1_000_000
) -> bytes:
    """Make all that stands before the first cluster."""
    entries = track() if tracks is None else tracks
    return b"".join(
        [
            element(EBML, element(0x4282, doc_type)),
            element(SEGMENT, size=UNKNOWN),
            element(INFO, value(SCALE, scale)),
            element(TRACKS, entries) if entries else b"",
        ]
    )


def body_of(data: bytes, time: int, index: int = 1, flags: int = 0x80) -> bytes:
    """Make the body of a block."""
    return number(index) + struct.pack(">hB", time, flags) + data


def block(data: bytes, time: int, index: int = 1, flags: int = 0x80) -> bytes:
    """Make a simple block."""
    return element(SIMPLE_BLOCK, body_of(data, time, index, flags))


def group(data: bytes, time: int, padding_ns: int = 0) -> bytes:
    """Make a group of one block, with what is to be left out at its end."""
    padding = element(PADDING, padding_ns.to_bytes(5, "big", signed=True))
    return element(GROUP, element(BLOCK, body_of(data, time)) + padding)


def cluster(time: int, blocks: Iterable[bytes]) -> bytes:
    """Make a cluster of unknown length."""
    return element(CLUSTER, size=UNKNOWN) + value(TIMESTAMP, time) + b"".join(blocks)


def clusters(
    packets: Sequence[bytes], times: Sequence[int] | None = None, many: int = 10
) -> bytes:
    """Put packets into clusters, so many into each; one each 20 ms if not told."""
    times = range(0, 20 * len(packets), 20) if times is None else times
    return b"".join(
        cluster(
            times[at],
            [
                block(packet, time - times[at])
                for packet, time in zip(
                    packets[at : at + many], times[at : at + many], strict=True
                )
            ],
        )
        for at in range(0, len(packets), many)
    )


def webm(packets: Sequence[bytes], times: Sequence[int] | None = None) -> bytes:
    """Make a whole file of one track, one channel."""
    return beginning() + clusters(packets, times)


Lacing = Literal["xiph", "fixed", "ebml"]


def laced(packets: Sequence[bytes], lacing: Lacing, time: int = 0) -> bytes:
    """Put packets into one block; of one length where that is fixed."""
    flags = {"xiph": 0x82, "fixed": 0x84, "ebml": 0x86}[lacing]
    sizes = [len(packet) for packet in packets[:-1]]
    if lacing == "xiph":
        lengths = b"".join(
            b"\xff" * (size // 255) + bytes([size % 255]) for size in sizes
        )
    elif lacing == "ebml":
        lengths = number(sizes[0]) + b"".join(
            _signed(size - before) for before, size in itertools.pairwise(sizes)
        )
    else:
        lengths = b""
    data = bytes([len(packets) - 1]) + lengths + b"".join(packets)
    return block(data, time, flags=flags)


def _signed(difference: int) -> bytes:
    return number(difference + (1 << 13) - 1, 2)


def packets_of(file: bytes, container: str = "matroska") -> list[bytes]:
    """Give the packets of a file's sound."""
    with av.open(io.BytesIO(file), format=container) as opened:
        packets = opened.demux(opened.streams.audio[0])
        return [bytes(packet) for packet in packets if packet.size]
