"""One after the other, for each name."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import anyio


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Turns:
    """Locks by name, which exist while somebody has or wants them."""

    def __init__(self) -> None:
        """Begin without a lock."""
        self._locks: dict[str, tuple[anyio.Semaphore, list[None]]] = {}

    @contextlib.asynccontextmanager
    async def of(self, name: str) -> AsyncIterator[None]:
        """Have a name for oneself inside the block; first come, first served."""
        lock, users = self._locks.setdefault(name, (anyio.Semaphore(1), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[name]
