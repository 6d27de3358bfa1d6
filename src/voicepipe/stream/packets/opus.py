"""
Opus: what its packets and its header say (RFC 6716, section 3.1; RFC 7845, 5.1).

Sound is always decoded at 48,000 Hz, whatever rate the encoder was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from voicepipe.errors import DamagedAudioError, UnsupportedAudioError
from voicepipe.stream.packets.decoder import MAX_PACKET_CHANNELS


if TYPE_CHECKING:
    from collections.abc import Sequence


OPUS_RATE = 48_000
"""Frames per second of what a decoder gives, Hz."""

MAX_PACKET_BYTES = 1 << 16
"""
Most bytes of a packet that are kept.

A packet of one or two channels has at most 48 frames of 1,275 bytes.
"""

_MAX_FRAMES = 5_760  # 120 ms: section 3.2.5

_HEAD_BYTES = 19

# Frames of sound of each configuration: SILK, hybrid and CELT.
_FRAMES = (
    *((480, 960, 1_920, 2_880) * 3),
    *((480, 960) * 2),
    *((120, 240, 480, 960) * 4),
)

# What a fresh decoder has to hear: coded frames, and bytes at most. What it does not
# know fades by a factor for each frame: a half where they have 20 ms, two thirds at
# 10 ms (RFC 6716, 4.3.2.1). Measured: after 48 frames of 20 ms nothing is left of it.
_WARM_CODED = 64
_WARM_BYTES = 1 << 16


class OpusHead(NamedTuple):
    """
    The header of a stream.

    Attributes:
        extradata: It, as the decoder takes it: it leaves nothing out by itself, so
            that one made anew in the midst of a stream does not either.
        lead: Frames to leave out at the beginning, 0 to 65,535.
    """

    extradata: bytes
    lead: int


def read_head(data: bytes) -> OpusHead:
    """
    Read the identification header.

    Raises:
        DamagedAudioError: If it is none.
        UnsupportedAudioError: If it is of another version, or has too many channels.
    """
    if len(data) < _HEAD_BYTES or not data.startswith(b"OpusHead") or not data[9]:
        raise DamagedAudioError("the header of Opus is damaged")
    for what, value, most in (
        ("Opus of the version", data[8], 0x0F),
        ("Opus of channels:", data[9], MAX_PACKET_CHANNELS),
    ):
        if value > most:
            got = f"{what} {value}"
            raise UnsupportedAudioError(f"{got} is not supported", got=got)
    lead = int.from_bytes(data[10:12], "little")
    return OpusHead(data[:10] + b"\0\0" + data[12:], lead)


def made_head(channels: int) -> OpusHead:
    """Make the header of one or two channels, where a file has none."""
    rate = OPUS_RATE.to_bytes(4, "little")
    return read_head(b"OpusHead\x01" + bytes([channels, 0, 0]) + rate + b"\0\0\0")


def packet_frames(packet: bytes) -> int:
    """Count the frames of sound that a packet announces; 0 if it is none."""
    frames = _coded(packet) * _FRAMES[packet[0] >> 3] if packet else 0
    return frames if frames <= _MAX_FRAMES else 0


def warm_up(packets: Sequence[bytes]) -> list[bytes]:
    """Give the last packets that a fresh decoder has to hear."""
    first, coded, size = len(packets), 0, 0
    while first > 0 and coded < _WARM_CODED:
        size += len(packets[first - 1])
        if size > _WARM_BYTES:
            break
        first -= 1
        coded += _coded(packets[first])
    return list(packets[first:])


def _coded(packet: bytes) -> int:
    """Count the coded frames in a packet, each of 2.5 to 60 ms."""
    code = packet[0] & 3 if packet else 0
    if code == 3:
        return packet[1] & 0x3F if len(packet) > 1 else 0
    return 1 if code == 0 else 2
