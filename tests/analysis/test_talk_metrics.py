"""Talk metrics: definitions by example, laws, and a count of ticks."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicepipe.analysis.metrics import (
    MIN_INTERRUPTION_S,
    TURN_PAUSE_S,
    talk_metrics,
)
from voicepipe.types import (
    Interruption,
    NonTalk,
    Segment,
    SpeakerMetrics,
    TalkMetrics,
    Transcript,
    Turn,
    Word,
)


if TYPE_CHECKING:
    from random import Random


def turn(speaker: str, start: float, end: float) -> Turn:
    return Turn(start=start, end=end, speaker=speaker)


def of(metrics: TalkMetrics, speaker: str) -> SpeakerMetrics:
    return next(each for each in metrics.speakers if each.speaker == speaker)


def test_a_plain_dialogue_is_measured_as_one_would_by_hand() -> None:
    metrics = talk_metrics(
        [
            turn("agent", 1.0, 3.0),
            turn("customer", 3.5, 6.5),
            turn("agent", 7.5, 8.5),
            turn("customer", 13.0, 14.0),
        ],
        duration=20.0,
    )
    assert metrics == TalkMetrics(
        total_conversation_duration=20.0,
        talk_time=7.0,
        speech_time=7.0,
        overlap_time=0.0,
        non_talk_time=13.0,
        non_talk_instances=(
            NonTalk(start=8.5, end=13.0),
            NonTalk(start=14.0, end=20.0),
        ),
        interruptions=(),
        speakers=(
            SpeakerMetrics(
                speaker="agent",
                talk_time=3.0,
                talk_ratio=3 / 7,
                turns=2,
                longest_turn=2.0,
                response_latency=1.0,
                words=0,
                words_per_minute=None,
            ),
            SpeakerMetrics(
                speaker="customer",
                talk_time=4.0,
                talk_ratio=4 / 7,
                turns=2,
                longest_turn=3.0,
                response_latency=2.5,
                words=0,
                words_per_minute=None,
            ),
        ),
    )


def test_a_takeover_is_an_interruption_and_a_negative_latency() -> None:
    metrics = talk_metrics([turn("A", 0, 5), turn("B", 4, 9)], duration=9)
    assert metrics.interruptions == (
        Interruption(start=4, end=5, interrupter="B", interrupted="A"),
    )
    assert of(metrics, "B").response_latency == -1.0
    assert of(metrics, "A").response_latency is None
    assert metrics.overlap_time == 1.0


@pytest.mark.parametrize(
    "second",
    [
        turn("B", 2, 3),  # a backchannel
        turn("B", 2, 5),  # both stop together
        turn("B", 0, 9),  # both begin together
        turn("B", 5, 9),  # an answer without a pause
        turn("B", 5 - 0.9 * MIN_INTERRUPTION_S, 9),  # an early answer
    ],
)
def test_what_is_no_takeover_is_no_interruption(second: Turn) -> None:
    metrics = talk_metrics([turn("A", 0, 5), second], duration=9)
    assert metrics.interruptions == ()


def test_an_overlap_of_just_the_least_length_is_an_interruption() -> None:
    turns = [turn("A", 0, 5), turn("B", 5 - MIN_INTERRUPTION_S, 9)]
    assert len(talk_metrics(turns, duration=9).interruptions) == 1


def test_who_cuts_off_two_makes_two_interruptions() -> None:
    turns = [turn("A", 0, 5), turn("B", 1, 6), turn("C", 4, 9)]
    found = talk_metrics(turns, duration=9).interruptions
    assert [(i.interrupter, i.interrupted, i.start, i.end) for i in found] == [
        ("B", "A", 1, 5),
        ("C", "A", 4, 5),
        ("C", "B", 4, 6),
    ]


def test_a_backchannel_answers_nobody_and_leaves_the_turn_whole() -> None:
    metrics = talk_metrics(
        [turn("A", 0, 10), turn("B", 4, 4.4), turn("B", 10.5, 12)], duration=12
    )
    assert of(metrics, "A").turns == 1
    assert of(metrics, "B").response_latency == pytest.approx(0.5)


def test_short_pauses_do_not_end_a_turn_unless_somebody_speaks_in_them() -> None:
    short = 0.9 * TURN_PAUSE_S
    alone = talk_metrics([turn("A", 0, 2), turn("A", 2 + short, 5)], duration=9)
    assert of(alone, "A").turns == 1
    assert of(alone, "A").longest_turn == 5.0
    assert of(alone, "A").talk_time == pytest.approx(5.0 - short)
    long = talk_metrics([turn("A", 0, 2), turn("A", 2 + TURN_PAUSE_S, 5)], duration=9)
    assert of(long, "A").turns == 2
    between = talk_metrics(
        [turn("A", 0, 2), turn("B", 2.2, 2.4), turn("A", 2.6, 5)], duration=9
    )
    assert of(between, "A").turns == 2


def test_answers_are_summed_up_by_their_median() -> None:
    metrics = talk_metrics(
        [
            turn("A", 0, 1),
            turn("B", 1.2, 2),
            turn("A", 3, 4),
            turn("B", 4.4, 5),
            turn("A", 6, 7),
            turn("B", 27, 28),
        ],
        duration=30,
    )
    assert of(metrics, "B").response_latency == pytest.approx(0.4)


def test_turns_are_cut_to_the_recording() -> None:
    metrics = talk_metrics(
        [turn("A", 0, 4), turn("B", 8, 30), turn("C", 12, 13), turn("D", 5, math.inf)],
        duration=10,
    )
    assert [each.talk_time for each in metrics.speakers] == [4.0, 2.0, 0.0, 5.0]
    assert of(metrics, "C").turns == 0
    assert of(metrics, "C").longest_turn == 0.0
    assert metrics.speech_time == 9.0


def test_nobody_speaks() -> None:
    metrics = talk_metrics([], duration=8.0)
    assert metrics.speakers == ()
    assert metrics.non_talk_instances == (NonTalk(start=0.0, end=8.0),)
    assert (metrics.speech_time, metrics.non_talk_time) == (0.0, 8.0)
    empty = talk_metrics([turn("A", 0, 1)], duration=0.0)
    assert empty.non_talk_instances == ()
    assert of(empty, "A").talk_ratio == 0.0


def test_equal_turns_of_two_speakers_overlap_and_answer_nobody() -> None:
    metrics = talk_metrics(
        [turn("A", 1, 3), turn("B", 1, 3), turn("A", 4, 5)], duration=6
    )
    assert metrics.overlap_time == 2.0
    assert metrics.interruptions == ()
    assert [each.response_latency for each in metrics.speakers] == [None, None]


def test_only_silences_of_the_least_length_are_listed_but_all_are_counted() -> None:
    turns = [turn("A", 1, 2), turn("A", 4, 5)]
    metrics = talk_metrics(turns, duration=5, min_non_talk_s=2)
    assert metrics.non_talk_instances == (NonTalk(start=2, end=4),)
    assert metrics.non_talk_time == 3.0


def test_speed_is_a_speakers_own_words_in_its_own_talk_time() -> None:
    words = tuple(Word(start=0, end=1, text=text) for text in ("it's", "me"))
    transcript = Transcript.of(
        [
            Segment(start=0, end=1, text="it's me again", words=words, speaker="A"),
            Segment(start=2, end=3, text=" one  two three\n", speaker="A"),
            Segment(start=4, end=5, text="whose is this"),
            Segment(start=5, end=6, text="off the record", speaker="C"),
        ],
        duration=60,
        model="by hand",
    )
    turns = [turn("A", 0, 1.5), turn("A", 2, 3.5), turn("B", 4, 5)]
    metrics = talk_metrics(turns, duration=60, transcript=transcript)
    assert (of(metrics, "A").words, of(metrics, "A").words_per_minute) == (5, 100.0)
    assert (of(metrics, "B").words, of(metrics, "B").words_per_minute) == (0, 0.0)
    assert (of(metrics, "C").words, of(metrics, "C").words_per_minute) == (3, None)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_times_that_make_no_sense_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="duration"):
        talk_metrics([], duration=bad)
    with pytest.raises(ValueError, match="min_non_talk_s"):
        talk_metrics([], duration=1.0, min_non_talk_s=bad)


def test_a_hundred_thousand_turns_are_no_matter() -> None:
    turns = [turn("AB"[i % 2], 0.2 * i, 0.2 * i + 0.3) for i in range(100_000)]
    metrics = talk_metrics(turns, duration=20_001)
    assert metrics.overlap_time == pytest.approx(0.1 * 99_999)
    assert of(metrics, "A").turns == 50_000


def test_they_survive_json() -> None:
    turns = [turn("A", 0, 5), turn("B", 4, 9)]
    metrics = talk_metrics(turns, duration=19.0)
    assert TalkMetrics.from_json(metrics.to_json()) == metrics


TICK_S = 1 / 128  # about 10 ms, and exact in binary: no rounding decides a test
TICKS = 1_280
DURATION_S = TICKS * TICK_S

turn_lists = st.lists(
    st.builds(
        lambda who, start, length: turn(who, start * TICK_S, (start + length) * TICK_S),
        st.sampled_from(["A", "B", "C"]),
        st.integers(0, TICKS + 50),
        st.integers(0, 400),
    ),
    max_size=14,
)


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Give the stretches in which the flags are set, in ticks."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(int(start), int(end)) for start, end in pairs]


@settings(max_examples=200)
@given(turn_lists)
def test_counting_ticks_gives_the_same(turns: list[Turn]) -> None:
    metrics = talk_metrics(turns, duration=DURATION_S, min_non_talk_s=1.0)
    grid = {each.speaker: np.zeros(TICKS, bool) for each in turns}
    for each in turns:
        grid[each.speaker][round(each.start / TICK_S) : round(each.end / TICK_S)] = True
    speaking = np.sum([np.zeros(TICKS, int), *grid.values()], axis=0)

    assert metrics.speech_time == np.sum(speaking > 0) * TICK_S
    assert metrics.overlap_time == np.sum(speaking > 1) * TICK_S
    assert metrics.non_talk_time == np.sum(speaking == 0) * TICK_S
    assert [
        (each.start / TICK_S, each.end / TICK_S) for each in metrics.non_talk_instances
    ] == [(a, b) for a, b in runs(speaking == 0) if b - a >= 128]
    assert {
        (i.interrupter, i.interrupted, i.start / TICK_S, i.end / TICK_S)
        for i in metrics.interruptions
    } == counted_interruptions(grid)

    joined = {who: counted_turns(flags, speaking) for who, flags in grid.items()}
    answers = counted_answers(joined)
    for who, flags in grid.items():
        found = of(metrics, who)
        lengths = [end - start for start, end in joined[who]]
        assert found.talk_time == flags.sum() * TICK_S
        assert found.turns == len(lengths)
        assert found.longest_turn == max(lengths, default=0) * TICK_S
        assert found.response_latency == (
            float(np.median(answers[who])) * TICK_S if answers[who] else None
        )


def counted_turns(flags: np.ndarray, speaking: np.ndarray) -> list[tuple[int, int]]:
    """Fill short pauses in which nobody speaks."""
    filled = flags.copy()
    for start, end in runs(~flags):
        inside = start > 0 and end < TICKS
        if inside and end - start < 128 and not speaking[start:end].any():
            filled[start:end] = True
    return runs(filled)


def counted_answers(turns: dict[str, list[tuple[int, int]]]) -> dict[str, list[int]]:
    """Compare all turns with all others."""
    every = [(start, end, who) for who in turns for start, end in turns[who]]
    floor = sorted(
        (start, end, who)
        for start, end, who in every
        if not any(
            other != who and first <= start and end <= last
            for first, last, other in every
        )
    )
    return {
        who: [b[0] - a[1] for a, b in itertools.pairwise(floor) if a[2] != b[2] == who]
        for who in turns
    }


def counted_interruptions(
    grid: dict[str, np.ndarray],
) -> set[tuple[str, str, int, int]]:
    """Compare all stretches of all pairs of speakers."""
    return {
        (second, first, start, first_end)
        for first, second in itertools.permutations(grid, 2)
        for first_start, first_end in runs(grid[first])
        for start, end in runs(grid[second])
        if first_start < start and start + 64 <= first_end < end
    }


@given(turn_lists)
def test_times_add_up(turns: list[Turn]) -> None:
    metrics = talk_metrics(turns, duration=DURATION_S, min_non_talk_s=0.0)
    slack = 1e-9
    assert metrics.speech_time + metrics.non_talk_time == pytest.approx(DURATION_S)
    assert metrics.speech_time <= metrics.talk_time + slack
    assert metrics.overlap_time <= metrics.speech_time + slack
    assert metrics.overlap_time >= 0.0
    assert sum(each.talk_time for each in metrics.speakers) == pytest.approx(
        metrics.talk_time
    )
    ratios = sum(each.talk_ratio for each in metrics.speakers)
    assert ratios == pytest.approx(1.0 if metrics.talk_time else 0.0)
    listed = sum(each.duration for each in metrics.non_talk_instances)
    assert listed == pytest.approx(metrics.non_talk_time)
    for each in metrics.speakers:
        assert each.talk_time <= metrics.speech_time + slack
        assert (each.turns > 0) == (each.talk_time > 0.0)
        assert each.longest_turn <= DURATION_S


@given(turn_lists, st.permutations(["A", "B", "C"]))
def test_names_make_no_difference(turns: list[Turn], names: list[str]) -> None:
    name = dict(zip("ABC", names, strict=True))
    before = talk_metrics(turns, duration=DURATION_S)
    after = talk_metrics(
        [attrs.evolve(each, speaker=name[each.speaker]) for each in turns],
        duration=DURATION_S,
    )
    assert after.overlap_time == before.overlap_time
    assert after.non_talk_instances == before.non_talk_instances
    for each in before.speakers:
        renamed = of(after, name[each.speaker])
        assert attrs.evolve(renamed, speaker=each.speaker, talk_ratio=0.0) == (
            attrs.evolve(each, talk_ratio=0.0)
        )
    assert {
        (name[i.interrupter], name[i.interrupted], i.start, i.end)
        for i in before.interruptions
    } == {(i.interrupter, i.interrupted, i.start, i.end) for i in after.interruptions}


@given(turn_lists, st.randoms(use_true_random=False))
def test_neither_order_nor_cuts_make_a_difference(
    turns: list[Turn], random: Random
) -> None:
    pieces = []
    for each in turns:
        cut = random.uniform(each.start, each.end)
        cut = min(max(cut, each.start), each.end)
        pieces += [attrs.evolve(each, end=cut), attrs.evolve(each, start=cut)]
    random.shuffle(pieces)
    assert talk_metrics(pieces, duration=DURATION_S) == talk_metrics(
        turns, duration=DURATION_S
    )
