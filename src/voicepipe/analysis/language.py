"""Which language is spoken, told from its commonest words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from voicepipe.analysis.lexicon import LEXICONS


if TYPE_CHECKING:
    from collections.abc import Iterable


MIN_EVIDENCE = 3.0
"""Least score of the language that wins: three words that no other one has; ours."""

MIN_SHARE = 0.2
"""
Least score for each word of the text; ours.

In calls it was 0.3 to 0.6, in languages that are not ours and not akin to one at most
0.06. Close kin may pass: Malay for Indonesian, Afrikaans for Dutch, Slovak for Czech.
"""

MIN_LEAD = 1.25
"""Least ratio of the best score to the next; ours. Danish and Norwegian come close."""


def _clues() -> dict[str, tuple[str, ...]]:
    clues: dict[str, tuple[str, ...]] = {}
    for code, lexicon in LEXICONS.items():
        for word in lexicon.function | lexicon.courtesy:
            clues[word] = (*clues.get(word, ()), code)
    return clues


_CLUES = _clues()


def identify_language(words: Iterable[str]) -> str | None:
    """
    Identify the language of a text, one of ``LEXICONS``.

    Each word that a language has among its function words and courtesies counts
    ``1 / n`` for it, where n is the number of languages that have it. The best score
    must reach ``MIN_EVIDENCE``, ``MIN_SHARE`` of all words, and ``MIN_LEAD`` times the
    next one. Counting short common words is an old method (Ingle 1976, Grefenstette
    1995); weights and thresholds are ours.

    Args:
        words: As ``voicepipe.analysis.words.words`` gives them.

    Returns:
        An ISO 639-1 code, or ``None`` where there is not enough to tell.
    """
    counts = Counter(words)
    scores = dict.fromkeys(LEXICONS, 0.0)
    for word, count in counts.items():
        languages = _CLUES.get(word, ())
        for language in languages:
            scores[language] += count / len(languages)
    first, second, *_ = sorted(scores, key=lambda language: -scores[language])
    least = max(MIN_EVIDENCE, MIN_SHARE * counts.total(), MIN_LEAD * scores[second])
    return first if scores[first] >= least else None
