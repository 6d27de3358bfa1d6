"""The best detector of speech that is installed."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

from voicepipe.asr.silero.model import is_installed
from voicepipe.asr.silero.vad import SileroVad
from voicepipe.stream.vad import EnergyVad


if TYPE_CHECKING:
    from voicepipe.protocols import Stage
    from voicepipe.stream.vad import SpeechSpan
    from voicepipe.types.audio import Samples


_logger = logging.getLogger(__name__)


def voice_activity(rate: int) -> Stage[Samples, SpeechSpan]:
    """
    Begin to find speech in one channel, with the best detector that is installed.

    That is ``SileroVad`` with the extra ``whisper``, and ``EnergyVad`` without it. To
    the latter, ringing, key tones and music are speech. Which one it is, is logged
    once, at level ``DEBUG``.

    Args:
        rate: Frames per second of the samples, Hz, 4,000 to 192,000.

    Returns:
        A stage from samples, float32, shape ``(frames, 1)``, to spans of speech.

    Raises:
        ValueError: If the rate is out of its range.
        ModelUnavailableError: If the Silero model is damaged, or of an unknown form.
    """
    return SileroVad(rate) if _has_model() else EnergyVad(rate)


@functools.cache
def _has_model() -> bool:
    installed = is_installed()
    name = "SileroVad" if installed else "EnergyVad (the extra 'whisper' is missing)"
    _logger.debug("voice activity by %s", name)
    return installed
