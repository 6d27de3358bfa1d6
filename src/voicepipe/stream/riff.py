"""
What RIFF WAVE files have in common, whoever reads them: tags, codecs, sizes that lie.

Sources: RIFF WAVE (IBM and Microsoft, 1991), ``WAVEFORMATEXTENSIBLE`` (Microsoft, in
mmreg.h), RF64 and BW64 (EBU Tech 3306, ITU-R BS.2088).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from voicepipe.errors import UnsupportedAudioError


PCM, FLOAT, ALAW, MULAW, EXTENSIBLE = 0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE
"""Format tags: integers, IEEE floats, G.711, and "see the subformat"."""

UNCOMPRESSED = frozenset({PCM, FLOAT, ALAW, MULAW})
"""Tags of formats in which each sample has bits of its own."""

CODECS = {
    (PCM, 8): "pcm_u8",
    (PCM, 16): "pcm_s16le",
    (PCM, 24): "pcm_s24le",
    (PCM, 32): "pcm_s32le",
    (FLOAT, 32): "pcm_f32le",
    (FLOAT, 64): "pcm_f64le",
    (ALAW, 8): "pcm_alaw",
    (MULAW, 8): "pcm_mulaw",
}

# What follows the tag in a subformat's GUID: of all formats that have a tag, and of
# Ambisonic B-format, which is PCM or floats.
SUBFORMATS = (
    bytes.fromhex("000000001000800000aa00389b71"),
    bytes.fromhex("00002107d3118644c8c1ca000000"),
)

MAX_CHUNKS = 1_000
"""
Most chunks before the samples; more would keep a reader busy for nothing.

As many are followed behind them.
"""

NOT_CLOSED = b"voicepipe: not closed".ljust(28, b"\0")
"""What ``WavWriter`` has in its JUNK chunk until the file is closed."""

UNKNOWN_32 = 0xFFFFFFFF
"""Says "not known" (FFmpeg's pipe, and RF64 without sizes) or "see ds64"."""

UNKNOWN_64 = frozenset({(1 << 63) - 1, (1 << 64) - 1})
"""libsndfile begins an RF64 file with -1; others have the largest signed number."""

ABOUT_2_GIB = range(0x7FFF0000, 0x80000000 + 1)
"""
Sizes that stand for "as long as can be", as do those of ``ABOUT_4_GIB``.

SoX's pipe says 0x7FFFF000 (MS_UNSPEC in its wav.c), rounded down to whole frames;
arecord stops just short of, or at, 2 GiB. Others do the same at 4 GiB. A size within
64 KiB of these limits is believed only if the file agrees.
"""

ABOUT_4_GIB = range(0xFFFF0000, UNKNOWN_32)
"""See ``ABOUT_2_GIB``."""

FORM_BYTES = 40
"""Bytes of a format chunk that ``read_form`` looks at; 16 at least."""


class Form(NamedTuple):
    """
    What a format chunk says.

    Attributes:
        tag: Format of the samples, one of ``UNCOMPRESSED`` or that of a compression.
        channels: Number of channels, as written.
        rate: Frames per second, as written.
        bits: Bits that one sample takes up, as written; of G.711, always 8. Samples of
            less valid bits stand at the upper end, so that their number does not
            matter.
    """

    tag: int
    channels: int
    rate: int
    bits: int

    @property
    def codec(self) -> str | None:
        """FFmpeg's name for uncompressed samples, ``None`` for what is not read."""
        return CODECS.get((self.tag, self.bits))


def read_form(body: bytes) -> Form:
    """Read the first ``FORM_BYTES`` bytes of a format chunk, at least 16."""
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
    if tag == EXTENSIBLE and body[26:40] in SUBFORMATS:
        tag = struct.unpack("<H", body[24:26])[0]
    if tag in {ALAW, MULAW}:
        bits = 8  # some writers tell the width that it decodes to
    return Form(tag, channels, rate, bits)


def unsupported(
    tag: int, bits: int, source: str | None = None
) -> UnsupportedAudioError:
    """Make the error for samples of a format or a width that is not read."""
    kind = {FLOAT: "float"}.get(tag, "integer")
    got = f"{bits}-bit {kind}"
    if tag not in UNCOMPRESSED:
        got = f"the format 0x{tag:04X}"
    return UnsupportedAudioError(
        f"{got} samples are not supported",
        source=source,
        got=got,
        wanted="8, 16, 24 or 32-bit integer, 32 or 64-bit float, A-law or µ-law",
    )
