"""The type of a conversation, told by cues."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.analysis.conversation import (
    CONVERSATION_TYPES,
    OTHER,
    TypeMatcher,
)
from voicepipe.analysis.words import words


def match(types: dict[str, tuple[str, ...]], text: str) -> str:
    return TypeMatcher(types).match(words(text))


def test_the_labels_are_those_that_are_documented() -> None:
    assert list(CONVERSATION_TYPES) == [
        "order",
        "delivery",
        "complaint",
        "refund",
        "billing",
        "booking",
        "technical support",
        "sales",
        "survey",
    ]


@pytest.mark.parametrize("label", CONVERSATION_TYPES)
def test_each_cue_is_found_in_itself_and_speaks_for_its_type(label: str) -> None:
    matcher = TypeMatcher(CONVERSATION_TYPES)
    for cue in CONVERSATION_TYPES[label]:
        assert matcher.count(words(cue), label) >= 1, cue


def test_a_phrase_counts_more_than_a_word() -> None:
    types = {"word": ("order",), "phrase": ("place an order",)}
    assert match(types, "i want to place an order") == "phrase"


def test_one_word_said_once_is_not_enough() -> None:
    types = {"billing": ("invoice",)}
    assert match(types, "the invoice is here and that is all there is") == OTHER
    assert match(types, "the invoice the other invoice and all the rest") == "billing"


def test_what_is_said_early_counts_twice() -> None:
    types = {"late": ("refund",), "early": ("booking",)}
    filler = "and so on " * 9
    assert match(types, f"booking {filler} refund refund refund booking") == "late"
    assert match(types, f"booking {filler} refund refund refund booking booking") == (
        "early"
    )


def test_of_equal_types_the_first_in_the_list_wins() -> None:
    text = "and so on " * 9 + "refund invoice " * 3
    assert match({"a": ("refund",), "b": ("invoice",)}, text) == "a"
    assert match({"b": ("invoice",), "a": ("refund",)}, text) == "b"


def test_a_star_matches_all_words_that_begin_so() -> None:
    types = {"refund": ("refund*",)}
    assert match(types, "refunded refunding") == "refund"
    assert match({"refund": ("refund",)}, "refunded refunding") == OTHER
    assert match({"x": ("not work*",)}, "it is not working and not worked") == "x"
    assert match({"x": ("e-mail*",)}, "e-mails to emails and e mail") == "x"
    assert match({"x": ("e-mail*",)}, "every mail and each mail") == OTHER


def test_cues_are_compared_in_the_form_of_words() -> None:
    types = {"x": ("J'aimerais commander", "Groß*")}
    assert match(types, "j\u2019aimerais COMMANDER une table") == "x"
    assert match(types, "GROSSE und große") == "x"


def test_a_cue_twice_in_the_list_counts_once() -> None:
    types = {"twice": ("refund", "Refund!"), "once": ("invoice",)}
    assert match(types, "invoice refund invoice refund invoice") == "once"


@pytest.mark.parametrize("types", [{}, {"empty": ()}])
def test_without_cues_every_call_is_other(types: dict[str, tuple[str, ...]]) -> None:
    assert match(types, "i want to place an order") == OTHER
    assert match(types, "") == OTHER


@pytest.mark.parametrize("types", [{"": ("order",)}, {"x": ("",)}, {"x": ("*",)}])
def test_cues_without_words_are_refused(types: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ValueError, match="needs a label"):
        TypeMatcher(types)


@given(st.lists(st.sampled_from(["a", "b", "ab", "c", "order"])))
def test_counting_place_by_place_gives_the_same(said: list[str]) -> None:
    matcher = TypeMatcher({"x": ("a b", "ab*", "c a b")})
    expected = sum(
        (said[i : i + 2] == ["a", "b"])
        + said[i].startswith("ab")
        + (said[i : i + 3] == ["c", "a", "b"])
        for i in range(len(said))
    )
    assert matcher.count(said, "x") == expected
