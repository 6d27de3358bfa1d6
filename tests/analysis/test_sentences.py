"""From segments to sentences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.analysis.lexicon import LEXICONS
from voicepipe.analysis.sentences import (
    CUT_WORDS,
    JOIN_CHARS,
    JOIN_WORDS,
    cut,
    join,
)
from voicepipe.types import Segment


ENGLISH = LEXICONS["en"]


def said(text: str, start: float, end: float, *, by: str = "A", at: int = 0) -> Segment:
    return Segment(id=at, start=start, end=end, text=text, speaker=by)


def texts_of(text: str) -> list[str]:
    return [part.text for part in cut([said(text, 0.0, 1.0)])]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is here. Is it? Yes!", ["It is here.", "Is it?", "Yes!"]),
        ("no marks at all", ["no marks at all"]),
        (
            "That is $54.75 at 5 p.m. on Monday.",
            ["That is $54.75 at 5 p.m. on Monday."],
        ),
        ("Ask Dr. Weber or J. Smith.", ["Ask Dr. Weber or J. Smith."]),
        ("Well... maybe. Fine", ["Well... maybe.", "Fine"]),
        ('He said "No." Then he left.', ['He said "No."', "Then he left."]),
        ("¿Qué? ¡Sí!", ["¿Qué?", "¡Sí!"]),
        ("你好。谢谢。", ["你好。", "谢谢。"]),
        ("  white \n space  ", ["white space"]),
        (" \n ", []),
    ],
)
def test_segments_are_cut_at_the_ends_of_sentences(
    text: str, expected: list[str]
) -> None:
    assert texts_of(text) == expected


def test_endless_sentences_are_cut_evenly() -> None:
    many = " ".join(f"word{i}" for i in range(2 * CUT_WORDS + 1))
    parts = texts_of(many)
    assert [len(part.split()) for part in parts] == [33, 34, 34]
    assert " ".join(parts) == many


def joined(*segments: Segment) -> list[tuple[str, tuple[int, ...]]]:
    found = join(cut(segments), ENGLISH)
    return [(sentence.text, sentence.segment_ids) for sentence in found]


LONG = "the delivery van with the blue sofa broke down"
MORE = "near the big bridge behind the railway station"


def test_an_unfinished_sentence_goes_on_after_a_short_pause() -> None:
    first = said(LONG, 0.0, 3.0, at=0)
    assert joined(first, said(MORE, 3.5, 6.0, at=1)) == [(f"{LONG} {MORE}", (0, 1))]
    assert joined(first, said(MORE, 4.5, 6.0, at=1)) == [(LONG, (0,)), (MORE, (1,))]
    other = said(MORE, 3.5, 6.0, by="B", at=1)
    assert joined(first, other) == [(LONG, (0,)), (MORE, (1,))]
    done = said(LONG + ".", 0.0, 3.0, at=0)
    assert len(joined(done, said(MORE, 3.5, 6.0, at=1))) == 2
    hanging = said(LONG + "...", 0.0, 3.0, at=0)
    assert len(joined(hanging, said(MORE, 3.5, 6.0, at=1))) == 1


def test_short_parts_are_joined_over_longer_pauses() -> None:
    parts = said("two large pizzas", 0.0, 1.0, at=0), said("a coke", 2.5, 3.0, at=1)
    assert joined(*parts) == [("two large pizzas a coke", (0, 1))]
    later = said("a coke", 4.0, 5.0, at=1)
    assert len(joined(parts[0], later)) == 2


def test_backchannels_and_fillers_do_not_cut_a_sentence() -> None:
    first = said(LONG, 0.0, 3.0, at=0)
    last = said(MORE, 3.6, 6.0, at=2)
    for aside in ("mm hm", "okay okay thank you very much", "Of course."):
        between = said(aside, 3.1, 3.5, by="B", at=1)
        assert joined(first, between, last) == [(f"{LONG} {MORE}", (0, 2))]
    news = said("where is the driver now", 3.1, 3.5, by="B", at=1)
    assert len(joined(first, news, last)) == 3


def test_joined_sentences_keep_to_their_length() -> None:
    without_spaces = [said("我想订一个生日蛋糕。", i, i + 1.0, at=i) for i in range(50)]
    found = join(cut(without_spaces), ENGLISH)
    assert all(len(sentence.text) <= JOIN_CHARS for sentence in found)
    segments = [said("red ink", i, i + 1.0, at=i) for i in range(50)]
    found = join(cut(segments), ENGLISH)
    assert all(len(sentence.words) <= JOIN_WORDS for sentence in found)
    assert [i for sentence in found for i in sentence.segment_ids] == list(range(50))


@given(
    st.lists(
        st.tuples(
            st.text("ab .?!。…\"' ", max_size=20),
            st.floats(0.0, 3.0),
            st.sampled_from(["A", "B"]),
        )
    )
)
def test_every_word_is_in_the_parts_once_and_in_order(
    spoken: list[tuple[str, float, str]],
) -> None:
    segments = [
        said(text, 3.0 * i + pause, 3.0 * i + 3.0, by=by, at=i)
        for i, (text, pause, by) in enumerate(spoken)
    ]
    parts = cut(segments)
    for segment in segments:
        own = [part.text for part in parts if part.segment_ids == (segment.id,)]
        assert "".join("".join(own).split()) == "".join(segment.text.split())
    for sentence in join(parts, ENGLISH):
        assert sentence.segment_ids == tuple(sorted(set(sentence.segment_ids)))
        assert sentence.start <= sentence.end
