"""Bad FLAC files: rows 47 to 53, and those of row 62."""

from __future__ import annotations

import functools
import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile as sf
from bad_case import ANY, SOME, Case, Fails, Gives
from bad_wav import floats
from coded_bytes import (
    FLAC_BLOCK,
    FLAC_PICTURE,
    FLAC_TAGS,
    flac_silence,
    flac_tags,
    flac_total,
    flac_with,
)
from make_audio import signal

from voicepipe.errors import (
    DamagedAudioError,
    EmptyAudioError,
    TruncatedAudioError,
    UnsupportedAudioError,
)


if TYPE_CHECKING:
    import numpy.typing as npt

    from voicepipe.types.audio import Samples


RATE = 8_000

SOUND = np.rint(signal(RATE, 1, 10.0) * 32_768).astype("<i2")
"""Ten seconds of 16-bit sound, shape ``(80000, 1)``."""

FRAMES = len(SOUND)

TRUNCATED = Fails(error=TruncatedAudioError)
DAMAGED = Fails(error=DamagedAudioError)
TOO_LONG = Fails(error=UnsupportedAudioError, match="more than 600 s")


def sound(frames: int = FRAMES) -> Samples:
    """Give the first frames of what was recorded."""
    return floats(SOUND[:frames])


@functools.cache
def flac() -> bytes:
    """Encode what was recorded."""
    return flac_of(SOUND)


def flac_of(samples: npt.NDArray[Any], subtype: str = "PCM_16") -> bytes:
    """Encode samples with libFLAC."""
    file = io.BytesIO()
    sf.write(file, samples, RATE, format="FLAC", subtype=subtype)
    return file.getvalue()


def flipped(*places: float) -> bytes:
    """Change a bit at some places, as shares of the file."""
    data = bytearray(flac())
    for place in places:
        data[round(place * len(data))] ^= 0x10
    return bytes(data)


def picture(size: int) -> bytes:
    """Make the body of a block with a picture, ``size`` bytes in all."""
    mime = b"image/png"
    head = struct.pack(">II", 3, len(mime)) + mime
    data = size - len(head) - 24
    return head + struct.pack(">IIIIII", 0, 1, 1, 24, 0, data) + bytes(data)


def tagged(kind: int, body: bytes, size: int | None = None) -> bytes:
    """Give the recording one more block."""
    return flac_with(flac(), kind, body, size)


def gives(**report: Any) -> Gives:
    """Expect what was recorded, bit by bit."""
    return Gives(sound=sound, report=report)


LOST = {"damaged": True, "damaged_at_s": SOME, "lost_frames": SOME}

DAY = 86_400 * RATE // FLAC_BLOCK
"""Frames of FLAC for 24 h of silence."""

EIGHT_CHANNELS = np.tile(SOUND[:RATE], 8)
WIDE = (SOUND.astype("<i4") << 16) + (1 << 8)  # 24 bits, in the upper ones
DC = np.full((RATE, 1), 8_192, "<i2")

FLAC = (
    Case(
        id="47 FLAC total=0",
        make=lambda: flac_total(flac(), 0),
        strict=gives(declared_frames=None),
    ),
    Case(
        id="48a FLAC total=2^36-1",
        make=lambda: flac_total(flac(), (1 << 36) - 1),
        strict=gives(declared_frames=ANY),
    ),
    Case(
        id="48b FLAC total=2^35",
        make=lambda: flac_total(flac(), 1 << 35),
        strict=TRUNCATED,
        lenient=gives(declared_frames=1 << 35, truncated=True),
    ),
    Case(
        id="49 FLAC total=1",
        make=lambda: flac_total(flac(), 1),
        strict=gives(declared_frames=1),
    ),
    Case(
        id="50a FLAC bit flip",
        make=lambda: flipped(0.5),
        strict=DAMAGED,
        lenient=gives(declared_frames=FRAMES, **LOST),
    ),
    Case(
        id="50b FLAC three bit flips",
        make=lambda: flipped(0.2, 0.5, 0.8),
        strict=DAMAGED,
        lenient=gives(declared_frames=FRAMES, **LOST),
    ),
    Case(
        id="50c FLAC bit flip near the beginning",
        make=lambda: flipped(0.12),
        strict=DAMAGED,
        lenient=gives(declared_frames=FRAMES, **LOST),
    ),
    Case(
        id="50d FLAC bit flip near the end",
        make=lambda: flipped(0.85),
        strict=DAMAGED,
        lenient=gives(declared_frames=FRAMES, **LOST),
    ),
    Case(
        id="51 FLAC cut in half",
        make=lambda: flac()[: len(flac()) // 2],
        strict=TRUNCATED,
        lenient=Gives(
            sound=functools.partial(sound, 48_000),
            missing=16_000,
            report={"truncated": True, "declared_frames": FRAMES},
        ),
    ),
    Case(
        id="52 FLAC silence of 24 h",
        make=lambda: flac_silence(RATE, 1, DAY),
        strict=TOO_LONG,
        max_duration_s=600.0,
    ),
    Case(
        id="53a FLAC tag that is no UTF-8",
        make=lambda: tagged(FLAC_TAGS, flac_tags(b"TITLE=\xff\xfe\xc3", b"\x80=\xc0")),
        strict=gives(),
    ),
    Case(
        id="53b FLAC picture of 16 MiB",
        make=lambda: tagged(FLAC_PICTURE, picture((1 << 24) - 1)),
        strict=gives(),
    ),
    Case(
        id="53c FLAC 100,000 comments",
        make=lambda: tagged(FLAC_TAGS, flac_tags(*[b"A=1"] * 100_000)),
        strict=gives(),
    ),
    Case(
        id="53d FLAC comments that lie about their number",
        make=lambda: tagged(FLAC_TAGS, struct.pack("<II", 0, 0xFFFFFFFF)),
        strict=gives(),
    ),
    Case(
        id="53e FLAC block that goes beyond the end",
        make=lambda: tagged(FLAC_TAGS, bytes(8), (1 << 24) - 1),
        strict=TRUNCATED,
    ),
    Case(
        id="62e1 FLAC without sound",
        make=lambda: flac_of(SOUND[:0]),
        strict=Fails(error=EmptyAudioError),
    ),
    Case(
        id="62o DC in FLAC",
        make=lambda: flac_of(DC),
        strict=Gives(sound=lambda: floats(DC)),
    ),
    Case(
        id="62y FLAC of 8 channels",
        make=lambda: flac_of(EIGHT_CHANNELS),
        strict=Gives(sound=lambda: floats(EIGHT_CHANNELS)),
    ),
    Case(
        id="62z FLAC of 24 bits",
        make=lambda: flac_of(WIDE, "PCM_24"),
        strict=Gives(sound=lambda: (WIDE / 2**31).astype(np.float32)),
    ),
)
