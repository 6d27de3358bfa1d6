"""What kind of conversation it is, told from cue words."""

from __future__ import annotations

import importlib.resources
import json
import math
from collections import defaultdict
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from voicepipe.analysis.words import words


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


OTHER = "other"
"""The type where no other one reaches ``MIN_SCORE``: a general inquiry."""

MIN_SCORE = 2.0
"""Least score of a type; ours. One word, said once, does not reach it."""

EARLY_SHARE = 0.25
"""
Share of the words, from the start, in which a cue counts twice; ours.

Callers say early why they call; later the same words come up in passing.
"""

_FILE = importlib.resources.files("voicepipe.analysis") / "conversation_types.json"

CONVERSATION_TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {label: tuple(cues) for label, cues in json.loads(_FILE.read_text("utf-8")).items()}
)
"""
Cues of each type: in English, Spanish, French, German, some Italian, Portuguese, Dutch.

Labels are ``order``, ``delivery``, ``complaint``, ``refund`` (cancellations and returns
too), ``billing``, ``booking``, ``technical support``, ``sales`` and ``survey``; ties go
to the one named first.
"""

_Cue: TypeAlias = tuple[str, ...]


class TypeMatcher:
    """
    Names the type of a conversation by its cues.

    A cue is a word or a phrase, compared in the form of ``voicepipe.analysis.words``; a
    word with ``*`` at its end matches all words that begin so. A cue of n words that is
    found h times counts ``n * log2(1 + h)``: phrases weigh more than words, and
    repetition ever less. A find that begins in the first ``EARLY_SHARE`` of the words
    counts as two. A type's score is the sum over its cues. The best one wins, of equal
    ones the first in the list; below ``MIN_SCORE`` it is ``OTHER``. The rule is ours.

    Args:
        types: Cues by label, in the order in which ties are decided.

    Raises:
        ValueError: If a label is empty, or a cue holds no word.
    """

    def __init__(self, types: Mapping[str, Sequence[str]]) -> None:
        """Index the cues by their first word."""
        self._labels: tuple[str, ...] = tuple(types)
        self._exact: defaultdict[str, list[tuple[str, _Cue]]] = defaultdict(list)
        self._prefix: defaultdict[str, list[tuple[str, _Cue]]] = defaultdict(list)
        for label, cues in types.items():
            for form in dict.fromkeys(_cue(label, cue) for cue in cues):
                index = self._prefix if form[0].endswith("*") else self._exact
                index[form[0].rstrip("*")].append((label, form))
        self._longest_prefix: int = max(map(len, self._prefix), default=0)

    def match(self, words: Sequence[str]) -> str:
        """Name the type of a conversation, given as its words in order."""
        early = EARLY_SHARE * len(words)
        finds: defaultdict[tuple[str, _Cue], int] = defaultdict(int)
        for at in range(len(words)):
            for label, cue in self._beginning_with(words[at]):
                if _matches(cue, words, at):
                    finds[label, cue] += 2 if at < early else 1
        scores = dict.fromkeys(self._labels, 0.0)
        for (label, cue), count in finds.items():
            scores[label] += len(cue) * math.log2(1 + count)
        # ``max`` gives the first of equal ones, and a dict keeps its order.
        best = max(scores, key=lambda label: scores[label], default=OTHER)
        return best if scores.get(best, 0.0) >= MIN_SCORE else OTHER

    def count(self, words: Sequence[str], label: str) -> int:
        """Count the finds of one type's cues in some words."""
        return sum(
            of == label and _matches(cue, words, at)
            for at in range(len(words))
            for of, cue in self._beginning_with(words[at])
        )

    def _beginning_with(self, word: str) -> list[tuple[str, _Cue]]:
        found = list(self._exact.get(word, ()))
        for length in range(1, min(len(word), self._longest_prefix) + 1):
            found += self._prefix.get(word[:length], ())
        return found


def _cue(label: str, cue: str) -> _Cue:
    form: _Cue = ()
    for piece in cue.split():
        form += tuple(words(piece))
        if form and piece.endswith("*"):
            form = (*form[:-1], form[-1] + "*")
    if not label or not form:
        msg = f"a type needs a label, and each cue a word: {label!r}, {cue!r}"
        raise ValueError(msg)
    return form


def _matches(cue: _Cue, words: Sequence[str], at: int) -> bool:
    if at + len(cue) > len(words):
        return False
    return all(
        words[at + i].startswith(part[:-1])
        if part[-1] == "*"
        else words[at + i] == part
        for i, part in enumerate(cue)
    )
