"""Cutting speech out for the model, and giving its times back their place."""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING

import attrs
import numpy as np

from voicepipe.asr.guards import UNSPOKEN_S
from voicepipe.asr.pauses import split_at_pauses
from voicepipe.asr.silero.model import SpeechProbabilities
from voicepipe.asr.silero.spans import SileroOptions, speech_spans
from voicepipe.asr.spans import Spans
from voicepipe.asr.whisper.model import RATE
from voicepipe.stream.vad import SpeechSpan


if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicepipe.types import Samples, Segment, Word


TOLD_BY = SileroOptions()
"""What counts as speech when coverage is told: near to what is really said."""

_END_COUNTS = 2.0
"""Speech at a word's end counts more: models find ends better than beginnings."""


@attrs.frozen
class Speech:
    """
    Where somebody speaks in a stretch of sound.

    Attributes:
        parts: What the model is to hear, with margins, frames.
        spans: What is said, seconds; narrower.
    """

    parts: tuple[SpeechSpan, ...]
    spans: Spans

    @property
    def frames(self) -> int:
        """Frames that the model is to hear."""
        return sum(part.end - part.start for part in self.parts)


def heard_in(sound: Samples, options: SileroOptions, longest_s: float) -> Speech:
    """
    Find speech by the Silero model, in one pass.

    Args:
        sound: At 16 kHz, shape ``(frames, 1)``.
        options: When sound counts as speech for the model.
        longest_s: Longest part, seconds.
    """
    stage = SpeechProbabilities()
    found = np.concatenate([*stage.push(sound), *stage.flush()])
    longest = min(options.max_speech_s, longest_s)
    parts = speech_spans(found, len(sound), attrs.evolve(options, max_speech_s=longest))
    told = speech_spans(found, len(sound), TOLD_BY)
    return Speech(parts, [(span.start / RATE, span.end / RATE) for span in told])


def pieces(parts: Iterable[SpeechSpan], longest_s: float) -> list[tuple[int, int]]:
    """
    Group parts, put one after the other, into pieces of bounded length, in frames.

    A piece holds as many whole parts as fit, as in faster-whisper.
    """
    grouped: list[tuple[int, int]] = []
    begin = at = 0
    for part in parts:
        size = part.end - part.start
        if at > begin and at + size - begin > longest_s * RATE:
            grouped.append((begin, at))
            begin = at
        at += size
    return [*grouped, (begin, at)] if at > begin else grouped


class Places:
    """
    Turns times in the parts put one after the other back into times of the sound.

    A model's words follow one another without a pause: the first word of a phrase
    begins where the last one ended, and a word may even end before its phrase begins.
    faster-whisper puts a word where its middle is; one that began in the margin of the
    phrase before then moves to the other side of a silence of a minute. Here a word
    belongs to the speech that most of it lies in, and to the next one if it lies in
    none, and stays inside of it.

    A part can be a mere click, in which nothing is said. What the model makes of one
    must not pass for the speech behind it: it stays where it was heard, as a segment of
    its own, so that it is seen to be unspoken.

    Args:
        speech: The parts, and the speech in them.
    """

    def __init__(self, speech: Speech) -> None:
        """Lay the parts out, and the speech in them."""
        self._parts = [(part.start / RATE, part.end / RATE) for part in speech.parts]
        sizes = [end - start for start, end in self._parts]
        self._ends = list(itertools.accumulate(sizes))
        self._shifts = [
            start - before
            for (start, _), before in zip(self._parts, [0.0, *self._ends], strict=False)
        ]
        self._said: list[tuple[float, float, int]] = []
        for start, end in speech.spans:
            at = bisect.bisect_right(self._parts, start, key=lambda part: part[1])
            while at < len(self._parts) and self._parts[at][0] < end:
                first, last = self._parts[at]
                shift = self._shifts[at]
                begin, stop = max(start, first) - shift, min(end, last) - shift
                self._said.append((begin, stop, at))
                at += 1
        self._last = -1  # the speech of the last word: text has an order

    def restored(self, segment: Segment) -> tuple[Segment, ...]:
        """Give a segment its times in the sound; segments come in their order."""
        if segment.words:
            return self._with_words(segment)
        within = self._within(segment.start, segment.end)
        if not within:
            start, end = self._unheard(segment.start, segment.end)
            return (attrs.evolve(segment, start=start, end=end),)
        start, _ = self._placed(segment.start, segment.end, within[0][0])
        _, end = self._placed(segment.start, segment.end, within[-1][0])
        return (attrs.evolve(segment, start=start, end=max(start, end)),)

    def _with_words(self, segment: Segment) -> tuple[Segment, ...]:
        lies_in = [self._within(word.start, word.end) for word in segment.words]
        last = max((at for at, within in enumerate(lies_in) if within), default=-1)
        words = []
        unspoken = False
        for at, word in enumerate(segment.words):
            # Models find ends better; but text on a click may well end behind it.
            told_by = word.end if at < last else (word.start + word.end) / 2
            silent = not lies_in[at] and self._of_silence(word, told_by)
            times = self._unheard if silent else self._spoken
            start, end = times(word.start, word.end)
            words.append(attrs.evolve(word, start=start, end=end))
            unspoken |= silent
        start = min(word.start for word in words)
        end = max(word.end for word in words)
        whole = attrs.evolve(segment, start=start, end=end, words=tuple(words))
        if not unspoken or any(a.start > b.start for a, b in itertools.pairwise(words)):
            return (whole,)
        # A segment in batches is all that a piece of sound has.
        return tuple(split_at_pauses([whole], UNSPOKEN_S))

    def _spoken(self, start: float, end: float) -> tuple[float, float]:
        """Give a word its times in the speech that it lies in, or in the next."""
        within = self._within(start, end)
        if within:
            at, most = within[-1][0], within[-1][1] * _END_COUNTS
            for before, said in within[:-1]:
                if said > most:
                    at, most = before, said
        else:
            at = self._next(start)
        # No word goes back behind the one before it.
        at = self._last = max(at, self._last)
        if at < len(self._said):
            return self._placed(start, end, at)
        return self._unheard(start, end)

    def _of_silence(self, word: Word, time: float) -> bool:
        """Whether a word of no speech is of a part without any, or borders on one."""
        part = self._part(time)
        if 0 <= self._last < len(self._said) and self._said[self._last][2] > part:
            return False  # the word before it lies later
        if all(said[2] != part for said in self._said):
            return True
        at = self._next(word.start)
        return at < len(self._said) and self._said[at][2] > part + 1

    def _next(self, time: float) -> int:
        return bisect.bisect_left(self._said, time, key=lambda said: said[0])

    def _within(self, start: float, end: float) -> list[tuple[int, float]]:
        """Give the speech that a stretch lies in, with the seconds of each."""
        at = bisect.bisect_right(self._said, start, key=lambda said: said[1])
        within = []
        while at < len(self._said) and self._said[at][0] < end:
            first, last, _ = self._said[at]
            within.append((at, min(end, last) - max(start, first)))
            at += 1
        # A word that merely touches a margin does not lie in its speech.
        least = min(TOLD_BY.pad_s, (end - start) / 2)
        return [(at, said) for at, said in within if said > least]

    def _placed(self, start: float, end: float, at: int) -> tuple[float, float]:
        """Give what of a stretch lies in speech; empty where nothing does."""
        first, last, part = self._said[at]
        shift = self._shifts[part]
        begin, stop = (min(max(time, first), last) + shift for time in (start, end))
        return round(begin, 3), round(stop, 3)

    def _unheard(self, start: float, end: float) -> tuple[float, float]:
        """Give a stretch that lies in no speech its times by its middle."""
        at = self._part((start + end) / 2)
        first, last = self._parts[at]
        shift = self._shifts[at]
        begin, stop = (min(max(time + shift, first), last) for time in (start, end))
        return round(begin, 3), round(stop, 3)

    def _part(self, time: float) -> int:
        return min(bisect.bisect_left(self._ends, time), len(self._ends) - 1)
