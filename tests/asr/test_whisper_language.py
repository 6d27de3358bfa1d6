"""On which channel the language of a call is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tiny_whisper.speech import MODEL, TRAINED, phrase

from voicepipe.asr.whisper import transcriber
from voicepipe.asr.whisper.options import WhisperOptions
from voicepipe.asr.whisper.transcriber import WhisperTranscriber
from voicepipe.types import Audio


if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.types import Segment


class Bilingual(transcriber.WhisperEngine):
    """The tiny model, which takes silence for English and all else for German."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.languages = ("de", "en")

    def hear(
        self, sound: Any, *, language: str | None, **asked: Any
    ) -> tuple[str, Iterator[Segment]]:
        _, heard = super().hear(sound, language="en", **asked)
        return language or ("de" if np.abs(sound).max() > 0.05 else "en"), heard


@pytest.mark.parametrize("vad", [True, False])
@pytest.mark.parametrize("channel", [0, 1])
async def test_it_is_that_of_the_channel_that_speaks(
    monkeypatch: pytest.MonkeyPatch,
    vad: bool,  # noqa: FBT001
    channel: int,
) -> None:
    monkeypatch.setattr(transcriber, "WhisperEngine", Bilingual)
    options = WhisperOptions(vad=vad, temperatures=(0.0,), word_times=False)
    said = phrase(TRAINED[0], "one two three").samples
    samples = np.random.default_rng(0).normal(0, 1e-4, (len(said), 2))
    samples[:, channel] += said

    transcript = await WhisperTranscriber(MODEL, options=options).transcribe(
        Audio(samples=samples.clip(-1, 1), rate=16_000)
    )

    assert transcript.language == "de"
