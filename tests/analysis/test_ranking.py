"""The ranking of sentences, against the textbook's dense matrices."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.analysis.ranking import DAMPING, TermMatrix, diverse, lex_rank


rows_of_terms = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=6), max_size=12)


def dense_cosines(rows: list[list[str]]) -> np.ndarray:
    """All cosines, from vectors with one number for each term."""
    frequency = Counter(term for row in rows for term in set(row))
    vectors = np.zeros((len(rows), len(frequency)))
    for i, row in enumerate(rows):
        for j, term in enumerate(frequency):
            times = row.count(term)
            if times:
                idf = math.log(1 + len(rows) / frequency[term])
                vectors[i, j] = (1 + math.log(times)) * idf
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.divide(vectors, lengths, out=vectors, where=lengths > 0)
    return vectors @ vectors.T


def dense_lex_rank(cosines: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Solve for the stationary distribution of the walk."""
    jump = prior / prior.sum()
    degree = cosines.sum(axis=1)
    walk = np.array(
        [row / d if d > 0 else jump for row, d in zip(cosines, degree, strict=True)]
    )
    chain = DAMPING * walk + (1 - DAMPING) * jump
    # Sentences without terms only jump, whatever the damping.
    chain[degree == 0] = jump
    system = np.vstack([chain.T - np.eye(len(prior)), np.ones(len(prior))])
    right = np.append(np.zeros(len(prior)), 1.0)
    return np.linalg.lstsq(system, right, rcond=None)[0]


@given(rows_of_terms)
def test_similarities_are_cosines(rows: list[list[str]]) -> None:
    matrix = TermMatrix(rows)
    cosines = dense_cosines(rows)
    for i in range(len(rows)):
        assert matrix.similar_to(i) == pytest.approx(cosines[i])
    weights = np.arange(len(rows), dtype=float)
    assert matrix.similar(weights) == pytest.approx(cosines @ weights)
    assert list(matrix.terms) == [len(set(row)) for row in rows]


@given(rows_of_terms.filter(bool), st.integers(0, 9))
def test_lex_rank_is_the_stationary_distribution_of_the_walk(
    rows: list[list[str]], seed: int
) -> None:
    prior = np.random.default_rng(seed).uniform(0.1, 1.0, len(rows))
    rank = lex_rank(TermMatrix(rows), prior=prior)
    assert rank.sum() == pytest.approx(1.0)
    assert rank == pytest.approx(dense_lex_rank(dense_cosines(rows), prior), abs=1e-6)


def test_what_is_like_the_rest_ranks_first() -> None:
    rows = [["a", "b"], ["b", "c"], ["a", "b", "c"], ["x", "y", "z"]]
    rank = lex_rank(TermMatrix(rows), prior=np.ones(4))
    assert int(np.argmax(rank)) == 2


def test_a_prior_of_nothing_gives_ranks_of_nothing() -> None:
    assert list(lex_rank(TermMatrix([["a"], ["b"]]), prior=np.zeros(2))) == [0.0, 0.0]
    assert list(lex_rank(TermMatrix([]), prior=np.zeros(0))) == []


def dense_mmr(
    cosines: np.ndarray, scores: np.ndarray, most: int, relevance: float
) -> list[int]:
    chosen: list[int] = []
    while len(chosen) < most:
        left = [i for i in range(len(scores)) if scores[i] > 0 and i not in chosen]
        if not left:
            break
        chosen.append(
            max(
                left,
                key=lambda i: (
                    relevance * scores[i] / scores.max()
                    - (1 - relevance) * max((cosines[i, j] for j in chosen), default=0)
                ),
            )
        )
    return chosen


@given(rows_of_terms, st.integers(0, 9), st.integers(0, 5), st.floats(0.0, 1.0))
def test_the_choice_is_that_of_mmr(
    rows: list[list[str]], seed: int, most: int, relevance: float
) -> None:
    scores = np.random.default_rng(seed).uniform(0.1, 1.0, len(rows))
    scores[::3] = 0.0
    matrix = TermMatrix(rows)
    chosen = diverse(matrix, scores, most=most, relevance=relevance)
    cosines = np.array([matrix.similar_to(i) for i in range(len(rows))])
    assert chosen == dense_mmr(cosines, scores, most, relevance)


def test_mmr_prefers_the_new_to_the_better() -> None:
    matrix = TermMatrix([["a", "b"], ["a", "b"], ["c"]])
    scores = np.array([1.0, 0.9, 0.5])
    assert diverse(matrix, scores, most=2, relevance=0.5) == [0, 2]
    assert diverse(matrix, scores, most=2, relevance=1.0) == [0, 1]
