"""Signatures that no compressed sound has: another file begins there."""

from __future__ import annotations

import re


SIGNATURE_BYTES = 12
"""Bytes that ``begins_file`` looks at."""

# RIFF WAVE and its two larger kinds; FLAC with its first block, 34 bytes of STREAMINFO.
_WAVE = rb"(?:RIFF|RF64|BW64)[\x00-\xff]{4}WAVE"
_FLAC = rb"fLaC[\x00\x80]\x00\x00\x22"

FILE = re.compile(_WAVE + b"|" + _FLAC)
"""Where a WAV or FLAC file begins."""

HEADER = re.compile(FILE.pattern + rb"|\x1a\x45\xdf\xa3|OggS\x00[\x02\x06]")
"""
Where a WAV, FLAC, WebM or Ogg file begins.

Four bytes of WebM may well be sound: only for places where a header has to stand.
"""


def begins_file(data: bytes, at: int) -> bool:
    """Tell whether a WAV or FLAC file begins at an offset."""
    return FILE.match(data, at) is not None
