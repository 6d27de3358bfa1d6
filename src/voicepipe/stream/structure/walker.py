"""Following a file from element to element."""

from __future__ import annotations

import abc


class Structure(abc.ABC):
    """
    Follows a file through its elements: pages, frames or boxes.

    Attributes:
        damaged: Whether a part is broken or missing that good elements follow.
        last_at: Offset of the last good element that may hold sound, ``None`` where
            that is not known.
    """

    damaged: bool = False
    last_at: int | None = None

    def __init__(self) -> None:
        """Begin at the first byte."""
        self._offset = 0  # of the next element, in the file
        self._buffer = b""
        self._skip = 0  # bytes of the current element that are still to come

    def push(self, data: bytes, /) -> None:
        """Take the next bytes of the file."""
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        if self._skip:
            return
        buffer = self._buffer + data[skipped:]
        at = 0
        while at < len(buffer):
            length = self._run(buffer, at) or self._element(buffer, at)
            if length is None:
                break
            at += length
            self._offset += length
        self._buffer = buffer[at:]
        self._skip = max(0, at - len(buffer))

    @property
    @abc.abstractmethod
    def cut(self) -> bool:
        """Whether a file that ended here would have lost its end."""

    @property
    def declared_s(self) -> float | None:
        """Seconds of sound the file says it has, ``None`` where it does not say."""
        return None

    @property
    def empty(self) -> bool:
        """Whether all is well and there is no sound, where that is seen."""
        return False

    @property
    def bad_checksums(self) -> int:
        """Elements whose checksum is wrong and that are decoded all the same."""
        return 0

    @property
    def trailing_bytes(self) -> int:
        """Bytes behind the last sound that belong to nothing known, where counted."""
        return 0

    def _run(self, _buffer: bytes, _at: int) -> int:
        """
        Take many elements at once that are like earlier ones; zero where there is none.

        Only a short cut: the same comes of taking each of them with ``_element``.
        """
        return 0

    @abc.abstractmethod
    def _element(self, buffer: bytes, at: int) -> int | None:
        """
        Take the element that begins at an offset.

        Returns:
            How many bytes to go on by, more than are there if the rest does not
            matter; positive. ``None`` if more bytes are needed to tell.
        """
