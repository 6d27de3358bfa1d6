"""
Call audio in; standard WAVs, speaker-labelled transcripts and analysis out.

One flat namespace. A name is imported when it is first used, so that ``import
voicepipe`` costs nothing and needs no extra.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from voicepipe.analysis.conversation import CONVERSATION_TYPES
    from voicepipe.analysis.extractive import ExtractiveAnalyzer
    from voicepipe.analysis.metrics import talk_metrics
    from voicepipe.asr.diarize import ChannelDiarizer, assign_speakers
    from voicepipe.asr.sphinx import PocketSphinxModel, PocketSphinxTranscriber
    from voicepipe.errors import (
        AnalysisError,
        AudioError,
        ChildCrashedError,
        DamagedAudioError,
        DecoderCrashedError,
        DecoderTimeoutError,
        DiarizationError,
        DiskFullError,
        EmptyAudioError,
        JobError,
        JobNotFoundError,
        JobStateError,
        LeaseLostError,
        MissingExtraError,
        NotAudioError,
        StoreError,
        TranscriptionError,
        TruncatedAudioError,
        UnsupportedAudioError,
        VoicepipeError,
    )
    from voicepipe.io.audio import iter_audio, read_audio, standardize, write_wav
    from voicepipe.io.options import DecodeOptions, RawFormat
    from voicepipe.io.source import AudioSource
    from voicepipe.jobs.store import SqlJobStore
    from voicepipe.pipeline import Pipeline, PipelineOptions
    from voicepipe.proc.limits import ChildLimits
    from voicepipe.progress import progress_bars
    from voicepipe.protocols import (
        Analyzer,
        Diarizer,
        JobStore,
        Stage,
        StreamingTranscriber,
        Transcriber,
    )
    from voicepipe.stream.channels import DualMono
    from voicepipe.stream.resample import Resampler
    from voicepipe.stream.vad import EnergyVad, SpeechSpan, VadOptions
    from voicepipe.stream.windows import SilenceCutter
    from voicepipe.types import (
        Analysis,
        Audio,
        Conversation,
        DecodeReport,
        Hypothesis,
        Interruption,
        Job,
        JobStatus,
        NonTalk,
        Point,
        Progress,
        Samples,
        Segment,
        SpeakerMetrics,
        StageName,
        TalkMetrics,
        Transcript,
        Turn,
        WavFile,
        Word,
    )
    from voicepipe.types.transcript import turns_to_rttm


__all__ = [
    "CONVERSATION_TYPES",
    "Analysis",
    "AnalysisError",
    "Analyzer",
    "Audio",
    "AudioError",
    "AudioSource",
    "ChannelDiarizer",
    "ChildCrashedError",
    "ChildLimits",
    "Conversation",
    "DamagedAudioError",
    "DecodeOptions",
    "DecodeReport",
    "DecoderCrashedError",
    "DecoderTimeoutError",
    "DiarizationError",
    "Diarizer",
    "DiskFullError",
    "DualMono",
    "EmptyAudioError",
    "EnergyVad",
    "ExtractiveAnalyzer",
    "Hypothesis",
    "Interruption",
    "Job",
    "JobError",
    "JobNotFoundError",
    "JobStateError",
    "JobStatus",
    "JobStore",
    "LeaseLostError",
    "MissingExtraError",
    "NonTalk",
    "NotAudioError",
    "Pipeline",
    "PipelineOptions",
    "PocketSphinxModel",
    "PocketSphinxTranscriber",
    "Point",
    "Progress",
    "RawFormat",
    "Resampler",
    "Samples",
    "Segment",
    "SilenceCutter",
    "SpeakerMetrics",
    "SpeechSpan",
    "SqlJobStore",
    "Stage",
    "StageName",
    "StoreError",
    "StreamingTranscriber",
    "TalkMetrics",
    "Transcriber",
    "Transcript",
    "TranscriptionError",
    "TruncatedAudioError",
    "Turn",
    "UnsupportedAudioError",
    "VadOptions",
    "VoicepipeError",
    "WavFile",
    "Word",
    "assign_speakers",
    "iter_audio",
    "progress_bars",
    "read_audio",
    "standardize",
    "talk_metrics",
    "turns_to_rttm",
    "write_wav",
]

# Where each name lives. The tests hold this, the imports above and __all__ together.
_HOMES: dict[str, tuple[str, ...]] = {
    "analysis.conversation": ("CONVERSATION_TYPES",),
    "analysis.extractive": ("ExtractiveAnalyzer",),
    "analysis.metrics": ("talk_metrics",),
    "asr.diarize": (
        "ChannelDiarizer",
        "assign_speakers",
    ),
    "asr.sphinx": (
        "PocketSphinxModel",
        "PocketSphinxTranscriber",
    ),
    "errors": (
        "AnalysisError",
        "AudioError",
        "ChildCrashedError",
        "DamagedAudioError",
        "DecoderCrashedError",
        "DecoderTimeoutError",
        "DiarizationError",
        "DiskFullError",
        "EmptyAudioError",
        "JobError",
        "JobNotFoundError",
        "JobStateError",
        "LeaseLostError",
        "MissingExtraError",
        "NotAudioError",
        "StoreError",
        "TranscriptionError",
        "TruncatedAudioError",
        "UnsupportedAudioError",
        "VoicepipeError",
    ),
    "io.audio": (
        "iter_audio",
        "read_audio",
        "standardize",
        "write_wav",
    ),
    "io.options": (
        "DecodeOptions",
        "RawFormat",
    ),
    "io.source": ("AudioSource",),
    "jobs.store": ("SqlJobStore",),
    "pipeline": (
        "Pipeline",
        "PipelineOptions",
    ),
    "proc.limits": ("ChildLimits",),
    "progress": ("progress_bars",),
    "protocols": (
        "Analyzer",
        "Diarizer",
        "JobStore",
        "Stage",
        "StreamingTranscriber",
        "Transcriber",
    ),
    "stream.channels": ("DualMono",),
    "stream.resample": ("Resampler",),
    "stream.vad": (
        "EnergyVad",
        "SpeechSpan",
        "VadOptions",
    ),
    "stream.windows": ("SilenceCutter",),
    "types": (
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
    ),
    "types.transcript": ("turns_to_rttm",),
}

_MODULES = {
    name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names
}

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - slow, rarely asked

        return version("voicepipe")
    try:
        home = _MODULES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
