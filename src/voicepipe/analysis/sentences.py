"""From segments to sentences: what a summary can quote."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

import attrs

from voicepipe.analysis.words import words


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from voicepipe.analysis.lexicon import Lexicon
    from voicepipe.types import Segment


JOIN_PAUSE_S = 0.7
"""
Longest pause inside one sentence that runs over several segments, seconds; ours.

Engines and endpointers cut at pauses of 0.3 s and more; a breath is shorter than this.
"""

SHORT_PAUSE_S = 2.0
"""The same where one of the two parts is short: a speaker searching for words; ours."""

SHORT_WORDS = 6
"""Most words of a part that is short; ours."""

JOIN_WORDS = 30
"""Most words of a sentence joined from parts; ours."""

JOIN_CHARS = 180
"""Most characters of it, for scripts without spaces; ours."""

CUT_WORDS = 50
"""Most words of any sentence; longer ones are cut into even parts; ours."""

BACKCHANNEL_WORDS = 2
"""Most words of a part that does not take the floor, in any language; ours."""

_END = re.compile(r"[.?!…。？！؟।]+[\"'”’»)\]]*")  # noqa: RUF001 - the marks themselves
_FULL_WIDTH = frozenset("。？！")  # noqa: RUF001 - written without a space behind
_ABBREVIATION = re.compile(
    r"(?:^|\s)(?:\w|mrs?|ms|dr|st|nr|vs|sra?|dra?|hr|fr|mme|mlle|bzw|ca|tel|dott|sig|"
    r"approx|dept|ext|apt)\.$",
    re.IGNORECASE,
)
_ABBREVIATION_CHARS = 8  # a space, the longest of them, and its point

_Voice: TypeAlias = tuple[str | None, int | None]


@attrs.frozen(kw_only=True)
class Sentence:
    """
    What one speaker says in one go.

    Attributes:
        text: As it was said, white space made single spaces.
        words: Its words, as ``voicepipe.analysis.words.words`` gives them.
        segment_ids: Ids of the segments it comes from, in order.
        voice: Speaker and channel of these segments.
        start: Start of the first of them, seconds.
        end: End of the last of them, seconds.
    """

    text: str
    words: tuple[str, ...]
    segment_ids: tuple[int, ...]
    voice: _Voice
    start: float
    end: float

    def followed_by(self, other: Sentence) -> Sentence:
        """Join with what the same speaker says next."""
        return Sentence(
            text=f"{self.text} {other.text}",
            words=self.words + other.words,
            segment_ids=tuple(dict.fromkeys(self.segment_ids + other.segment_ids)),
            voice=self.voice,
            start=self.start,
            end=max(self.end, other.end),
        )


def cut(segments: Iterable[Segment]) -> tuple[Sentence, ...]:
    """
    Cut segments into sentences, and into parts of sentences where a segment ends early.

    A cut is made behind ``. ? ! …`` (and their relatives in other scripts) where white
    space and no small letter follows; a segment without such marks, as some engines
    give them, stays whole. What is longer than ``CUT_WORDS`` words, counted by spaces,
    is cut evenly. Segments without text give nothing.
    """
    return tuple(
        Sentence(
            text=text,
            words=tuple(words(text)),
            segment_ids=(segment.id,),
            voice=(segment.speaker, segment.channel),
            start=segment.start,
            end=segment.end,
        )
        for segment in segments
        for text in _parts(segment.text)
    )


def join(parts: Iterable[Sentence], lexicon: Lexicon) -> tuple[Sentence, ...]:
    """
    Join parts to sentences worth quoting, in the order in which they begin.

    Fillers, and finished sentences without a topic ("Of course, thank you."), are left
    out; they do not stand between their neighbours. A part goes on with what the same
    speaker on the same channel said last

    - if that has no mark at its end, or one of the two has at most ``SHORT_WORDS``
      words, and together they keep to ``JOIN_WORDS`` and ``JOIN_CHARS``;
    - if the pause between them is at most ``JOIN_PAUSE_S``, or ``SHORT_PAUSE_S`` where
      one of the two is that short;
    - and if nobody else said more than ``BACKCHANNEL_WORDS`` words in between.
    """
    joined: list[Sentence] = []
    last: dict[_Voice, int] = {}
    for part in parts:
        if lexicon.is_filler(part.words) or (
            _is_finished(part.text) and not lexicon.has_topic(part.words)
        ):
            continue
        if len(part.words) > BACKCHANNEL_WORDS:
            last = {voice: at for voice, at in last.items() if voice == part.voice}
        at = last.get(part.voice)
        if at is not None and _goes_on(joined[at], part):
            joined[at] = joined[at].followed_by(part)
        else:
            last[part.voice] = len(joined)
            joined.append(part)
    return tuple(each for each in joined if lexicon.has_topic(each.words))


def _goes_on(before: Sentence, after: Sentence) -> bool:
    lengths = len(before.words), len(after.words)
    short = min(lengths) <= SHORT_WORDS
    return (
        (short or not _is_finished(before.text))
        and sum(lengths) <= JOIN_WORDS
        and len(before.text) + len(after.text) < JOIN_CHARS
        and after.start - before.end <= (SHORT_PAUSE_S if short else JOIN_PAUSE_S)
    )


def _parts(text: str) -> Iterator[str]:
    for sentence in _cut_at_marks(" ".join(text.split())):
        pieces = sentence.split()
        parts = -(-len(pieces) // CUT_WORDS)
        for i in range(parts):
            first, last = len(pieces) * i // parts, len(pieces) * (i + 1) // parts
            yield " ".join(pieces[first:last])


def _cut_at_marks(text: str) -> Iterator[str]:
    start = 0
    for mark in _END.finditer(text):
        if _ends_sentence(text, mark):
            yield text[start : mark.end()]
            start = mark.end()
    yield text[start:]


def _ends_sentence(text: str, mark: re.Match[str]) -> bool:
    if _FULL_WIDTH.intersection(mark[0]):
        return True
    follows = text[mark.end() : mark.end() + 2]
    if not follows.startswith(" ") or follows[1:].islower():
        return False
    before = text[max(0, mark.start() - _ABBREVIATION_CHARS) : mark.end()]
    return not _ABBREVIATION.search(before)


def _is_finished(text: str) -> bool:
    """Whether a sentence has its end; three dots say that it has not."""
    bare = text.rstrip("\"'”’»)]")  # noqa: RUF001 - the marks themselves
    return bare.endswith(tuple(".?!。？！؟।")) and not bare.endswith("..")  # noqa: RUF001
