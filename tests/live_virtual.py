"""Live text of real engines on a virtual clock: decodes cost sound, and no time."""

from __future__ import annotations

import collections
import itertools
from typing import TYPE_CHECKING

import anyio
import attrs
import jiwer
import numpy as np
from tiny_whisper import speech
from tiny_whisper.speech import RATE, Spoken

from voicepipe.asr.live.track import Track
from voicepipe.asr.silero.model import SpeechProbabilities
from voicepipe.stream.live.options import LiveOptions


if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe import Audio, Samples, Transcriber
    from voicepipe.stream.live.words import LiveText


STEP = 512


@attrs.frozen
class Commit:
    """A word that is certain, and the second from which on it is."""

    text: str
    at: float


@attrs.define
class Live:
    """
    What came of live sound.

    Attributes:
        commits: In the order of the words.
        decoded_s: Seconds of sound given to the engine.
        decodes: How often it was asked.
        longest_s: The longest stretch given to it, seconds.
        told: All that was told; empty for peers.
    """

    commits: list[Commit] = attrs.field(factory=list)
    decoded_s: float = 0.0
    decodes: int = 0
    longest_s: float = 0.0
    told: list[LiveText] = attrs.field(factory=list)

    @property
    def words(self) -> list[str]:
        """The words, without case."""
        return [commit.text.lower() for commit in self.commits]

    def count(self, audio: Audio) -> None:
        """Count a decode."""
        self.decoded_s += audio.duration
        self.decodes += 1
        self.longest_s = max(self.longest_s, audio.duration)

    def latencies(self, said: Spoken) -> list[float]:
        """Give the seconds from the end of each right word until it was certain."""
        if not self.commits:
            return []
        aligned = jiwer.process_words(said.text, " ".join(self.words)).alignments[0]
        return [
            self.commits[heard].at - said.words[true].end
            for chunk in aligned
            if chunk.type == "equal"
            for true, heard in zip(
                range(chunk.ref_start_idx, chunk.ref_end_idx),
                range(chunk.hyp_start_idx, chunk.hyp_end_idx),
                strict=True,
            )
        ]


def listen(
    engine: Transcriber, sound: Samples, options: LiveOptions | None = None
) -> Live:
    """Hear sound of one channel at 16 kHz as ``LiveTranscriber`` does."""
    track = Track(SpeechProbabilities(), options or LiveOptions())
    live = Live()
    told: list[tuple[float, LiveText]] = []

    async def answer(at: float) -> None:
        while True:
            texts, request = track.advance()
            told.extend((at, text) for text in texts)
            if request is None:
                return
            audio = track.sound(request)
            live.count(audio)
            transcript = await engine.transcribe(audio)
            texts = track.decoded(request, transcript, took_s=0.0)
            told.extend((at, text) for text in texts)

    async def work() -> None:
        for begin in range(0, len(sound), STEP):
            track.push(sound[begin : begin + STEP])
            await answer(min(len(sound), begin + STEP) / RATE)
        track.end()
        await answer(len(sound) / RATE)

    anyio.run(work)
    live.told = [text for _, text in told]
    live.commits = list(_commits(told))
    return live


def _commits(told: Sequence[tuple[float, LiveText]]) -> list[Commit]:
    found: dict[int, list[Commit]] = collections.defaultdict(list)
    for at, text in told:
        new = text.words[len(found[text.segment]) : text.committed]
        found[text.segment] += [Commit(word.text, at) for word in new]
    return list(itertools.chain.from_iterable(found[key] for key in sorted(found)))


def phrases(said: Sequence[Spoken], *, pause: tuple[float, float]) -> Spoken:
    """Say phrases one after the other, with pauses drawn from a range of seconds."""
    draw = np.random.default_rng(0)
    pauses = [0.5, *draw.uniform(*pause, len(said)).tolist()]
    return speech.joined(said, pauses)
