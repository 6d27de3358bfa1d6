"""Scripted speech and a scripted engine: live text without sound, model or clock."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import attrs
import numpy as np

from voicepipe import Audio, Segment, Transcript, Word
from voicepipe.stream.live.policy import LivePolicy
from voicepipe.stream.live.words import LiveWord


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt

    from voicepipe.stream.live.options import LiveOptions
    from voicepipe.stream.live.policy import DecodeRequest
    from voicepipe.stream.live.words import LiveText

    Hear = Callable[["DecodeRequest"], Sequence[LiveWord]]

RATE = 16_000
HOP = 512


@attrs.frozen
class Script:
    """
    What is said.

    Attributes:
        words: In order, with their frames.
        length: Frames of the whole.
    """

    words: tuple[LiveWord, ...]
    length: int

    @property
    def texts(self) -> list[str]:
        """The words' texts."""
        return [word.text for word in self.words]

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """Speech wherever a word is, to the hop."""
        scores = np.zeros(self.length // HOP + 1, np.float32)
        for word in self.words:
            scores[word.start // HOP : -(-word.end // HOP)] = 0.9
        return scores

    @property
    def samples(self) -> npt.NDArray[np.float32]:
        """A tone wherever a word is, shape ``(frames, 1)``."""
        at = np.arange(self.length)
        # With dips to the noise floor, as voices have: a steady tone is no speech.
        tone = 0.3 * np.sin(at * 0.2) * (at % RATE > 1_600)
        spoken = np.zeros(self.length, bool)
        for word in self.words:
            spoken[word.start : word.end] = True
        return (tone * spoken).astype(np.float32)[:, np.newaxis]


def script(said: Iterable[tuple[str, float, float]], *, end_s: float = 1.0) -> Script:
    """Say words: each with the seconds of the pause before it, and its own."""
    words = []
    at = 0
    for text, pause_s, long_s in said:
        start = at + round(pause_s * RATE)
        at = start + round(long_s * RATE)
        words.append(LiveWord(start=start, end=at, text=text))
    return Script(tuple(words), at + round(end_s * RATE))


def plain(count: int, *, pause_s: float = 0.05, first: int = 0) -> Script:
    """Say numbers, none twice, 0.3 s each."""
    return script((f"w{first + i}", pause_s, 0.3) for i in range(count))


@attrs.frozen
class Ears:
    """
    An engine that hears a script as engines hear: well, but for the edges.

    A word of which less than 60 % is heard is another one, or none. Times are off by up
    to ``off_s``. What it hears depends on the script and the stretch alone.

    Attributes:
        script: What is said.
        off_s: How far off times are, seconds.
        unsure_s: Words that end this near to the end of the stretch are wrong half of
            the time, seconds.
        wrong: How often any other word is wrong.
    """

    script: Script
    off_s: float = 0.0
    unsure_s: float = 0.0
    wrong: float = 0.0

    def __call__(self, request: DecodeRequest) -> list[LiveWord]:
        """Hear a stretch."""
        draw = random.Random(f"{request.start} {request.end}")
        heard = []
        for word in self.script.words:
            inside = min(word.end, request.end) - max(word.start, request.start)
            if inside <= 0:
                continue
            share = inside / (word.end - word.start)
            text = word.text
            if share < 0.6:
                if draw.random() < 0.5:
                    continue
                text = text[:1]
            elif request.why in {"step", "full"}:
                near = word.end > request.end - round(self.unsure_s * RATE)
                if draw.random() < (0.5 if near else self.wrong):
                    text = "x" + text
            off = round(draw.uniform(-self.off_s, self.off_s) * RATE)
            start = max(request.start, word.start + off)
            end = max(start, min(word.end + off, request.end))
            style = draw.choice((str, str.upper, lambda one: one + ","))
            heard.append(LiveWord(start=start, end=end, text=style(text)))
        return heard

    async def transcribe(self, audio: Audio) -> Transcript:
        """Hear a stretch as a ``Transcriber``: by its place in the stream."""
        request = _Stretch(audio.start, audio.start + audio.frames)
        words = [
            Word(
                start=(word.start - audio.start) / RATE,
                end=(word.end - audio.start) / RATE,
                text=word.text,
            )
            for word in self(request)  # type: ignore[arg-type]
        ]
        segments = []
        if words:
            text = " ".join(word.text for word in words)
            start, end = words[0].start, words[-1].end
            segments = [Segment(start=start, end=end, text=text, words=tuple(words))]
        return Transcript.of(segments, duration=audio.duration, model="script")


@attrs.frozen
class _Stretch:
    start: int
    end: int
    why: str = "pause"


@attrs.define
class Played:
    """
    What came of a stream.

    Attributes:
        told: With the frame of the stream at which it was told.
        asked: The requests.
        kept: The most frames that had to be kept.
        behind: The most frames that were not covered.
    """

    told: list[tuple[int, LiveText]] = attrs.field(factory=list)
    asked: list[DecodeRequest] = attrs.field(factory=list)
    kept: int = 0
    behind: int = 0

    @property
    def finals(self) -> list[LiveText]:
        """The last text of each segment."""
        return [text for _, text in self.told if text.final]

    @property
    def keys(self) -> list[str]:
        """The final words, without case and punctuation."""
        return [word.key for text in self.finals for word in text.words]

    @property
    def decoded(self) -> int:
        """Frames given to the engine."""
        return sum(one.end - one.start for one in self.asked)

    def latencies(self, said: Script) -> list[float]:
        """Seconds from the end of each word until it was committed; all are right."""
        when = []
        done: dict[int, int] = {}
        for frame, text in self.told:
            new = text.committed - done.get(text.segment, 0)
            done[text.segment] = text.committed
            when += [frame] * new
        return [
            (frame - word.end) / RATE
            for frame, word in zip(when, said.words, strict=True)
        ]


def play(
    said: Script,
    hear: Hear,
    *,
    options: LiveOptions | None = None,
    cuts: Sequence[int] = (),
    took: Callable[[DecodeRequest], int] = lambda _: 0,
) -> Played:
    """
    Play a script on a virtual clock: a decode is answered as soon as it is asked for.

    Args:
        said: What is said.
        hear: The engine.
        options: How live text is made.
        cuts: Places at which the scores are cut into pieces.
        took: What is told of how long a decode took, frames.
    """
    played = Played()
    policy = LivePolicy(RATE, HOP, options=options)
    pieces = np.split(said.scores, sorted(cuts))
    at = 0
    for piece in pieces:
        policy.push(piece)
        at = min(said.length, at + len(piece) * HOP)
        answer(policy, played, hear, took)
        played.kept = max(played.kept, at - policy.keep_from)
        played.behind = max(played.behind, at - policy.covered)
    policy.end(said.length)
    answer(policy, played, hear, took)
    return played


def answer(
    policy: LivePolicy,
    played: Played,
    hear: Hear,
    took: Callable[[DecodeRequest], int] = lambda _: 0,
) -> None:
    """Decode until more sound is needed."""
    while True:
        texts, request = policy.advance()
        played.told += [(policy.heard, text) for text in texts]
        if request is None:
            return
        played.asked.append(request)
        texts = policy.decoded(hear(request), took=took(request))
        played.told += [(policy.heard, text) for text in texts]
