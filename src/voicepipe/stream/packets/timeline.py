"""Where sound is missing, told by the times that a container gives its packets."""

from __future__ import annotations

from typing import Any, Final

from voicepipe.stream.packets.opus import OPUS_RATE


MAX_JITTER: Final = OPUS_RATE // 10
"""
Frames by which a packet may be late, and nothing is missing: 100 ms.

Times are rounded to milliseconds, and a browser takes them from another clock than the
samples.
"""

MAX_GAP: Final = 60 * OPUS_RATE
"""Longest gap that is filled; a time that says more is not believed."""

# A part of each difference is taken over, so that clocks may drift: in two hours by
# some tenths of a second, which is no gap.
_FOLLOWING = 16


class Timeline:
    """Follows the times of packets, in frames of 48,000 Hz."""

    def __init__(self, expected: int | None = None) -> None:
        """
        Begin.

        Args:
            expected: When the next packet should begin, if that is known.
        """
        self._expected = expected

    @property
    def then(self) -> int:
        """When the next packet should begin; 0 before the first."""
        return self._expected or 0

    def gap(self, begin: int, frames: int) -> int:
        """
        Take a packet; give the frames that are missing in front of it.

        Args:
            begin: When it begins.
            frames: How long it is.
        """
        expected = begin if self._expected is None else self._expected
        late = begin - expected
        gap = late if MAX_JITTER < late <= MAX_GAP else 0
        follows = abs(late) <= MAX_JITTER
        self._expected = frames + (expected + late // _FOLLOWING if follows else begin)
        return gap

    def state(self) -> Any:
        """Give what a new one goes on from."""
        return self._expected
