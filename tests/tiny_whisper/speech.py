"""
Say words with espeak-ng and flite, and know when each is said.

The tests of engines and the training of the tiny Whisper both hear this speech.
Both programs are deterministic: the same voice and text give the same samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import soxr
from numpy.typing import NDArray

from tiny_whisper.synthesis import espeak, flite
from tiny_whisper.voices import (
    ESPEAK,
    FLITE,
    TRAINED,
    UNSEEN_ESPEAK,
    UNSEEN_FLITE,
    SpeechMissingError,
    Voice,
)


if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = [
    "ESPEAK",
    "FLITE",
    "MODEL",
    "RATE",
    "TRAINED",
    "UNSEEN_ESPEAK",
    "UNSEEN_FLITE",
    "WORDS",
    "SpeechMissingError",
    "Spoken",
    "SpokenWord",
    "Voice",
    "conversation",
    "joined",
    "moved",
    "phrase",
    "render",
    "two_channels",
]

MODEL = Path(__file__).parent / "model"
"""The tiny Whisper, as a CTranslate2 folder that faster-whisper loads."""

RATE = 16000
"""Frames per second of all that is said here."""

_VOCABULARY = """
zero one two three four five six seven eight nine
hello thanks yes no order pizza large medium small agent
customer please name phone number goodbye
cheese mushroom pepperoni delivery address street today tomorrow
coffee water okay thank you
"""

WORDS = tuple(_VOCABULARY.split())
"""The words that the tiny Whisper knows: nothing else can come out of it."""


@attrs.frozen
class SpokenWord:
    """A word, and where it sounds, in seconds from the first sample."""

    text: str
    start: float
    end: float


@attrs.frozen(eq=False)
class Spoken:
    """
    Samples, and the words that sound in them.

    Attributes:
        samples: (n,) float32 at 16 kHz, within -1 to 1. Read-only.
        words: In the order of speaking.
    """

    samples: NDArray[np.float32]
    words: tuple[SpokenWord, ...]

    @property
    def text(self) -> str:
        """The words, with spaces between."""
        return " ".join(word.text for word in self.words)

    @property
    def duration(self) -> float:
        """Seconds from the first sample to the last."""
        return len(self.samples) / RATE


def render(voice: Voice, text: str) -> Spoken:
    """
    Say a text once, from the first sound to the last: no silence around it.

    Args:
        voice: Who says it.
        text: Plain words with spaces between. A program pronounces some
            spellings of its own way (numbers, abbreviations): give words.

    Raises:
        SpeechMissingError: The program is not installed.
        ValueError: A voice that the program lacks, or a text whose words could
            not be told apart in the sound.
    """
    words = tuple(text.split())
    if not words:
        raise ValueError("there is nothing to say")
    said = espeak if voice.engine == "espeak" else flite
    samples, rate, starts, ends = said(voice, words)
    first, last = _sounding(samples, rate)
    # Some voices of flite breathe before they speak.
    first = max(first, round((starts[0] - 0.02) * rate))
    last = min(last, round((ends[-1] + 0.1) * rate))
    cut = samples[first:last]
    if rate != RATE:
        cut = soxr.resample(cut, rate, RATE)
    lead, end = first / rate, len(cut) / RATE
    times = [
        SpokenWord(
            word,
            max(0.0, start - lead),
            min(max(stop - lead, start - lead + 0.01), end),
        )
        for word, start, stop in zip(words, starts, ends, strict=True)
    ]
    return _spoken(cut, times)


def phrase(
    voice: Voice,
    text: str,
    *,
    before: float = 0.3,
    after: float = 0.4,
    peak: float = 0.5,
) -> Spoken:
    """
    Say a text with silence around it, at a level: what one test gives an engine.

    Args:
        voice: Who says it.
        text: Plain words.
        before: Seconds of silence ahead.
        after: Seconds of silence behind.
        peak: The largest sample.
    """
    said = render(voice, text)
    scale = peak / max(float(np.abs(said.samples).max()), 1e-9)
    loud = attrs.evolve(said, samples=said.samples * np.float32(scale))
    return joined([loud], [before, after])


def joined(parts: Sequence[Spoken], pauses: Sequence[float]) -> Spoken:
    """
    Put parts one after the other, with silence before, between and behind them.

    Args:
        parts: In the order of speaking.
        pauses: Seconds; one more than there are parts.
    """
    if len(pauses) != len(parts) + 1:
        raise ValueError("a pause stands before each part, and one behind the last")
    pieces: list[NDArray[np.float32]] = []
    words: list[SpokenWord] = []
    at = 0
    for pause, part in zip(pauses, [*parts, None], strict=True):
        pieces.append(np.zeros(round(pause * RATE), np.float32))
        at += len(pieces[-1])
        if part is not None:
            words += moved(part.words, at / RATE)
            pieces.append(part.samples)
            at += len(part.samples)
    return _spoken(np.concatenate(pieces), words)


def moved(words: Sequence[SpokenWord], by: float) -> list[SpokenWord]:
    """Give the words as they are when the sound starts so many seconds later."""
    return [SpokenWord(word.text, word.start + by, word.end + by) for word in words]


def two_channels(left: Spoken, right: Spoken) -> NDArray[np.float32]:
    """Give both as the channels of one recording, (n, 2), the shorter one padded."""
    call = np.zeros((max(len(left.samples), len(right.samples)), 2), np.float32)
    call[: len(left.samples), 0] = left.samples
    call[: len(right.samples), 1] = right.samples
    return call


def conversation(
    turns: Sequence[tuple[int, Spoken]], *, pause: float = 0.5
) -> tuple[NDArray[np.float32], tuple[tuple[SpokenWord, ...], ...]]:
    """
    Let two sides of a call speak in turns.

    Args:
        turns: The channel, 0 or 1, and what is said there.
        pause: Seconds before each turn, and after the last.

    Returns:
        The call (n, 2), and the words of each channel with their times in it.
    """
    sides: list[Spoken] = []
    for side in (0, 1):
        parts = [
            part
            if channel == side
            else _spoken(np.zeros(len(part.samples), np.float32), ())
            for channel, part in turns
        ]
        sides.append(joined(parts, [pause] * (len(parts) + 1)))
    return two_channels(*sides), (sides[0].words, sides[1].words)


def _spoken(samples: Any, words: Sequence[SpokenWord]) -> Spoken:
    kept = np.array(samples, np.float32)
    kept.flags.writeable = False
    return Spoken(kept, tuple(words))


def _sounding(samples: NDArray[np.float32], rate: int) -> tuple[int, int]:
    """Find where sound begins and ends: 42 dB below the loudest 5 ms is silence."""
    hop = rate // 200
    count = len(samples) // hop
    if not count:
        raise ValueError("nothing was said")
    frames = samples[: count * hop].reshape(count, hop)
    power = (frames.astype(np.float64) ** 2).mean(1)
    loud = np.flatnonzero(power > power.max() * 10**-4.2)
    if not len(loud) or not power.max():
        raise ValueError("nothing was said")
    return max(0, int(loud[0]) - 1) * hop, min(count, int(loud[-1]) + 2) * hop
