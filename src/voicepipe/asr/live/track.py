"""One signal of a live stream: its sound in memory, its policy, and its words."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from voicepipe.asr.loops import without_loops
from voicepipe.asr.pauses import places_of
from voicepipe.stream.live.policy import LivePolicy
from voicepipe.stream.live.words import LiveWord, text_of
from voicepipe.types import Audio, Hypothesis, Word


if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from voicepipe.protocols import Stage
    from voicepipe.stream.live.options import LiveOptions
    from voicepipe.stream.live.policy import DecodeRequest
    from voicepipe.stream.live.words import LiveText
    from voicepipe.types import Samples, Segment, Transcript


RATE = 16_000
"""Rate at which everything here hears, Hz: that of the engines and the detector."""

HOP = 512
"""Frames for each score of speech, as in ``SpeechProbabilities``."""


class Track:
    """
    One signal of a live stream; synchronous, without clock or engine.

    Args:
        activity: Scores its speech.
        options: How live text is made.
    """

    def __init__(
        self,
        activity: Stage[Samples, npt.NDArray[np.float32]],
        options: LiveOptions,
    ) -> None:
        """Begin in silence."""
        self._activity = activity
        self._policy = LivePolicy(RATE, HOP, options=options)
        self._sound: deque[Samples] = deque()
        self._begin = 0  # frame of the first sample held
        self._length = 0  # frames pushed

    @property
    def covered(self) -> int:
        """Frames that are decoded, or silence."""
        return min(self._policy.covered, self._length)

    @property
    def begin(self) -> int:
        """The first frame in memory; what is before it is not asked for any more."""
        return self._begin

    def push(self, samples: Samples) -> None:
        """Take samples at 16 kHz, shape ``(frames, 1)``."""
        if len(samples):
            # A copy: the caller may fill the same array again, or hold a long one.
            self._sound.append(samples.copy())
            self._length += len(samples)
            for scores in self._activity.push(samples):
                self._policy.push(scores)

    def end(self) -> None:
        """Say that there is no more."""
        for scores in self._activity.flush():
            self._policy.push(scores)
        self._policy.end(self._length)

    def advance(self) -> tuple[tuple[LiveText, ...], DecodeRequest | None]:
        """Give what is new, and what is to be decoded; see ``LivePolicy.advance``."""
        new = self._policy.advance()
        self._forget()
        return new

    def sound(self, request: DecodeRequest) -> Audio:
        """Give the sound of a request."""
        pieces = []
        at = self._begin
        for piece in self._sound:
            first, last = max(0, request.start - at), max(0, request.end - at)
            pieces.append(piece[first:last])
            at += len(piece)
        # The filter of a resampler may reach a little past full scale.
        samples = np.clip(np.concatenate(pieces), -1.0, 1.0)
        return Audio(samples=samples, rate=RATE, start=request.start)

    def decoded(
        self, request: DecodeRequest, transcript: Transcript | None, *, took_s: float
    ) -> tuple[LiveText, ...]:
        """
        Take what an engine heard in the sound of a request.

        Args:
            request: The one that was given last.
            transcript: ``None`` for nothing.
            took_s: Seconds it took.
        """
        heard, _ = without_loops(transcript.segments if transcript else ())
        words = [word for segment in heard for word in _words(segment, request.start)]
        texts = self._policy.decoded(words, took=round(took_s * RATE))
        self._forget()
        return texts

    def _forget(self) -> None:
        keep = min(self._policy.keep_from, self._length)
        while self._sound and self._begin + len(self._sound[0]) <= keep:
            self._begin += len(self._sound.popleft())


def hypothesis_of(
    text: LiveText, *, segment_id: int, channel: int | None
) -> Hypothesis:
    """Give what a policy tells in the form of all engines: in seconds, with text."""
    words = tuple(
        Word(
            start=word.start / RATE,
            end=word.end / RATE,
            text=word.text,
            probability=word.probability,
        )
        for word in text.words
    )
    return Hypothesis(
        segment_id=segment_id,
        start=text.start / RATE,
        end=text.end / RATE,
        text=text_of(text.words),
        final=text.final,
        channel=channel,
        words=words,
        stable=len(text_of(text.words[: text.committed])),
    )


def _words(segment: Segment, offset: int) -> Iterator[LiveWord]:
    """Give a segment's words in frames of the stream."""
    if not segment.words:
        yield from _spread(segment, offset)
        return
    begins = places_of([word.text for word in segment.words], segment.text)
    for place, word in enumerate(segment.words):
        if not word.text:
            continue
        at = begins[place] if begins else 0
        yield LiveWord(
            start=offset + round(word.start * RATE),
            end=offset + round(word.end * RATE),
            text=word.text,
            spaced=at == 0 or segment.text[at - 1].isspace(),
            probability=word.probability,
        )


def _spread(segment: Segment, offset: int) -> Iterator[LiveWord]:
    """Give words to a segment without: as long as one another."""
    texts = segment.text.split()
    step = (segment.end - segment.start) / max(1, len(texts))
    for place, text in enumerate(texts):
        start = segment.start + step * place
        yield LiveWord(
            start=offset + round(start * RATE),
            end=offset + round((start + step) * RATE),
            text=text,
        )
