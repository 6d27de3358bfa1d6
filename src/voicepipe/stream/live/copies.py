"""Which channels of a live stream are copies of the first."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from voicepipe.stream.channels import SAME_SIGNAL, Apart


if TYPE_CHECKING:
    import numpy.typing as npt

    from voicepipe.types.audio import Samples


class Copies:
    """
    Tells for each stretch of sound whether a channel is a copy of the first one.

    The rule is that of ``DualMono``, for a part of the stream at a time: a line may be
    one signal on both channels until the second party is connected.

    Args:
        hop: Frames of the steps in which stretches are told apart.
        channels: Channels of the sound.
        rate: Frames per second, Hz.
    """

    def __init__(self, hop: int, channels: int, *, rate: int = 16_000) -> None:
        """Begin with no sound."""
        self._hop = hop
        self._rate = rate
        self._rest = np.zeros((0, channels), np.float32)
        self._first = 0  # hop of the oldest energies held
        # For each hop the energy of channel 0, then that of the others' differences.
        self._energies: deque[npt.NDArray[np.float64]] = deque()

    def push(self, samples: Samples) -> None:
        """Take samples, float32, shape ``(frames, channels)``."""
        data = np.concatenate([self._rest, samples])
        hops = len(data) // self._hop
        self._rest = data[hops * self._hop :].copy()
        # Its shape is written out: numpy finds none by itself where there is no hop.
        data = data[: hops * self._hop].reshape(hops, self._hop, data.shape[1])
        parts = data - data[:, :, :1]
        parts[:, :, 0] = data[:, :, 0]
        self._energies.extend(np.square(parts).sum(axis=1, dtype=np.float64))

    def same(self, channel: int, start: int, end: int) -> bool:
        """
        Tell whether a channel is a copy of the first one from a frame to another.

        Stretches of less than two hops, and such as are forgotten, are no copies.
        """
        first = start // self._hop - self._first
        last = end // self._hop - self._first
        if first < 0 or last - first < 2:
            return False
        energies = np.stack([self._energies[at] for at in range(first, last)])
        signal, difference = energies[:, 0], energies[:, channel]
        if difference.sum() > SAME_SIGNAL * signal.sum():
            return False
        return not Apart(self._hop, self._rate).found(signal, difference)

    def forget(self, before: int) -> None:
        """Say that nothing before a frame is asked for any more."""
        while self._energies and self._first < before // self._hop:
            self._energies.popleft()
            self._first += 1
