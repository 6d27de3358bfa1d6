from __future__ import annotations

import numpy as np
import pytest

from voicepipe.stream.live.agreement import LocalAgreement
from voicepipe.stream.live.copies import Copies
from voicepipe.stream.live.loops import before_loop
from voicepipe.stream.live.words import LiveWord, text_of


RATE = 16_000


def words(text: str, *, at: float = 0.0, long_s: float = 0.3) -> list[LiveWord]:
    return [
        LiveWord(
            start=round((at + i * long_s) * RATE),
            end=round((at + (i + 1) * long_s) * RATE),
            text=one,
        )
        for i, one in enumerate(text.split())
    ]


def hear(agreement: LocalAgreement, text: str, end_s: float, *, at: float = 0.0) -> str:
    told = words(text, at=at)
    return text_of(agreement.hear(told, end=round(end_s * RATE), complete=False))


def test_two_decodes_that_agree_commit_their_common_beginning() -> None:
    agreement = LocalAgreement(RATE)

    assert hear(agreement, "i want a", 1.0) == ""
    assert hear(agreement, "i want the large", 2.0) == "i want"
    assert text_of(agreement.tail) == "the large"
    assert hear(agreement, "i want the large one", 3.0) == "the large"


def test_case_and_punctuation_do_not_count_and_the_newer_spelling_is_kept() -> None:
    agreement = LocalAgreement(RATE)
    hear(agreement, "hello. I am", 1.2)

    assert hear(agreement, "Hello, i am", 2.0) == "Hello, i am"


def test_a_word_counts_only_where_both_decodes_heard_it_whole() -> None:
    agreement = LocalAgreement(RATE)

    assert hear(agreement, "one two", 0.7) == ""
    assert hear(agreement, "one two", 2.0) == "one"
    assert hear(agreement, "one two", 3.0) == "two"


def test_a_word_at_the_edge_of_the_second_decode_waits_too() -> None:
    agreement = LocalAgreement(RATE)
    hear(agreement, "one two", 2.0)

    assert hear(agreement, "one two", 0.7) == "one"


def test_where_sound_ends_in_a_pause_every_word_is_whole() -> None:
    agreement = LocalAgreement(RATE)
    agreement.hear(words("one two"), end=10_000, complete=True)
    new = agreement.hear(words("one two"), end=10_000, complete=True)

    assert text_of(new) == "one two"


def test_what_is_committed_is_found_again_by_its_words() -> None:
    agreement = LocalAgreement(RATE)
    for end in (1.0, 2.0):
        hear(agreement, "no no yes", end)

    # The engine's times are half a second late now.
    hear(agreement, "no no yes maybe", 3.0, at=0.5)

    assert text_of(agreement.tail) == "maybe"


def test_what_is_committed_is_found_again_by_its_times_where_words_differ() -> None:
    agreement = LocalAgreement(RATE)
    for end in (1.0, 2.0):
        hear(agreement, "four candles", end)

    hear(agreement, "fork handles please", 3.0)

    assert text_of(agreement.tail) == "please"


def test_a_word_that_is_said_again_is_not_taken_for_the_committed_one() -> None:
    agreement = LocalAgreement(RATE)
    for end in (1.0, 2.0):
        hear(agreement, "five five", end)

    hear(agreement, "five five five", 3.0)

    assert text_of(agreement.tail) == "five"


def test_words_whose_sound_has_left_the_window_are_not_looked_for() -> None:
    agreement = LocalAgreement(RATE)
    for end in (2.0, 3.0):
        hear(agreement, "one two three four", end)
    agreement.forget(round(0.6 * RATE))

    assert [word.text for word in agreement.known] == ["three", "four"]
    hear(agreement, "three four five", 4.0, at=0.6)
    assert text_of(agreement.tail) == "five"


def test_a_loop_is_never_confirmed() -> None:
    agreement = LocalAgreement(RATE)

    said = "".join(
        hear(agreement, "thank you for " * times, 2.0 * times) for times in range(2, 9)
    )

    assert said == "thank you for"


def test_times_of_committed_words_are_in_order_and_never_empty() -> None:
    agreement = LocalAgreement(RATE)
    told = [
        LiveWord(start=9_000, end=9_000, text="one"),
        LiveWord(start=1_000, end=2_000, text="two"),
    ]
    for _ in range(2):
        agreement.hear(told, end=99_000, complete=False)

    one, two = agreement.known
    assert 9_000 == one.start < one.end <= two.start < two.end


@pytest.mark.parametrize(
    ("said", "before"),
    [
        ("", 0),
        ("no no no", 3),
        ("no no no no", 1),
        ("a b a b a b", 6),
        ("a b a b a b a b", 2),
        ("x y z x y z", 6),
        ("o x y z x y z x y z o", 4),
        ("one two three four five", 5),
    ],
)
def test_words_before_a_loop_are_counted(said: str, before: int) -> None:
    assert before_loop(said.split()) == before


def test_text_has_the_spaces_that_its_words_have() -> None:
    told = [
        LiveWord(start=0, end=1, text=text, spaced=spaced)
        for text, spaced in (("你", True), ("好", False), ("ok", True))
    ]

    assert text_of(told) == "你好 ok"


def stereo(*parts: tuple[float, float], pieces: int = 7) -> Copies:
    """Make so many hops of one signal, or of two where the gain is not 1."""
    copies = Copies(512, 2)
    rng = np.random.default_rng(0)
    for hops, other in parts:
        left = rng.normal(0, 0.1, (round(hops * 512), 1))
        right = left if other == 1.0 else rng.normal(0, 0.1, left.shape) * other
        both = np.hstack([left, right]).astype(np.float32)
        for piece in np.array_split(both, pieces):
            copies.push(piece)
    return copies


@pytest.mark.parametrize("pieces", [7, 100])
def test_a_channel_is_a_copy_where_it_is_one(pieces: int) -> None:
    copies = stereo((20, 1.0), (20, 0.5), pieces=pieces)

    assert copies.same(1, 0, 20 * 512)
    assert not copies.same(1, 20 * 512, 40 * 512)
    assert not copies.same(1, 0, 40 * 512)


def test_what_is_forgotten_is_no_copy() -> None:
    copies = stereo((20, 1.0))
    copies.forget(10 * 512)

    assert not copies.same(1, 0, 20 * 512)
    assert copies.same(1, 10 * 512, 20 * 512)
    assert not copies.same(1, 19 * 512, 20 * 512)
