from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe import (
    Audio,
    ChannelDiarizer,
    Samples,
    Segment,
    Transcript,
    Turn,
    Word,
    assign_speakers,
)
from voicepipe.testing import FakeDiarizer, check_diarizer


RATE = 8_000


def burst(*spans: tuple[float, float], seconds: float = 4.0, seed: int = 0) -> Samples:
    x = np.zeros(round(seconds * RATE), np.float32)
    for start, end in spans:
        part = slice(round(start * RATE), round(end * RATE))
        x[part] = np.random.default_rng(seed).uniform(-0.5, 0.5, len(x[part]))
    return x


def diarize(*channels: Samples) -> list[tuple[float, float, str, int | None]]:
    audio = Audio(samples=np.stack(channels, axis=1), rate=RATE)
    session = ChannelDiarizer().session(rate=RATE, channels=len(channels))
    turns = (*session.push(audio), *session.flush())
    return [(round(t.start, 1), round(t.end, 1), t.speaker, t.channel) for t in turns]


def test_each_channel_is_a_speaker() -> None:
    assert diarize(burst((0.5, 1.5), seed=1), burst((1.2, 2.0), seed=2)) == [
        (0.5, 1.5, "Speaker00", 0),
        (1.2, 2.0, "Speaker01", 1),
    ]


def test_mono_is_one_speaker() -> None:
    assert diarize(burst((0.5, 1.5))) == [(0.5, 1.5, "Speaker00", None)]


def test_the_same_signal_on_both_channels_is_one_speaker() -> None:
    x = burst((0.5, 1.5))

    assert diarize(x, x) == [(0.5, 1.5, "Speaker00", None)]


@pytest.mark.parametrize("diarizer", [ChannelDiarizer(), FakeDiarizer()])
async def test_diarizers_keep_their_law(diarizer: ChannelDiarizer) -> None:
    speech = Audio(samples=burst((0.5, 1.5), (2.0, 3.0)), rate=RATE)

    await check_diarizer(diarizer, speech=speech)


class Forgetful:
    """Gives no turns at all."""

    def session(self, *, rate: int, channels: int) -> Forgetful:
        return self

    def push(self, audio: Audio, /) -> tuple[Turn, ...]:
        return ()

    def flush(self) -> tuple[Turn, ...]:
        return ()


class Choppy(Forgetful):
    """Gives a turn for each piece, however the sound is cut."""

    def push(self, audio: Audio, /) -> tuple[Turn, ...]:
        loud = bool(np.any(audio.samples))
        start = audio.start / audio.rate
        turn = Turn(start=start, end=start + audio.duration, speaker="a")
        return (turn,) if loud else ()


@pytest.mark.parametrize(
    ("diarizer", "fault"),
    [(Forgetful(), "must give turns"), (Choppy(), "how sound is cut")],
)
async def test_the_check_finds_broken_diarizers(
    diarizer: Forgetful, fault: str
) -> None:
    speech = Audio(samples=burst((0.5, 1.5), (2.0, 3.0)), rate=RATE)

    with pytest.raises(AssertionError, match=fault):
        await check_diarizer(diarizer, speech=speech)


def words(*spans: tuple[str, float, float]) -> tuple[Word, ...]:
    return tuple(Word(text=text, start=start, end=end) for text, start, end in spans)


def transcript(*segments: Segment) -> Transcript:
    return Transcript.of(segments, duration=100.0, model="m", language="en")


def test_a_segment_is_cut_where_the_speaker_changes() -> None:
    spoken = words(("how", 0.0, 0.4), ("much", 0.5, 0.9), ("ten", 1.1, 1.5))
    mixed = transcript(Segment(start=0, end=1.5, text="how much ten", words=spoken))
    turns = [
        Turn(start=0.0, end=1.0, speaker="A"),
        Turn(start=1.0, end=2.0, speaker="B"),
    ]

    told = assign_speakers(mixed, turns)

    assert [(s.id, s.speaker, s.text, s.start, s.end) for s in told.segments] == [
        (0, "A", "how much", 0.0, 0.9),
        (1, "B", "ten", 1.1, 1.5),
    ]
    assert told.language == "en"


def test_a_channels_words_go_to_that_channels_turns() -> None:
    told = assign_speakers(
        transcript(Segment(start=0, end=1, text="a", channel=1)),
        [
            Turn(start=0.0, end=1.0, speaker="A", channel=0),
            Turn(start=0.2, end=0.4, speaker="B", channel=1),
        ],
    )

    assert told.segments[0].speaker == "B"


def test_a_word_outside_all_turns_takes_the_nearest() -> None:
    turns = [
        Turn(start=0.0, end=1.0, speaker="A"),
        Turn(start=9.0, end=9.5, speaker="B"),
    ]
    told = assign_speakers(
        transcript(
            Segment(start=3.0, end=4.0, text="near a"),
            Segment(start=8.0, end=8.5, text="near b"),
            Segment(start=20.0, end=21.0, text="near b"),
        ),
        turns,
    )

    assert [s.speaker for s in told.segments] == ["A", "B", "B"]


def test_without_turns_nothing_changes() -> None:
    same = transcript(Segment(start=0, end=1, text="a", speaker="X"))

    assert assign_speakers(same, []) is same


def test_a_channel_without_turns_keeps_its_speaker() -> None:
    told = assign_speakers(
        transcript(Segment(start=0, end=1, text="a", channel=1, speaker="X")),
        [Turn(start=0.0, end=1.0, speaker="A", channel=0)],
    )

    assert told.segments[0].speaker == "X"


TIMES = st.tuples(st.integers(0, 300), st.integers(1, 40)).map(
    lambda t: (t[0] / 10, (t[0] + t[1]) / 10)
)


@given(
    turns=st.lists(st.tuples(TIMES, st.sampled_from("ABC")), min_size=1, max_size=12),
    spoken=st.lists(TIMES, min_size=1, max_size=12),
)
def test_each_word_goes_to_the_turn_that_covers_most_of_it(
    turns: list[tuple[tuple[float, float], str]], spoken: list[tuple[float, float]]
) -> None:
    said = [Turn(start=s, end=e, speaker=name) for (s, e), name in turns]
    told = assign_speakers(
        transcript(*(Segment(start=s, end=e, text="x") for s, e in spoken)), said
    )

    for segment in told.segments:
        overlaps = {
            turn.speaker: max(
                min(t.end, segment.end) - max(t.start, segment.start)
                for t in said
                if t.speaker == turn.speaker
            )
            for turn in said
        }
        assert segment.speaker is not None
        assert overlaps[segment.speaker] == pytest.approx(max(overlaps.values()))


def test_a_long_call_takes_no_quadratic_time() -> None:
    turns = [
        Turn(start=i, end=i + 0.9, speaker=f"Speaker{i % 2:02d}") for i in range(20_000)
    ]
    segments = [
        Segment(
            start=i,
            end=i + 1.8,
            text="a b",
            words=words(("a", i, i + 0.5), ("b", i + 1.1, i + 1.8)),
        )
        for i in range(0, 20_000, 2)
    ]

    begin = time.process_time()
    told = assign_speakers(transcript(*segments), turns)

    assert len(told.segments) == 20_000
    # On the core, which other processes may have too.
    assert time.process_time() - begin < 10
