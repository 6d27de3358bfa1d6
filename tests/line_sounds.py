"""What is heard on telephone lines beside speech, rendered; none of it is speech."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np


if TYPE_CHECKING:
    import numpy.typing as npt

    from voicepipe import Samples


SECONDS = 20
_KEYS = [(low, high) for low in (697, 770, 852, 941) for high in (1209, 1336, 1477)]

# Frequencies in Hz, then seconds on and off (ITU-T E.180 lists them by country).
_CADENCES: dict[str, tuple[tuple[float, ...], float, float]] = {
    "dial tone, North America": ((350, 440), 1, 0),
    "dial tone, Europe": ((425,), 1, 0),
    "ringing, North America": ((440, 480), 2, 4),
    "ringing, Europe": ((425,), 1, 4),
    "ringing, Britain": ((400, 450), 0.4, 0.2),
    "busy, North America": ((480, 620), 0.5, 0.5),
    "congestion, Europe": ((425,), 0.25, 0.25),
    "fax": ((1_100,), 0.5, 3),
    "beeps of a mailbox": ((1_000,), 0.4, 1),
    "mains hum": ((50, 100, 150), 1, 0),
}

NAMES = (
    "silence",
    "white noise",
    "quiet white noise",
    "pink noise",
    *_CADENCES,
    "key tones, fast",
    "key tones, slow",
)

MUSIC = ("chords", "single notes")


def line_sound(name: str, rate: int) -> Samples:
    """Give 20 s of a sound, shape ``(frames, 1)``."""
    frames = SECONDS * rate
    rng = np.random.default_rng(0)
    if name == "silence":
        x = np.zeros(frames)
    elif name.endswith("white noise"):
        x = rng.normal(0, 0.001 if name.startswith("quiet") else 0.1, frames)
    elif name == "pink noise":
        power = np.maximum(1, np.arange(frames // 2 + 1))
        x = np.fft.irfft(np.fft.rfft(rng.normal(0, 1, frames)) / np.sqrt(power), frames)
        x *= 0.1 / x.std()
    elif name.startswith("key tones"):
        x = _keys(rate, 0.06 if name.endswith("fast") else 0.4)
    elif name in MUSIC:
        x = _music(rate, (1, 5 / 4, 3 / 2) if name == "chords" else (1,))
    else:
        tones, on, off = _CADENCES[name]
        x = _tones(rate, SECONDS, *tones)
        x *= (np.arange(frames) / rate) % (on + off) < on
    return np.clip(x[:frames, np.newaxis], -1, 1).astype(np.float32)


def _tones(rate: int, seconds: float, *hertz: float) -> npt.NDArray[np.float64]:
    t = np.arange(round(seconds * rate)) / rate
    tones = np.sin(2 * np.pi * np.array(hertz)[:, np.newaxis] * t)
    mean: npt.NDArray[np.float64] = 0.5 * tones.mean(axis=0)
    return mean


def _keys(rate: int, on: float) -> npt.NDArray[np.float64]:
    pause = np.zeros(round(0.08 * rate))
    pressed = np.random.default_rng(1).integers(0, len(_KEYS), round(SECONDS / on))
    return np.concatenate(
        [x for key in pressed for x in (_tones(rate, on, *_KEYS[key]), pause)]
    )


def _music(rate: int, chord: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Two strokes a second, each of notes with overtones that fade."""
    roots = 220 * 2 ** (np.random.default_rng(2).integers(0, 12, 2 * SECONDS) / 12)
    fade = np.exp(-6 * np.linspace(0, 0.5, rate // 2))
    parts = [note * overtone for note in chord for overtone in range(1, 5)]
    return np.concatenate(
        [fade * _tones(rate, 0.5, *(root * part for part in parts)) for root in roots]
    )
