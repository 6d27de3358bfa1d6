"""Errors of what works on good input."""

from __future__ import annotations

from typing import Literal, TypeAlias

from voicepipe.errors.base import VoicepipeError


AnalysisFailure: TypeAlias = Literal[
    "refused", "unavailable", "blocked", "unusable", "too_long"
]
"""Why a language model gave no analysis; see ``AnalysisError``."""


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


class ModelUnavailableError(TranscriptionError):
    """
    A model is neither on this machine nor to be had; the message tells the ways out.

    Attributes:
        model: The engine's name, as in ``Transcript.model``.
        retryable: Whether the same call may succeed later: the network was down, say.
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
        reason: ``"refused"``: the service does not want the request (the key, the
            model's name); ``"unavailable"``: it cannot be reached, is overloaded or too
            slow; ``"blocked"``: its filters stopped question or answer;
            ``"unusable"``: no answer that was paid for could be believed;
            ``"too_long"``: the transcript is longer than is allowed; ``None`` where
            the analyzer does not tell.
    """

    def __init__(
        self,
        message: str,
        *,
        model: str = "",
        retryable: bool = False,
        reason: AnalysisFailure | None = None,
    ) -> None:
        """Keep why."""
        super().__init__(message, model=model, retryable=retryable)
        self.reason: AnalysisFailure | None = reason
