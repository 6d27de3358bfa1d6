"""How much a moment sounds like speech, by its energy, as a stage."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import numpy as np


if TYPE_CHECKING:
    import numpy.typing as npt

    from voicepipe.types.audio import Samples


HOP_S = 0.032
"""Seconds for each score: 512 frames at 16 kHz, the step of the Silero model."""

FLOOR_S = 3.0
"""Seconds of the past in which the quietest moment is the noise floor."""

FIRST_FLOOR_DB = -50.0
"""The noise floor counts as no higher while little has been heard, dBFS."""

FIRST_S = 1.0
"""For so many seconds; steady noise is taken for speech until then."""

LOWEST_FLOOR_DB = -65.0
"""The noise floor never counts as lower, dBFS: breath and dither are no speech."""

EVEN_DB = 10.0
"""Decibels above the noise floor at which the score is 0.5."""

SLOPE_DB = 2.0
"""Decibels more that make it 0.73; a logistic curve."""

_TINY = 1e-12


class EnergyActivity:
    """
    Scores speech in one channel by its energy, without waiting; a ``Stage``.

    For live sound where the Silero model is not installed: a score depends on nothing
    that comes after it, other than the spans of ``EnergyVad``, which are better and a
    second late. What is louder than the quietest moment of the last seconds counts:
    music, ringing and key tones too.

    Args:
        rate: Frames per second of the samples, Hz.

    Raises:
        ValueError: If the rate gives less than one frame for each score.
    """

    def __init__(self, rate: int) -> None:
        """Begin in silence."""
        self._hop = round(rate * HOP_S)
        if self._hop < 1:
            msg = f"rate must be at least {1 / HOP_S:.0f} Hz, not {rate}"
            raise ValueError(msg)
        self._rest = np.zeros(0, np.float32)
        self._levels: deque[float] = deque(maxlen=round(FLOOR_S / HOP_S))
        self._flushed = False

    def push(self, samples: Samples, /) -> tuple[npt.NDArray[np.float32], ...]:
        """
        Take samples; give the scores of the hops that are complete.

        Args:
            samples: Float32, shape ``(frames, 1)``.

        Returns:
            Arrays of shape ``(hops,)``, in [0, 1], none of them empty.

        Raises:
            ValueError: If there is more than one channel, or after ``flush``.
        """
        self._check_open()
        if samples.ndim != 2 or samples.shape[1] != 1:
            msg = f"samples must be (frames, 1), not {samples.shape}"
            raise ValueError(msg)
        data = np.concatenate([self._rest, samples[:, 0]])
        hops = len(data) // self._hop
        self._rest = data[hops * self._hop :].copy()
        if hops == 0:
            return ()
        return (self._scores(data[: hops * self._hop].reshape(hops, self._hop)),)

    def flush(self) -> tuple[npt.NDArray[np.float32], ...]:
        """
        End the stream; give one more score, for what is left filled up with zeros.

        Raises:
            ValueError: If the stream has been flushed before.
        """
        self._check_open()
        self._flushed = True
        last = np.zeros((1, self._hop), np.float32)
        last[0, : len(self._rest)] = self._rest
        return (self._scores(last),)

    def _scores(self, hops: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        power = np.mean(np.square(hops), axis=1, dtype=np.float64)
        levels = (10.0 * np.log10(power + _TINY)).tolist()
        return np.array([self._score(level) for level in levels], np.float32)

    def _score(self, level: float) -> float:
        self._levels.append(level)
        floor = min(self._levels)
        if len(self._levels) < FIRST_S / HOP_S:
            floor = min(floor, FIRST_FLOOR_DB)
        above = level - max(floor, LOWEST_FLOOR_DB)
        return 1.0 / (1.0 + math.exp((EVEN_DB - above) / SLOPE_DB))

    def _check_open(self) -> None:
        if self._flushed:
            msg = "the stream has been flushed"
            raise ValueError(msg)
