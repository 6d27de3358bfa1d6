"""What is promised of the main job on the sample call, with embedded engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import jiwer
import numpy as np
import pytest
import soundfile

from voicepipe import (
    Audio,
    ChannelDiarizer,
    Conversation,
    ExtractiveAnalyzer,
    Pipeline,
    PocketSphinxTranscriber,
    SqlJobStore,
    Word,
)
from voicepipe.testing.engines import expect_transcript


if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager


# Engines take their time on a busy machine.

DATA = Path(__file__).parents[1] / "examples" / "data"
REFERENCE: dict[str, Any] = json.loads((DATA / "sample_call.json").read_text("utf-8"))


@pytest.fixture(scope="module", params=["flac", "mp3"])
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Conversation:
    database = tmp_path_factory.mktemp("jobs") / "jobs.db"

    async def run() -> Conversation:
        async with SqlJobStore(f"sqlite:///{database}") as store:
            pipeline = Pipeline(
                PocketSphinxTranscriber(),
                ExtractiveAnalyzer(),
                store,
                diarizer=ChannelDiarizer(),
            )
            done = await pipeline.run(DATA / f"sample_call.{request.param}")
            assert done.job is not None
            assert await store.get(done.job.id) == done.job
            return done

    return anyio.run(run)


def said(channel: int) -> list[str]:
    return [w["text"] for w in REFERENCE["words"] if w["channel"] == channel]


def heard(found: Conversation, channel: int) -> list[Word]:
    segments = [s for s in found.transcript.segments if s.channel == channel]
    return [word for segment in segments for word in segment.words]


@pytest.mark.parametrize("channel", [0, 1])
def test_the_word_error_rate_of_each_channel(found: Conversation, channel: int) -> None:
    hypothesis = " ".join(word.text for word in heard(found, channel))

    assert jiwer.wer(" ".join(said(channel)), hypothesis) <= 0.15


def test_confidences_rank_the_words(found: Conversation) -> None:
    right: list[float] = []
    wrong: list[float] = []
    for channel in (0, 1):
        words = heard(found, channel)
        aligned = jiwer.process_words(
            " ".join(said(channel)), " ".join(word.text for word in words)
        )
        hits = {
            index
            for chunk in aligned.alignments[0]
            if chunk.type == "equal"
            for index in range(chunk.hyp_start_idx, chunk.hyp_end_idx)
        }
        for index, word in enumerate(words):
            assert word.probability is not None
            (right if index in hits else wrong).append(word.probability)

    assert wrong, "without errors there is nothing to rank"
    pairs = [(a > b) + 0.5 * (a == b) for a in right for b in wrong]
    assert np.mean(pairs) >= 0.7


def test_words_are_on_their_speakers_side(found: Conversation) -> None:
    """Match each heard word with one said at that time, whoever said it."""
    sides = []
    for segment in found.transcript.segments:
        assert segment.speaker == f"Speaker{segment.channel:02d}"
        for word in segment.words:
            middle = (word.start + word.end) / 2
            said_here = {
                w["channel"]
                for w in REFERENCE["words"]
                if w["text"] == word.text and w["start"] - 0.2 < middle < w["end"] + 0.2
            }
            if said_here:
                sides.append(segment.channel in said_here)

    assert len(sides) > 0.85 * len(REFERENCE["words"])
    assert np.mean(sides) >= 0.97


def test_speech_and_silence_are_those_of_the_reference(found: Conversation) -> None:
    speech = [
        (start, end, turn["channel"])
        for turn in REFERENCE["turns"]
        for start, end in turn["speech"]
    ]
    grid = np.zeros((round(REFERENCE["duration"] * 1_000), 2), bool)
    for start, end, channel in speech:
        grid[round(start * 1_000) : round(end * 1_000), channel] = True
    metrics = found.metrics

    assert found.duration == pytest.approx(REFERENCE["duration"], abs=0.001)
    assert metrics.speech_time == pytest.approx(grid.any(axis=1).sum() / 1e3, rel=0.05)
    silence = (~grid.any(axis=1)).sum() / 1e3
    assert metrics.non_talk_time == pytest.approx(silence, rel=0.05)
    for speaker in metrics.speakers:
        channel = int(speaker.speaker[-2:])
        assert speaker.talk_time == pytest.approx(
            grid[:, channel].sum() / 1e3, rel=0.05
        )


def test_the_looking_up_is_seen_as_silence(found: Conversation) -> None:
    longest = max(found.metrics.non_talk_instances, key=lambda n: n.duration)

    assert longest.duration == pytest.approx(3.5, abs=0.3)


def test_the_transcript_is_well_formed(found: Conversation) -> None:
    samples, rate = soundfile.read(DATA / "sample_call.flac")

    expect_transcript(found.transcript, Audio(samples=samples, rate=rate))
    assert found.transcript.language == "en"


def test_the_analysis_says_what_the_call_is_about(found: Conversation) -> None:
    analysis = found.analysis
    assert analysis is not None
    ids = {segment.id for segment in found.transcript.segments}

    assert analysis.conversation_type == "order"
    assert analysis.language == "en"
    assert analysis.summary
    assert analysis.key_points
    for point in (*analysis.summary, *analysis.key_points):
        assert set(point.segment_ids) <= ids


@pytest.mark.parametrize(
    "calls",
    [
        # In between the caller is on hold.
        2,
        # The full count: ten minutes of talk.
        pytest.param(9, marks=[pytest.mark.stress, pytest.mark.timeout(1_200)]),
    ],
)
async def test_the_loop_is_free_while_ten_minutes_are_processed(
    tmp_path: Path, calls: int, loop_lag: Callable[[], AbstractAsyncContextManager[Any]]
) -> None:
    path = tmp_path / "long.flac"
    samples, rate = soundfile.read(DATA / "sample_call.flac", dtype="int16")
    whole = np.zeros((600 * rate, 2), samples.dtype)
    for start in np.linspace(0, len(whole) - len(samples), calls).astype(int):
        whole[start : start + len(samples)] = samples
    soundfile.write(path, whole, rate)
    async with SqlJobStore(tmp_path / "jobs.db") as store:
        pipeline = Pipeline(
            PocketSphinxTranscriber(),
            ExtractiveAnalyzer(),
            store,
            diarizer=ChannelDiarizer(),
        )
        lags: list[float] = []
        # A busy machine takes the processor away, but hardly each time.
        while len(lags) < 3 and min(lags, default=1.0) >= 0.05:
            async with loop_lag() as lag:
                found = await pipeline.run(path)
            lags.append(lag.longest_s)

    assert found.duration == 600.0
    assert len(found.transcript.segments) >= 12 * calls
    assert min(lags) < 0.05
