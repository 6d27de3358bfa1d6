"""Parts that do their job at once: no model, no network, no disk."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from voicepipe.stream.channels import DualMono
from voicepipe.stream.vad import EnergyVad
from voicepipe.types import (
    Analysis,
    Hypothesis,
    Point,
    Segment,
    Transcript,
    Turn,
    Word,
)


if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.protocols import Stage
    from voicepipe.stream.vad import SpeechSpan
    from voicepipe.types import Audio


class FakeTranscriber:
    """
    Says the same words again and again wherever there is sound.

    Args:
        text: The words of each segment, separated by spaces.
    """

    def __init__(self, text: str = "hello world") -> None:
        """Keep the words."""
        self._texts = text.split()

    async def transcribe(self, audio: Audio, /) -> Transcript:
        """Give a segment for each stretch of sound, its words evenly spaced."""
        same = DualMono(audio.rate)
        same.push(audio.samples)
        segments: list[Segment] = []
        for index in range(1 if same.verdict else audio.channels):
            channel = None if same.verdict else index
            vad = EnergyVad(audio.rate)
            spans = (*vad.push(audio.samples[:, index : index + 1]), *vad.flush())
            segments.extend(
                self._segment(span.start / audio.rate, span.end / audio.rate, channel)
                for span in spans
            )
        return Transcript.of(
            segments, duration=audio.duration, model="fake", language="en"
        )

    def _segment(self, start: float, end: float, channel: int | None) -> Segment:
        step = (end - start) / max(1, len(self._texts))
        words = tuple(
            Word(
                start=start + i * step,
                end=min(start + (i + 1) * step, end),
                text=text,
                probability=1.0,
            )
            for i, text in enumerate(self._texts)
        )
        return Segment(
            start=start,
            end=end,
            text=" ".join(self._texts),
            words=words,
            channel=channel,
            speaker=None if channel is None else f"Speaker{channel:02d}",
        )


class FakeStreamingTranscriber:
    """
    Says the same text for each stretch of sound, when it ends.

    Args:
        text: The text of each segment.
    """

    def __init__(self, text: str = "hello world") -> None:
        """Keep the text."""
        self._text = text

    def session(self, *, rate: int, channels: int) -> Stage[Audio, Hypothesis]:
        """Begin one stream; see ``StreamingTranscriber``."""
        del channels
        return _FakeStream(self._text, rate)


class _FakeStream:
    """One stream; a ``Stage`` from ``Audio`` to ``Hypothesis``."""

    def __init__(self, text: str, rate: int) -> None:
        self._text = text
        self._rate = rate
        self._vad = EnergyVad(rate)
        self._ids = itertools.count()

    def push(self, audio: Audio, /) -> tuple[Hypothesis, ...]:
        """Take audio; give what has ended."""
        return self._final(self._vad.push(audio.mono().samples))

    def flush(self) -> tuple[Hypothesis, ...]:
        """End the stream; give the rest."""
        return self._final(self._vad.flush())

    def _final(self, spans: Sequence[SpeechSpan]) -> tuple[Hypothesis, ...]:
        return tuple(
            Hypothesis(
                segment_id=next(self._ids),
                start=span.start / self._rate,
                end=span.end / self._rate,
                text=self._text,
                final=True,
            )
            for span in spans
        )


class FakeDiarizer:
    """
    Gives each stretch of sound to the next of its speakers.

    Args:
        speakers: How many speakers take turns.
    """

    def __init__(self, speakers: int = 2) -> None:
        """Keep the number."""
        self._speakers = speakers

    def session(self, *, rate: int, channels: int) -> Stage[Audio, Turn]:
        """Begin one recording; see ``Diarizer``."""
        del channels
        return _FakeTurns(self._speakers, rate)


class _FakeTurns:
    """One recording; a ``Stage`` from ``Audio`` to ``Turn``."""

    def __init__(self, speakers: int, rate: int) -> None:
        self._names = itertools.cycle(f"Speaker{i:02d}" for i in range(speakers))
        self._rate = rate
        self._vad = EnergyVad(rate)

    def push(self, audio: Audio, /) -> tuple[Turn, ...]:
        """Take audio; give the turns that have ended."""
        return self._turns(self._vad.push(audio.mono().samples))

    def flush(self) -> tuple[Turn, ...]:
        """End the recording; give the rest."""
        return self._turns(self._vad.flush())

    def _turns(self, spans: Sequence[SpeechSpan]) -> tuple[Turn, ...]:
        return tuple(
            Turn(
                start=span.start / self._rate,
                end=span.end / self._rate,
                speaker=next(self._names),
            )
            for span in spans
        )


class FakeAnalyzer:
    """
    Takes the first segment for the summary and the last one for the key point.

    Args:
        conversation_type: What to call every conversation.
    """

    def __init__(self, conversation_type: str = "other") -> None:
        """Keep the label."""
        self._type = conversation_type

    async def analyze(self, transcript: Transcript, /) -> Analysis:
        """Cite the first and the last segment."""
        points = [
            Point(text=segment.text, segment_ids=(segment.id,))
            for segment in transcript.segments
            if segment.text.strip()
        ]
        return Analysis(
            summary=tuple(points[:1]),
            key_points=tuple(points[-1:]),
            conversation_type=self._type,
            language=transcript.language,
            model="fake",
        )
