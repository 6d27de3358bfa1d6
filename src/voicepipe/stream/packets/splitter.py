"""What the splitters of all formats have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol


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
    """

    data: bytes
    frames: int
    end: int
    whole: bool = True
    alike: bool = True


class Splitter(Protocol):
    """
    Cuts one file into packets; chunk-invariant.

    Attributes:
        codec: How the packets are coded; right when there has been a packet.
        extradata: What the decoder takes beside them; right when there has been one.
        begin: Offset of the first frame in the file.
        total: Bytes of the file that have been pushed.
        dropped: Bytes that were neither frames nor tags.
        damaged: Frames that were begun and given up.
        ended: See ``Reader``.
    """

    codec: CodecName
    extradata: bytes
    begin: int
    total: int
    dropped: int
    damaged: int
    ended: bytes | None

    def push(self, data: bytes | memoryview, /) -> list[Packet]:
        """Take bytes; give the packets that are whole."""
        ...

    def flush(self) -> list[Packet]:
        """End the file; give what may still be a packet."""
        ...

    def state(self) -> tuple[dict[str, Any], bytes]:
        """Give what ``resume`` takes: plain values, and the bytes that wait."""
        ...

    def resume(self, fields: dict[str, Any], waiting: bytes, /) -> None:
        """Go on where another splitter of the same kind was."""
        ...

    def warm_up(self, packets: Sequence[bytes], /) -> list[bytes]:
        """
        Give the last packets that a fresh decoder takes to go on as the old one.

        Args:
            packets: The last packets decoded, at most ``RECENT``.
        """
        ...


RECENT = 64
"""Packets kept for warming up a fresh decoder."""
