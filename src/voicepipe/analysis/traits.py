"""What each sentence of a call has to offer, in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from voicepipe.analysis.ranking import TermMatrix, Vector
from voicepipe.analysis.words import stem


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from voicepipe.analysis.lexicon import Lexicon
    from voicepipe.analysis.sentences import Sentence


HALF_FACTS = 3.5
"""Terms and numbers of a sentence that is half as informative as can be; ours."""

MOST_NUMBERS = 3
"""Numbers of a sentence that count: a telephone number is one fact, not ten; ours."""

DIGITS_COUNT = 2
"""Spoken numbers that one in digits stands for: "$54.75" is said in six words; ours."""

Flags: TypeAlias = NDArray[np.bool_]


@attrs.frozen(kw_only=True, eq=False)
class Traits:
    """
    Traits of candidates for quotation; each array has shape ``(candidates,)``.

    A *term* is the stem of a word that is no function word, no courtesy and no number.

    Attributes:
        matrix: Their terms.
        information: In [0, 1): ``n² / (n² + HALF_FACTS²)`` for n different terms and
            numbers, times the share of the words that are no courtesies.
        specificity: The same with terms weighed by rarity: ``idf(term) / log(1 + N)``,
            which is 1 for a term that only one of the N candidates has.
        number: Whether it has a number.
        intent: Whether it asks for something or promises it.
        question: Whether it has a question mark, or begins with a question word.
    """

    matrix: TermMatrix
    information: Vector
    specificity: Vector
    number: Flags
    intent: Flags
    question: Flags

    @classmethod
    def of(cls, candidates: Sequence[Sentence], lexicon: Lexicon) -> Traits:
        """Count what there is in each candidate; each must have a word."""
        matrix = TermMatrix(_terms(s.words, lexicon) for s in candidates)
        rarity = matrix.rarity / np.log1p(max(1, len(candidates)))
        numbers = _vector(_numbers(s.words, lexicon) for s in candidates)
        topical = 1.0 - _vector(
            sum(word in lexicon.courtesy for word in s.words) / len(s.words)
            for s in candidates
        )
        return cls(
            matrix=matrix,
            information=topical * _saturated(matrix.terms + numbers),
            specificity=topical * _saturated(rarity + numbers),
            number=numbers > 0.0,
            intent=_flags(lexicon.has_intent(s.words) for s in candidates),
            question=_flags(
                "?" in s.text or s.words[0] in lexicon.question for s in candidates
            ),
        )


def _terms(words: Iterable[str], lexicon: Lexicon) -> Iterator[str]:
    for word in words:
        if (
            word not in lexicon.function
            and word not in lexicon.courtesy
            and word not in lexicon.number
            and not _has_digit(word)
        ):
            yield stem(word)


def _numbers(words: Sequence[str], lexicon: Lexicon) -> int:
    spoken = sum(word in lexicon.number for word in words)
    written = sum(map(_has_digit, words))
    return min(MOST_NUMBERS, spoken + DIGITS_COUNT * written)


def _has_digit(word: str) -> bool:
    return any(map(str.isdigit, word))


def _saturated(facts: Vector) -> Vector:
    squares = facts * facts
    return squares / (squares + HALF_FACTS * HALF_FACTS)


def _vector(numbers: Iterable[float]) -> Vector:
    return np.fromiter(numbers, np.float64)


def _flags(flags: Iterable[bool]) -> Flags:
    return np.fromiter(flags, np.bool_)
