"""What the check of transcribers finds; each engine here breaks one law."""

from __future__ import annotations

import anyio
import anyio.to_thread
import attrs
import numpy as np
import pytest

from voicepipe.testing import FakeTranscriber, check_transcriber
from voicepipe.types import Audio, Transcript, Word


NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, (8_000, 1))
SPEECH = Audio(
    samples=np.concatenate([np.zeros((8_000, 1)), NOISE, np.zeros((8_000, 1))]),
    rate=8_000,
)


class OtherTimes(FakeTranscriber):
    """Gives the second word other times, by the first one."""

    def __init__(self, start: float, end: float) -> None:
        super().__init__()
        self._times = (start, end)

    async def transcribe(self, audio: Audio, /) -> Transcript:
        transcript = await super().transcribe(audio)
        segments = []
        for segment in transcript.segments:
            first, second = segment.words
            start, end = (first.start + time for time in self._times)
            other = Word(start=start, end=end, text=second.text)
            segments.append(attrs.evolve(segment, words=(first, other)))
        return attrs.evolve(transcript, segments=tuple(segments))


class Stubborn(FakeTranscriber):
    """Waits, and does not let itself be cancelled."""

    async def transcribe(self, audio: Audio, /) -> Transcript:
        transcript = None
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(int)
            transcript = await super().transcribe(audio)
        assert transcript is not None
        return transcript


async def test_an_engine_that_keeps_the_law_passes() -> None:
    await check_transcriber(FakeTranscriber(), speech=SPEECH)


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ((0.4, 0.4), "a word must have a length"),
        ((0.1, 0.4), "words must follow one another"),
        ((-0.3, 0.4), "words must follow one another"),
        ((0.9, 3.0), "words must lie in their segment"),
    ],
)
async def test_words_with_times_that_cannot_be_are_found(
    times: tuple[float, float], told: str
) -> None:
    with pytest.raises(AssertionError, match=f"^{told}$"):
        await check_transcriber(OtherTimes(*times), speech=SPEECH)


async def test_an_engine_that_cannot_be_cancelled_is_found() -> None:
    with pytest.raises(AssertionError, match=r"^a call must end when it is cancelled$"):
        await check_transcriber(Stubborn(), speech=SPEECH)
