from __future__ import annotations

import gc
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
import soundfile

from voicepipe import (
    Audio,
    PocketSphinxModel,
    PocketSphinxTranscriber,
    TranscriptionError,
    UnsupportedAudioError,
)
from voicepipe.asr import sphinx_live_child
from voicepipe.asr.sphinx_live import SphinxSession
from voicepipe.testing import check_streaming_transcriber


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from voicepipe import Hypothesis


# Engines take their time on a busy machine.

DATA = Path(__file__).parents[2] / "examples" / "data"
REFERENCE = json.loads((DATA / "sample_call.json").read_text("utf-8"))
SAID_S = 6.3


@pytest.fixture(scope="module")
def engine() -> Iterator[PocketSphinxTranscriber]:
    engine = PocketSphinxTranscriber(processes=1)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def speech() -> Audio:
    samples, rate = soundfile.read(
        DATA / "sample_call.flac", dtype="float32", frames=round(16_000 * SAID_S)
    )
    return Audio(samples=samples, rate=rate).channel(0)


def pieces(audio: Audio, frames: Iterable[int]) -> Iterator[Audio]:
    at = 0
    for count in frames:
        yield Audio(samples=audio.samples[at : at + count], rate=audio.rate)
        at += count
    yield Audio(samples=audio.samples[at:], rate=audio.rate)


def begin(
    engine: PocketSphinxTranscriber, *, rate: int = 16_000, channels: int = 1
) -> SphinxSession:
    session = engine.session(rate=rate, channels=channels)
    assert isinstance(session, SphinxSession)
    return session


def hear(session: SphinxSession, parts: Iterable[Audio]) -> list[Hypothesis]:
    told = [one for part in parts for one in session.push(part)]
    return [*told, *session.flush()]


@pytest.fixture(scope="module")
def alone(engine: PocketSphinxTranscriber, speech: Audio) -> list[Hypothesis]:
    return hear(begin(engine), [speech])


async def test_it_keeps_the_law_of_streaming(
    engine: PocketSphinxTranscriber, speech: Audio
) -> None:
    await check_streaming_transcriber(engine, speech=speech.cut(0.0, 3.0))


def test_final_text_is_what_was_said(alone: list[Hypothesis]) -> None:
    expected = [
        word["text"].lower()
        for word in REFERENCE["words"]
        if word["channel"] == 0 and word["end"] < SAID_S
    ]
    words = [word for one in alone if one.final for word in one.words]
    heard = {(word.text, round(word.start)) for word in words}
    times = {w["text"].lower(): w["start"] for w in REFERENCE["words"][::-1]}

    assert len([w for w in words if w.text in expected]) > 0.8 * len(expected)
    assert len(heard) > 0.8 * len(expected)
    off = [abs(w.start - times[w.text]) for w in words if w.text in times]
    assert np.median(off) < 0.1
    for one in alone:
        assert one.channel is None
        assert one.text == " ".join(word.text for word in one.words)
        assert one.stable == (len(one.text) if one.final else 0)
        assert [w.probability is not None for w in one.words] == [one.final] * len(
            one.words
        )


def test_text_comes_while_one_speaks(
    engine: PocketSphinxTranscriber, speech: Audio
) -> None:
    session = begin(engine)

    told = session.push(speech.cut(0.0, 3.0))
    session.close()

    assert len(told) > 2
    assert not any(one.final for one in told)
    assert {one.segment_id for one in told} == {0}
    assert told[-1].text.startswith(told[1].text.split()[0])


def test_nothing_depends_on_cuts_or_on_other_streams(
    engine: PocketSphinxTranscriber, speech: Audio, alone: list[Hypothesis]
) -> None:
    # Both streams are in one helper, and speak at different times.
    first = begin(engine)
    other = begin(engine)
    rng = np.random.default_rng(7)
    told: list[Hypothesis] = []
    for part in pieces(speech, [1, 478, 481, 0, *rng.integers(1, 9_000, 14)]):
        told += first.push(part)
        loud = Audio(samples=part.samples[::-1] * 0.5, rate=part.rate)
        other.push(loud)
    told += first.flush()
    other.close()

    assert told == alone


def test_channels_are_heard_one_by_one(
    engine: PocketSphinxTranscriber, speech: Audio
) -> None:
    part = speech.cut(0.0, 3.0).samples
    call = np.hstack([np.zeros_like(part), part, part])
    # The later a channel speaks, the later its ids.
    call[:, 2] = np.concatenate([np.zeros(8_000, np.float32), part[:-8_000, 0]])
    session = begin(engine, channels=3)

    told = hear(session, [Audio(samples=call, rate=16_000)])

    finals = {one.channel: one for one in told if one.final}
    assert set(finals) == {1, 2}
    assert finals[1].segment_id == 0
    assert finals[2].segment_id == 1
    assert finals[2].start == pytest.approx(finals[1].start + 0.5, abs=0.1)


@pytest.mark.parametrize("frames", [0, 1, 480, 16_000])
def test_silence_gives_nothing(engine: PocketSphinxTranscriber, frames: int) -> None:
    session = begin(engine, channels=2)

    silence = Audio(samples=np.zeros((frames, 2)), rate=16_000)
    assert hear(session, [silence]) == []


def test_a_stream_without_sound_can_be_flushed(engine: PocketSphinxTranscriber) -> None:
    assert begin(engine, rate=8_000).flush() == ()


def test_other_rates_are_taken(engine: PocketSphinxTranscriber, speech: Audio) -> None:
    narrow = Audio(samples=speech.samples[: 3 * 16_000 : 2], rate=8_000)

    told = hear(begin(engine, rate=8_000), [narrow])

    assert told[-1].final
    assert told[-1].end <= 3.1


@pytest.mark.filterwarnings("ignore:start_stream")
def test_an_utterance_without_end_is_cut(
    monkeypatch: pytest.MonkeyPatch, speech: Audio
) -> None:
    monkeypatch.setattr(sphinx_live_child, "MAX_FRAMES", 2 * 16_000)

    told = sphinx_live_child.listen(
        speech.cut(0.0, 5.0).pcm16().tobytes(),
        number=0,
        begin={"channels": 1, "model": {}},
        end=True,
        forget=[],
    )

    finals = [event for event in told if event["final"]]
    assert len(finals) >= 2
    assert [event["segment"] for event in finals] == list(range(len(finals)))
    for event, following in itertools.pairwise(finals):
        assert event["end"] - event["start"] < 2.1
        assert event["end"] <= following["start"] + 0.05
    assert not sphinx_live_child._streams


def test_a_killed_helper_costs_its_streams_only(speech: Audio) -> None:
    engine = PocketSphinxTranscriber(processes=1)
    before = set(psutil.Process().children())
    session, beside = (begin(engine) for _ in range(2))
    for one in (session, beside):
        one.push(speech.cut(0.0, 0.5))
    [helper] = set(psutil.Process().children()) - before
    helper.kill()

    for one in (session, beside):
        with pytest.raises(TranscriptionError, match="died") as caught:
            one.push(speech.cut(0.5, 1.0))
        assert caught.value.retryable
        assert caught.value.model == "pocketsphinx"
        with pytest.raises(ValueError, match="ended"):
            one.push(speech)
    again = begin(engine)
    assert hear(again, [speech.cut(0.0, 3.0)])[-1].final
    engine.close()


def test_closing_ends_the_process_and_its_streams(speech: Audio) -> None:
    engine = PocketSphinxTranscriber(processes=1)
    before = set(psutil.Process().children())
    session = begin(engine)
    session.push(speech.cut(0.0, 0.5))

    engine.close()

    assert set(psutil.Process().children()) == before
    with pytest.raises(TranscriptionError) as caught:
        session.flush()
    assert caught.value.retryable


def test_a_stream_that_is_dropped_leaves_its_place(
    engine: PocketSphinxTranscriber, speech: Audio
) -> None:
    [host] = engine._helpers._hosts
    gc.collect()
    streams = host.streams
    first, second = (begin(engine) for _ in range(2))
    first.push(speech.cut(0.0, 1.0))
    assert host.streams == streams + 2

    first.close()
    first.close()
    del second
    gc.collect()

    assert host.streams == streams
    with pytest.raises(ValueError, match="ended"):
        first.flush()


def test_a_model_that_is_not_there_is_told_at_once() -> None:
    engine = PocketSphinxTranscriber(model=PocketSphinxModel(acoustic="/nowhere"))
    session = begin(engine)

    with pytest.raises(TranscriptionError, match="pocketsphinx failed") as caught:
        session.push(Audio(samples=np.zeros((10, 1)), rate=16_000))

    assert not caught.value.retryable
    engine.close()


def test_another_format_than_was_said_is_refused(
    engine: PocketSphinxTranscriber, speech: Audio
) -> None:
    session = begin(engine, rate=8_000)

    with pytest.raises(ValueError, match="8000 Hz and 1 channels"):
        session.push(speech)
    with pytest.raises(UnsupportedAudioError):
        begin(engine, rate=1, channels=1)
