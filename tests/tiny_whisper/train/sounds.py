"""What is heard beside speech: noises, tones, a telephone line. All (n,) at 16 kHz."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tiny_whisper.speech import RATE


if TYPE_CHECKING:
    from numpy.typing import NDArray

    Sound = NDArray[np.floating[Any]]

_DTMF = ((697, 770, 852, 941), (1209, 1336, 1477, 1633))
# North American and European ringing, and both dial tones.
_TELEPHONE = ((440, 480), (425,), (400, 450), (350, 440))


def noise(draw: np.random.Generator, length: int) -> Sound:
    """Make a noise or sound without speech, of an effective value of 1."""
    kinds = (_white, _white, _brown, _hum, _bursts, _beeps, _music)
    sound = kinds[draw.integers(len(kinds))](draw, length)
    return (sound / (sound.std() + 1e-9)).astype(np.float32)


def _white(draw: np.random.Generator, length: int) -> Sound:
    return draw.standard_normal(length).astype(np.float32)


def _brown(draw: np.random.Generator, length: int) -> Sound:
    spectrum = np.fft.rfft(_white(draw, length))
    corner = length * draw.uniform(20, 600) / RATE
    return np.fft.irfft(spectrum / (1 + np.arange(len(spectrum)) / corner), length)


def _tone(draw: np.random.Generator, length: int, hz: float) -> Sound:
    time = np.arange(length, dtype=np.float32) * np.float32(2 * np.pi * hz / RATE)
    return np.sin(time + np.float32(draw.uniform(0, 6)))


def _hum(draw: np.random.Generator, length: int) -> Sound:
    hz = draw.choice([50, 60, 100, 120, draw.uniform(100, 3500)])
    harmonic = draw.choice([0, 0.3]) * _tone(draw, length, 3 * hz)
    return (
        _tone(draw, length, hz)
        + harmonic
        + draw.choice([0, 0.02, 0.2]) * _white(draw, length)
    )


def _bursts(draw: np.random.Generator, length: int) -> Sound:
    loud = np.repeat(draw.random(length // 1600 + 1) < 0.15, 1600)[:length]
    return _white(draw, length) * (0.05 + loud)


def _beeps(draw: np.random.Generator, length: int) -> Sound:
    """Key tones, or a line that rings: tones together, on and off."""
    sound = np.zeros(length, np.float32)
    keys = draw.random() < 0.5
    on = draw.uniform(0.05, 0.3) if keys else draw.uniform(0.4, 2.0)
    pause = draw.uniform(0.05, 0.5) if keys else draw.uniform(0.4, 4.0)
    line = _TELEPHONE[draw.integers(len(_TELEPHONE))]
    at = 0
    while at < length:
        size = min(int(on * RATE), length - at)
        tones = [draw.choice(row) for row in _DTMF] if keys else line
        for hz in tones:
            sound[at : at + size] += _tone(draw, size, float(hz))
        at += size + int(pause * RATE)
    return sound + np.float32(1e-4) * _white(draw, length)


def _music(draw: np.random.Generator, length: int) -> Sound:
    """Chords, each of three decaying notes with harmonics."""
    sound = np.zeros(length, np.float32)
    at = 0
    while at < length:
        size = min(int(draw.uniform(0.2, 1.5) * RATE), length - at)
        decay = np.exp(-np.arange(size) / (RATE * draw.uniform(0.2, 2))).astype("f4")
        root = 110 * 2 ** draw.uniform(0, 2.5)
        for ratio in (1, draw.choice([1.2, 1.25]), 1.5):
            for harmonic in (1, 2, 3):
                hz = root * ratio * harmonic
                sound[at : at + size] += decay * _tone(draw, size, hz) / harmonic
        at += size
    return sound


def telephone(draw: np.random.Generator, sound: Sound) -> Sound:
    """Pass a sound through a telephone line: 8 kHz, a narrow band, often mu-law."""
    length = len(sound)
    spectrum = np.fft.rfft(sound)
    hz = np.fft.rfftfreq(length, 1 / RATE)
    low, high = draw.uniform(200, 350), draw.uniform(3100, 3700)
    gain = 1 / np.sqrt((1 + (low / np.maximum(hz, 1)) ** 8) * (1 + (hz / high) ** 40))
    narrow = np.fft.irfft(spectrum * gain, length)[::2]
    if draw.random() < 0.7:
        narrow = narrow / max(1.0, float(np.abs(narrow).max()))
        level = np.log1p(255 * np.abs(narrow)) / np.log(256)
        level = np.round(level * 127) / 127
        narrow = np.sign(narrow) * (256**level - 1) / 255
    half = np.fft.rfft(narrow)
    wide = np.zeros(length // 2 + 1, np.complex64)
    kept = min(len(half), len(wide))
    wide[:kept] = half[:kept]
    return (np.fft.irfft(wide, length) * length / len(narrow)).astype(np.float32)


def respeed(sound: Sound, factor: float) -> Sound:
    """Play faster and higher, as a tape does."""
    places = np.arange(int(len(sound) / factor)) * factor
    return np.interp(places, np.arange(len(sound)), sound).astype(np.float32)
