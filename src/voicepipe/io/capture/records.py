"""
How the journal is written: segments of records, each with a checksum.

A segment begins with 64 bytes: ``VPJRNL1`` and a zero, the segment's number, the boot
of the machine in which it was written, and a random seed for its checksums, so that
what a disk gives back of an older file is never taken for a record. Records follow,
each of 48 bytes and a payload:

=========  ======  =================================================================
offset     bytes   what
=========  ======  =================================================================
0          4       CRC-32 of all that follows and the payload, begun with the seed
4          1       kind
5          1       flags
6          2       0
8          4       length of the payload
12         4       0
16         16      the session's UUID
32         8       the record's number in its session
40         8       offset of its first byte among the session's bytes
=========  ======  =================================================================

All numbers are little-endian.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

import attrs


if TYPE_CHECKING:
    from collections.abc import Iterator


STATE = 1
"""All that is needed to go on with a session from the record of a number onward."""

CHUNK = 2
"""Bytes that were accepted."""

FORGET = 3
"""The session is in the index: what the journal has of it is not needed."""

END = 4
"""The segment is whole; the next one goes on."""

BEGINS = 1
"""Flag of a chunk: its bytes are the first of a connection."""

HEAD_BYTES = 64
"""Bytes in front of a segment's records."""

_MAGIC = b"VPJRNL1\0"
_HEAD = struct.Struct("<8sQ16sI24xI")
_CRC = struct.Struct("<I")
_REST = struct.Struct("<BBHII16sQQ")
RECORD_BYTES = _CRC.size + _REST.size
"""Bytes in front of a record's payload."""


class Record(NamedTuple):
    """
    What is to be written.

    Attributes:
        kind: What it is.
        session: The session's UUID.
        sequence: Its number in the session.
        offset: Of its first byte among the session's bytes.
        payload: Its bytes.
        flags: For a chunk, ``BEGINS`` or 0.
    """

    kind: int
    session: bytes = bytes(16)
    sequence: int = 0
    offset: int = 0
    payload: bytes | memoryview = b""
    flags: int = 0


class Found(NamedTuple):
    """A record of a segment: as ``Record``, with the place of its payload."""

    kind: int
    session: bytes
    sequence: int
    offset: int
    flags: int
    start: int
    end: int


@attrs.frozen(kw_only=True)
class Head:
    """
    What a segment begins with.

    Attributes:
        number: The segment's number.
        boot: The boot of the machine, 16 bytes.
        seed: What its checksums begin with.
    """

    number: int
    boot: bytes
    seed: int

    def pack(self) -> bytes:
        """Give its bytes."""
        head = _HEAD.pack(_MAGIC, self.number, self.boot, self.seed, 0)
        return head[:-4] + _CRC.pack(zlib.crc32(head[:-4]))

    @classmethod
    def unpack(cls, data: bytes) -> Head | None:
        """Read it; ``None`` where there is none, or a damaged one."""
        if len(data) < HEAD_BYTES:
            return None
        magic, number, boot, seed, crc = _HEAD.unpack_from(data)
        if magic != _MAGIC or crc != zlib.crc32(data[: HEAD_BYTES - 4]):
            return None
        return cls(number=number, boot=boot, seed=seed)


def pack(record: Record, seed: int) -> bytes:
    """Give the bytes that stand in front of a record's payload."""
    kind, session, sequence, offset, payload, flags = record
    rest = _REST.pack(kind, flags, 0, len(payload), 0, session, sequence, offset)
    return _CRC.pack(zlib.crc32(payload, zlib.crc32(rest, seed))) + rest


def scan(segment: memoryview, seed: int) -> Iterator[Found]:
    """
    Give a segment's records, up to the first that is not whole.

    Args:
        segment: All its bytes.
        seed: From its head.
    """
    at = HEAD_BYTES
    while at + RECORD_BYTES <= len(segment):
        (crc,) = _CRC.unpack_from(segment, at)
        kind, flags, _, length, _, session, sequence, offset = _REST.unpack_from(
            segment, at + _CRC.size
        )
        start = at + RECORD_BYTES
        end = start + length
        if end > len(segment) or zlib.crc32(segment[at + 4 : end], seed) != crc:
            return
        yield Found(kind, session, sequence, offset, flags, start, end)
        at = end
