"""Digits as they are said, in English, German, Spanish and French."""

from __future__ import annotations

import unicodedata
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import attrs

from voicepipe.analysis.redaction.wordlists import WORDS


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


Languages: TypeAlias = frozenset[str]

ALL: Languages = frozenset({"de", "en", "es", "fr"})
"""The languages whose numbers are understood, by ISO 639-1 code."""

Phrase: TypeAlias = tuple[str, ...]

LONGEST = 4
"""Most words of a number up to 99: *quatre vingt dix sept*."""

_EN_UNITS, _EN_TEENS, _EN_TENS = (WORDS[f"en_{n}"] for n in ("units", "teens", "tens"))
_DE_UNITS, _DE_TEENS, _DE_TENS = (WORDS[f"de_{n}"] for n in ("units", "teens", "tens"))
_ES_UNITS, _ES_TEENS, _ES_TENS = (WORDS[f"es_{n}"] for n in ("units", "teens", "tens"))
_FR_UNITS, _FR_TEENS, _FR_TENS = (WORDS[f"fr_{n}"] for n in ("units", "teens", "tens"))

TIMES: Mapping[str, tuple[int, Languages]] = {
    "double": (2, frozenset({"en", "fr"})),
    "triple": (3, frozenset({"en", "es", "fr"})),
    "treble": (3, frozenset({"en"})),
    "quadruple": (4, frozenset({"en", "fr"})),
    **dict.fromkeys(WORDS["es_double"], (2, frozenset({"es"}))),
    "doppel": (2, frozenset({"de"})),
    "doppelt": (2, frozenset({"de"})),
    "doppelte": (2, frozenset({"de"})),
}
"""How often the digit behind a word is meant."""


@attrs.frozen
class Spoken:
    """
    What a phrase says.

    Attributes:
        digits: As they are written.
        languages: Those in which it says so.
    """

    digits: str
    languages: Languages


def plain(word: str) -> str:
    """Give a word without case and accents: the form in which words are compared."""
    if word.isascii():
        return word.lower()
    parts = unicodedata.normalize("NFKD", word.casefold())
    return "".join(c for c in parts if not unicodedata.combining(c))


def times(word: str) -> tuple[int, Languages]:
    """Say how often the digit behind this word is meant; once behind most words."""
    return TIMES.get(word, (1, ALL))


def _two(
    tens: Iterable[str], units: Sequence[str], first: int
) -> Iterator[tuple[str, str]]:
    """Give tens, and tens with units behind them."""
    for ten, word in enumerate(tens, start=first):
        yield word, f"{ten}0"
        for unit in range(1, 10):
            yield f"{word} {units[unit]}", f"{ten}{unit}"


def _english() -> Iterator[tuple[str, str]]:
    units = [(word, str(n)) for n, word in enumerate(_EN_UNITS)]
    yield from units
    yield from ((word, "0") for word in ("oh", "o", "nought", "naught"))
    yield "niner", "9"
    yield from ((word, str(n)) for n, word in enumerate(_EN_TEENS, start=10))
    yield from _two(_EN_TENS, _EN_UNITS, 2)
    yield from ((WORDS["en_misspelt"][0] + end, f"4{n or 0}") for end, n in _EN_ENDS)
    # As in "one eight hundred"; nobody says a zero before it.
    yield from ((f"{word} hundred", f"{digit}00") for word, digit in units[1:])


_EN_ENDS = [("", 0), *((f" {word}", n) for n, word in enumerate(_EN_UNITS) if n)]


def _german() -> Iterator[tuple[str, str]]:
    yield from ((word, str(n)) for n, word in enumerate(_DE_UNITS))
    yield "zwo", "2"
    yield from ((word, str(n)) for n, word in enumerate(_DE_TEENS, start=10))
    for ten, word in enumerate(_DE_TENS, start=2):
        yield word, f"{ten}0"
        for unit in range(1, 10):
            said = "ein" if unit == 1 else _DE_UNITS[unit]
            yield f"{said}und{word}", f"{ten}{unit}"
            yield f"{said} und {word}", f"{ten}{unit}"


def _spanish() -> Iterator[tuple[str, str]]:
    yield from ((word, str(n)) for n, word in enumerate(_ES_UNITS))
    yield from ((word, str(n)) for n, word in enumerate(_ES_TEENS, start=10))
    yield from ((word, str(n)) for n, word in enumerate(WORDS["es_twenties"], start=20))
    for ten, word in enumerate(_ES_TENS, start=3):
        yield word, f"{ten}0"
        yield from (
            (f"{word} y {_ES_UNITS[unit]}", f"{ten}{unit}") for unit in range(1, 10)
        )


def _french() -> Iterator[tuple[str, str]]:
    yield from ((word, str(n)) for n, word in enumerate(_FR_UNITS))
    yield from ((word, str(n)) for n, word in enumerate(_FR_TEENS, start=10))
    yield from _two(_FR_TENS, _FR_UNITS, 2)
    yield from _two(("septante", "huitante", "nonante"), _FR_UNITS, 7)
    yield from ((f"{w} et un", f"{n}1") for n, w in enumerate(_FR_TENS, start=2))
    yield "soixante et onze", "71"
    for n, word in enumerate(_FR_TEENS):
        yield f"soixante {word}", f"7{n}"
        yield f"quatre vingt {word}", f"9{n}"
    yield from (("quatre vingts", "80"), ("quatre vingt", "80"))
    yield from ((f"quatre vingt {_FR_UNITS[n]}", f"8{n}") for n in range(1, 10))


def _umlauts(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Give German words with the umlauts written out as well."""
    for phrase, digits in pairs:
        yield phrase, digits
        written = phrase.replace("funf", "fuenf").replace("zwolf", "zwoelf")
        if written != phrase:
            yield written, digits


def _table() -> Mapping[Phrase, Spoken]:
    table: dict[Phrase, Spoken] = {}
    every = {
        "de": _umlauts(_german()),
        "en": _english(),
        "es": _spanish(),
        "fr": _french(),
    }
    for language, pairs in every.items():
        for phrase, digits in pairs:
            words = tuple(phrase.replace("-", " ").split())
            known = table.get(words)
            tongues = frozenset({language})
            # No phrase means different numbers in two of these languages.
            table[words] = Spoken(
                digits, tongues | (known.languages if known else set())
            )
    return MappingProxyType(table)


PHRASES: Mapping[Phrase, Spoken] = _table()
"""Numbers from 0 to 99 and whole hundreds to 900, by their words in ``plain`` form."""

FIRST_WORDS = frozenset(phrase[0] for phrase in PHRASES)
"""Words with which a number begins."""
