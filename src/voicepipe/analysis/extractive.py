"""Analysis by quotation: what matters in a call, in the words of the call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.from_thread
import anyio.to_thread
import numpy as np

from voicepipe.analysis.conversation import (
    CONVERSATION_TYPES,
    EARLY_SHARE,
    TypeMatcher,
)
from voicepipe.analysis.language import identify_language
from voicepipe.analysis.lexicon import lexicon
from voicepipe.analysis.ranking import diverse, lex_rank
from voicepipe.analysis.sentences import cut, join
from voicepipe.analysis.traits import Traits
from voicepipe.types import Analysis, Point


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from voicepipe.analysis.ranking import Vector
    from voicepipe.analysis.sentences import Sentence
    from voicepipe.types import Transcript


MODEL = "extractive"
"""What ``Analysis.model`` says."""

LARGEST_SHARE = 1 / 3
"""Most of the candidates that the summary, or the key points, may quote; ours."""

RELEVANCE = 0.5
"""Lambda of MMR, relevance against novelty: calls repeat what they agree on; ours."""

CUE_BONUS = 0.5
"""What a cue of the conversation's type adds to a sentence's weight; ours."""

MOST_CUES = 2
"""Cues that count in one sentence; ours."""

EARLY_FACTOR = 2.0
"""Factor on that bonus in the first ``EARLY_SHARE`` of a call; ours."""

INTENT_BONUS = 0.5
"""What asking for something, or promising it, adds to a key point's weight; ours."""

NUMBER_BONUS = 0.4
"""What holding a number adds to a key point's weight; ours."""

QUESTION_FACTOR = 0.6
"""Factor on the weight of a question: its answer says more; ours."""

QUOTED_FACTOR = 0.5
"""Factor on the weight of a key point that the summary quotes already; ours."""


class ExtractiveAnalyzer:
    """
    Analyses a transcript without an LLM and without a download; an ``Analyzer``.

    Summary and key points are sentences of the call as they were said, each with the
    ids of its segments. Recognition errors stay in them. It works best in languages of
    ``LEXICONS``; elsewhere greetings are not told from content. In scripts without
    spaces a sentence counts as one word, so that the choice is hardly better than
    chance.

    1. The language is the transcript's, else it is identified
       (``identify_language``). The type is found by cue words (``TypeMatcher``).
    2. Segments are cut into sentences (``cut``), and parts of a sentence, or short
       sentences, are joined with their neighbours; what says nothing, such as "okay,
       thank you", is dropped (``join``). What is left are the candidates.
    3. **Summary**: LexRank (Erkan and Radev 2004) over TF-IDF gives each candidate a
       rank. Its jumps prefer what is worth more: informative candidates
       (``Traits.information``) to others, statements to questions, and those with cues
       of the type, most of all early in the call, where callers say what they want. The
       rank times the root of the worth is the score; MMR (Carbonell and Goldstein 1998)
       takes the best that do not repeat each other. They come in the order of the call.
    4. **Key points**: the same choice by another score, best first: specific terms and
       numbers (``Traits.specificity``), raised for requests, promises and numbers,
       lowered for questions, for a low rank, and for what the summary quotes.

    LexRank and MMR are published, all weights are ours, set by hand on a few calls. The
    result depends on nothing but the transcript. Time and memory grow with the number
    of words: about a second for a call of six hours.

    Args:
        summary_sentences: Most sentences of the summary, 0 or more. Never more than
            ``LARGEST_SHARE`` of the candidates, but one where there is any.
        key_points: Most key points; the same.
        conversation_types: Cues by label, in the order in which ties are decided; see
            ``TypeMatcher``. ``"other"`` is the type where none fits.

    Raises:
        ValueError: If a number is negative, a label empty or a cue without a word.
    """

    def __init__(
        self,
        *,
        summary_sentences: int = 5,
        key_points: int = 5,
        conversation_types: Mapping[str, Sequence[str]] = CONVERSATION_TYPES,
    ) -> None:
        """Check the options and index the cues."""
        if summary_sentences < 0 or key_points < 0:
            msg = (
                "summary_sentences and key_points must not be negative: "
                f"{summary_sentences}, {key_points}"
            )
            raise ValueError(msg)
        self.summary_sentences: int = summary_sentences
        self.key_points: int = key_points
        self._types = TypeMatcher(conversation_types)

    async def analyze(self, transcript: Transcript, /) -> Analysis:
        """
        Analyse a transcript, also an empty one.

        Works in a worker thread.

        Cancellation: takes effect when the step at work is done, a fraction of a second
        for a call of six hours; no thread is left over.
        """
        return await anyio.to_thread.run_sync(self._analyze, transcript)

    def _analyze(self, transcript: Transcript) -> Analysis:
        parts = cut(transcript.segments)
        words = [word for part in parts for word in part.words]
        language = transcript.language or identify_language(words)
        known = lexicon(language)
        anyio.from_thread.check_cancelled()
        label = self._types.match(words)
        candidates = join(parts, known)
        anyio.from_thread.check_cancelled()
        traits = Traits.of(candidates, known)
        cues = np.fromiter(
            (self._types.count(s.words, label) for s in candidates), np.int64
        )
        anyio.from_thread.check_cancelled()
        worth = traits.information * np.where(traits.question, QUESTION_FACTOR, 1.0)
        rank = lex_rank(traits.matrix, prior=worth * _cue_factor(cues))
        summary = diverse(
            traits.matrix,
            rank * np.sqrt(worth),
            most=_most(self.summary_sentences, candidates),
            relevance=RELEVANCE,
        )
        key_points = diverse(
            traits.matrix,
            _key_weight(traits, rank, summary),
            most=_most(self.key_points, candidates),
            relevance=RELEVANCE,
        )
        return Analysis(
            summary=tuple(_point(candidates[at]) for at in sorted(summary)),
            key_points=tuple(_point(candidates[at]) for at in key_points),
            conversation_type=label,
            language=language,
            model=MODEL,
        )


def _cue_factor(cues: NDArray[np.int64]) -> Vector:
    early = np.arange(len(cues)) < EARLY_SHARE * len(cues)
    each = np.where(early, EARLY_FACTOR * CUE_BONUS, CUE_BONUS)
    return 1.0 + each * np.minimum(cues, MOST_CUES)


def _key_weight(traits: Traits, rank: Vector, quoted: Sequence[int]) -> Vector:
    relative = rank / max(rank.max(initial=0.0), np.finfo(np.float64).tiny)
    weight: Vector = traits.specificity * (0.5 + 0.5 * relative)
    weight *= 1.0 + INTENT_BONUS * traits.intent + NUMBER_BONUS * traits.number
    weight[traits.question] *= QUESTION_FACTOR
    weight[list(quoted)] *= QUOTED_FACTOR
    return weight


def _most(wanted: int, candidates: Sequence[Sentence]) -> int:
    return min(wanted, max(1, round(LARGEST_SHARE * len(candidates))))


def _point(sentence: Sentence) -> Point:
    return Point(text=sentence.text, segment_ids=sentence.segment_ids)
