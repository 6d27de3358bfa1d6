"""The published checks find what is broken, and pass what is not."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from voicepipe import Audio, Hypothesis
from voicepipe.testing import (
    FakeStreamingTranscriber,
    check_stage,
    check_streaming_transcriber,
)


class Doubler:
    """Gives each number twice."""

    def __init__(self) -> None:
        self._flushed = False

    def push(self, x: int, /) -> tuple[int, ...]:
        if self._flushed:
            raise ValueError
        return (x, x)

    def flush(self) -> tuple[int, ...]:
        if self._flushed:
            raise ValueError
        self._flushed = True
        return ()


class Counter(Doubler):
    """Tells how often it was pushed: depends on the cut."""

    pushes = 0

    def push(self, x: int, /) -> tuple[int, ...]:
        super().push(x)
        self.pushes += 1
        return ()

    def flush(self) -> tuple[int, ...]:
        super().flush()
        return (self.pushes,)


class Undead(Doubler):
    """Goes on after its end."""

    def flush(self) -> tuple[int, ...]:
        return ()


class Reopened(Doubler):
    """Can be pushed after its end."""

    def push(self, x: int, /) -> tuple[int, ...]:
        return (x, x)


def test_a_stage_that_keeps_its_law_passes() -> None:
    check_stage(Doubler, [[1, 2], [1, 2]], join=tuple)


@pytest.mark.parametrize(
    ("stage", "fault"),
    [
        (Counter, "another output"),
        (Undead, "second flush"),
        (Reopened, "push after flush"),
    ],
)
def test_a_broken_stage_is_found(stage: type[Doubler], fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        check_stage(stage, [[1, 2], [3]], join=tuple)


def test_one_cut_alone_says_nothing() -> None:
    with pytest.raises(AssertionError, match="at least two"):
        check_stage(Doubler, [[1, 2]], join=tuple)


RNG = np.random.default_rng(0)
SPEECH = Audio(
    samples=np.concatenate(
        [
            np.zeros(4_000),
            RNG.uniform(-0.4, 0.4, 8_000),
            np.zeros(8_000),
            RNG.uniform(-0.4, 0.4, 8_000),
        ]
    ),
    rate=8_000,
)


async def test_the_fake_stream_keeps_its_law() -> None:
    await check_streaming_transcriber(FakeStreamingTranscriber(), speech=SPEECH)


class Stream:
    """Gives a hypothesis for each push, and what it is told at the end."""

    def __init__(self, *, last: bool = True, change: bool = False) -> None:
        self._last = last
        self._change = change
        self._pushes = 0

    def session(self, *, rate: int, channels: int) -> Stream:
        return Stream(last=self._last, change=self._change)

    def push(self, audio: Audio, /) -> tuple[Hypothesis, ...]:
        self._pushes += 1
        return (self._guess(final=self._change),)

    def flush(self) -> tuple[Hypothesis, ...]:
        return (self._guess(final=True),) if self._last else ()

    def _guess(self, *, final: bool) -> Hypothesis:
        text = str(self._pushes)
        return Hypothesis(segment_id=0, start=0.0, end=1.0, text=text, final=final)


class Silent(Stream):
    """Hears nothing."""

    def session(self, *, rate: int, channels: int) -> Silent:
        return self

    def push(self, audio: Audio, /) -> tuple[Hypothesis, ...]:
        return ()

    def flush(self) -> tuple[Hypothesis, ...]:
        return ()


@pytest.mark.parametrize(
    ("engine", "fault"),
    [
        (Stream(change=True), "final must not change"),
        (Stream(last=False), "every segment final"),
        (Stream(), "how sound is cut"),
        (Silent(), "must give a final"),
    ],
)
async def test_a_broken_stream_is_found(engine: Stream, fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        await check_streaming_transcriber(engine, speech=attrs.evolve(SPEECH))
