from __future__ import annotations

import itertools
import pickle
import random
from typing import TYPE_CHECKING

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_script import HOP, RATE, Ears, Played, Script, answer, plain, play, script

from voicepipe.stream.live.options import LiveOptions
from voicepipe.stream.live.policy import LivePolicy
from voicepipe.stream.live.words import LiveWord


if TYPE_CHECKING:
    from stress_report import Report

    from voicepipe.stream.live.policy import DecodeRequest


SECOND = LiveOptions(step_s=1.0)

said = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "five", "no", "yes"]),
        st.one_of(st.floats(0.0, 0.3), st.floats(0.0, 2.0)),
        st.floats(0.15, 0.6),
    ),
    max_size=60,
).map(script)


def numbered(one: Script) -> Script:
    """Make each word another one."""
    return Script(
        tuple(
            LiveWord(start=word.start, end=word.end, text=f"w{place}")
            for place, word in enumerate(one.words)
        ),
        one.length,
    )


@given(one=said.map(numbered), cuts=st.lists(st.integers(0, 1_500), max_size=9))
@settings(max_examples=60)
def test_however_scores_are_cut_the_same_is_told(one: Script, cuts: list[int]) -> None:
    ears = Ears(one, off_s=0.1, unsure_s=0.5, wrong=0.1)

    whole, pieces = play(one, ears), play(one, ears, cuts=cuts)

    assert [text for _, text in pieces.told] == [text for _, text in whole.told]
    assert pieces.asked == whole.asked


@given(one=said.map(numbered), off_s=st.sampled_from([0.0, 0.05, 0.1]))
@settings(max_examples=150)
def test_no_word_is_lost_or_doubled(one: Script, off_s: float) -> None:
    played = play(one, Ears(one, off_s=off_s))

    assert played.keys == [word.text for word in one.words]


def steady(played: Played) -> None:
    """Check what every stream must keep to, whatever the engine says."""
    last: dict[int, tuple[LiveWord, ...]] = {}
    final = set()
    numbers = [text.segment for _, text in played.told]
    assert numbers == sorted(numbers)
    for _, text in played.told:
        assert text.segment not in final
        certain = last.get(text.segment, ())
        assert text.words[: len(certain)] == certain
        assert text.committed >= len(certain)
        last[text.segment] = text.words[: text.committed]
        if text.final:
            assert text.committed == len(text.words)
            final.add(text.segment)
    assert final == set(range(len(final))) == set(last)
    words = list(itertools.chain.from_iterable(text.words for text in played.finals))
    for one, other in itertools.pairwise(words):
        assert one.start < one.end <= other.start


@given(
    one=said,
    unsure_s=st.floats(0.0, 2.0),
    wrong=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    step_s=st.floats(0.1, 3.0),
)
@settings(max_examples=150)
def test_what_is_certain_never_changes(
    one: Script, unsure_s: float, wrong: float, step_s: float
) -> None:
    ears = Ears(one, off_s=0.3, unsure_s=unsure_s, wrong=wrong)

    steady(play(one, ears, options=LiveOptions(step_s=step_s), cuts=range(2_000)))


@given(
    one=said | st.builds(plain, st.integers(1, 60), pause_s=st.floats(0.0, 0.2)),
    step_s=st.just(10.0) | st.floats(0.1, 10.0),
    endpoint_s=st.floats(0.2, 10.0),
    max_window_s=st.just(5.0) | st.floats(5.0, 30.0),
    max_lag_s=st.just(5.0) | st.floats(5.0, 60.0),
)
@settings(max_examples=60)
def test_speech_is_due_before_as_much_waits_as_may(
    one: Script,
    step_s: float,
    endpoint_s: float,
    max_window_s: float,
    max_lag_s: float,
) -> None:
    options = LiveOptions(
        step_s=step_s,
        endpoint_s=endpoint_s,
        max_window_s=max_window_s,
        max_lag_s=max_lag_s,
    )

    played = play(one, Ears(one), options=options, cuts=range(2_000))

    due_s = min(step_s, max_window_s, max_lag_s / 2)
    # Speech is told from its pre-roll on, when there was enough of it.
    assert played.behind <= (due_s + 0.5) * RATE


@given(seed=st.integers(0, 10_000), count=st.integers(1, 80))
@settings(max_examples=60)
def test_nonsense_changes_nothing_that_is_certain(seed: int, count: int) -> None:
    draw = random.Random(seed)

    def nonsense(request: DecodeRequest) -> list[LiveWord]:
        times = sorted(
            draw.randrange(request.end + RATE) for _ in range(draw.randrange(20))
        )
        return [
            LiveWord(start=one, end=other, text=draw.choice("abc"))
            for one, other in itertools.pairwise(times)
        ]

    played = play(plain(count), nonsense)

    steady(played)
    assert all(one.end - one.start <= 15 * RATE for one in played.asked)


def test_nothing_is_decoded_while_nobody_speaks() -> None:
    policy = LivePolicy(RATE, HOP)
    policy.push(np.random.default_rng(0).uniform(0, 0.49, 20_000).astype(np.float32))
    policy.end(20_000 * HOP)

    assert policy.advance() == ((), None)
    assert policy.covered == 20_000 * HOP


def test_a_click_is_no_speech() -> None:
    scores = np.zeros(1_000, np.float32)
    scores[::40] = scores[1::40] = 1.0  # 64 ms each
    policy = LivePolicy(RATE, HOP)
    policy.push(scores)
    policy.end(len(scores) * HOP)

    assert policy.advance() == ((), None)


@pytest.mark.parametrize("max_window_s", [5.0, 15.0])
def test_endless_speech_is_decoded_in_bounded_windows(max_window_s: float) -> None:
    one = plain(600, pause_s=0.0)

    played = play(
        one,
        Ears(one),
        options=LiveOptions(max_window_s=max_window_s),
        cuts=range(9_999),
    )

    longest = max(one.end - one.start for one in played.asked)
    assert longest <= max_window_s * RATE
    assert played.kept <= max_window_s * RATE + 2 * HOP
    assert played.behind <= 1.1 * RATE
    lengths = [text.end - text.start for text in played.finals]
    assert max(lengths) <= 2 * max_window_s * RATE
    assert played.keys == one.texts


def test_where_decodes_never_agree_words_are_committed_all_the_same() -> None:
    one = plain(300, pause_s=0.0)
    turn = itertools.count()

    def unsteady(request: DecodeRequest) -> list[LiveWord]:
        number = next(turn)
        return [
            LiveWord(
                start=word.start, end=word.end, text=f"{word.text}{'ab'[number % 2]}"
            )
            for word in Ears(one)(request)
        ]

    played = play(one, unsteady, cuts=range(9_999))

    steady(played)
    assert [key[:-1] for key in played.keys] == one.texts
    assert max(one.end - one.start for one in played.asked) <= 15 * RATE


def test_a_window_that_grew_in_silence_is_decoded_no_longer_than_it_may_be() -> None:
    said = script([*[("a", 0.05, 0.3)] * 13, ("b", 3.0, 0.4), ("c", 0.05, 0.4)])
    options = LiveOptions(step_s=1.0, endpoint_s=5.0, max_window_s=5.0)

    played = play(said, Ears(said), options=options)

    assert "full" in {one.why for one in played.asked}
    assert max(one.end - one.start for one in played.asked) <= 5 * RATE
    assert played.keys == said.texts


def test_a_full_window_without_words_is_let_go() -> None:
    one = plain(300, pause_s=0.0)

    played = play(one, lambda _: [], cuts=range(9_999))

    assert not played.told
    assert max(one.end - one.start for one in played.asked) <= 15 * RATE
    assert played.kept <= 15 * RATE + 2 * HOP


def test_an_end_costs_no_decode_of_its_own_after_a_pause() -> None:
    one = plain(4)

    played = play(one, Ears(one), options=SECOND)

    assert [request.why for request in played.asked] == ["step", "pause"]
    assert played.keys == one.texts


def test_words_are_final_as_soon_as_the_pause_is_long_enough() -> None:
    one = plain(4)

    frame, _ = next(
        told for told in play(one, Ears(one), cuts=range(99)).told if told[1].final
    )

    assert 0.6 <= (frame - one.words[-1].end) / RATE < 0.6 + 2 * HOP / RATE


def test_speech_up_to_the_very_end_is_not_lost() -> None:
    one = script([("one", 0.5, 0.4), ("two", 0.0, 0.4)], end_s=0.0)

    played = play(one, Ears(one))

    assert played.keys == ["one", "two"]
    assert played.asked[-1].end == one.length


def test_what_was_shown_and_turns_out_to_be_nothing_ends_empty() -> None:
    one = plain(4)

    def hear(request: DecodeRequest) -> list[LiveWord]:
        return [] if request.why == "pause" else Ears(one)(request)

    told = [text for _, text in play(one, hear, options=SECOND).told]

    assert [bool(text.words) for text in told] == [True, False, False]
    assert [text.final for text in told] == [False, False, True]


def test_sound_before_certain_words_is_not_decoded_again() -> None:
    one = script([(f"w{i}", 0.2 if i % 5 == 0 else 0.0, 0.3) for i in range(60)])

    played = play(one, Ears(one))

    assert played.keys == one.texts
    assert max(one.end - one.start for one in played.asked) < 6 * RATE


@pytest.mark.parametrize("off_s", [0.0, 0.1, 0.2])
def test_a_window_without_pauses_is_cut_between_words_and_loses_none(
    off_s: float,
) -> None:
    one = plain(200, pause_s=0.0)

    played = play(one, Ears(one, off_s=off_s))

    assert played.keys == one.texts
    assert max(one.end - one.start for one in played.asked) <= 10 * RATE


def test_slow_decodes_are_asked_for_more_seldom_and_lose_nothing() -> None:
    one = plain(100, pause_s=0.0)

    fast = play(one, Ears(one))
    slow = play(one, Ears(one), took=lambda _: 2 * RATE)

    assert len(slow.asked) < 0.5 * len(fast.asked)
    assert slow.keys == one.texts
    gaps = [b.end - a.end for a, b in itertools.pairwise(slow.asked[:-1])]
    assert min(gaps) >= 3 * RATE


def test_the_interval_shrinks_when_decodes_are_fast_again() -> None:
    one = plain(100, pause_s=0.0)

    played = play(
        one, Ears(one), took=lambda request: 4 * RATE * (request.end < 10 * RATE)
    )

    late = [request.end for request in played.asked if request.end > 15 * RATE]
    assert min(b - a for a, b in itertools.pairwise(late)) <= RATE + HOP


def test_the_first_words_are_whole() -> None:
    one = plain(6)

    first = play(one, Ears(one)).asked[0]

    assert first.start <= one.words[0].start
    late = script([("one", 5.0, 0.4)])
    assert play(late, Ears(late)).asked[0].start == pytest.approx(4.7 * RATE, abs=HOP)


def test_utterances_never_overlap() -> None:
    one = script([(f"w{i}", 0.7, 0.3) for i in range(20)])

    played = play(one, Ears(one))

    assert len(played.finals) == 20
    ends = [text.end for text in played.finals]
    assert all(
        text.start >= end for end, text in zip(ends, played.finals[1:], strict=False)
    )


def test_an_answer_that_nobody_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="asked"):
        LivePolicy(RATE, HOP).decoded([])


def test_hours_leave_nothing_behind() -> None:
    sizes = sizes_over(1_200)

    assert max(sizes[20:]) <= max(sizes[:20]) + 200


def test_speech_without_end_leaves_nothing_behind() -> None:
    one = plain(800, pause_s=0.0, first=1_000)
    policy = LivePolicy(RATE, HOP)
    sizes = []
    for piece in np.array_split(one.scores, 100):
        policy.push(piece)
        answer(policy, Played(), Ears(one))
        sizes.append(len(pickle.dumps(policy)))

    assert max(sizes[20:]) <= 1.2 * max(sizes[:20])


@pytest.mark.stress
def test_two_hours_leave_nothing_behind(stress_report: Report) -> None:
    sizes = sizes_over(7_200)

    stress_report(
        "state of the commit policy over 2 h of speech",
        f"{max(sizes[:20])} bytes at most in the first minutes, "
        f"{max(sizes[20:])} later",
    )
    assert max(sizes[20:]) <= max(sizes[:20]) + 200


def sizes_over(seconds: int) -> list[int]:
    """Give the size of a policy's state after each stretch of speech, bytes."""
    one = plain(20, pause_s=0.1)
    shift = len(one.scores) * HOP
    policy = LivePolicy(RATE, HOP)
    sizes = []
    for number in range(seconds * RATE // shift):
        moved = tuple(
            attrs.evolve(w, start=w.start + number * shift, end=w.end + number * shift)
            for w in one.words
        )
        policy.push(one.scores)
        played = Played()
        answer(policy, played, Ears(Script(moved, one.length)))
        assert played.keys == one.texts
        sizes.append(len(pickle.dumps(policy)))
    return sizes


@pytest.mark.parametrize(
    "wrong",
    [{"step_s": 0.0}, {"endpoint_s": 0.1}, {"max_window_s": 60.0}, {"max_lag_s": 1.0}],
)
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LiveOptions(**wrong)  # type: ignore[arg-type]
