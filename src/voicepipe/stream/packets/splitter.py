"""What the splitters of all formats have in common."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, NamedTuple

from voicepipe.errors import DamagedAudioError


if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.stream.packets.decoder import CodecName


class Packet(NamedTuple):
    """
    One frame of a stream, as its decoder takes it.

    Attributes:
        data: The bytes.
        frames: Frames of sound per channel that its header announces.
        end: Offset in the file, behind its last byte.
        whole: Whether nothing is missing as far as can be told; false for what a
            stream ends with.
        alike: Whether its header is the same as the next one's, as far as that was
            looked at.
        gap: Frames of sound that are missing in front of it, as a container tells.
        cut: Frames at its end that are to be left out, as a container tells.
    """

    data: bytes
    frames: int
    end: int
    whole: bool = True
    alike: bool = True
    gap: int = 0
    cut: int = 0


RECENT = 64
"""Packets kept for warming up a fresh decoder."""

MAX_JUNK_BYTES = 1 << 20
"""Most bytes in a row that are nothing of the format: there is no way on behind it."""


class Splitter(abc.ABC):
    """
    Cuts one file into packets; chunk-invariant.

    The bytes that have come wait in a buffer, until the format takes them from its
    beginning.

    Args:
        codec: How the packets are coded, as far as the kind of file tells.

    Attributes:
        total: Bytes of the file that have been pushed.
        ended: See ``Reader``.
    """

    def __init__(self, codec: CodecName) -> None:
        """Begin at the first byte."""
        self._codec: CodecName = codec
        self._extradata: bytes = b""
        self._lead: int = 0
        self._begin: int = 0
        self.total: int = 0
        self._dropped: int = 0
        self._damaged: int = 0
        self.ended: bytes | None = None
        self._buffer = bytearray()
        self._skip = 0  # bytes still to come that are passed over
        self._junk = 0  # bytes in a row that are nothing
        self._last = False  # there is no more to come
        self._packets: list[Packet] = []

    @property
    def codec(self) -> CodecName:
        """How the packets are coded; right when there has been one."""
        return self._codec

    @property
    def extradata(self) -> bytes:
        """What the decoder takes beside the packets; right when there has been one."""
        return self._extradata

    @property
    def lead(self) -> int:
        """
        Frames of sound to leave out at the beginning.

        As the codec's own header or the container says; right when there has been a
        packet.
        """
        return self._lead

    @property
    def begin(self) -> int:
        """Offset of the first frame in the file."""
        return self._begin

    @property
    def dropped(self) -> int:
        """Bytes that were neither frames nor tags."""
        return self._dropped

    @property
    def damaged(self) -> int:
        """Frames that were begun and given up."""
        return self._damaged

    def push(self, data: bytes | memoryview, /) -> list[Packet]:
        """
        Take bytes; give the packets that are whole.

        Raises:
            AudioError: If they are no such file, or one that is not read.
        """
        self.total += len(data)
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        self._buffer += data
        while self._buffer and self.ended is None and self._step():
            pass
        packets, self._packets = self._packets, []
        return packets

    def flush(self) -> list[Packet]:
        """End the file; give what may still be a packet."""
        self._last = True
        packets = [] if self.ended is not None else self.push(b"")
        self._dropped += len(self._buffer)
        self._buffer.clear()
        return packets

    def state(self) -> tuple[dict[str, Any], bytes]:
        """Give plain values and the bytes that wait, for ``resume``."""
        fields = {
            "lead": self._lead,
            "begin": self._begin,
            "total": self.total,
            "dropped": self._dropped,
            "damaged": self._damaged,
            "skip": self._skip,
            "junk": self._junk,
        }
        return fields, bytes(self._buffer)

    def resume(
        self, fields: dict[str, Any], waiting: bytes, extradata: bytes, /
    ) -> None:
        """
        Go on where another splitter of the same kind was.

        Args:
            fields: What ``state`` gave.
            waiting: The same.
            extradata: The other one's.
        """
        self._extradata = extradata
        # Earlier snapshots have these two only where the format may set them.
        self._lead, self._skip = fields.get("lead", 0), fields.get("skip", 0)
        self._begin = fields["begin"]
        self.total = fields["total"]
        self._dropped = fields["dropped"]
        self._damaged = fields["damaged"]
        self._junk = fields["junk"]
        self._buffer = bytearray(waiting)

    @abc.abstractmethod
    def warm_up(self, packets: Sequence[bytes], /) -> list[bytes]:
        """
        Give the last packets that a fresh decoder takes to go on as the old one.

        Args:
            packets: The last packets decoded, at most ``RECENT``.
        """

    @abc.abstractmethod
    def _step(self) -> bool:
        """Take what the buffer begins with; tell whether to go on."""

    def _offset(self, at: int = 0) -> int:
        """Give where a place in the buffer lies in the file."""
        return self.total - len(self._buffer) + at

    def _drop(self, count: int) -> None:
        """Go on behind bytes that may not have come yet."""
        self._skip += max(0, count - len(self._buffer))
        del self._buffer[:count]

    def _count_junk(self, count: int) -> None:
        """
        Count bytes that are nothing.

        Raises:
            DamagedAudioError: If there has been nothing else for too long.
        """
        self._dropped += count
        self._junk += count
        if self._junk > MAX_JUNK_BYTES:
            raise DamagedAudioError(f"{self._junk} bytes in a row are no sound")

    def _end(self, at: int = 0) -> None:
        """End the file at a place in the buffer: another one begins there."""
        self.ended = bytes(self._buffer[at:])
        self.total -= len(self.ended)
        del self._buffer[at:]
