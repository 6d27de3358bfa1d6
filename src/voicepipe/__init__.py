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
    from voicepipe.io.many import Standardized, standardize_many
    from voicepipe.io.options import DecodeOptions, RawEncoding, RawFormat
    from voicepipe.io.read import iter_audio, read_audio
    from voicepipe.io.source import AudioSource
    from voicepipe.io.wav.recover import Recovery, recover
    from voicepipe.io.wav.writer import WavWriter
    from voicepipe.io.write import standardize, write_wav
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
    from voicepipe.stream.g711 import G711Decoder, G711Encoder, G711Law
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
    "G711Decoder",
    "G711Encoder",
    "G711Law",
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
    "RawEncoding",
    "RawFormat",
    "Recovery",
    "Resampler",
    "Samples",
    "Segment",
    "SilenceCutter",
    "SpeakerMetrics",
    "SpeechSpan",
    "SqlJobStore",
    "Stage",
    "StageName",
    "Standardized",
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
    "WavWriter",
    "Word",
    "assign_speakers",
    "iter_audio",
    "progress_bars",
    "read_audio",
    "recover",
    "standardize",
    "standardize_many",
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
    "io.many": (
        "Standardized",
        "standardize_many",
    ),
    "io.options": (
        "DecodeOptions",
        "RawEncoding",
        "RawFormat",
    ),
    "io.read": (
        "iter_audio",
        "read_audio",
    ),
    "io.source": ("AudioSource",),
    "io.wav.recover": (
        "Recovery",
        "recover",
    ),
    "io.wav.writer": ("WavWriter",),
    "io.write": (
        "standardize",
        "write_wav",
    ),
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
    "stream.g711": (
        "G711Decoder",
        "G711Encoder",
        "G711Law",
    ),
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
