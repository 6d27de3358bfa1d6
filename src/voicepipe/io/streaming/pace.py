"""When pieces of sound are due."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import anyio


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Pace:
    """
    Waits until a live source would have made so much sound.

    The times are those of the whole: a piece that was late makes no other one late.

    Args:
        speed: Seconds of sound for each second; ``None`` waits for nothing.
        clock: Gives the time, seconds; the event loop's where it is ``None``.
        sleep: Waits for so many seconds.

    Raises:
        ValueError: If the speed is not positive and finite.
    """

    def __init__(
        self,
        speed: float | None,
        *,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """Begin with the first wait."""
        if speed is not None and not (math.isfinite(speed) and speed > 0):
            msg = f"speed must be positive and finite, not {speed}"
            raise ValueError(msg)
        self._speed = speed
        self._clock = clock or anyio.current_time
        self._sleep = sleep
        self._begun: float | None = None

    async def wait_for(self, sound_s: float) -> None:
        """Wait until so many seconds of sound have been made."""
        if self._speed is None:
            return
        now = self._clock()
        if self._begun is None:
            self._begun = now
        wait_s = self._begun + sound_s / self._speed - now
        if wait_s > 0:
            await self._sleep(wait_s)
