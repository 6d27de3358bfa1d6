"""What is known of the models behind OpenAI's interface."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs


ResponseFormat: TypeAlias = Literal["json", "text", "verbose_json", "diarized_json"]
"""In which form a service answers."""

TIMED: frozenset[ResponseFormat] = frozenset({"verbose_json", "diarized_json"})
"""The forms that have times."""

MAX_REQUEST_BYTES = 26_214_400
"""
Bytes of the largest request, the form around the file included: 25 MiB.

"File uploads are currently limited to 25 MB", OpenAI's guide *Speech to text*; the
service's own refusal (413) names this number and counts all bytes that it has read.
"""

MAX_AUDIO_S = 1_400.0
"""
Longest sound that the ``gpt-4o`` family takes, seconds.

Told by the service's refusal (400) only: "longer than 1400 seconds which is the maximum
for this model". ``whisper-1`` has no such limit.
"""

# Encoders and services round up: what is 1,400 s here may be a little more there.
_MARGIN_S = 10.0


@attrs.frozen(kw_only=True)
class ModelLimits:
    """
    What one request may hold, and what the answer can be.

    Attributes:
        response_format: The best form of an answer that the model gives.
        max_audio_s: Longest sound, seconds.
        max_bytes: Most bytes of the whole request.
        word_times: Whether the model can be asked for the times of words.
        prompt: Whether it takes a prompt.
        fields: What it must be sent besides, as name and value.
    """

    response_format: ResponseFormat = "verbose_json"
    max_audio_s: float = MAX_AUDIO_S - _MARGIN_S
    max_bytes: int = MAX_REQUEST_BYTES
    word_times: bool = True
    prompt: bool = True
    fields: tuple[tuple[str, str], ...] = ()


_GPT = ModelLimits(response_format="json", word_times=False)

# Forms and fields: OpenAI's reference of ``/v1/audio/transcriptions`` and openai-python
# 3.54, read in 2026. Nothing is said there of how long sound for gpt-transcribe may be:
# it is taken to be like those before it.
_MODELS = {
    "whisper-1": ModelLimits(),
    "gpt-4o-transcribe-diarize": attrs.evolve(
        _GPT,
        response_format="diarized_json",
        prompt=False,
        # Required beyond 30 s.
        fields=(("chunking_strategy", "auto"),),
    ),
    "gpt-4o-transcribe": _GPT,
    "gpt-4o-mini-transcribe": _GPT,
    "gpt-transcribe": _GPT,
}


def limits_of(model: str) -> ModelLimits:
    """
    Tell what is known of a model, by its name or that of one of its snapshots.

    A model that nobody knows here is one of another service, and most likely a Whisper.
    """
    for name in sorted(_MODELS, key=len, reverse=True):
        if model == name or model.startswith(f"{name}-20"):
            return _MODELS[name]
    return ModelLimits()
