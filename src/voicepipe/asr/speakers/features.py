"""What is kept of the sound: the shape of its spectrum, its pitch, its level."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np


if TYPE_CHECKING:
    import numpy.typing as npt

    from voicepipe.types.audio import Samples


RATE = 16_000
"""Rate of the sound, Hz."""

HOP = 160
"""Frames of sound for each row of features: 10 ms."""

CEPSTRA = 19
"""Cepstral coefficients, from the first; the zeroth is level, which is kept apart."""

COLUMNS = CEPSTRA + 2
"""Columns of a row: the coefficients, the pitch, the level."""

PITCH = CEPSTRA
"""Column of the pitch: the natural logarithm of Hz, 0 where there is none."""

LEVEL = CEPSTRA + 1
"""Column of the level: decibels of the loudest band."""

_WINDOW = 512  # 32 ms: two periods of a voice of 62 Hz
_SPECTRUM = 1_024  # twice the window: what is correlated must not wrap round
_BANDS = 32
_LOWEST, _HIGHEST = 100.0, 7_000.0  # Hz
_FLOOR = 1e-4  # power of a tone at about -80 dBFS: less is silence

# The range of voices, and how much of its strength a period must repeat.
_PITCH_LOW, _PITCH_HIGH = 70, 400  # Hz
_PERIODIC = 0.6
_SHORTER_LAGS = 0.0008  # for each frame of lag; else octaves below would win

# BLAS may give other bits for other numbers of rows: it always gets as many.
_ROWS = 100


class SpeakerFeatures:
    """
    Turns sound into rows of features, one for each 10 ms; a ``Stage``.

    A row belongs to the 10 ms in the middle of the 32 ms that it is computed from. Rows
    are float16, ``COLUMNS`` wide: 15 MB for an hour.

    Chunk invariance: the sound is cut anew, to seconds.
    """

    def __init__(self) -> None:
        """Begin with silence before the first row."""
        self._rest = np.zeros((_WINDOW - HOP) // 2, np.float32)
        self._frames = 0
        self._rows = 0

    def push(self, samples: Samples, /) -> tuple[npt.NDArray[np.float16], ...]:
        """
        Take samples; give the rows that are complete.

        Args:
            samples: Float32 at 16 kHz, shape ``(frames, 1)``.
        """
        self._frames += len(samples)
        data = np.concatenate([self._rest, samples[:, 0]])
        step = _ROWS * HOP
        blocks = []
        at = 0
        while len(data) - at >= step + _WINDOW - HOP:
            blocks.append(_rows(data[at : at + step + _WINDOW - HOP]))
            at += step
        self._rest = data[at:].copy()
        self._rows += _ROWS * len(blocks)
        return tuple(blocks)

    def flush(self) -> tuple[npt.NDArray[np.float16], ...]:
        """End the sound; give the rows that are left, silence being behind it."""
        left = -(-self._frames // HOP) - self._rows
        if not left:
            return ()
        size = -(-left // _ROWS) * _ROWS * HOP + _WINDOW - HOP
        padded = np.zeros((size - len(self._rest), 1), np.float32)
        rows = np.concatenate(self.push(padded))
        return (rows[:left],)


def _rows(data: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Compute ``_ROWS`` rows."""
    windows = np.lib.stride_tricks.sliding_window_view(data, _WINDOW)[::HOP]
    shape = np.hanning(_WINDOW).astype(np.float32)
    spectrum = np.fft.rfft(windows * shape, _SPECTRUM)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    bands = np.log(power @ _filters().T + _FLOOR)
    rows = np.empty((_ROWS, COLUMNS), np.float16)
    rows[:, :CEPSTRA] = bands @ _cosines().T
    rows[:, PITCH] = _pitch(power)
    rows[:, LEVEL] = bands.max(axis=1) * (10.0 / np.log(10.0))
    return rows


def _pitch(power: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Find the period by autocorrelation; give the logarithm of Hz, or 0."""
    shortest, longest = RATE // _PITCH_HIGH, RATE // _PITCH_LOW
    alike = np.fft.irfft(power)[:, :longest]
    lags = np.arange(shortest, longest)
    # A window is less like itself the later it begins: divide by how much.
    whole = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(_WINDOW), _SPECTRUM)) ** 2)
    strength = alike[:, lags] / (alike[:, :1] + _FLOOR) / (whole[lags] / whole[0])
    best = np.argmax(strength * (1.0 - _SHORTER_LAGS * (lags - shortest)), axis=1)
    periodic = strength[np.arange(len(best)), best] >= _PERIODIC
    return np.where(periodic, np.log(RATE / lags[best]), 0.0)


@functools.cache
def _filters() -> npt.NDArray[np.float32]:
    """Give triangles evenly spaced in mel (O'Shaughnessy), ``(bands, bins)``."""
    low, high = (2_595.0 * np.log10(1.0 + hz / 700.0) for hz in (_LOWEST, _HIGHEST))
    edges = 700.0 * (10.0 ** (np.linspace(low, high, _BANDS + 2) / 2_595.0) - 1.0)
    bins = np.arange(_SPECTRUM // 2 + 1) * (RATE / _SPECTRUM)
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - left) / (middle - left)
    falling = (right - bins) / (right - middle)
    filters: npt.NDArray[np.float32] = np.maximum(
        0.0, np.minimum(rising, falling)
    ).astype(np.float32)
    return filters


@functools.cache
def _cosines() -> npt.NDArray[np.float32]:
    """Give the cosine transform without its zeroth row, ``(CEPSTRA, bands)``."""
    order = np.arange(1, CEPSTRA + 1)[:, None]
    angle = np.pi * order * (np.arange(_BANDS) + 0.5) / _BANDS
    cosines: npt.NDArray[np.float32] = (np.sqrt(2.0 / _BANDS) * np.cos(angle)).astype(
        np.float32
    )
    return cosines
