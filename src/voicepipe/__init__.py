"""
Call audio in; standard WAVs, speaker-labelled transcripts and analysis out.

One flat namespace. A name is imported when it is first used, so that ``import
voicepipe`` costs nothing and needs no extra.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING

from voicepipe.homes import HOMES as _HOMES


if TYPE_CHECKING:
    from voicepipe.analysis.conversation import CONVERSATION_TYPES
    from voicepipe.analysis.extractive import ExtractiveAnalyzer
    from voicepipe.analysis.gemini.analyzer import GeminiAnalyzer
    from voicepipe.analysis.gemini.options import GeminiOptions
    from voicepipe.analysis.metrics import talk_metrics
    from voicepipe.analysis.redaction.options import RedactionKind, RedactionOptions
    from voicepipe.analysis.redaction.sound import redact_audio
    from voicepipe.analysis.redaction.spans import RedactedSpan, redacted_spans
    from voicepipe.analysis.redaction.text import redact_text
    from voicepipe.analysis.redaction.transcript import Redacted, redact_transcript
    from voicepipe.asr.diarize import ChannelDiarizer, assign_speakers
    from voicepipe.asr.live.session import LiveSession
    from voicepipe.asr.live.transcriber import LiveTranscriber
    from voicepipe.asr.openai.options import OpenAIOptions
    from voicepipe.asr.openai.transcriber import OpenAITranscriber
    from voicepipe.asr.pyannote import PyannoteDiarizer, PyannoteOptions
    from voicepipe.asr.silero.spans import SileroOptions
    from voicepipe.asr.silero.vad import SileroVad
    from voicepipe.asr.speakers.call import CallDiarizer
    from voicepipe.asr.speakers.diarizer import SpeakerDiarizer
    from voicepipe.asr.speakers.options import SpeakerOptions
    from voicepipe.asr.sphinx import PocketSphinxModel, PocketSphinxTranscriber
    from voicepipe.asr.voice_activity import voice_activity
    from voicepipe.asr.whisper.options import WhisperOptions, WhisperSetup
    from voicepipe.asr.whisper.transcriber import WhisperTranscriber
    from voicepipe.errors import (
        AnalysisError,
        AudioError,
        BadResponseError,
        BatchError,
        BlockedUrlError,
        CallError,
        CallNotFoundError,
        CaptureError,
        ChildCrashedError,
        ChunkTooLargeError,
        ConnectionFailedError,
        DamagedAudioError,
        DecoderCrashedError,
        DecoderTimeoutError,
        DiarizationError,
        DiskFullError,
        EmptyAudioError,
        FetchError,
        FetchTimeoutError,
        HttpStatusError,
        InvalidIdError,
        InvalidUrlError,
        JobError,
        JobNotFoundError,
        JobStateError,
        LeaseLostError,
        MissingExtraError,
        ModelUnavailableError,
        NoRecordingError,
        NotAudioError,
        OffsetGapError,
        SessionBusyError,
        SessionClosedError,
        SessionFullError,
        SessionNotFoundError,
        SettingsError,
        StoreError,
        StreamError,
        StreamLostError,
        StreamRefusedError,
        TooLargeError,
        TooManyConnectionsError,
        TooManySessionsError,
        TranscriptionError,
        TruncatedAudioError,
        UnsupportedAudioError,
        VoicepipeError,
    )
    from voicepipe.io.batch.bar import batch_progress_bar
    from voicepipe.io.batch.run import run_batch
    from voicepipe.io.batch.values import (
        BatchOptions,
        BatchProgress,
        BatchSummary,
        ListFormat,
    )
    from voicepipe.io.capture.connection import CaptureConnection
    from voicepipe.io.capture.decoders import IsolatedDecoders
    from voicepipe.io.capture.store import CaptureStore
    from voicepipe.io.capture.values import (
        CaptureOptions,
        CaptureStatus,
        ChunkAck,
        Durability,
        EndReason,
        SessionInfo,
        SessionSpec,
    )
    from voicepipe.io.download.bar import download_progress_bar
    from voicepipe.io.download.downloader import Downloader
    from voicepipe.io.download.values import (
        Download,
        DownloadOptions,
        DownloadOutcome,
        DownloadProgress,
        DownloadRequest,
    )
    from voicepipe.io.fetch import fetch_wav, fetch_wavs
    from voicepipe.io.many import Standardized, standardize_many
    from voicepipe.io.options import DecodeOptions, RawEncoding, RawFormat
    from voicepipe.io.read import iter_audio, read_audio
    from voicepipe.io.recordings import FetchedWav, FetchOutcome, Recording
    from voicepipe.io.source import AudioSource
    from voicepipe.io.streaming.client import StreamClient
    from voicepipe.io.streaming.values import (
        StreamAck,
        StreamOptions,
        StreamSummary,
    )
    from voicepipe.io.telephony import CallInfo, TelephonyClient, call_info_from_json
    from voicepipe.io.wav.recover import Recovery, recover
    from voicepipe.io.wav.writer import WavWriter
    from voicepipe.io.write import standardize, write_wav
    from voicepipe.jobs.options import WorkerOptions
    from voicepipe.jobs.run import JobRun
    from voicepipe.jobs.store import SqlJobStore
    from voicepipe.jobs.worker import Worker
    from voicepipe.pipeline import Pipeline, PipelineOptions
    from voicepipe.proc.limits import ChildLimits
    from voicepipe.progress import progress_bars
    from voicepipe.protocols import (
        Analyzer,
        CachingAnalyzer,
        Diarizer,
        JobStore,
        ResultCache,
        Stage,
        StreamingTranscriber,
        Transcriber,
    )
    from voicepipe.stream.assembler.assembler import ChunkAssembler
    from voicepipe.stream.assembler.detect import StreamFormat
    from voicepipe.stream.assembler.report import StreamReport
    from voicepipe.stream.channels import DualMono
    from voicepipe.stream.g711 import G711Decoder, G711Encoder, G711Law
    from voicepipe.stream.live.activity import EnergyActivity
    from voicepipe.stream.live.options import LiveOptions
    from voicepipe.stream.packets.decoder import (
        CodecName,
        Decoded,
        DecoderFactory,
        PacketDecoder,
    )
    from voicepipe.stream.resample import Resampler
    from voicepipe.stream.vad import EnergyVad, SpeechSpan, VadOptions
    from voicepipe.stream.windows import SilenceCutter
    from voicepipe.types import (
        Analysis,
        AnalysisReport,
        Audio,
        CleanLine,
        Conversation,
        DecodeReport,
        Hypothesis,
        Interruption,
        Job,
        JobEdit,
        JobField,
        JobProgress,
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
        TranscriptionReport,
        Turn,
        WavFile,
        Word,
    )
    from voicepipe.types.transcript import turns_to_rttm


__all__ = [
    "CONVERSATION_TYPES",
    "Analysis",
    "AnalysisError",
    "AnalysisReport",
    "Analyzer",
    "Audio",
    "AudioError",
    "AudioSource",
    "BadResponseError",
    "BatchError",
    "BatchOptions",
    "BatchProgress",
    "BatchSummary",
    "BlockedUrlError",
    "CachingAnalyzer",
    "CallDiarizer",
    "CallError",
    "CallInfo",
    "CallNotFoundError",
    "CaptureConnection",
    "CaptureError",
    "CaptureOptions",
    "CaptureStatus",
    "CaptureStore",
    "ChannelDiarizer",
    "ChildCrashedError",
    "ChildLimits",
    "ChunkAck",
    "ChunkAssembler",
    "ChunkTooLargeError",
    "CleanLine",
    "CodecName",
    "ConnectionFailedError",
    "Conversation",
    "DamagedAudioError",
    "DecodeOptions",
    "DecodeReport",
    "Decoded",
    "DecoderCrashedError",
    "DecoderFactory",
    "DecoderTimeoutError",
    "DiarizationError",
    "Diarizer",
    "DiskFullError",
    "Download",
    "DownloadOptions",
    "DownloadOutcome",
    "DownloadProgress",
    "DownloadRequest",
    "Downloader",
    "DualMono",
    "Durability",
    "EmptyAudioError",
    "EndReason",
    "EnergyActivity",
    "EnergyVad",
    "ExtractiveAnalyzer",
    "FetchError",
    "FetchOutcome",
    "FetchTimeoutError",
    "FetchedWav",
    "G711Decoder",
    "G711Encoder",
    "G711Law",
    "GeminiAnalyzer",
    "GeminiOptions",
    "HttpStatusError",
    "Hypothesis",
    "Interruption",
    "InvalidIdError",
    "InvalidUrlError",
    "IsolatedDecoders",
    "Job",
    "JobEdit",
    "JobError",
    "JobField",
    "JobNotFoundError",
    "JobProgress",
    "JobRun",
    "JobStateError",
    "JobStatus",
    "JobStore",
    "LeaseLostError",
    "ListFormat",
    "LiveOptions",
    "LiveSession",
    "LiveTranscriber",
    "MissingExtraError",
    "ModelUnavailableError",
    "NoRecordingError",
    "NonTalk",
    "NotAudioError",
    "OffsetGapError",
    "OpenAIOptions",
    "OpenAITranscriber",
    "PacketDecoder",
    "Pipeline",
    "PipelineOptions",
    "PocketSphinxModel",
    "PocketSphinxTranscriber",
    "Point",
    "Progress",
    "PyannoteDiarizer",
    "PyannoteOptions",
    "RawEncoding",
    "RawFormat",
    "Recording",
    "Recovery",
    "Redacted",
    "RedactedSpan",
    "RedactionKind",
    "RedactionOptions",
    "Resampler",
    "ResultCache",
    "Samples",
    "Segment",
    "SessionBusyError",
    "SessionClosedError",
    "SessionFullError",
    "SessionInfo",
    "SessionNotFoundError",
    "SessionSpec",
    "SettingsError",
    "SilenceCutter",
    "SileroOptions",
    "SileroVad",
    "SpeakerDiarizer",
    "SpeakerMetrics",
    "SpeakerOptions",
    "SpeechSpan",
    "SqlJobStore",
    "Stage",
    "StageName",
    "Standardized",
    "StoreError",
    "StreamAck",
    "StreamClient",
    "StreamError",
    "StreamFormat",
    "StreamLostError",
    "StreamOptions",
    "StreamRefusedError",
    "StreamReport",
    "StreamSummary",
    "StreamingTranscriber",
    "TalkMetrics",
    "TelephonyClient",
    "TooLargeError",
    "TooManyConnectionsError",
    "TooManySessionsError",
    "Transcriber",
    "Transcript",
    "TranscriptionError",
    "TranscriptionReport",
    "TruncatedAudioError",
    "Turn",
    "UnsupportedAudioError",
    "VadOptions",
    "VoicepipeError",
    "WavFile",
    "WavWriter",
    "WhisperOptions",
    "WhisperSetup",
    "WhisperTranscriber",
    "Word",
    "Worker",
    "WorkerOptions",
    "assign_speakers",
    "batch_progress_bar",
    "call_info_from_json",
    "download_progress_bar",
    "fetch_wav",
    "fetch_wavs",
    "iter_audio",
    "progress_bars",
    "read_audio",
    "recover",
    "redact_audio",
    "redact_text",
    "redact_transcript",
    "redacted_spans",
    "run_batch",
    "standardize",
    "standardize_many",
    "talk_metrics",
    "turns_to_rttm",
    "voice_activity",
    "write_wav",
]

# The tests hold this, the imports above and __all__ together.
_MODULES = {
    name: f"{__name__}.{home}"
    for home, names in _HOMES.items()
    for name in names.split()
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
