"""Padding cut away, to the sample; of an MP3 without knowing where it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from voicepipe.stream.packets.info import Info


if TYPE_CHECKING:
    from voicepipe.stream.packets.decoder import Decoded
    from voicepipe.stream.packets.splitter import Packet


# So much before the announced end, it may be the end.
_NEAR_BYTES = 8_192

_MAX_HELD_BYTES = 1 << 16


@attrs.define
class Waiting:
    """A packet on its way to the decoder: what is decoded, and where it lies."""

    data: bytes
    at: int
    frames: int
    whole: bool
    gap: int = 0
    cut: int = 0


class Gapless:
    """
    Says which packets to decode, and what to leave out of what becomes of them.

    The encoder's padding at the announced end is left out only if the file ends about
    there: FFmpeg takes one that is longer by a sixteenth for several files joined, and
    keeps everything. So the last packets wait until more come, or the end. At most
    64 kB wait; then the file goes on, whatever it has announced. Where the size that is
    announced shows that the end is still far away, nothing waits.

    Args:
        info: What the first frame says; ``None`` for nothing to leave out.
        begin: Offset of that frame in the file.
        lead: Frames to leave out of what is decoded first.
    """

    def __init__(self, info: Info | None = None, begin: int = 0, lead: int = 0) -> None:
        """Begin at the first frame that is decoded."""
        self._info = info or Info(sounds=True)
        self._begin = begin
        self._at = 0  # where the next packet lies, in frames of sound
        self._skip = lead  # frames to leave out of what is decoded next
        self._first = self._info.first  # zero where nothing is left out any more
        self._held: list[Waiting] = []
        self._held_bytes = 0

    def push(self, packet: Packet) -> list[Waiting]:
        """Take the next packet; give those that can be decoded now."""
        waiting = Waiting(
            packet.data, self._at, packet.frames, packet.whole, packet.gap, packet.cut
        )
        self._at += packet.frames
        # FFmpeg does not count the header of the first frame.
        size = packet.end - self._begin - 4
        if not self._held and not self._may_end(waiting, size):
            return [waiting]
        self._held.append(waiting)
        self._held_bytes += len(waiting.data)
        if self._is_longer(size) or self._held_bytes > _MAX_HELD_BYTES:
            self._first = 0
            return self._release()
        return []

    def flush(self, total: int) -> list[Waiting]:
        """
        Give the packets that have waited.

        Args:
            total: Bytes of the file.
        """
        if self._held and self._is_longer(total - self._begin - 4):
            self._first = 0
        return self._release()

    def cut(self, waiting: Waiting, decoded: Decoded) -> Any:
        """Give a packet's samples without those that are to be left out."""
        samples, padding = decoded.samples, self._padding(waiting)
        if waiting.at == 0 and self._info.start:
            self._skip = self._info.start
        elif padding:
            self._skip = 0
        skipped = min(self._skip, len(samples))
        self._skip -= skipped
        samples = samples[skipped:]
        padding = padding or waiting.cut
        if 0 < padding <= len(samples):
            samples = samples[: len(samples) - padding]
        return samples

    def state(self) -> tuple[dict[str, Any], list[bytes]]:
        """Give what ``resumed`` takes."""
        fields = {
            "info": attrs.asdict(self._info),
            "begin": self._begin,
            "at": self._at,
            "skip": self._skip,
            "first": self._first,
            "held": [[held.at, held.frames, held.whole] for held in self._held],
        }
        return fields, [held.data for held in self._held]

    @classmethod
    def resumed(cls, fields: dict[str, Any], held: list[bytes]) -> Gapless:
        """Go on where another was."""
        gapless = cls(Info(**fields["info"]), fields["begin"])
        gapless._at = fields["at"]
        gapless._skip = fields["skip"]
        gapless._first = fields["first"]
        gapless._held = [
            Waiting(data, *place)
            for data, place in zip(held, fields["held"], strict=True)
        ]
        gapless._held_bytes = sum(map(len, held))
        return gapless

    def _may_end(self, waiting: Waiting, size: int) -> bool:
        """Tell whether a packet may be padding, or may not."""
        near = self._info.size and size + _NEAR_BYTES >= self._info.size
        return bool(near and self._padding(waiting))

    def _is_longer(self, size: int) -> bool:
        announced = self._info.size
        return bool(announced) and size - announced > announced >> 4

    def _padding(self, waiting: Waiting) -> int:
        """Give how many frames at the end of a packet are padding."""
        beyond = waiting.at + waiting.frames - self._first
        if not self._first or beyond < 0 or waiting.at >= self._info.last:
            return 0
        return min(beyond, waiting.frames)

    def _release(self) -> list[Waiting]:
        held, self._held, self._held_bytes = self._held, [], 0
        return held
