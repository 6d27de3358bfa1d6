"""
The recordings that nobody would send, and somebody does: 62 rows, most of several.

Rows and numbers are those of a list that was made by trying them on libsndfile and
FFmpeg; ``bad_case`` says what a case is, ``bad_wav``, ``bad_foreign``, ``bad_flac`` and
``bad_coded`` make them.
"""

from __future__ import annotations

from bad_case import numbered
from bad_coded import CODED
from bad_flac import FLAC
from bad_foreign import FOREIGN
from bad_wav import WAV


CASES = numbered(*sorted((*WAV, *FOREIGN, *FLAC, *CODED), key=lambda case: case.id))
"""All of them, in the order of their rows."""
