"""
What the first frame of an MP3 says of the others, and what FFmpeg makes of it.

Xing's tag: the number of frames and bytes. LAME's, behind it: how many samples its
encoder has put before and behind the sound (gabriel.mp3-tech.org/mp3infotag.html).
VBRI: Fraunhofer's. The rules for what is cut away are those of FFmpeg's demuxer,
because the same file is to give the same samples, whole or in pieces.
"""

from __future__ import annotations

import attrs

from voicepipe.stream.mpeg import mpeg_frame


_NAMES = frozenset({b"Xing", b"Info"})

# Whose delays FFmpeg believes.
_ENCODERS = (b"LAME", b"Lavf", b"Lavc")

# The decoder's own delay, which comes on top of the encoder's.
_DECODER_DELAY = 529

_HAS_FRAMES, _HAS_BYTES, _HAS_TABLE, _HAS_QUALITY = 1, 2, 4, 8
_TABLE_BYTES = 100


@attrs.frozen(kw_only=True)
class Info:
    """
    What the first frame says.

    Attributes:
        sounds: Whether it is decoded all the same, as silence: it announces nothing.
        start: Frames of sound to leave out at the beginning.
        first: Where to begin to leave out at the end, counted from the first frame that
            is decoded; zero where nothing is left out.
        last: Where to stop to leave out.
        size: Bytes from this frame on, as announced; zero where they are not.
    """

    sounds: bool
    start: int = 0
    first: int = 0
    last: int = 0
    size: int = 0


def has_info(frame: bytes, *, silent: bool = False) -> bool:
    """
    Tell whether a frame has a Xing tag.

    Args:
        frame: A whole frame of MPEG audio.
        silent: Want it to hold no sound either, as encoders make them.
    """
    at = _tag_at(frame)
    if not at or frame[at : at + 4] not in _NAMES:
        return False
    return not silent or not any(frame[6:at])


def read_info(frame: bytes) -> Info | None:
    """Read the tag of a file's first frame; ``None`` where it has none."""
    at, header = _tag_at(frame), mpeg_frame(frame, 0)
    if not at or header is None:
        return None
    if frame[at : at + 4] not in _NAMES:
        return _read_vbri(frame)
    flags, at = _number(frame, at + 4), at + 8
    count = size = 0
    if flags & _HAS_FRAMES:
        count, at = _number(frame, at), at + 4
    if flags & _HAS_BYTES:
        size, at = _number(frame, at), at + 4
    at += _TABLE_BYTES * bool(flags & _HAS_TABLE) + 4 * bool(flags & _HAS_QUALITY)
    sounds = not count and not size
    if not frame.startswith(_ENCODERS, at):
        return Info(sounds=sounds)
    delays = int.from_bytes(frame[at + 21 : at + 24], "big")
    last = count * header.samples
    return Info(
        sounds=sounds,
        start=(delays >> 12) + _DECODER_DELAY,
        first=last + _DECODER_DELAY - (delays & 0xFFF) if count else 0,
        last=last,
        size=size,
    )


def _read_vbri(frame: bytes) -> Info | None:
    # Version 1; delay and quality; numbers of bytes and frames.
    if not frame.startswith(b"VBRI\x00\x01", 36):
        return None
    return None if not any(frame[46:54]) else Info(sounds=False)


def _tag_at(frame: bytes) -> int:
    """Give where a Xing tag stands: behind the side information; 0 for no layer III."""
    if frame[1] >> 1 & 3 != 1:
        return 0
    is_mpeg1, is_mono = frame[1] >> 3 & 3 == 3, frame[3] >> 6 == 3
    return 4 + {(True, False): 32, (False, True): 9}.get((is_mpeg1, is_mono), 17)


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")
