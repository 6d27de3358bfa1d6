"""One channel of one window: from sound to segments, in a worker thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import numpy as np

from voicepipe.asr.whisper.model import RATE
from voicepipe.asr.whisper.speech import Places, pieces


if TYPE_CHECKING:
    from voicepipe.asr.whisper.model import WhisperEngine
    from voicepipe.asr.whisper.options import WhisperOptions
    from voicepipe.asr.whisper.speech import Speech
    from voicepipe.types import Samples, Segment


@attrs.frozen(kw_only=True)
class Watch:
    """
    What is told while a channel is decoded; all are called in the worker thread.

    Attributes:
        language: Called with the language, as soon as it is known.
        progress: Called with the share that is done, after each segment.
        check: Called before each segment; raises to end the work.
    """

    language: Callable[[str], object]
    progress: Callable[[float], object]
    check: Callable[[], object]


def decode(
    engine: WhisperEngine,
    sound: Samples,
    speech: Speech | None,
    *,
    options: WhisperOptions,
    language: str | None,
    watch: Watch,
) -> list[Segment]:
    """
    Transcribe one channel.

    Args:
        engine: The model.
        sound: At 16 kHz, shape ``(frames, 1)``.
        speech: Where to listen; ``None`` for everywhere.
        options: What to ask.
        language: Its code; ``None`` to detect it.
        watch: Who wants to know.

    Returns:
        Segments with times in seconds of ``sound``.

    Raises:
        TranscriptionError: If the engine fails.
    """
    mono = sound[:, 0]
    places = None
    grouped: list[tuple[int, int]] = []
    if speech is not None:
        places = Places(speech)
        grouped = pieces(speech.parts, engine.piece_s)
        mono = np.concatenate([mono[part.start : part.end] for part in speech.parts])
    told, heard = engine.hear(
        np.ascontiguousarray(mono), options=options, language=language, pieces=grouped
    )
    watch.language(told)
    length = len(mono) / RATE
    segments: list[Segment] = []
    watch.check()
    # Each segment is decoded here, when it is asked for.
    for segment in heard:
        segments.extend([segment] if places is None else places.restored(segment))
        watch.progress(min(1.0, segment.end / length))
        watch.check()
    return segments
