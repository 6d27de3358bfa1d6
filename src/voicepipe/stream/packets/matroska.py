"""
Elements of Matroska and WebM (RFC 8794 for EBML, RFC 9559 for Matroska).

An element is an id, a length and a body. Nothing here believes a length that goes
beyond the bytes that are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from voicepipe.errors import DamagedAudioError, UnsupportedAudioError
from voicepipe.stream.packets.opus import OPUS_RATE, made_head, read_head


if TYPE_CHECKING:
    from collections.abc import Iterator


EBML = 0x1A45DFA3
SEGMENT = 0x18538067
INFO = 0x1549A966
TRACKS = 0x1654AE6B
CLUSTER = 0x1F43B675
TIMESTAMP = 0xE7
SIMPLE_BLOCK = 0xA3
BLOCK_GROUP = 0xA0

PASSED = frozenset(
    {
        *(0xEC, 0xBF),  # Void, CRC-32
        *(0x114D9B74, 0x1C53BB6B, 0x1254C367),  # SeekHead, Cues, Tags
        *(0x1043A770, 0x1941A469),  # Chapters, Attachments
        *(0xA7, 0xAB, 0x5854, 0xAF),  # what clusters have beside blocks
    }
)
"""Elements that hold no sound, of any length."""

MAX_HEADER_BYTES = 12
"""At most four bytes of the id, eight of the length."""

PEEK_BYTES = MAX_HEADER_BYTES + 8
"""Bytes of a group that show which track it belongs to."""

_DOC_TYPE = 0x4282
_TIMESTAMP_SCALE = 0x2AD7B1
_TRACK_ENTRY = 0xAE
_NUMBER, _TYPE, _CODEC, _PRIVATE = 0xD7, 0x83, 0x86, 0x63A2
_AUDIO, _CHANNELS, _ENCODINGS, _CODEC_DELAY = 0xE1, 0x9F, 0x6D80, 0x56AA
_BLOCK, _DISCARD_PADDING = 0xA1, 0x75A2

_SOUND = 2  # a track's type

_SECOND = 1_000_000_000  # in nanoseconds

# Frames; what OpusHead can say, too.
_MAX_LEAD = 0xFFFF

_WANTED = "WebM or Matroska with Opus"


class Element(NamedTuple):
    """
    The beginning of an element.

    Attributes:
        kind: Its id.
        header: Bytes of id and length.
        size: Bytes of its body; -1 where that is not known.
    """

    kind: int
    header: int
    size: int


class Track(NamedTuple):
    """
    A track of Opus.

    Attributes:
        number: What its blocks name it by.
        extradata: The header as the decoder takes it.
        lead: Frames to leave out at the beginning.
    """

    number: int
    extradata: bytes
    lead: int


class Block(NamedTuple):
    """
    Some packets of one track.

    Attributes:
        track: Its number.
        time: When it begins, against its cluster, in ticks.
        packets: The packets.
        padding: Nanoseconds to leave out at the end of the last.
    """

    track: int
    time: int
    packets: list[bytes]
    padding: int = 0


def read_element(data: bytes | bytearray, at: int = 0) -> Element:
    """
    Read an id and a length.

    Raises:
        ValueError: If they are none.
        IndexError: If there are too few bytes to tell.
    """
    width = 9 - data[at].bit_length()
    if width > 4:
        raise ValueError("there is no such id")
    size, behind = _number(data, at + width)
    kind = int.from_bytes(data[at : at + width], "big")
    return Element(kind, behind - at, size)


def check_doc_type(body: bytes) -> None:
    """
    Look at the EBML header.

    Raises:
        UnsupportedAudioError: If the file is neither WebM nor Matroska.
        DamagedAudioError: If it cannot be read.
    """
    for kind, value in _children(body):
        name = value.rstrip(b"\0")
        if kind == _DOC_TYPE and name not in {b"webm", b"matroska"}:
            raise _unsupported(f"EBML of the type {name.decode('latin-1')!r}")


def read_scale(body: bytes) -> int:
    """Read the nanoseconds of a tick of time out of Info; a million if not told."""
    for kind, value in _children(body):
        if kind == _TIMESTAMP_SCALE and 0 < unsigned(value) <= _SECOND:
            return unsigned(value)
    return 1_000_000


def read_track(body: bytes) -> Track:
    """
    Find the first track of Opus among all tracks.

    Raises:
        UnsupportedAudioError: If there is none, or it is encrypted or compressed.
        DamagedAudioError: If it cannot be read.
    """
    others = []
    for kind, entry in _children(body):
        if kind != _TRACK_ENTRY:
            continue
        fields = dict(_children(entry))
        if unsigned(fields.get(_TYPE, b"")) != _SOUND:
            continue
        codec = fields.get(_CODEC, b"").rstrip(b"\0")
        if codec == b"A_OPUS":
            return _opus(fields)
        others.append(codec.decode("latin-1"))
    raise _unsupported(
        f"WebM with {', '.join(others)}" if others else "WebM of no sound"
    )


def first_track(kind: int, body: bytes) -> int:
    """
    Give the number of the track that a block, or a group of one, belongs to.

    Args:
        kind: Which of the two it is.
        body: Its first ``PEEK_BYTES`` bytes, or all.

    Returns:
        The number; -1 where something else comes first.

    Raises:
        ValueError: If there is none.
        IndexError: If there are too few bytes to tell.
    """
    if kind == BLOCK_GROUP:
        block = read_element(body)
        if block.kind != _BLOCK:
            return -1
        body = body[block.header :]
    return _number(body, 0)[0]


def read_block(body: bytes) -> Block:
    """
    Read the body of a block.

    Raises:
        ValueError: If it makes no sense.
        IndexError: If it is too short.
    """
    track, at = _number(body, 0)
    time = int.from_bytes(body[at : at + 2], "big", signed=True)
    lacing = body[at + 2] >> 1 & 3
    return Block(track, time, _unlaced(body[at + 3 :], lacing))


def read_group(body: bytes) -> Block:
    """
    Read a group of one block and what is to be known of it.

    Raises:
        ValueError: If it makes no sense.
        IndexError: If it is too short.
        DamagedAudioError: If a length is wrong.
    """
    block, padding = None, 0
    for kind, value in _children(body):
        if kind == _BLOCK:
            block = read_block(value)
        elif kind == _DISCARD_PADDING and len(value) <= 8:
            padding = int.from_bytes(value, "big", signed=True)
    if block is None:
        raise ValueError("there is no block in a group")
    return block._replace(padding=max(0, padding))


def in_frames(time_ns: int) -> int:
    """Give a time in frames, rounded as FFmpeg does."""
    return (time_ns * OPUS_RATE + _SECOND // 2) // _SECOND


def unsigned(value: bytes) -> int:
    """Read a number of up to eight bytes; 0 if it is longer."""
    return int.from_bytes(value, "big") if len(value) <= 8 else 0


def _opus(fields: dict[int, bytes]) -> Track:
    if _ENCODINGS in fields:
        raise _unsupported("WebM that is encrypted or compressed")
    private = fields.get(_PRIVATE)
    if private is None:
        audio = dict(_children(fields.get(_AUDIO, b"")))
        channels = unsigned(audio.get(_CHANNELS, b"\1"))
        if channels not in {1, 2}:
            raise DamagedAudioError("there is no header of Opus")
        head = made_head(channels)
    else:
        head = read_head(private)
    # What the container says goes before what the codec says; FFmpeg does so.
    lead = in_frames(unsigned(fields.get(_CODEC_DELAY, b"")))
    lead = lead if 0 < lead <= _MAX_LEAD else head.lead
    return Track(unsigned(fields.get(_NUMBER, b"")), head.extradata, lead)


def _children(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the elements in a body that is whole."""
    at = 0
    while at < len(body):
        try:
            element = read_element(body, at)
        except (ValueError, IndexError) as exc:
            raise DamagedAudioError("an element of WebM is damaged") from exc
        at += element.header
        if not 0 <= element.size <= len(body) - at:
            raise DamagedAudioError("an element of WebM is damaged")
        yield element.kind, body[at : at + element.size]
        at += element.size


def _number(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Read a number of variable length, -1 for unknown; and where it ends."""
    width = 9 - data[at].bit_length()
    if width > 8:
        raise ValueError("there is no such number")
    if at + width > len(data):
        raise IndexError("a number is cut")
    largest = (1 << 7 * width) - 1
    value = int.from_bytes(data[at : at + width], "big") & largest
    return -1 if value == largest else value, at + width


def _unlaced(data: bytes, lacing: int) -> list[bytes]:
    """Take packets apart that lie in one block."""
    if lacing == 0:
        return [data]
    count, at = data[0] + 1, 1
    if lacing == 2:  # all of one length
        if (len(data) - 1) % count:
            raise ValueError("packets of one length do not fit")
        sizes = [(len(data) - 1) // count] * (count - 1)
    else:
        sizes, at = (_xiph if lacing == 1 else _differences)(data, count - 1)
    packets = []
    for size in sizes:
        packets.append(data[at : at + size])
        at += size
    if at > len(data):
        raise ValueError("packets do not fit into their block")
    return [*packets, data[at:]]


def _xiph(data: bytes, count: int) -> tuple[list[int], int]:
    """Read lengths as runs of 255 and a rest."""
    sizes, at = [], 1
    for _ in range(count):
        size = 0
        while data[at] == 0xFF:
            size += 0xFF
            at += 1
        sizes.append(size + data[at])
        at += 1
    return sizes, at


def _differences(data: bytes, count: int) -> tuple[list[int], int]:
    """Read a length, and what the next ones differ by."""
    sizes: list[int] = []
    at = 1
    for _ in range(count):
        begin = at
        value, at = _number(data, begin)
        size = value
        if sizes:
            size += sizes[-1] + 1 - (1 << 7 * (at - begin) - 1)
        if min(value, size) < 0:
            raise ValueError("a packet has less than no bytes")
        sizes.append(size)
    return sizes, at


def _unsupported(what: str) -> UnsupportedAudioError:
    return UnsupportedAudioError(
        f"{what} is not supported in a stream; wanted {_WANTED}",
        got=what,
        wanted=_WANTED,
    )
