"""A number of bytes that many share."""

from __future__ import annotations

from collections import deque

import anyio


class Budget:
    """
    Bytes that are in memory, and who waits until there are less.

    First come, first served. Somebody who wants more than there is in all gets it when
    nobody else has anything.

    Args:
        limit: Most bytes.

    Attributes:
        used: Bytes that are taken.
    """

    def __init__(self, limit: int) -> None:
        """Begin with none taken."""
        self.used: int = 0
        self._limit = limit
        self._waiting: deque[tuple[int, anyio.Event]] = deque()

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def try_take(self, size: int) -> bool:
        """Take bytes if that needs no waiting."""
        if self._waiting or not self._fits(size):
            return False
        self.used += size
        return True

    async def take(self, size: int) -> None:
        """Take bytes, as soon as there is room for them."""
        if self.try_take(size):
            return
        event = anyio.Event()
        entry = (size, event)
        self._waiting.append(entry)
        try:
            await event.wait()
        except BaseException:
            if event.is_set():
                self.give(size)
            else:
                self._waiting.remove(entry)
                self._admit()
            raise

    def give(self, size: int) -> None:
        """Give bytes back; a negative number takes more, whether it fits or not."""
        self.used -= size
        if self._waiting:
            self._admit()

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, event = self._waiting.popleft()
            self.used += size
            event.set()

    def _fits(self, size: int) -> bool:
        return not self.used or self.used + size <= self._limit
