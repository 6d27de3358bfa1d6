"""Language identification, and the word lists that it rests on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from voicepipe.analysis.language import identify_language
from voicepipe.analysis.lexicon import INTENT_WORDS, LEXICONS, lexicon
from voicepipe.analysis.words import words


GREETINGS = json.loads(Path(__file__).with_name("greetings.json").read_text("utf-8"))


@pytest.mark.parametrize("language", sorted(LEXICONS))
def test_one_sentence_is_enough(language: str) -> None:
    assert identify_language(words(GREETINGS[language])) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        "okay okay okay",
        "pizza",
        "hello pizza",
        "to is to is to is to",
        "1 2 3 4 5 6 7 8 9",
        "שלום אני רוצה להזמין עוגת יום הולדת ליום שבת בבקשה",
        "我想订一个星期六的生日蛋糕",
        "lorem ipsum dolor sit amet consectetur adipiscing elit sed eiusmod",
        "jó napot szeretnék rendelni egy nagy pizzát mennyi idő alatt érkezik meg",
        "the with would " + "ulica " * 20,
        "dobar dan želio bih naručiti veliku pizzu za dostavu koliko dugo traje",
    ],
)
def test_it_says_nothing_where_there_is_little_to_go_by(text: str) -> None:
    assert identify_language(words(text)) is None


def test_two_languages_in_equal_parts_are_none() -> None:
    german, english = words("nicht und schon"), words("the with would")
    assert identify_language(german) == "de"
    assert identify_language(english) == "en"
    assert identify_language(german + english) is None


def test_a_few_foreign_words_do_not_matter() -> None:
    spoken = words(GREETINGS["fr"]) * 4 + words(GREETINGS["en"])
    assert identify_language(spoken) == "fr"


@pytest.mark.parametrize("language", sorted(LEXICONS))
def test_lists_are_of_use(language: str) -> None:
    lists = LEXICONS[language]
    assert len(lists.function) > 50
    assert len(lists.courtesy) > 20
    assert len(lists.number) > 20
    assert lists.question
    assert lists.intent
    assert all(1 <= len(phrase) <= INTENT_WORDS for phrase in lists.intent)
    # A number is worth quoting; a word without a topic is not.
    assert not lists.number & (lists.function | lists.courtesy)


def test_the_lexicon_of_an_unknown_language_is_that_of_all() -> None:
    assert {"hola", "hello", "hallo"} <= lexicon(None).courtesy
    assert lexicon("xx").courtesy == frozenset()
    assert lexicon("pt-BR") is LEXICONS["pt"]
    assert lexicon("EN") is LEXICONS["en"]


def test_fillers_topics_and_intents_are_told_apart() -> None:
    english = LEXICONS["en"]
    assert english.is_filler(("okay", "thank", "you"))
    assert english.is_filler(())
    assert not english.is_filler(("and", "then", "to", "the"))
    assert not english.has_topic(("and", "then", "to", "the"))
    assert english.has_topic(("okay", "pizza"))
    assert english.has_intent(("well", "i'd", "like", "pizza"))
    assert not english.has_intent(("like", "pizza", "i'd"))
