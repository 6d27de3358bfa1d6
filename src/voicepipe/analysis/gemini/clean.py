"""Whether a rewritten line still says what was said."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from voicepipe.analysis.words import words


if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence


# Sounds of hesitation, which are no words: what tidying is for. Only those that are
# words in none of the languages that the library knows well.
_FILLERS = frozenset(
    {"hm", "hmm", "mhm", "mm", "mmm", "uh", "uhh", "uhm", "umm", "ähm", "öhm", "äh"}
)

# Words that turn what is said into its opposite, in the languages that the library
# knows well; what is English and ends in n't is one too.
_NEGATIONS = frozenset(
    {"cannot", "neither", "never", "no", "nobody", "none", "nor", "not", "nothing"}
    | {"without", "kein", "keine", "keinem", "keinen", "keiner", "keines", "nein"}
    | {"nicht", "nichts", "nie", "niemals", "niemand", "ohne", "aucun", "aucune"}
    | {"jamais", "non", "pas", "personne", "rien", "sans", "nada", "nadie", "ningún"}
    | {"ninguna", "ninguno", "nunca", "sin", "mai", "nessun", "nessuna", "nessuno"}
    | {"niente", "nulla", "senza", "nenhum", "nenhuma", "ninguém", "não", "sem"}
    | {"geen", "nee", "niemand", "niet", "niets", "nooit", "zonder"}
)

# Scripts without spaces: each character counts as a word (Thai, Lao, Burmese, Khmer,
# kana, Han).
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
)


def cleaned(said: str, offered: str, *, change: float, english: bool) -> str | None:
    """
    Take a rewritten line if it keeps to what was said, else give ``None``.

    Words are compared in order, without case, punctuation and sounds of hesitation, by
    their longest common subsequence: what is not in it was left out, or put in. Numbers
    written in digits must all stay, in order, and none may come; negations must be as
    many as they were, but for those that were said twice in a row.

    Args:
        said: The words of the transcript.
        offered: What a model made of them.
        change: Most of the words that may be left out, as a share; half as many may be
            put in.
        english: Whether ``um`` is a sound of hesitation: elsewhere it is a word.
    """
    text = " ".join(offered.split())
    if len(text) > 2 * len(said) + 64:
        return None
    before, after = _tokens(said, english=english), _tokens(text, english=english)
    if _numbers(before) != _numbers(after) or _denials(before) != _denials(after):
        return None
    common = common_length(before, after)
    lost, new = len(before) - common, len(after) - common
    if lost > change * len(before) or new > change / 2 * len(before):
        return None
    return text


def common_length(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """
    Give the length of the longest common subsequence.

    With a bit for each place of ``a`` (Hyyrö 2004, "Bit-parallel LCS-length computation
    revisited"): ten thousand words against as many take milliseconds.
    """
    places: dict[Hashable, int] = {}
    for at, one in enumerate(a):
        places[one] = places.get(one, 0) | 1 << at
    every = (1 << len(a)) - 1
    rows = every
    for one in b:
        found = rows & places.get(one, 0)
        rows = (rows + found | rows - found) & every
    return len(a) - rows.bit_count()


def _tokens(text: str, *, english: bool) -> list[str]:
    fillers = _FILLERS | {"um"} if english else _FILLERS
    spaced = _UNSPACED.sub(r" \g<0> ", text)
    return [word for word in words(spaced) if word not in fillers]


def _numbers(tokens: list[str]) -> list[str]:
    return [token for token in tokens if any(map(str.isdigit, token))]


def _denials(tokens: list[str]) -> int:
    return sum(
        (one in _NEGATIONS or one.endswith("n't")) and one != before
        for before, one in itertools.pairwise(["", *tokens])
    )
