from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.asr.guards import (
    coverage,
    guarded,
    heard_segment,
    heard_word,
    mended,
    without_loops,
    without_unspoken,
)
from voicepipe.asr.pauses import split_at_pauses
from voicepipe.types import Segment, Word


def said(
    text: str, start: float, end: float, *, words: bool = True, rate: float = 0.0
) -> Segment:
    """Say a text evenly, or at so many words a second from its start."""
    texts = text.split()
    step = 1.0 / rate if rate else (end - start) / len(texts)
    made = tuple(
        Word(start=start + i * step, end=start + (i + 1) * step, text=word)
        for i, word in enumerate(texts)
    )
    return Segment(start=start, end=end, text=text, words=made if words else ())


def times_of(segments: tuple[Segment, ...]) -> list[tuple[str, float, float]]:
    return [(w.text, w.start, w.end) for s in segments for w in s.words]


# Times.


def in_milliseconds(segments: list[Segment]) -> list[Segment]:
    return [
        attrs.evolve(
            rounded(segment), words=tuple(rounded(word) for word in segment.words)
        )
        for segment in segments
    ]


def rounded(value: Any) -> Any:
    return attrs.evolve(value, start=round(value.start, 3), end=round(value.end, 3))


SECONDS = st.one_of(
    st.none(),
    st.floats(),
    st.floats(-1.0, 100.0),
    st.integers(-2, 60).map(float),
)
WORDS = st.builds(
    heard_word, st.sampled_from(["a", "no", "25", "pepperoni", " "]), SECONDS, SECONDS
)
SEGMENTS = st.lists(
    st.builds(
        heard_segment,
        st.sampled_from(["", "a no", "call 25 now", "pepperoni", "我想要"]),
        SECONDS,
        SECONDS,
        words=st.lists(WORDS, max_size=8),
    ),
    max_size=8,
)


@given(SEGMENTS, st.sampled_from([0.004, 1.0, 30.0, 3600.0]), st.booleans())
def test_all_times_can_be_whatever_an_engine_says(
    segments: list[Segment],
    duration: float,
    words: bool,  # noqa: FBT001
) -> None:
    timed, _ = mended(segments, duration, words=words)

    last = 0.0
    for segment in timed:
        parts = segment.words or (segment,)
        assert segment.text.strip()
        assert (segment.start, segment.end) == (parts[0].start, parts[-1].end)
        for part in parts:
            assert last <= part.start < part.end <= duration
            last = part.end
        assert segment.words or not words


@given(SEGMENTS.map(in_milliseconds), st.booleans())
def test_mending_keeps_all_text_and_what_is_mended_stays(
    segments: list[Segment],
    words: bool,  # noqa: FBT001
) -> None:
    once, _ = mended(segments, 60.0, words=words)

    told = [s for s in segments if s.text or any(w.text for w in s.words)]
    assert [s.text for s in once] == [
        s.text or " ".join(w.text for w in s.words).strip() for s in told
    ]
    assert mended(once, 60.0, words=words) == (once, 0)


def test_times_that_can_be_stay() -> None:
    segments = (said("call me back", 1.0, 2.0), said("at five", 2.5, 3.0))

    assert mended(segments, 10.0) == (segments, 0)


def test_a_number_without_times_gets_its_own_between_its_neighbours() -> None:
    words = [
        heard_word("call", 1.0, 1.4),
        heard_word("25", None, None, near=1.0),
        heard_word("now", 2.0, 2.4),
    ]
    (segment,), changed = mended([heard_segment("call 25 now", 1, 2.4, words=words)], 9)

    assert changed == 1
    _, number, last = segment.words
    assert 1.4 <= number.start < number.end <= 2.0
    assert (last.start, last.end) == (2.0, 2.4)


def test_one_wild_time_does_not_move_the_others() -> None:
    good = said("one two three four five six", 10.0, 13.0)
    wild = attrs.evolve(good.words[2], start=59.0, end=59.5)
    words = (*good.words[:2], wild, *good.words[3:])

    timed, changed = mended([attrs.evolve(good, words=words)], 60.0)

    assert changed == 1
    assert [t for t in times_of(timed) if t[0] != "three"] == [
        t for t in times_of((good,)) if t[0] != "three"
    ]


def test_an_empty_word_shares_the_time_of_the_long_one_that_begins_with_it() -> None:
    words = [
        heard_word("twenty", 4.0, 4.0),
        heard_word("pepperoni", 4.0, 5.5),
    ]
    (segment,), _ = mended(
        [heard_segment("twenty pepperoni", 4.0, 5.5, words=words)], 60.0
    )

    twenty, pepperoni = segment.words
    assert twenty.start == 4.0
    assert 0.4 < twenty.end - twenty.start < 0.8
    assert (pepperoni.start, pepperoni.end) == (twenty.end, 5.5)


def test_a_segment_without_words_shares_its_time_out_among_them() -> None:
    (segment,), changed = mended([heard_segment("call 25", 10.0, 12.0)], 60.0)

    assert changed == 2
    assert [w.text for w in segment.words] == ["call", "25"]
    assert (segment.start, segment.end) == (10.0, 12.0)
    call, number = segment.words
    assert call.end - call.start > number.end - number.start


def test_segments_without_words_stay_so_where_none_are_asked_for() -> None:
    segments = (said("a b", 0.0, 1.0, words=False), said("c", 1.0, 2.0, words=False))

    assert mended(segments, 2.0, words=False) == (segments, 0)


def test_text_past_the_end_comes_inside() -> None:
    timed, changed = mended([said("good bye", 9.5, 11.5)], 10.0)

    assert changed == 2
    assert timed[0].end == 10.0


# Loops.

WHOLE = [(0.0, 1000.0)]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("no no no", 1.0, 1.9),
        ("no no no no no no no", 1.0, 2.8),
        ("five five five five one two", 1.0, 3.5),
        ("oh oh oh seven seven seven seven", 0.0, 2.5),
        ("ha ha ha ha ha ha ha ha ha ha ha ha", 0.0, 2.5),
        ("thank you thank you thank you", 0.0, 1.8),
        ("very very very very good", 0.0, 2.0),
        ("is it is it is it is it on", 0.0, 2.5),
        ("can you hear me can you hear me can you hear me", 3.0, 6.5),
    ],
)
@pytest.mark.parametrize("words", [True, False])
def test_people_may_repeat_themselves(
    text: str,
    start: float,
    end: float,
    words: bool,  # noqa: FBT001
) -> None:
    segments = (said(text, start, end, words=words),)

    assert without_loops(segments, WHOLE) == (segments, 0)
    assert without_loops(segments) == (segments, 0)


def test_yes_to_every_question_stays() -> None:
    segments = tuple(said("yes.", 10.0 * i, 10.0 * i + 0.3) for i in range(40))

    assert without_loops(segments, [(s.start, s.end) for s in segments]) == (
        segments,
        0,
    )


def test_an_announcement_that_comes_again_and_again_stays() -> None:
    text = "your call is important to us please hold the line"
    segments = tuple(said(text, 30.0 * i, 30.0 * i + 3.5) for i in range(20))

    assert without_loops(segments, WHOLE) == (segments, 0)


@pytest.mark.parametrize("words", [True, False])
def test_more_words_than_anybody_can_say_are_a_loop(
    words: bool,  # noqa: FBT001
) -> None:
    text = "thank you " * 20
    segment = said(text.strip(), 3.0, 5.0, words=words)

    (left,), count = without_loops([segment], WHOLE)

    assert (left.text, count) == ("thank you", 1)
    assert left.words == segment.words[:2]
    assert left.start == 3.0


def test_words_without_any_length_are_a_loop() -> None:
    first = said("thank you", 3.0, 3.6)
    empty = tuple(Word(start=3.6, end=3.6, text=w) for w in ["thank", "you"] * 5)
    segment = Segment(
        start=3.0,
        end=8.0,
        text="thank you" + ", thank you" * 5,
        words=(*first.words, *empty),
    )

    (left,), count = without_loops([segment], WHOLE)

    assert (left.text, count) == ("thank you,", 1)
    assert left.end == 3.6


def test_what_is_repeated_where_nobody_speaks_is_a_loop() -> None:
    segment = said("no no no no no", 1.0, 3.0)

    assert without_loops([segment], [(0.0, 1.2)])[1] == 1
    assert without_loops([segment], [(0.0, 2.1)])[1] == 0


def test_a_long_sentence_across_segments_is_a_loop() -> None:
    text = "I do not know if you can see it but it is a bit of a challenge"
    segments = [said(text, 3.0 * i, 3.0 * i + 3.0) for i in range(9)]
    before = said("well then let us begin", -0.0, 0.0)

    left, count = without_loops([before, *segments], WHOLE)

    assert (left, count) == ((before, segments[0]), 1)


def test_an_endless_loop_in_real_speech_is_cut_in_the_midst() -> None:
    loop = "going to the store " * 8
    segment = said(f"he said {loop}and left", 0.0, 12.0)

    (left,), count = without_loops([segment], WHOLE)

    assert (left.text, count) == ("he said going to the store and left", 1)
    assert len(left.words) == 8


def test_text_without_spaces_is_cut_too() -> None:
    words = tuple(
        Word(start=0.01 * i, end=0.01 * i, text=t)
        for i, t in enumerate("我谢谢谢谢谢谢好")
    )
    segment = Segment(start=0.0, end=1.0, text="我谢谢谢谢谢谢好", words=words)

    (left,), _ = without_loops([segment], WHOLE)

    assert left.text == "我谢好"


@given(
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.005, 0.3]),
)
def test_what_was_cut_is_not_cut_again(texts: list[str], step: float) -> None:
    words = tuple(
        Word(start=i * step, end=(i + 1) * step, text=t) for i, t in enumerate(texts)
    )
    segment = Segment(start=0.0, end=60 * step, text=" ".join(texts), words=words)

    left, count = without_loops([segment], WHOLE)

    kept = " ".join(s.text for s in left).split()
    assert [w.text for s in left for w in s.words] == kept
    assert bool(count) == (kept != texts)
    assert set(kept) == set(texts)


# What nobody said.


def test_text_on_silence_is_dropped_and_text_beside_speech_is_not() -> None:
    inside = said("hello", 1.0, 1.5)
    beside = said("you", 2.4, 2.6)
    apart = said("thanks for watching", 20.0, 22.0)

    kept, dropped = without_unspoken([inside, beside, apart], [(0.9, 2.0)])

    assert (kept, dropped) == ((inside, beside), 1)


def test_without_any_speech_there_is_no_text() -> None:
    assert without_unspoken([said("you", 0.0, 0.5)], []) == ((), 1)


def test_an_empty_word_in_speech_is_spoken() -> None:
    segment = said("you", 1.0, 1.0)

    assert without_unspoken([segment], [(0.5, 2.0)]) == ((segment,), 0)


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([], 0.0),
        ([said("a b c d e f g h", 0.0, 4.0)], 4.0),
        ([said("a b c d", 0.0, 2.0)], 2.5),
        ([said("a b c d", 0.0, 2.0), said("e f", 11.0, 12.0)], 3.5),
        ([Segment(start=0.0, end=12.0, text="a", words=())], 6.0),
    ],
)
def test_coverage_is_the_speech_near_words(
    segments: list[Segment], expected: float
) -> None:
    speech_s, covered_s = coverage(segments, [(0.0, 4.0), (10.0, 12.0)])

    assert speech_s == 6.0
    if segments and len(segments) == 2:
        expected = 2.5 + 1.5
    assert covered_s == pytest.approx(expected)


def test_one_word_in_a_minute_of_speech_is_little_coverage() -> None:
    words = (Word(start=0.0, end=0.4, text="a"), Word(start=59.0, end=60.0, text="b"))
    segment = Segment(start=0.0, end=60.0, text="a b", words=words)

    speech_s, covered_s = coverage([segment], [(0.0, 60.0)])

    assert covered_s < 0.05 * speech_s


# All of them.


def test_all_guards_tell_what_they_did() -> None:
    heard = [
        said("hello there", 1.0, 2.0),
        said(" ".join(["bye"] * 30), 2.0, 2.5),
        heard_segment("25", 3.0, 3.0),
        said("thanks for watching", 40.0, 42.0),
    ]

    kept, report = guarded(heard, [(0.9, 3.2)], 60.0)

    assert [s.text for s in kept] == ["hello there", "bye", "25"]
    assert (report.repeated, report.unspoken) == (1, 1)
    assert report.retimed == 1
    assert report.speech_s == pytest.approx(2.3)
    assert report.coverage == pytest.approx(1.0)


def test_a_guard_that_is_off_does_nothing() -> None:
    loop = said(" ".join(["bye"] * 30), 2.0, 2.5)
    nobody = said("thanks for watching", 40.0, 42.0)

    kept, report = guarded(
        [loop, nobody], [(0.9, 3.2)], 60.0, repeats=False, unspoken=False
    )

    assert [s.text for s in kept] == [loop.text, nobody.text]
    assert (report.repeated, report.unspoken) == (0, 0)
    assert guarded([nobody], None, 60.0)[0] == (nobody,)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, None])
def test_whatever_an_engine_says_becomes_a_word(value: float | None) -> None:
    word = heard_word(" five ", value, value, near=7.0, probability=value)

    assert word.text == "five"
    assert word.start == word.end == (0.0 if value == -1.0 else 7.0)
    assert word.probability in {None, 0.0}


# Pauses.


def test_a_segment_is_cut_where_its_speaker_pauses() -> None:
    first, second = said("Hello, there.", 1.0, 2.0), said("Yes - five.", 62.0, 63.0)
    words = (*first.words, *second.words)
    whole = Segment(start=1.0, end=63.0, text="Hello, there. Yes - five.", words=words)

    assert list(split_at_pauses([whole], 1.0)) == [first, second]
    assert list(split_at_pauses([whole], 100.0)) == [whole]


def test_text_without_spaces_keeps_them_away_when_it_is_cut() -> None:
    words = tuple(
        Word(start=t, end=t + 0.2, text=text) for t, text in [(0, "我"), (9, "好吗")]
    )
    whole = Segment(start=0.0, end=9.2, text="我好吗?", words=words)

    assert [s.text for s in split_at_pauses([whole], 1.0)] == ["我", "好吗?"]
