"""What counts as a word, and when two words are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.analysis.words import stem, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, WORLD!", ["hello", "world"]),
        ("it's forty-five o'clock", ["it", "forty", "five", "o'clock"]),
        ("the customer's e-mail", ["the", "customer", "e", "mail"]),
        ("I don\u2019t", ["i", "don't"]),
        (
            "J'aimerais l'addition, qu'il dit",
            ["j", "aimerais", "l", "addition", "qu", "il", "dit"],
        ),
        ("$54.75 (79,90 €) 3\u20134", ["54.75", "79,90", "3", "4"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("İYİ", ["iyi"]),
        ("\ufb01ne \uff21\uff22", ["fine", "ab"]),
        ("हिन्दी!", ["हिन्दी"]),
        ("👍🏽 ?! … --", []),
        ("我想订。", ["我想订"]),
        ("", []),
    ],
)
def test_words_are_found_in_the_form_in_which_they_are_compared(
    text: str, expected: list[str]
) -> None:
    assert words(text) == expected


@given(st.text())
def test_words_are_never_empty_and_stay_what_they_are(text: str) -> None:
    found = words(text)
    assert all(any(map(str.isalnum, word)) for word in found)
    assert words(" ".join(found)) == words(" ".join(words(" ".join(found))))


def test_inflected_forms_have_one_stem() -> None:
    assert len({stem(word) for word in ("deliver", "delivery", "delivered")}) == 1
    assert stem("orders") == stem("order")
    assert stem("pizzas") == stem("pizza")
    assert stem("bus") == "bus"
    assert stem("1234567") == "1234567"
