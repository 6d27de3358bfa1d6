"""
Analysis by Google's Gemini, over the google-genai SDK.

``analyzer`` cuts a transcript into ``windows`` and puts together what ``reading`` finds
in them: it asks in the words of ``prompt``, by ``service``, the one translator for the
SDK. ``answer`` believes what holds of an answer, ``clean`` compares rewritten lines
with what was said, ``failures`` tells what a refusal means, and ``budget`` counts what
is paid for and keeps it.
"""

from __future__ import annotations
