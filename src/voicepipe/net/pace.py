"""How many requests at a time, and how many in a second."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import anyio
import attrs


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@attrs.define
class _Host:
    slots: anyio.Semaphore
    users: int = 0
    next_at: float = 0.0


class HostPace:
    """
    Gives each host its slots, and its requests their distance.

    Hosts that nobody asks any more are forgotten, so that a list with a million of them
    needs no more memory than one.

    Args:
        connections: Slots for one host.
        requests_per_second: Most requests per second to one host, ``None`` for any
            number; they are spread evenly.
    """

    def __init__(self, connections: int, requests_per_second: float | None) -> None:
        """Begin with no hosts."""
        self._connections = connections
        self._distance = 0.0 if not requests_per_second else 1.0 / requests_per_second
        self._hosts: dict[str, _Host] = {}

    @contextlib.asynccontextmanager
    async def slot(self, host: str) -> AsyncIterator[None]:
        """Wait for a slot and for the request's turn; the block holds the slot."""
        entry = self._hosts.get(host)
        if entry is None:
            self._forget()
            entry = self._hosts[host] = _Host(anyio.Semaphore(self._connections))
        entry.users += 1
        try:
            async with entry.slots:
                await self._turn(entry)
                yield
        finally:
            entry.users -= 1
            if not entry.users and not self._distance:
                self._hosts.pop(host, None)

    async def _turn(self, entry: _Host) -> None:
        if not self._distance:
            return
        now = anyio.current_time()
        at = max(entry.next_at, now)
        entry.next_at = at + self._distance
        await anyio.sleep(at - now)

    def _forget(self) -> None:
        """Drop the hosts whose turn would come at once."""
        if len(self._hosts) < 1024:
            return
        now = anyio.current_time()
        for host, entry in list(self._hosts.items()):
            if not entry.users and entry.next_at <= now:
                del self._hosts[host]
