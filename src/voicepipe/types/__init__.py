"""
The values that cross layers: frozen, keyword-only, tuples instead of lists.

One module for each family, so that someone who looks for a value finds it by name:
``audio`` (sound), ``transcript`` (who said what when), ``analysis`` (what it means),
``job`` (what is stored) and ``run`` (what a pipeline reports).
"""

from __future__ import annotations

from voicepipe.types.analysis import (
    Analysis,
    AnalysisReport,
    CleanLine,
    Interruption,
    NonTalk,
    Point,
    SpeakerMetrics,
    TalkMetrics,
)
from voicepipe.types.audio import Audio, DecodeReport, Samples, WavFile
from voicepipe.types.job import Job, JobEdit, JobField, JobProgress, JobStatus
from voicepipe.types.run import Conversation, Progress, StageName
from voicepipe.types.transcript import Hypothesis, Segment, Transcript, Turn, Word
from voicepipe.types.transcription import TranscriptionReport


__all__ = [
    "Analysis",
    "AnalysisReport",
    "Audio",
    "CleanLine",
    "Conversation",
    "DecodeReport",
    "Hypothesis",
    "Interruption",
    "Job",
    "JobEdit",
    "JobField",
    "JobProgress",
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
    "TranscriptionReport",
    "Turn",
    "WavFile",
    "Word",
]
