"""The engines that a server's settings name, and what it does without them."""

from __future__ import annotations

from voicepipe.servers.engines.analyzer import AnalyzerSettings, open_analyzer
from voicepipe.servers.engines.diarizer import DiarizerSettings, open_diarizer
from voicepipe.servers.engines.names import EngineName, parse_engine
from voicepipe.servers.engines.transcriber import (
    EMBEDDED,
    PATIENCE_S,
    OpenedTranscriber,
    TranscriberSettings,
    open_transcriber,
    parse_transcriber,
)


__all__ = [
    "EMBEDDED",
    "PATIENCE_S",
    "AnalyzerSettings",
    "DiarizerSettings",
    "EngineName",
    "OpenedTranscriber",
    "TranscriberSettings",
    "open_analyzer",
    "open_diarizer",
    "open_transcriber",
    "parse_engine",
    "parse_transcriber",
]
