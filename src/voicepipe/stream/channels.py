"""Whether several channels are one signal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt


if TYPE_CHECKING:
    from voicepipe.types.audio import Samples


Energies: TypeAlias = npt.NDArray[np.float64]
"""Sums of squares, one for each hop, shape ``(n,)``."""

SAME_SIGNAL = 1e-3
"""
Energy of the difference, as a share of the signal's, up to which two channels are one.

That is -30 dB. Copies that went through a lossy codec differ by less; an echo of one
side on the other is much fainter than its original and so differs by more.
"""

_HOP_S = 0.05

# Share of the signal's energy at the same moment, -20 dB, and level in full scale, -66
# dBFS, up to which a difference is not heard as somebody's words. The noise of codecs
# passes SAME_SIGNAL for moments, where the signal is quiet; dither and the steps of
# G.711 in silence stay below the level.
_AUDIBLE_SHARE = 1e-2
_AUDIBLE_LEVEL = 5e-4

# So much of one second, seconds, must be audibly different. Copies through MP3 (joint
# stereo), Opus, AAC and G.711 with dither were measured to reach 0.25 s at most. Only
# AAC of noise, 64 kbit/s, reaches more: its decoder makes other noise on each channel.
_LEAST_S = 0.3


class Apart:
    """
    Finds the first second in which a channel says something that another does not.

    A hop counts as different by its own energy and that of the hops beside it: codecs
    spread their noise over some 50 ms.

    Args:
        hop: Frames of a hop.
        rate: Frames per second, Hz.
    """

    def __init__(self, hop: int, rate: int) -> None:
        """Begin in silence."""
        self._floor = _AUDIBLE_LEVEL**2 * hop
        self._least = max(1, math.ceil(_LEAST_S * rate / hop))
        self._second = max(self._least, round(rate / hop))
        self._found = False
        # The last hop that is decided, and the one that waits for the next.
        self._signal = np.zeros(1)
        self._difference = np.zeros(1)
        self._past = np.zeros(self._second - 1, np.bool_)

    def push(self, signal: Energies, difference: Energies) -> None:
        """Take hops: energies of one channel and of what the other one differs by."""
        signal = np.concatenate([self._signal, signal])
        difference = np.concatenate([self._difference, difference])
        past = np.concatenate([self._past, self._audible(signal, difference)])
        self._found = self._found or self._many(past)
        self._signal, self._difference = signal[-2:], difference[-2:]
        self._past = past[len(past) - self._second + 1 :]

    def found(self, signal: Energies, difference: Energies) -> bool:
        """Tell whether there is such a second if the sound ends with these hops."""
        silence = np.zeros(1)
        signal = np.concatenate([self._signal, signal, silence])
        difference = np.concatenate([self._difference, difference, silence])
        past = np.concatenate([self._past, self._audible(signal, difference)])
        return self._found or self._many(past)

    def _audible(self, signal: Energies, difference: Energies) -> npt.NDArray[np.bool_]:
        """Tell for each hop but the first and the last whether it differs."""
        around = np.maximum(np.maximum(signal[:-2], signal[1:-1]), signal[2:])
        middle = difference[1:-1]
        return (middle > self._floor) & (middle > _AUDIBLE_SHARE * around)

    def _many(self, past: npt.NDArray[np.bool_]) -> bool:
        counts = np.concatenate([[0], np.cumsum(past)])
        in_a_second = counts[self._second :] - counts[: -self._second]
        return bool(np.any(in_a_second >= self._least))


class DualMono:
    """
    Finds out whether all channels carry the same signal at the same level.

    They do while the difference of any two is at least 30 dB below the signal in all,
    and no second has 0.3 s in which it is audible: above -66 dBFS, and less than 20 dB
    below what both carry at the same moment. So nobody's words are taken for a copy,
    however short and quiet they are beside hours that are the same.

    Only equal levels count: a faint copy of one side on the other is crosstalk, and who
    speaks there is not in doubt. Silence on every channel counts as one signal. The
    verdict may be asked at any time.

    Args:
        rate: Frames per second, Hz.
    """

    def __init__(self, rate: int) -> None:
        """Begin with no evidence."""
        self._hop = max(1, round(rate * _HOP_S))
        self._apart = Apart(self._hop, rate)
        self._rest: Samples | None = None  # less than one hop
        self._total: Energies | float = 0.0

    def push(self, samples: Samples, /) -> None:
        """Take samples, float32, shape ``(frames, channels)``."""
        if samples.shape[1] == 1:
            return
        begin = 0
        if self._rest is not None:
            begin = min(self._hop - len(self._rest), len(samples))
            self._rest = np.concatenate([self._rest, samples[:begin]])
            if len(self._rest) < self._hop:
                return
            self._take(self._rest)
        end = len(samples) - (len(samples) - begin) % self._hop
        # About a second at a time: temporary arrays stay small.
        for at in range(begin, end, 20 * self._hop):
            self._take(samples[at : min(at + 20 * self._hop, end)])
        self._rest = samples[end:].copy()

    @property
    def verdict(self) -> bool:
        """Whether all that was pushed is one signal on every channel; true for mono."""
        if self._rest is None:
            return True
        rest = np.zeros((self._hop, self._rest.shape[1]), np.float32)
        rest[: len(self._rest)] = self._rest
        energies = self._energies(rest)
        total = self._total + energies.sum(axis=0)
        if np.any(total[1:] > SAME_SIGNAL * total[0]):
            return False
        return not self._apart.found(energies[:, 0], energies[:, 1:].max(axis=1))

    def _take(self, hops: Samples) -> None:
        energies = self._energies(hops)
        self._total = self._total + energies.sum(axis=0)
        self._apart.push(energies[:, 0], energies[:, 1:].max(axis=1))

    def _energies(self, hops: Samples) -> npt.NDArray[np.float64]:
        """Give for each hop the energy of channel 0, then of what others differ by."""
        parts = hops.reshape(-1, self._hop, hops.shape[1])
        first = parts[:, :, 0]
        columns = [first, *(parts[:, :, at] - first for at in range(1, hops.shape[1]))]
        return np.stack(
            [np.square(column, dtype=np.float64).sum(axis=1) for column in columns],
            axis=1,
        )
