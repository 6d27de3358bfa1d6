"""Waiting for something to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio


if TYPE_CHECKING:
    from collections.abc import Callable


class Bell:
    """Wakes all who wait for something to change."""

    def __init__(self) -> None:
        """Begin in silence."""
        self._event = anyio.Event()

    def ring(self) -> None:
        """Have those who wait look again."""
        self._event.set()
        self._event = anyio.Event()

    async def wait_until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds; without waiting if it does already."""
        while not holds():
            await self._event.wait()
