"""What guards a transcript against the faults of the engine that made it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from voicepipe.asr.loops import without_loops
from voicepipe.asr.spans import Spans, overlap, touches, widened
from voicepipe.asr.times import mended
from voicepipe.types import Segment, TranscriptionReport, Word


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


__all__ = [
    "Spans",
    "coverage",
    "guarded",
    "heard_segment",
    "heard_word",
    "mended",
    "without_loops",
    "without_unspoken",
]

UNSPOKEN_S = 0.5
"""
Text this far from all speech was not said, seconds.

Engines are a few tenths of a second off at the ends of phrases, and voice activity
begins late in a soft consonant.
"""

REACH_S = 0.5
"""A word stands for the speech this near to it, seconds: breaths, drawn-out ends."""


def guarded(
    segments: Iterable[Segment],
    speech: Spans | None,
    duration: float,
    *,
    words: bool = True,
    repeats: bool = True,
    unspoken: bool = True,
) -> tuple[tuple[Segment, ...], TranscriptionReport]:
    """
    Apply all guards to what an engine heard in one track.

    Args:
        segments: In the order in which they were said; see ``heard_segment``.
        speech: Where voice activity hears somebody; ``None`` where nobody listened, and
            then nothing is unspoken, and the report tells of no speech.
        duration: Seconds of sound.
        words: Whether every segment must have words with times.
        repeats: Whether to cut down phrases that only the engine heard repeated.
        unspoken: Whether to drop text where nobody speaks.

    Returns:
        The segments that are left, and what the guards did and saw.
    """
    kept: Sequence[Segment] = tuple(segments)
    looped = dropped = 0
    # Before times are mended: impossible times are a sign of a loop.
    if repeats:
        kept, looped = without_loops(kept, speech)
    if unspoken and speech is not None:
        kept, dropped = without_unspoken(kept, speech)
    timed, retimed = mended(kept, duration, words=words)
    speech_s, covered_s = coverage(timed, speech or ())
    report = TranscriptionReport(
        speech_s=speech_s,
        covered_s=covered_s,
        repeated=looped,
        unspoken=dropped,
        retimed=retimed,
    )
    return timed, report


def without_unspoken(
    segments: Iterable[Segment], speech: Spans
) -> tuple[tuple[Segment, ...], int]:
    """
    Drop the segments that lie ``UNSPOKEN_S`` or more from all speech.

    A segment that touches speech stays whole: voice activity misses quiet words, and
    so an engine is believed next to speech.

    Returns:
        The segments that stay, and how many were dropped.
    """
    near = widened(speech, UNSPOKEN_S)
    kept, dropped = [], 0
    for segment in segments:
        if any(touches(near, start, end) for start, end in _spoken(segment)):
            kept.append(segment)
        else:
            dropped += 1
    return tuple(kept), dropped


def coverage(segments: Iterable[Segment], speech: Spans) -> tuple[float, float]:
    """
    Tell how many seconds of speech there are, and for how many there is text.

    Text stands for the speech within ``REACH_S`` of its words.
    """
    text = widened(
        sorted(span for segment in segments for span in _spoken(segment)), REACH_S
    )
    covered = sum(overlap(text, start, end) for start, end in speech)
    total = sum(end - start for start, end in speech)
    return total, min(covered, total)


def heard_word(
    text: str,
    start: float | None,
    end: float | None,
    *,
    near: float = 0.0,
    probability: float | None = None,
) -> Word:
    """
    Make a word of what an engine says, whatever its times are.

    A word cannot have impossible times: they become empty ones, which ``mended`` sees.

    Args:
        text: The word, with or without spaces around it.
        start: First second; ``None`` where the engine has none.
        end: Last second; ``None`` where the engine has none.
        near: Second to put it at where there is no start.
        probability: The engine's confidence; brought into [0, 1].
    """
    begin = _time(start, near)
    if probability is not None:
        probability = (
            min(max(probability, 0.0), 1.0) if math.isfinite(probability) else None
        )
    return Word(
        start=begin,
        end=max(begin, _time(end, begin)),
        text=text.strip(),
        probability=probability,
    )


def heard_segment(
    text: str,
    start: float | None,
    end: float | None,
    *,
    words: Iterable[Word] = (),
    near: float = 0.0,
) -> Segment:
    """
    Make a segment of what an engine says, whatever its times are.

    Args:
        text: What was said, with or without spaces around it.
        start: First second; ``None`` where the engine has none.
        end: Last second; ``None`` where the engine has none.
        words: Its words; see ``heard_word``.
        near: Second to put it at where there is no start.
    """
    begin = _time(start, near)
    return Segment(
        start=begin,
        end=max(begin, _time(end, begin)),
        text=text.strip(),
        words=tuple(words),
    )


def _time(value: float | None, otherwise: float) -> float:
    return max(0.0, value) if value is not None and math.isfinite(value) else otherwise


def _spoken(segment: Segment) -> Iterator[tuple[float, float]]:
    """Give the times of a segment's words, or its own."""
    if not segment.words:
        yield segment.start, segment.end
    for word in segment.words:
        yield word.start, word.end
