"""Frames with next to nothing in them: what very many of them may cost."""

from __future__ import annotations


TINY = 64
"""Frames with fewer bytes than this are counted."""

# A connection may send so many at once, and so many a second. The smallest sound that
# anybody sends, 20 ms at 8 kHz and one byte each, is longer.
_AT_ONCE = 1_000.0
_PER_S = 500.0


class SlowLane:
    """
    Turns for connections that send very many such frames.

    Args:
        share: The part of the time that all of them together may take.
    """

    def __init__(self, share: float) -> None:
        """Begin with the lane free."""
        self._share = share
        self._free_at = 0.0

    def wait_s(self, now: float, spent_s: float) -> float:
        """Give the seconds until the next turn of who has spent so much in its last."""
        self._free_at = max(self._free_at, now) + spent_s / self._share
        return self._free_at - now


class TinyFrames:
    """
    The tiny frames of one connection.

    Args:
        lane: The lane for those that send too many.
        now: Seconds that never go back.
    """

    __slots__ = ("_lane", "_left", "_since")

    def __init__(self, lane: SlowLane, now: float) -> None:
        """Allow the first of them."""
        self._lane = lane
        self._left = _AT_ONCE
        self._since = now

    def count(self, *, message: bool = False) -> None:
        """Count one; a whole message, which the app works on, is as ten others."""
        self._left -= 10.0 if message else 1.0

    @property
    def are_too_many(self) -> bool:
        """Whether more have come than are allowed without a look at the clock."""
        return self._left < 0.0

    def wait_s(self, now: float, spent_s: float) -> float:
        """
        Give the seconds to wait, 0 where no more have come than are allowed.

        Args:
            now: Seconds that never go back.
            spent_s: What the last of them have cost, seconds.
        """
        refill = (now - self._since) * _PER_S
        self._left = min(_AT_ONCE, max(self._left, -_AT_ONCE) + refill)
        self._since = now
        return self._lane.wait_s(now, spent_s) if self._left < 0.0 else 0.0
