"""
Calls of several synthetic voices in one channel, and who speaks when in them.

The voices are variants of espeak-ng and speakers of flite. The numbers inside
``SpeakerDiarizer`` were chosen by hearing ``TUNED``; figures are told of ``UNSEEN``.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs
import numpy as np
import soxr
from tiny_whisper.speech import RATE, Voice, render

from voicepipe import Audio, Turn
from voicepipe.stream.g711 import compress, expand


if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Sound: TypeAlias = Literal["wideband", "noise", "telephone"]

SENTENCES = (
    "good morning and thank you for calling how may i help you today",
    "hello i am calling about the order that i placed last week",
    "nobody brought it and i want to know where the parcel went",
    "of course let me have a look at that for you",
    "could you please tell me your name and the number of the order",
    "my name is mary johnson and the number is four seven two nine",
    "thank you i can see it here on my screen",
    "the parcel left our house on monday and should be with you tomorrow",
    "that is a little late because we are leaving for the weekend",
    "i understand and i am very sorry about the trouble",
    "would it help if we sent it to your office",
    "no nobody is there after five in the evening",
    "then we could leave it with one of your neighbours",
    "yes that is fine she works there on most days",
    "which side of the street does she live on",
    "on the left side the second house with the green door",
    "all right i have made a note of that for the driver",
    "will there be anything else that i can do for you",
    "i also wanted to ask about the price of the large one",
    "the large one is forty dollars and the small one is twenty five",
    "is there a discount if i take both of them together",
    "if you order before friday we can take ten percent off",
    "let me think about it and talk to my husband first",
    "please take your time the offer is open until the end of the month",
    "the last time somebody promised to call me back and nobody did",
    "i will make sure that this does not happen again",
    "do you need my phone number or do you have it already",
    "we have a number that ends with eight three is that right",
    "that is my old one please write down the new one",
    "i am ready whenever you are go ahead",
    "can i change the colour of the box from blue to red",
    "we only have red in the smaller size at the moment",
    "how long would it take to get it in the larger size",
    "about two weeks because it comes from another country",
    "that is too long for me so i will stay with the blue one",
    "then i leave everything as it is and wish you a nice weekend",
)
"""What is said at length: plain words that both programs read as they stand."""

REMARKS = (
    "yes please",
    "okay thank you",
    "no thanks",
    "that is right",
    "one moment please",
    "i see",
    "sure",
    "very good",
    "oh really",
    "just a second",
)
"""What is said in short."""


def _espeak(names: str) -> tuple[Voice, ...]:
    return tuple(Voice("espeak", f"en-us+{name}") for name in names.split())


TUNED: dict[str, tuple[Voice, ...]] = {
    "m": (
        *_espeak("adam Alex benjamin Denis ed m1 m3 m7 victor"),
        Voice("flite", "kal16"),
        Voice("flite", "awb"),
    ),
    "f": (*_espeak("Alicia Andrea f1 linda f2 steph"),),
}
"""Voices for choosing numbers, of men and of women."""

UNSEEN: dict[str, tuple[Voice, ...]] = {
    "m": (
        *_espeak("Gene iven john marcelo Lee boris m2 m4 Marco max"),
        Voice("flite", "rms"),
    ),
    "f": (
        *_espeak("Annie f3 belinda f4 anika"),
        Voice("flite", "slt"),
    ),
}
"""Voices for figures, of men and of women."""


@attrs.frozen(eq=False)
class SpeakerCall:
    """
    A call in one channel.

    Attributes:
        audio: Mono.
        turns: Who speaks when, ordered by start.
        voices: Who can be heard.
    """

    audio: Audio
    turns: tuple[Turn, ...]
    voices: tuple[Voice, ...]


def speaker_call(
    voices: Sequence[Voice],
    *,
    seed: int,
    seconds: float = 120.0,
    sound: Sound = "wideband",
) -> SpeakerCall:
    """
    Let voices talk with one another.

    One turn in six is a short remark, one in eight begins before the last has ended,
    and each voice has its own level, within 6 dB.

    Args:
        voices: Who talks; the first one begins.
        seed: Which call, of this length.
        seconds: When no more turns begin.
        sound: As it was said; with white noise 20 dB below the voices; or through
            a telephone of 300 to 3,400 Hz, 8 kHz and A-law, with noise 30 dB below.
    """
    rng = np.random.default_rng(seed)
    levels = 10.0 ** (rng.uniform(-6.0, 0.0, len(voices)) / 20.0)
    turns: list[Turn] = []
    pieces: list[tuple[int, NDArray[np.float32]]] = []
    at = end = 0.4
    now = 0
    while at < seconds:
        for text in _texts(rng):
            said = _said(voices[now], text) * np.float32(levels[now])
            start = round(at * RATE)
            pieces.append((start, said))
            end = (start + len(said)) / RATE
            turns.append(Turn(start=start / RATE, end=end, speaker=f"voice{now}"))
            at = end + rng.uniform(0.15, 0.5)
        if rng.random() < 1 / 8:
            at = max(0.0, end - rng.uniform(0.3, 0.8))
        else:
            at = end + rng.uniform(0.2, 1.0)
        others = [index for index in range(len(voices)) if index != now]
        now = int(rng.choice(others)) if others else now
    last = max(start + len(said) for start, said in pieces)
    mix = np.zeros(last + RATE // 2, np.float32)
    for start, said in pieces:
        mix[start : start + len(said)] += said
    audio = _sounding(mix * np.float32(0.5 / np.abs(mix).max()), sound, rng)
    turns.sort(key=lambda turn: turn.start)
    return SpeakerCall(audio, tuple(turns), tuple(voices))


def pairs(
    voices: dict[str, tuple[Voice, ...]], count: int, *, speakers: int = 2, seed: int
) -> list[tuple[Voice, ...]]:
    """
    Draw groups of voices: by turns of both sexes, of men, and of women.

    Args:
        voices: Of men and of women.
        count: How many groups.
        speakers: Voices in each, 2 to 4.
        seed: Which.
    """
    rng = np.random.default_rng(seed)
    groups = []
    for index in range(count):
        kinds = ("mf" * speakers, "m" * speakers, "f" * speakers)[index % 3][:speakers]
        drawn: list[Voice] = []
        for kind in kinds:
            left = [voice for voice in voices[kind] if voice not in drawn]
            drawn.append(left[int(rng.integers(len(left)))])
        rng.shuffle(drawn)  # type: ignore[arg-type]
        groups.append(tuple(drawn))
    return groups


def _texts(rng: np.random.Generator) -> list[str]:
    if rng.random() < 1 / 6:
        return [str(rng.choice(REMARKS))]
    return [str(text) for text in rng.choice(SENTENCES, rng.integers(1, 4))]


@functools.cache
def _said(voice: Voice, text: str) -> NDArray[np.float32]:
    """Say a text as loud as all others: the root of the mean square is 0.1."""
    samples = render(voice, text).samples
    level = float(np.sqrt(np.mean(np.square(samples), dtype=np.float64)))
    return samples * np.float32(0.1 / level)


def _sounding(
    mix: NDArray[np.float32], sound: Sound, rng: np.random.Generator
) -> Audio:
    level = float(np.sqrt(np.mean(np.square(mix[np.abs(mix) > 0.01]))))
    below = {"wideband": 60.0, "noise": 20.0, "telephone": 30.0}[sound]
    noise = rng.normal(0.0, level * 10.0 ** (-below / 20.0), len(mix))
    heard = (mix + noise).astype(np.float32)
    if sound != "telephone":
        return Audio(samples=np.clip(heard, -1.0, 1.0), rate=RATE)
    heard = soxr.resample(_telephone_band(heard), RATE, 8_000)
    heard = expand(
        compress(Audio(samples=np.clip(heard, -1, 1), rate=8_000).pcm16(), "alaw"),
        "alaw",
    )
    return Audio(samples=heard, rate=8_000)


def _telephone_band(heard: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take out what is below 300 and above 3,400 Hz."""
    spectrum = np.fft.rfft(heard)
    hertz = np.fft.rfftfreq(len(heard), 1 / RATE)
    slope = np.clip((hertz - 200.0) / 100.0, 0.0, 1.0)
    slope *= np.clip((3_600.0 - hertz) / 200.0, 0.0, 1.0)
    return np.fft.irfft(spectrum * slope, len(heard)).astype(np.float32)
