"""What was heard in a piece, at the times at which it was said."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import attrs

from voicepipe.asr.openai.answer import divided
from voicepipe.asr.openai.pieces import RATE


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from voicepipe.asr.openai.answer import Heard
    from voicepipe.asr.openai.pieces import Piece
    from voicepipe.asr.spans import Spans
    from voicepipe.types import Segment


def placed(heard: Heard, piece: Piece, speech: Spans) -> Iterator[Segment]:
    """
    Give what was heard in a piece in the times of its track.

    A segment with words that goes on behind a pause that was left out is divided there.
    Text without times stands for all that is said in the piece.

    Args:
        heard: In the times of the piece.
        piece: What was sent.
        speech: Where in the track voice activity hears somebody.
    """
    if not heard.timed:
        start, end = _said(piece, speech)
        for segment in heard.segments:
            yield attrs.evolve(segment, start=start, end=end)
        return
    for segment in heard.segments:
        if not segment.words:
            start, end = piece.moments(segment.start, segment.end)
            yield attrs.evolve(segment, start=start, end=end)
            continue
        for one in divided(segment, _joints(segment, piece)):
            yield _moved(one, piece)


def _joints(segment: Segment, piece: Piece) -> Iterator[int]:
    """Give the words that are in another part than the one before them."""
    parts = [piece.part_of(word.start, word.end) for word in segment.words]
    for at, (one, other) in enumerate(itertools.pairwise(parts), start=1):
        if other > one:
            yield at


def _moved(segment: Segment, piece: Piece) -> Segment:
    words = []
    for word in segment.words:
        start, end = piece.within(word.start, word.end)
        words.append(attrs.evolve(word, start=start, end=end))
    return attrs.evolve(
        segment,
        start=words[0].start,
        end=max(words[0].start, words[-1].end),
        words=tuple(words),
    )


def _said(piece: Piece, speech: Spans) -> tuple[float, float]:
    """Give where in a piece something is said, from its first to its last second."""
    inside = list(_inside(piece, speech)) or [
        (part.start / RATE, part.end / RATE) for part in piece.parts
    ]
    return inside[0][0], inside[-1][1]


def _inside(piece: Piece, speech: Spans) -> Iterable[tuple[float, float]]:
    for part in piece.parts:
        for start, end in speech:
            first, last = max(start, part.start / RATE), min(end, part.end / RATE)
            if first < last:
                yield first, last
