"""Where in a recording there was what has been taken out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from voicepipe.analysis.redaction.options import KINDS, RedactionKind, mark


if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.types import Segment, Transcript


_MARKS = re.compile("|".join(re.escape(mark(kind)) for kind in KINDS))


@attrs.frozen(kw_only=True)
class RedactedSpan:
    """
    A stretch of a recording in which something was said that has been taken out.

    Attributes:
        kind: What was said.
        segment_id: Id of the segment it was in.
        start: First second, from the start of the recording.
        end: Last second.
        channel: Channel it was heard on, from 0; ``None`` for a mix.
    """

    kind: RedactionKind
    segment_id: int
    start: float
    end: float
    channel: int | None = None


def redacted_spans(transcript: Transcript, /) -> tuple[RedactedSpan, ...]:
    """
    Give what was taken out of a transcript, found again by the marks in it.

    So that only the redacted transcript must be kept. A segment without words, and one
    whose words lack a mark that its text has, counts from its start to its end.
    """
    return tuple(span for segment in transcript.segments for span in _spans_of(segment))


def _spans_of(segment: Segment) -> Iterator[RedactedSpan]:
    def span(kind: str, start: float, end: float) -> RedactedSpan:
        return RedactedSpan(
            kind=next(each for each in KINDS if mark(each) == kind),
            segment_id=segment.id,
            start=start,
            end=end,
            channel=segment.channel,
        )

    spoken = _MARKS.findall(segment.text)
    timed = [
        (kind, word) for word in segment.words for kind in _MARKS.findall(word.text)
    ]
    if len(timed) >= len(spoken):
        yield from (span(kind, word.start, word.end) for kind, word in timed)
    else:
        yield from (span(kind, segment.start, segment.end) for kind in spoken)
