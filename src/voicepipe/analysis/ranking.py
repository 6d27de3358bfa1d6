"""
Which sentences stand for the others: LexRank over TF-IDF, and MMR.

The matrix of similarities is never built. With rows of unit length it is ``X @ X.T``,
so a product with it is two products with the sparse ``X``: time and memory grow with
the number of words, not with the square of the number of sentences.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray


if TYPE_CHECKING:
    from collections.abc import Iterable


Vector: TypeAlias = NDArray[np.float64]
"""Numbers of shape ``(sentences,)`` where nothing else is said."""

Index: TypeAlias = NDArray[np.int64]

DAMPING = 0.85
"""Chance to follow a similarity, not to jump (LexRank: 1 - d with d = 0.15)."""

TOLERANCE = 1e-9
"""Change of the ranks' sum at which the power method stops."""

MAX_STEPS = 100
"""Most steps of the power method; with ``DAMPING`` the error is then below 1e-7."""


class TermMatrix:
    """
    Sentences by terms: TF-IDF, each row of unit length or empty; sparse.

    The weight of a term in a sentence is ``(1 + log(tf)) * idf``, where idf is
    ``log(1 + N / df)``, N is the number of sentences, and df the number of those that
    have the term.

    Args:
        rows: The terms of each sentence; taken one after the other and not kept.

    Attributes:
        rows: Number of sentences.
        terms: Number of different terms of each, shape ``(sentences,)``.
        rarity: Sum of their idf, shape ``(sentences,)``.
    """

    def __init__(self, rows: Iterable[Iterable[str]]) -> None:
        """Count terms and weigh them."""
        columns: dict[str, int] = {}
        # Arrays are filled in place, without an object for each number: a million
        # objects would make the garbage collector stop all threads for a while.
        row_of, column_of, times = array("q"), array("q"), array("q")
        self.rows: int = 0
        for row in rows:
            for term, count in Counter(row).items():
                row_of.append(self.rows)
                column_of.append(columns.setdefault(term, len(columns)))
                times.append(count)
            self.rows += 1
        self._row_of: Index = np.asarray(row_of, np.int64)
        self._column_of: Index = np.asarray(column_of, np.int64)
        self._columns: int = len(columns)
        ones = np.ones(len(row_of))
        frequency = _sums(self._column_of, ones, self._columns)
        idf = np.log1p(self.rows / frequency)[self._column_of]
        raw = (1.0 + np.log(np.asarray(times, np.float64))) * idf
        length = np.sqrt(_sums(self._row_of, raw * raw, self.rows))
        self._weights: Vector = raw / length[self._row_of]
        self.terms: Vector = _sums(self._row_of, ones, self.rows)
        self.rarity: Vector = _sums(self._row_of, idf, self.rows)

    def similar(self, weights: Vector) -> Vector:
        """
        Give ``S @ weights``, where S holds the cosines of all pairs of sentences.

        Args:
            weights: One for each sentence.
        """
        spread = self._weights * weights[self._row_of]
        terms = _sums(self._column_of, spread, self._columns)
        return _sums(self._row_of, self._weights * terms[self._column_of], self.rows)

    def similar_to(self, row: int) -> Vector:
        """Give the cosine of each sentence with one of them."""
        unit = np.zeros(self.rows)
        unit[row] = 1.0
        return self.similar(unit)


def _sums(groups: Index, numbers: Vector, count: int) -> Vector:
    """Add up the numbers of each group."""
    return np.bincount(groups, numbers, count).astype(np.float64, copy=False)


def lex_rank(matrix: TermMatrix, *, prior: Vector) -> Vector:
    """
    Rank sentences by how much of the rest is similar to them.

    Continuous LexRank (Erkan and Radev 2004, section 3.3): a random walk that goes from
    a sentence to those similar to it, itself too, in proportion to the cosine. A jump
    goes to sentences in proportion to ``prior``, as in biased LexRank (Otterbacher,
    Erkan and Radev 2009), and so does every step from a sentence without terms.

    Args:
        matrix: The sentences.
        prior: Weight of each sentence before all similarity, not negative.

    Returns:
        Ranks that sum to 1; all zeros where ``prior`` is.
    """
    total = prior.sum()
    if not total:
        return np.zeros(matrix.rows)
    jump = prior / total
    degree = matrix.similar(np.ones(matrix.rows))
    linked = degree > 0.0
    share = np.divide(1.0, degree, out=np.zeros(matrix.rows), where=linked)
    rank: Vector = jump
    for _ in range(MAX_STEPS):
        walked = matrix.similar(rank * share)
        lost = 1.0 - DAMPING * rank[linked].sum()
        following = DAMPING * walked + lost * jump
        change = np.abs(following - rank).sum()
        rank = following
        if change < TOLERANCE:
            break
    return rank


def diverse(
    matrix: TermMatrix, scores: Vector, *, most: int, relevance: float
) -> list[int]:
    """
    Choose sentences with high scores that do not repeat each other.

    Maximal Marginal Relevance (Carbonell and Goldstein 1998): each time the sentence
    that is best by ``relevance * score - (1 - relevance) * similarity``, where the
    similarity is the highest cosine with one chosen before. Of equal ones the earliest
    is chosen. Sentences with a score of 0 never are.

    Args:
        matrix: The sentences.
        scores: One for each sentence, not negative; scaled here so that the best is 1.
        most: Most sentences to choose.
        relevance: MMR's lambda, in [0, 1]; 1 pays no heed to repetition.

    Returns:
        Places of the chosen, in the order in which they were chosen.
    """
    best = scores.max(initial=0.0)
    if not best:
        return []
    scaled = scores / best
    nearest = np.zeros(matrix.rows)
    free = scores > 0.0
    chosen: list[int] = []
    while len(chosen) < most and free.any():
        marginal = relevance * scaled - (1.0 - relevance) * nearest
        at = int(np.argmax(np.where(free, marginal, -np.inf)))
        chosen.append(at)
        free[at] = False
        nearest = np.maximum(nearest, matrix.similar_to(at))
    return chosen
