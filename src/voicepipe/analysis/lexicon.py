"""The words of each language that carry no topic, and those that carry a lot."""

from __future__ import annotations

import functools
import importlib.resources
import json
from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs

from voicepipe.analysis.words import words


if TYPE_CHECKING:
    from collections.abc import Mapping


INTENT_WORDS = 4
"""Most words of an ``intent`` phrase."""


@attrs.frozen(kw_only=True)
class Lexicon:
    """
    What must be known of a language; words are in the form of ``words.words``.

    Attributes:
        function: Articles, pronouns, prepositions, auxiliaries: words without a topic.
        courtesy: Greetings, thanks, fillers, words of assent and of small talk.
        number: Numerals, and the words that make a number an amount or a time.
        question: Words with which a question begins.
        intent: Phrases of at most ``INTENT_WORDS`` words by which a speaker asks for
            something or promises it.
    """

    function: frozenset[str] = frozenset()
    courtesy: frozenset[str] = frozenset()
    number: frozenset[str] = frozenset()
    question: frozenset[str] = frozenset()
    intent: frozenset[tuple[str, ...]] = frozenset()

    def is_filler(self, said: tuple[str, ...]) -> bool:
        """Whether courtesies were said, and nothing with a topic; or not a word."""
        courteous = any(word in self.courtesy for word in said) or not said
        return courteous and not self.has_topic(said)

    def has_topic(self, said: tuple[str, ...]) -> bool:
        """Whether more than function words and courtesies was said."""
        return any(
            word not in self.function and word not in self.courtesy for word in said
        )

    def has_intent(self, said: tuple[str, ...]) -> bool:
        """Whether one of the ``intent`` phrases is in what was said."""
        return any(
            said[start : start + length] in self.intent
            for start in range(len(said))
            for length in range(1, INTENT_WORDS + 1)
        )


def _lexicon(lists: Mapping[str, list[str]]) -> Lexicon:
    return Lexicon(
        function=frozenset(words(" ".join(lists["function"]))),
        courtesy=frozenset(words(" ".join(lists["courtesy"]))),
        number=frozenset(words(" ".join(lists["number"]))),
        question=frozenset(words(" ".join(lists["question"]))),
        intent=frozenset(tuple(words(phrase)) for phrase in lists["intent"]),
    )


_FILE = importlib.resources.files("voicepipe.analysis") / "lexicons.json"

LEXICONS: Mapping[str, Lexicon] = MappingProxyType(
    {
        code: _lexicon(lists)
        for code, lists in json.loads(_FILE.read_text("utf-8")).items()
    }
)
"""
Lexicons by ISO 639-1 code; ``hi`` is Hindi in Devanagari and as it is romanised.

The lists were written for this library. They are short: the words that hardly a
telephone call does without.
"""


@functools.cache
def lexicon(language: str | None) -> Lexicon:
    """
    Give the lexicon of a language; of all of them for ``None``, empty for others.

    Args:
        language: A code such as ``"en"``; what follows a hyphen is not looked at.
    """
    if language is not None:
        return LEXICONS.get(language.partition("-")[0].casefold(), Lexicon())
    every = LEXICONS.values()
    return Lexicon(
        function=frozenset().union(*(each.function for each in every)),
        courtesy=frozenset().union(*(each.courtesy for each in every)),
        number=frozenset().union(*(each.number for each in every)),
        question=frozenset().union(*(each.question for each in every)),
        intent=frozenset().union(*(each.intent for each in every)),
    )
