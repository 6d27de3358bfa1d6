"""
The values that cross layers: frozen, keyword-only, tuples instead of lists.

One module for each family, so that someone who looks for a value finds it by name:
``audio`` (sound), ``transcript`` (who said what when), ``analysis`` (what it means),
``job`` (what is stored) and ``run`` (what a pipeline reports).
"""

from __future__ import annotations

from voicepipe.types.analysis import (
    Analysis,
    Interruption,
    NonTalk,
    Point,
    SpeakerMetrics,
    TalkMetrics,
)
from voicepipe.types.audio import Audio, DecodeReport, Samples, WavFile
from voicepipe.types.job import Job, JobStatus
from voicepipe.types.run import Conversation, Progress, StageName
from voicepipe.types.transcript import Hypothesis, Segment, Transcript, Turn, Word


__all__ = [
    "Analysis",
    "Audio",
    "Conversation",
    "DecodeReport",
    "Hypothesis",
    "Interruption",
    "Job",
    "JobStatus",
    "NonTalk",
    "Point",
    "Progress",
    "Samples",
    "Segment",
    "SpeakerMetrics",
    "StageName",
    "TalkMetrics",
    "Transcript",
    "Turn",
    "WavFile",
    "Word",
]
