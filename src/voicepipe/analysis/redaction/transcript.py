"""Redaction of transcripts: their text, and their words with times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs

from voicepipe.analysis.redaction.find import Find, Line, find
from voicepipe.analysis.redaction.options import (
    RedactionKind,
    RedactionOptions,
    mark,
)
from voicepipe.analysis.redaction.spans import RedactedSpan, redacted_spans
from voicepipe.analysis.redaction.text import ROUNDS, languages_of, replaced
from voicepipe.types import Segment, Transcript, Word


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voicepipe.analysis.redaction.numerals import Languages


def _frozen(counts: Mapping[RedactionKind, int]) -> Mapping[RedactionKind, int]:
    return MappingProxyType(dict(counts))


@attrs.frozen(kw_only=True)
class Redacted:
    """
    A transcript without what had to go.

    Attributes:
        transcript: With marks such as ``[card]`` in its place.
        spans: Where it was said, in the order of the segments; one that runs over two
            segments has two.
        counts: How many of each kind were found; one that runs over two segments is
            one, and one that is read back in part is not counted again.
    """

    transcript: Transcript
    spans: tuple[RedactedSpan, ...] = ()
    counts: Mapping[RedactionKind, int] = attrs.field(factory=dict, converter=_frozen)


def redact_transcript(
    transcript: Transcript, options: RedactionOptions | None = None, /
) -> Redacted:
    """
    Take cards, telephone numbers, e-mail addresses and IBANs out of a transcript.

    They may be written or said in words, and run over segments of one speaker with
    short remarks of others between; what the others read back goes as well. A mark
    such as ``[card]`` stands in their place, and for all words of a number one word
    from the first one's start to the last one's end. Segments keep their ids, times
    and speakers. A redacted transcript is not changed again.

    The time it takes grows in line with the text: about a second for six hours.

    Args:
        transcript: With its speakers, if they are known. Its language says which
            number words are understood; all are tried where it is unknown.
        options: What goes; everything by default.

    Example:
        >>> said = "My card is 4111 1111 1111 1111."
        >>> segment = Segment(start=0.0, end=4.0, text=said)
        >>> call = Transcript(segments=(segment,), duration=4.0, model="by hand")
        >>> redact_transcript(call).transcript.text
        'My card is [card].'
    """
    kinds = (options or RedactionOptions()).kinds
    languages = languages_of(transcript.language)
    before = redacted_spans(transcript)
    counts: Counter[RedactionKind] = Counter()
    segments = transcript.segments
    for _ in range(ROUNDS):
        found = _wanted(_lines(segments, worded=False), kinds, languages)
        worded = found
        if any(_offsets(segment) is None for segment in segments):
            # What words and text do not share is looked for in both.
            worded = _wanted(_lines(segments, worded=True), kinds, languages)
        if not (found or worded):
            break
        counts.update(each.kind for each in found if not each.echo)
        segments = _redacted(segments, found, worded)
    result = attrs.evolve(transcript, segments=segments)
    spans = list(redacted_spans(result))
    for span in before:  # they are not ours
        if span in spans:
            spans.remove(span)
    return Redacted(transcript=result, spans=tuple(spans), counts=counts)


def _lines(segments: Iterable[Segment], *, worded: bool) -> list[Line]:
    return [
        Line(
            text=_joined(s) if worded and _offsets(s) is None else s.text,
            speaker=(s.speaker, s.channel),
            start=s.start,
            end=s.end,
        )
        for s in segments
    ]


def _joined(segment: Segment) -> str:
    return " ".join(word.text for word in segment.words)


def _wanted(
    lines: Sequence[Line], kinds: tuple[RedactionKind, ...], languages: Languages
) -> list[Find]:
    return [each for each in find(lines, languages=languages) if each.kind in kinds]


def _redacted(
    segments: Sequence[Segment], found: Iterable[Find], worded: Iterable[Find]
) -> tuple[Segment, ...]:
    in_text, in_words = _by_line(found), _by_line(worded)
    result = []
    for number, segment in enumerate(segments):
        spans, word_spans = in_text.get(number, []), in_words.get(number, [])
        if not (spans or word_spans):
            result.append(segment)
            continue
        offsets, text = _offsets(segment), segment.text
        if offsets is None:
            text = _joined(segment)
            offsets = _positions(text, segment.words) or ()
        else:
            word_spans = spans
        result.append(
            attrs.evolve(
                segment,
                text=replaced(segment.text, spans),
                words=_words(segment.words, offsets, text, word_spans),
            )
        )
    return tuple(result)


def _by_line(found: Iterable[Find]) -> dict[int, list[tuple[int, int, str]]]:
    spans: dict[int, list[tuple[int, int, str]]] = {}
    for each in found:
        for line, start, end in each.places:
            spans.setdefault(line, []).append((start, end, mark(each.kind)))
    for each_line in spans.values():
        each_line.sort()
    return spans


def _offsets(segment: Segment) -> tuple[tuple[int, int], ...] | None:
    """Give each word's place in the text, ``None`` if it has other words."""
    return _positions(segment.text, segment.words)


def _positions(text: str, words: Sequence[Word]) -> tuple[tuple[int, int], ...] | None:
    places, at = [], 0
    for word in words:
        said = word.text.strip()
        start = text.find(said, at)
        if start < 0 or text[at:start].strip():
            return None
        at = start + len(said)
        places.append((start, at))
    return None if words and text[at:].strip() else tuple(places)


def _words(
    words: Sequence[Word],
    offsets: Sequence[tuple[int, int]],
    text: str,
    spans: Sequence[tuple[int, int, str]],
) -> tuple[Word, ...]:
    """Put the words of each span together; what is outside of it stays."""
    result: list[Word] = []
    group: list[int] = []

    def close() -> None:
        if not group:
            return
        start, end = offsets[group[0]][0], offsets[group[-1]][1]
        inside = [
            (max(a, start) - start, min(b, end) - start, instead)
            for a, b, instead in spans
            if a < end and b > start
        ]
        members = [words[at] for at in group]
        if not inside:
            result.extend(members)
        else:
            result.append(_merged(members, replaced(text[start:end], inside)))
        group.clear()

    at = 0
    for number, (start, _) in enumerate(offsets):
        while at < len(spans) and spans[at][1] <= start:
            at += 1
        # A span that began in the word before holds this one as well.
        if not (at < len(spans) and spans[at][0] < start):
            close()
        group.append(number)
    close()
    return tuple(result)


def _merged(words: Sequence[Word], text: str) -> Word:
    known = [word.probability for word in words if word.probability is not None]
    return Word(
        start=words[0].start,
        end=max(word.end for word in words),
        text=text,
        probability=min(known, default=None),
    )
