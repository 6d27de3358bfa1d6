"""Bytes that were handed over and are not acknowledged yet."""

from __future__ import annotations

from collections import deque


MOST_CHUNKS = 4096
"""
Chunks that may wait at the same time, however small.

Each takes some 50 bytes of memory beside its own, and an answer of some 150.
"""


class Unacked:
    """
    Keeps chunks until the server has them, and counts as the server does.

    The server answers each chunk once and in their order, on the connection on which it
    came. A chunk that it takes moves its count on by the chunk's length; one that it
    refuses counts nothing, and those behind it move up. On a new connection all chunks
    without an answer are sent again from ``offset``; the server drops what it has.

    Attributes:
        offset: Bytes of the session that were acknowledged: where the first chunk that
            is kept begins.
        size: Bytes that are kept.
    """

    def __init__(self, offset: int = 0) -> None:
        """Begin with nothing."""
        self.offset: int = offset
        self.size: int = 0
        self._waiting: deque[bytes] = deque()
        self._flying: deque[bytes] = deque()
        self._aside: deque[bytes] = deque()
        self._flying_bytes = 0
        # Of the first bytes kept, how many were ever sent: the server may have them.
        self._sent = 0
        # What the server had when the connection began.
        self._had = offset

    @property
    def chunks(self) -> int:
        """Chunks that are kept."""
        return len(self._waiting) + len(self._flying) + len(self._aside)

    @property
    def ready(self) -> bool:
        """Whether there is a chunk to send."""
        return bool(self._waiting) and not self._aside

    @property
    def held_up(self) -> bool:
        """Whether all answers are there, and chunks that were put aside come next."""
        return bool(self._aside) and not self._flying

    def has_room(self, size: int, limit: int) -> bool:
        """Tell whether a chunk of a size may be added; a large one may go alone."""
        if not self.size:
            return True
        return self.size + size <= limit and self.chunks < MOST_CHUNKS

    def add(self, chunk: bytes) -> None:
        """Keep a chunk, and have it sent behind the others."""
        self._waiting.append(chunk)
        self.size += len(chunk)

    def take(self) -> bytes:
        """Give the next chunk to send; only if one is ``ready``."""
        chunk = self._waiting.popleft()
        self._flying.append(chunk)
        self._flying_bytes += len(chunk)
        self._sent = max(self._sent, self._flying_bytes)
        return chunk

    def rejoin(self, bytes_received: int) -> None:
        """
        Have all that is kept sent again, on a new connection.

        Args:
            bytes_received: What the server has, as it says when the connection begins.

        Raises:
            ValueError: If that cannot be: acknowledged bytes are missing, or somebody
                else has sent some, or nobody can tell which those are.
        """
        if bytes_received < self.offset:
            lost = self.offset - bytes_received
            msg = f"the server has lost {lost} bytes that it had acknowledged"
            raise ValueError(msg)
        if bytes_received > self.offset + self._sent:
            raise ValueError("the server has bytes of the session from somebody else")
        if self._aside and bytes_received > self.offset:
            raise ValueError("the server took some chunks and not others before them")
        self._aside.extend(self._flying)
        self._aside.extend(self._waiting)
        self._waiting = self._aside
        self._aside = deque()
        self._flying.clear()
        self._flying_bytes = 0
        self._had = bytes_received

    def accept(self, bytes_received: int) -> int:
        """
        Let go of the first chunk that was sent: the server has it.

        Args:
            bytes_received: What it says it has.

        Returns:
            Chunks that were put aside and are lost now: others came before them.

        Raises:
            ValueError: If the counts do not agree.
        """
        chunk = self._answered()
        self.offset += len(chunk)
        if bytes_received != max(self.offset, self._had):
            raise ValueError("the server counts other bytes than were sent")
        lost = len(self._aside)
        self._forget(chunk)
        while self._aside:
            self._forget(self._aside.popleft())
        return lost

    def refuse(self) -> int:
        """
        Let go of the first chunk that was sent: the server does not want it.

        Returns:
            Its length, bytes.

        Raises:
            ValueError: If nothing was sent.
        """
        chunk = self._answered()
        self._forget(chunk)
        return len(chunk)

    def put_aside(self) -> None:
        """
        Have the first chunk that was sent sent again when the others are answered.

        Raises:
            ValueError: If nothing was sent.
        """
        self._aside.append(self._answered())

    def _answered(self) -> bytes:
        if not self._flying:
            raise ValueError("the server answers chunks that were not sent")
        chunk = self._flying.popleft()
        self._flying_bytes -= len(chunk)
        return chunk

    def _forget(self, chunk: bytes) -> None:
        self.size -= len(chunk)
        self._sent -= len(chunk)
