"""Who speaks when: by channel, and what turns say about words."""

from __future__ import annotations

import bisect
import functools
import itertools
from typing import TYPE_CHECKING

import attrs

from voicepipe.asr.tracks import speaker_label
from voicepipe.stream.channels import DualMono
from voicepipe.stream.vad import EnergyVad
from voicepipe.types import Segment, Transcript, Turn


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voicepipe.protocols import Stage
    from voicepipe.stream.vad import SpeechSpan, VadOptions
    from voicepipe.types import Audio, Samples, Word


class ChannelDiarizer:
    """
    Takes each channel for one speaker, and finds when each speaks.

    Right for calls recorded with a channel for each party. Channels that carry one
    signal, and mono, give a single speaker ``Speaker00``. Crosstalk between channels is
    taken for speech when it is loud enough.

    By default speech is what is loud: ringing, key tones and music on hold become turns
    too. ``ChannelDiarizer(detector=SileroVad)`` tells them from speech.

    Args:
        vad: When sound counts as speech by its energy.
        detector: Begins to find speech in one channel of a rate in Hz: ``SileroVad``,
            ``voice_activity``, or a function of yours. It takes the place of
            ``EnergyVad``.

    Raises:
        ValueError: If both are given.
    """

    def __init__(
        self,
        *,
        vad: VadOptions | None = None,
        detector: Callable[[int], Stage[Samples, SpeechSpan]] | None = None,
    ) -> None:
        """Keep what finds speech."""
        if vad is not None and detector is not None:
            msg = "vad are options of EnergyVad: give either vad or detector"
            raise ValueError(msg)
        self._detector = detector or functools.partial(EnergyVad, options=vad)

    def session(self, *, rate: int, channels: int) -> Stage[Audio, Turn]:
        """
        Begin one recording; see ``Diarizer``.

        All turns come at ``flush``, ordered by start: only then is it known whether the
        channels differ.
        """
        return _ChannelSession(rate, [self._detector(rate) for _ in range(channels)])


class _ChannelSession:
    """One recording; a ``Stage`` from ``Audio`` to ``Turn``."""

    def __init__(self, rate: int, vads: list[Stage[Samples, SpeechSpan]]) -> None:
        self._rate = rate
        self._vads = vads
        self._spans: list[list[SpeechSpan]] = [[] for _ in vads]
        self._same = DualMono(rate)

    def push(self, audio: Audio, /) -> tuple[Turn, ...]:
        """Take audio; gives nothing yet."""
        self._same.push(audio.samples)
        for index, vad in enumerate(self._vads):
            self._spans[index].extend(vad.push(audio.samples[:, index : index + 1]))
        return ()

    def flush(self) -> tuple[Turn, ...]:
        """End the recording; give all turns."""
        for spans, vad in zip(self._spans, self._vads, strict=True):
            spans.extend(vad.flush())
        heard = self._spans[:1] if self._same.verdict else self._spans
        single = len(heard) == 1
        turns = [
            Turn(
                start=span.start / self._rate,
                end=span.end / self._rate,
                speaker=speaker_label(index) or "",
                channel=None if single else index,
            )
            for index, spans in enumerate(heard)
            for span in spans
        ]
        return tuple(sorted(turns, key=lambda turn: (turn.start, turn.speaker)))


def assign_speakers(transcript: Transcript, turns: Sequence[Turn]) -> Transcript:
    """
    Give each word the speaker whose turn covers most of it.

    Turns with a channel count only for segments of that channel. A word outside all
    turns takes the nearest one. A segment whose words belong to several speakers is cut
    where the speaker changes; one without words goes as a whole. Without turns the
    transcript stays as it is.

    Args:
        transcript: Of any engine.
        turns: Of any diarizer, in any order.

    Returns:
        A transcript with the same words and times, ordered and numbered anew.
    """
    if not turns:
        return transcript
    every = _Timeline(turns)
    by_channel = {
        channel: _Timeline([t for t in turns if t.channel in {None, channel}])
        for channel in {s.channel for s in transcript.segments if s.channel is not None}
    }
    pieces: list[Segment] = []
    for segment in transcript.segments:
        timeline = every if segment.channel is None else by_channel[segment.channel]
        pieces.extend(_labelled(segment, timeline))
    return Transcript.of(
        pieces,
        duration=transcript.duration,
        model=transcript.model,
        language=transcript.language,
        report=transcript.report,
    )


def _labelled(segment: Segment, timeline: _Timeline) -> list[Segment]:
    if not timeline.turns:
        return [segment]
    if len(timeline.speakers) == 1 or not segment.words:
        speaker = timeline.speaker(segment.start, segment.end)
        return [attrs.evolve(segment, speaker=speaker)]

    def speaker_of(word: Word) -> str:
        return timeline.speaker(word.start, word.end)

    runs = [
        (speaker, tuple(words))
        for speaker, words in itertools.groupby(segment.words, key=speaker_of)
    ]
    if len(runs) == 1:
        return [attrs.evolve(segment, speaker=runs[0][0])]
    return [
        attrs.evolve(
            segment,
            start=words[0].start,
            end=max(words[-1].end, words[0].start),
            text=" ".join(word.text for word in words),
            words=words,
            speaker=speaker,
        )
        for speaker, words in runs
    ]


class _Timeline:
    """Turns ordered by start, for quick looks at one moment."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self.turns = sorted(turns, key=lambda turn: (turn.start, turn.end))
        self.speakers = {turn.speaker for turn in self.turns}
        self._starts = [turn.start for turn in self.turns]
        # How far any turn up to here reaches: where looking back may stop.
        self._reach = list(itertools.accumulate((t.end for t in self.turns), max))

    def speaker(self, start: float, end: float) -> str:
        """Give who speaks most between two times, or the nearest speaker."""
        best = ""
        most = float("-inf")  # overlap in seconds; negative is a distance
        after = bisect.bisect_right(self._starts, end)
        for index in range(min(after, len(self.turns) - 1), -1, -1):
            turn = self.turns[index]
            overlap = min(turn.end, end) - max(turn.start, start)
            if overlap > most:
                best, most = turn.speaker, overlap
            if self._reach[index] - start < most:
                break
        return best
