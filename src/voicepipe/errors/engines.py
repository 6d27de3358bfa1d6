"""Errors of what works on good input."""

from __future__ import annotations

from voicepipe.errors.base import VoicepipeError


class _EngineError(VoicepipeError):
    """Shared by the engines' errors: which engine, and whether to try again."""

    def __init__(
        self, message: str, *, model: str = "", retryable: bool = False
    ) -> None:
        """Keep the engine's name."""
        super().__init__(message)
        self.model: str = model
        self.retryable: bool = retryable


class TranscriptionError(_EngineError):
    """
    A speech recognition engine failed on good audio.

    Attributes:
        model: The engine's name, as in ``Transcript.model``.
        retryable: Whether the same call may succeed later.
    """


class DiarizationError(_EngineError):
    """
    A diarizer failed on good audio.

    Attributes:
        model: The diarizer's name.
        retryable: Whether the same call may succeed later.
    """


class AnalysisError(_EngineError):
    """
    An analyzer failed on a good transcript.

    Attributes:
        model: The analyzer's name, as in ``Analysis.model``.
        retryable: Whether the same call may succeed later.
    """
