"""
Training windows: audio of some phrases, and all that is known about it.

A *clip* is what tests give to an engine: it begins at 0, and behind its end the
features are 0.0 up to 30 s, as faster-whisper pads. An *excerpt* is the middle
of a longer window: its positions and timestamps start later, and its last phrase may be
cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from tiny_whisper.speech import RATE, WORDS
from tiny_whisper.train.sounds import noise, respeed, telephone


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tiny_whisper.train.bank import Clip

    Sound = NDArray[np.floating[Any]]

FRAMES = 50
"""Encoder frames in a second."""

# How often each group of voices speaks.
_SHARES = {"espeak": 0.27, "variants": 0.25, "flite": 0.48}


@attrs.frozen
class Heard:
    """A word as an index into `WORDS`, and its seconds."""

    word: int
    start: float
    end: float

    def moved(self, by: float) -> Heard:
        """Give it so many seconds later."""
        return Heard(self.word, self.start + by, self.end + by)

    def sped(self, factor: float) -> Heard:
        """Give it as it is where time runs faster."""
        return Heard(self.word, self.start / factor, self.end / factor)


@attrs.frozen
class Segment:
    """Words between two pauses. `end` is None where the window cuts it."""

    start: float
    end: float | None
    words: tuple[Heard, ...]


@attrs.frozen(kw_only=True)
class Style:
    """
    What windows are made of.

    Attributes:
        seconds: The length of the windows.
        excerpt: Whether they are excerpts.
        most_words: In one phrase.
        alone: How often a window holds one phrase only.
        lead: How late the first phrase begins at most, in seconds.
        silent: How often nobody speaks.
    """

    seconds: float
    excerpt: bool = False
    most_words: int = 12
    alone: float = 0.5
    lead: float = 2.0
    silent: float = 0.08


@attrs.frozen(eq=False)
class Window:
    """Audio, where its features end (in samples), and what is said."""

    audio: Sound
    valid: int
    segments: tuple[Segment, ...]


class Windows:
    """Makes windows of the clips of a bank."""

    def __init__(
        self,
        bank: dict[str, list[list[Clip]]],
        never: frozenset[str],
        draw: np.random.Generator,
    ) -> None:
        """Take the clips, and the texts that must not be trained on."""
        self._bank = bank
        self._never = never
        self._draw = draw

    def make(self, style: Style) -> Window:
        """Make one window."""
        draw = self._draw
        length = int(style.seconds * RATE)
        audio = np.zeros(length, np.float32)
        segments: list[Segment] = []
        end = length
        if draw.random() >= style.silent:
            segments = self._spoken(style, audio)
            last = segments[-1].end
            if not style.excerpt and last is not None and draw.random() < 0.85:
                end = min(length, int((last + draw.uniform(0, 0.7)) * RATE))
        elif not style.excerpt:
            end = int(length * draw.uniform(0.2, 1))
        audio = self._worn(audio, spoken=bool(segments))
        audio[end:] = 0
        return Window(audio, end, tuple(segments))

    def _spoken(self, style: Style, audio: Sound) -> list[Segment]:
        draw = self._draw
        alone = draw.random() < style.alone
        longest = draw.choice([1.0, 3.0])
        voices = [self._voice(), self._voice()]
        peaks = draw.uniform(0.15, 0.5, 2)
        segments: list[Segment] = []
        lead = min(style.lead, style.seconds - 1.2)
        at = float(draw.choice([0, *draw.uniform(0, 0.6, 3), draw.uniform(0, lead)]))
        while style.seconds - at > 0.7:
            side = int(draw.random() < 0.4)
            cut = style.excerpt and draw.random() < 0.15
            room = 9.0 if cut else style.seconds - at
            sound, words = self._phrase(voices[side], style.most_words, room)
            sound = sound * np.float32(peaks[side] / (np.abs(sound).max() + 1e-6))
            first = int(at * RATE)
            kept = sound[: len(audio) - first]
            audio[first : first + len(kept)] = kept
            end = at + len(sound) / RATE
            over = first + len(sound) > len(audio)
            moved = tuple(word.moved(at) for word in words)
            segments.append(Segment(at, None if over else end, moved))
            at = end + draw.uniform(0.6, longest)
            if alone:
                break
        return segments

    def _voice(self) -> list[Clip]:
        names = [name for name in _SHARES if name in self._bank]
        shares = np.array([_SHARES[name] for name in names])
        group = self._bank[
            names[self._draw.choice(len(names), p=shares / shares.sum())]
        ]
        # Voices that say more are heard more often: they are those of the tests.
        sizes = np.sqrt([len(clips) for clips in group])
        return group[self._draw.choice(len(group), p=sizes / sizes.sum())]

    def _phrase(
        self, clips: list[Clip], most: int, room: float
    ) -> tuple[Sound, list[Heard]]:
        """Say one phrase that fits into so many seconds."""
        draw = self._draw
        while True:
            wanted = min(int(draw.integers(1, most + 1)), max(1, int(room * 2.2)))
            faster = 1.0 if draw.random() < 0.5 else draw.uniform(0.93, 1.07)
            gap = draw.choice([0.0, 0.0, 0.0, 0.05, 0.2])
            pieces: list[Sound] = []
            words: list[Heard] = []
            for part, said in self._parts(clips, wanted):
                pause = gap * draw.uniform(0.5, 1.3) if pieces else 0.0
                pieces.append(np.zeros(int(pause * RATE), np.float32))
                at = sum(map(len, pieces)) / RATE
                sound = part if faster == 1.0 else respeed(part, faster)
                if at + len(sound) / RATE > room:
                    break
                words += [word.sped(faster).moved(at) for word in said]
                pieces.append(sound)
            text = " ".join(WORDS[word.word] for word in words)
            if words and text not in self._never:
                return np.concatenate(pieces), words

    def _parts(
        self, clips: list[Clip], wanted: int
    ) -> Iterator[tuple[Sound, list[Heard]]]:
        """Cut parts of phrases, of so many words together or fewer."""
        draw = self._draw
        way = draw.random()
        if way < 0.5:
            yield self._cut(clips, wanted)
            return
        if way < 0.62:
            # As numbers are told: few words, some of them again and again.
            few = [self._cut(clips, 1) for _ in range(3)]
            for _ in range(wanted):
                yield few[draw.integers(len(few))]
            return
        while wanted > 0:
            part = self._cut(clips, min(int(draw.integers(1, 5)), wanted))
            wanted -= len(part[1])
            yield part

    def _cut(self, clips: list[Clip], count: int) -> tuple[Sound, list[Heard]]:
        """Cut at most so many words out of a clip, where words meet."""
        clip = clips[self._draw.integers(len(clips))]
        count = min(count, len(clip.words))
        first = int(self._draw.integers(0, len(clip.words) - count + 1))
        last = first + count - 1
        start = 0.0 if first == 0 else clip.starts[first]
        end = (
            clip.ends[last] if last < len(clip.words) - 1 else len(clip.samples) / RATE
        )
        sound = clip.samples[int(start * RATE) : int(end * RATE)].astype(np.float32)
        sound /= 32768
        ramp = np.linspace(0, 1, min(80, len(sound) // 2), dtype=np.float32)
        if first:
            sound[: len(ramp)] *= ramp
        if last < len(clip.words) - 1:
            sound[len(sound) - len(ramp) :] *= ramp[::-1]
        return sound, [
            Heard(clip.words[i], clip.starts[i], clip.ends[i]).moved(-start)
            for i in range(first, last + 1)
        ]

    def _worn(self, audio: Sound, *, spoken: bool) -> Sound:
        """Add noise, send over a telephone, change the level: each sometimes."""
        draw = self._draw
        level = 0.0
        if not spoken:
            level = draw.choice([0.0, 1e-4, 1e-3, 1e-2, 0.1, 0.1, 0.2])
        elif draw.random() < 0.65:
            level = np.abs(audio).max() * 0.25 * 10 ** (-draw.uniform(10, 45) / 20)
        if level:
            audio = audio + np.float32(level) * noise(draw, len(audio))
        if draw.random() < 0.25:
            audio = telephone(draw, audio)
        gain = 10 ** (draw.uniform(-18, 6) / 20)
        return (audio * gain).clip(-1, 1).astype(np.float32)


def frames(segments: Sequence[Segment], seconds: float) -> NDArray[np.int64]:
    """
    Label each encoder frame.

    Returns:
        The index of the word that is heard, plus 1; 0 for none; -100 where a word is
        cut by the end of the window.
    """
    labels = np.zeros(round(seconds * FRAMES), np.int64)
    for segment in segments:
        for heard in segment.words:
            places = slice(int(heard.start * FRAMES), int(heard.end * FRAMES))
            labels[places] = heard.word + 1 if heard.end <= seconds else -100
    return labels
