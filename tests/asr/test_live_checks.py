"""The published check of streaming engines finds words that change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import pytest

from voicepipe import Audio, Hypothesis
from voicepipe.testing import check_streaming_transcriber


if TYPE_CHECKING:
    from collections.abc import Sequence

SPEECH = Audio(samples=np.zeros((32_000, 1)), rate=16_000)


@attrs.define
class Told:
    """An engine that tells the same whatever it hears, when the stream ends."""

    events: Sequence[tuple[str, int, bool]]

    def session(self, *, rate: int, channels: int) -> Told:
        del rate, channels
        return self

    def push(self, audio: Audio, /) -> tuple[Hypothesis, ...]:
        del audio
        return ()

    def flush(self) -> tuple[Hypothesis, ...]:
        return tuple(
            Hypothesis(
                segment_id=0, start=0.0, end=1.0, text=text, stable=stable, final=final
            )
            for text, stable, final in self.events
        )


async def test_words_that_are_certain_and_stay_pass() -> None:
    events = [("a", 0, False), ("b c", 1, False), ("b d", 3, False), ("b d", 3, True)]

    await check_streaming_transcriber(Told(events), speech=SPEECH)


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ([("a b", 1, False), ("c b", 0, True)], "must not change"),
        ([("a b", 3, False), ("a", 1, True)], "must not change"),
        ([("a", 2, True)], "no more can be stable"),
        ([("a b", 3, False), ("a b", 1, False), ("a c", 3, True)], "must not go back"),
        ([("a b", 3, False)], "final"),
    ],
)
async def test_words_that_were_certain_and_change_are_found(
    events: Sequence[tuple[str, int, bool]], sentence: str
) -> None:
    with pytest.raises(AssertionError, match=sentence):
        await check_streaming_transcriber(Told(events), speech=SPEECH)
