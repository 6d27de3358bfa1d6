"""Whether several channels are one signal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np


if TYPE_CHECKING:
    from voicepipe.types.audio import Samples


SAME_SIGNAL = 1e-3
"""
Energy of the difference, as a share of the signal's, up to which two channels are one.

That is -30 dB. Copies that went through a lossy codec differ by less; an echo of one
side on the other is much fainter than its original and so differs by more.
"""


class DualMono:
    """
    Finds out whether all channels carry the same signal at the same level.

    Only equal levels count: a faint copy of one side on the other is crosstalk, and who
    speaks there is not in doubt. Silence on every channel counts as one signal. The
    verdict may be asked at any time.
    """

    def __init__(self) -> None:
        """Begin with no evidence."""
        self._signal = 0.0
        self._difference = 0.0

    def push(self, samples: Samples, /) -> None:
        """Take samples, float32, shape ``(frames, channels)``."""
        first = samples[:, 0]
        self._signal += float(np.dot(first, first))
        for index in range(1, samples.shape[1]):
            difference = first - samples[:, index]
            self._difference += float(np.dot(difference, difference))

    @property
    def verdict(self) -> bool:
        """Whether all that was pushed is one signal on every channel; true for mono."""
        return self._difference <= SAME_SIGNAL * self._signal
