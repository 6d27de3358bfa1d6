"""Who may decode next, of many sessions."""

from __future__ import annotations

import contextlib
import heapq
import itertools
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Turns:
    """
    A queue for an engine that few may use at once: urgent ones first, then in order.

    Each session has at most one decode here, waiting or at work, and none is of more
    than its ``max_window_s`` of sound. So whatever the others send, an urgent decode (a
    segment's last one) begins after at most one decode of each other session: the ones
    at work, and the urgent ones that came earlier. Decodes that are not urgent wait for
    all that are.

    Args:
        at_once: How many may work at the same time.

    Raises:
        ValueError: If that is less than 1.
    """

    def __init__(self, at_once: int = 1) -> None:
        """Begin with nobody waiting."""
        if at_once < 1:
            msg = f"at_once must be at least 1, not {at_once}"
            raise ValueError(msg)
        self._free = at_once
        self._numbers = itertools.count()
        self._waiting: list[tuple[bool, int, anyio.Event]] = []

    @contextlib.asynccontextmanager
    async def turn(self, *, urgent: bool) -> AsyncIterator[None]:
        """Wait for a turn, and have it inside the block."""
        await anyio.lowlevel.checkpoint()
        if self._free:
            self._free -= 1
        else:
            await self._wait(urgent=urgent)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, *, urgent: bool) -> None:
        mine = (not urgent, next(self._numbers), anyio.Event())
        heapq.heappush(self._waiting, mine)
        try:
            await mine[2].wait()
        except BaseException:  # cancelled
            if mine[2].is_set():
                self._pass_on()
            else:
                self._waiting.remove(mine)
                heapq.heapify(self._waiting)
            raise

    def _pass_on(self) -> None:
        """Give a turn that has ended to whoever is next."""
        if self._waiting:
            heapq.heappop(self._waiting)[2].set()
        else:
            self._free += 1
