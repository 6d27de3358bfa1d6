"""Cutting a long recording into windows where it is quiet, as a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np


if TYPE_CHECKING:
    import numpy.typing as npt

    from voicepipe.types.audio import Samples


HOP_S = 0.02
"""Seconds between the places at which a cut is considered."""

QUIET_S = 0.4
"""Seconds over which a place's loudness is averaged: a pause between phrases."""

_HOPS_AT_ONCE = 50


class SilenceCutter:
    """
    Cuts a stream of samples into windows of bounded length; a ``Stage``.

    A window ends at the quietest place of its last part, where the loudest channel
    counts, so that words stay whole wherever there is a pause. The windows follow one
    another without gap or overlap. Chunk invariance: each cut is decided when exactly
    ``max_s`` seconds of its window are known.

    Args:
        rate: Frames per second of the samples, Hz.
        max_s: Longest window, seconds.
        min_s: Shortest window, seconds, but for the last one; at most ``max_s``.

    Raises:
        ValueError: If the lengths are not ``0 < min_s <= max_s``.
    """

    def __init__(self, rate: int, *, max_s: float = 60.0, min_s: float = 30.0) -> None:
        """Check the lengths."""
        if not 0 < min_s <= max_s:
            msg = f"lengths must satisfy 0 < min_s <= max_s: {min_s}, {max_s}"
            raise ValueError(msg)
        self._max = max(1, round(rate * max_s))
        self._min = min(self._max, max(1, round(rate * min_s)))
        self._hop = max(1, round(rate * HOP_S))
        self._width = max(1, round(QUIET_S / HOP_S))
        # Filled again and again: large arrays that come and go in many threads leave
        # holes in the memory of each.
        self._buffer = np.empty((0, 0), np.float32)
        self._held = 0  # frames in the buffer
        self._flushed = False

    def push(self, samples: Samples, /) -> tuple[Samples, ...]:
        """
        Take samples; give the windows that are complete.

        Args:
            samples: Float32, shape ``(frames, channels)``.

        Raises:
            ValueError: If the number of channels changes, or after ``flush``.
        """
        self._check_open()
        if not self._held:
            self._buffer = np.empty((self._max, samples.shape[1]), np.float32)
        windows = []
        at = 0
        while at < len(samples):
            room = self._max - self._held
            piece = samples[at : at + room]
            self._buffer[self._held : self._held + len(piece)] = piece
            self._held += len(piece)
            at += len(piece)
            if self._held == self._max:
                windows.append(self._take(self._quietest()))
        return tuple(windows)

    def flush(self) -> tuple[Samples, ...]:
        """
        End the stream; give what is left as the last window.

        Raises:
            ValueError: If the stream has been flushed before.
        """
        self._check_open()
        self._flushed = True
        return (self._take(self._held),) if self._held else ()

    def _take(self, cut: int) -> Samples:
        """Give the first frames, and keep the rest."""
        window = self._buffer[:cut].copy()
        rest = self._held - cut
        self._buffer[:rest] = self._buffer[cut : self._held]
        self._held = rest
        return window

    def _quietest(self) -> int:
        """Give the frame at which to cut: the latest of the quietest places."""
        tail = self._buffer[self._min :]
        hops = len(tail) // self._hop
        if hops == 0:
            return self._max
        step = _HOPS_AT_ONCE * self._hop
        loudness = np.concatenate(
            [
                self._loudness(tail[at : min(at + step, hops * self._hop)])
                for at in range(0, hops * self._hop, step)
            ]
        )
        width = min(self._width, hops)
        mean = np.convolve(loudness, np.full(width, 1.0 / width), mode="valid")
        # Rounding in the sums must not decide between places of digital silence.
        best = np.flatnonzero(mean <= mean.min() + 1e-12)[-1]
        return self._min + int(best + width // 2) * self._hop

    def _loudness(self, samples: Samples) -> npt.NDArray[np.float64]:
        """Give the mean power of each hop, of whichever channel is louder."""
        power = np.square(samples).max(axis=1).reshape(-1, self._hop)
        mean: npt.NDArray[np.float64] = power.mean(axis=1, dtype=np.float64)
        return mean

    def _check_open(self) -> None:
        if self._flushed:
            msg = "the stream has been flushed"
            raise ValueError(msg)
