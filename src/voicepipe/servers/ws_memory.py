"""
How much memory the messages of all WebSockets may take, and whose turn it is.

Nothing here waits or knows a socket: what it decides depends on what it is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs


if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.frozen(kw_only=True)
class WsLimits:
    """
    What one process's WebSockets may take.

    Attributes:
        memory_bytes: Bytes of messages that have been received, in part or whole, and
            not yet worked through by the app, of all connections together.
        free_bytes: What each connection may hold besides, uncounted.
        max_message_bytes: The longest message.
        stall_s: While others wait for memory, a message that is under way must come on
            by ``stall_bytes`` in so many seconds; else its connection is closed, 1013.
        stall_bytes: See ``stall_s``.
        send_timeout_s: How long a client may take nothing of what is sent to it. The
            system keeps some megabytes for it, and tells of what is taken in steps of a
            third of them.
        linger_s: After a connection was closed for a fault, how long what the client
            still sends is read and thrown away, so that it can hear why.
        flood_share: The part of the process's time that frames with next to nothing in
            them may take, of all connections together.
    """

    memory_bytes: int = 512 << 20
    free_bytes: int = 64 << 10
    max_message_bytes: int = 16 << 20
    stall_s: float = 10.0
    stall_bytes: int = 16 << 10
    send_timeout_s: float = 30.0
    linger_s: float = 2.0
    flood_share: float = 0.25


class Holding:
    """
    What one connection holds.

    Args:
        wake: Called when the connection, which had to wait, may ask again. Must not
            ask at once: others are being called too.
        evict: Called when the connection is to be closed.
    """

    __slots__ = ("evict", "mark_at", "mark_size", "owed", "size", "wake")

    def __init__(self, wake: Callable[[], None], evict: Callable[[], None]) -> None:
        """Hold nothing."""
        self.wake: Callable[[], None] = wake
        self.evict: Callable[[], None] = evict
        self.size: int = 0
        self.owed: bool = False
        self.mark_at: float = 0.0
        self.mark_size: int = 0


class MessageMemory:
    """
    The memory for messages, shared by all connections of a process.

    A connection tells what it holds before it takes more. It may go on while all
    together hold less than the limit, less one longest message. That last part is for
    one connection at a time, which so can always finish its message; when the app has
    worked that through, it is the next one's. So many half-received messages cannot
    wait for each other. While any waits, whoever holds a part of a message and does not
    go on with it is closed.

    Args:
        limits: Uses ``memory_bytes``, ``max_message_bytes``, ``stall_s`` and
            ``stall_bytes``.

    Attributes:
        used: What all hold, bytes.
    """

    def __init__(self, limits: WsLimits) -> None:
        """Begin with nothing held."""
        self.used: int = 0
        self._limits = limits
        self._shared = max(0, limits.memory_bytes - limits.max_message_bytes)
        self._holders: set[Holding] = set()
        # In the order in which they came; a dict, to take any out.
        self._waiting: dict[Holding, None] = {}
        self._first: Holding | None = None
        self._looked_at = 0.0

    def tell(self, holding: Holding, size: int, now: float, *, owed: bool) -> None:
        """
        Tell what a connection holds.

        Args:
            holding: The connection's.
            size: Bytes that it holds now.
            now: Seconds that never go back.
            owed: Whether its client could and should send more of a message.
        """
        holding.owed = owed
        if size:
            self._set_size(holding, size, now)
        else:
            self.let_go(holding, now)

    def ask(self, holding: Holding) -> bool:
        """Tell whether a connection may take more; if not, it is woken later."""
        if self.used <= self._shared or self._first is holding:
            self._waiting.pop(holding, None)
            return True
        if self._first is None:
            self._first = holding
            return True
        self._waiting.setdefault(holding)
        return False

    def waits(self, holding: Holding) -> bool:
        """Tell whether a connection has asked and must wait."""
        return holding in self._waiting

    def let_go(self, holding: Holding, now: float, *, keep: int = 0) -> None:
        """
        Note that a message was worked through, or will not come: it is others' turn.

        Args:
            holding: The connection's.
            now: Seconds that never go back.
            keep: Bytes that it still holds.
        """
        self._waiting.pop(holding, None)
        if self._first is holding:
            self._first = None
        self._set_size(holding, keep, now)
        self._wake(now)

    def evict_stalled(self, now: float) -> None:
        """Close who holds a part of a message and does not go on; cheap if often."""
        if now < self._looked_at + self._limits.stall_s / 8:
            return
        self._looked_at = now
        latest = now - self._limits.stall_s
        stalled = [
            holding
            for holding in self._holders
            if holding.owed
            and holding.mark_at <= latest
            and holding not in self._waiting
        ]
        for holding in stalled:
            holding.evict()

    def _set_size(self, holding: Holding, size: int, now: float) -> None:
        self.used += size - holding.size
        holding.size = size
        if not size:
            self._holders.discard(holding)
        elif holding not in self._holders:
            self._holders.add(holding)
            holding.mark_at, holding.mark_size = now, size
        grown = size - holding.mark_size
        if grown < 0 or grown >= self._limits.stall_bytes:
            holding.mark_at, holding.mark_size = now, size

    def _wake(self, now: float) -> None:
        woken = []
        if self.used <= self._shared:
            woken = list(self._waiting)
            self._waiting.clear()
        elif self._first is None and self._waiting:
            self._first = next(iter(self._waiting))
            del self._waiting[self._first]
            woken = [self._first]
        for holding in woken:
            # It could not go on before.
            holding.mark_at, holding.mark_size = now, holding.size
            holding.wake()
