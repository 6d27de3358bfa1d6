"""
Numbers that must not be kept, taken out of text and sound.

``transcript``, ``text`` and ``sound`` are what is called. ``find`` goes through lines
of speakers: ``tokens`` divides them, ``runs`` puts digits together, written or said
(``numerals``, ``wordlists``), ``digits`` says which are ``cards`` and ``phones``, by
what was said before (``cues``); ``ibans`` and ``emails`` look for themselves. ``spans``
are where it was said.
"""

from __future__ import annotations
