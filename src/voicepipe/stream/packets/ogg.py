"""
Ogg cut into packets of Opus (RFC 3533 for Ogg, RFC 7845 for Opus in it).

A page says how many frames of sound there are up to its last packet, so what is missing
is told by it; and it has a checksum, so no damaged packet is decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicepipe.errors import DamagedAudioError, UnsupportedAudioError
from voicepipe.stream.packets.opus import (
    MAX_PACKET_BYTES,
    packet_frames,
    read_head,
    warm_up,
)
from voicepipe.stream.packets.signature import HEADER, SIGNATURE_BYTES
from voicepipe.stream.packets.splitter import Packet, Splitter
from voicepipe.stream.packets.timeline import Timeline
from voicepipe.stream.structure.ogg import checksum


if TYPE_CHECKING:
    from collections.abc import Sequence


_MAGIC = b"OggS"
_HEADER_BYTES = 27

# Bits of the header type flag.
_CONTINUED, _FIRST, _LAST = 1, 2, 4

# The position of a page on which no packet ends.
_NO_POSITION = (1 << 64) - 1

# First bytes of a stream of another codec.
_OTHERS = {b"\x01vorbis": "Vorbis", b"\x7fFLAC\x01": "FLAC", b"Speex   ": "Speex"}

_WANTED = "Ogg with Opus"


class OggSplitter(Splitter):
    """
    Cuts Ogg into the packets of its first stream of Opus.

    Other streams beside it are passed over. Where pages are missing or damaged, the
    packet behind them says how much sound went with them.

    What ends the file: the first page of a stream behind sound, and the header of a
    WebM, WAV or FLAC file where a page should begin.

    Never keeps more than one page and one packet that goes over several: 128 KiB.
    """

    def __init__(self) -> None:
        """Begin at the first byte."""
        super().__init__("opus")
        self._serial: int | None = None  # of our stream
        self._other = ""  # what there was instead
        self._started = False  # a page has come that is no first one
        self._tagged = False  # the comments have been passed over
        self._number = 0  # of our stream's next page
        self._partial = b""  # a packet that goes on on the next page
        self._open = False  # whether there is one, even if it is not kept
        self._timeline = Timeline()

    def flush(self) -> list[Packet]:
        """See ``Splitter``."""
        packets = super().flush()
        self._forget()
        return packets

    def state(self) -> tuple[dict[str, Any], bytes]:
        """See ``Splitter``."""
        fields, waiting = super().state()
        own = {
            "serial": self._serial,
            "other": self._other,
            "started": self._started,
            "tagged": self._tagged,
            "number": self._number,
            "partial": len(self._partial),
            "open": self._open,
            "timeline": self._timeline.state(),
        }
        return fields | own, self._partial + waiting

    def resume(
        self, fields: dict[str, Any], waiting: bytes, extradata: bytes, /
    ) -> None:
        """See ``Splitter``."""
        partial = fields["partial"]
        super().resume(fields, waiting[partial:], extradata)
        self._partial, self._open = waiting[:partial], fields["open"]
        self._serial, self._other = fields["serial"], fields["other"]
        self._started, self._tagged = fields["started"], fields["tagged"]
        self._number = fields["number"]
        self._timeline = Timeline(fields["timeline"])

    def warm_up(self, packets: Sequence[bytes], /) -> list[bytes]:
        """See ``Splitter``."""
        return warm_up(packets)

    def _step(self) -> bool:
        """See ``Splitter``."""
        buffer = self._buffer
        if not _MAGIC.startswith(buffer[: len(_MAGIC)]):
            return self._search(0)
        if len(buffer) < _HEADER_BYTES:
            return False
        body = _HEADER_BYTES + buffer[26]
        lacing = bytes(buffer[_HEADER_BYTES:body])
        end = body + sum(lacing)
        if len(buffer) < max(body, end):
            return False
        page = bytes(buffer[:end])
        if checksum(page[:22] + bytes(4) + page[26:]) != _field(page, 22, 4):
            # The length may be what is wrong: look for the next page right behind.
            self._damaged += 1
            return self._search(len(_MAGIC))
        self._junk = 0
        if page[5] & _FIRST:
            return self._first(page, body)
        self._page(page, lacing)
        del buffer[:end]
        return True

    def _first(self, page: bytes, body: int) -> bool:
        """Take the first page of a stream."""
        if self._started:
            self._end()
            return False
        packet = page[body:]
        if packet.startswith(b"OpusHead") and self._serial is None:
            self._serial, self._number = _field(page, 14, 4), _field(page, 18, 4) + 1
            self._extradata, self._lead = read_head(packet)
        else:
            names = [
                name for magic, name in _OTHERS.items() if packet.startswith(magic)
            ]
            self._other = self._other or (names or ["no Opus"])[0]
        del self._buffer[: len(page)]
        return True

    def _page(self, page: bytes, lacing: bytes) -> None:
        """Take a page that is not the first of its stream."""
        self._started = True
        if self._serial is None:
            what = f"Ogg with {self._other}" if self._other else "Ogg of no beginning"
            raise UnsupportedAudioError(
                f"{what} is not supported in a stream; wanted {_WANTED}",
                got=what,
                wanted=_WANTED,
            )
        if _field(page, 14, 4) != self._serial:
            return
        number, self._number = self._number, _field(page, 18, 4) + 1 & 0xFFFFFFFF
        missing = _field(page, 18, 4) != number
        packets = self._joined(page, lacing, missing=missing)
        if packets and not self._tagged:
            self._tagged = True
            packets = packets[1:]
        if packets:
            self._give(page, packets)

    def _joined(self, page: bytes, lacing: bytes, *, missing: bool) -> list[bytes]:
        """Give the packets that end on a page; keep the one that does not."""
        continues = bool(page[5] & _CONTINUED)
        if self._open and (missing or not continues):
            self._damaged += 1
            self._forget()
        orphan = continues and not self._open
        packets = []
        at, size = _HEADER_BYTES + len(lacing), 0
        for length in lacing:
            size += length
            if length == 0xFF:
                continue
            packets.append(self._partial + page[at : at + size])
            at, size = at + size, 0
            self._partial, self._open = b"", False
        if orphan and packets:
            del packets[0]
        elif orphan:
            return []
        if lacing.endswith(b"\xff"):
            self._open = True
            self._partial += page[at:] if self._tagged or packets else b""
            if len(self._partial) > MAX_PACKET_BYTES:
                self._damaged += 1
                self._forget()
        return packets

    def _forget(self) -> None:
        """Give up a packet that is not whole."""
        self._dropped += len(self._partial)
        self._partial, self._open = b"", False

    def _give(self, page: bytes, packets: list[bytes]) -> None:
        end = self._offset(len(page))
        self._begin = self._begin or end - len(page)
        frames = [packet_frames(packet) for packet in packets]
        position, final = _field(page, 6, 8), bool(page[5] & _LAST)
        if position == _NO_POSITION:  # it should not be: there are packets
            final, position = False, self._timeline.then + sum(frames)
        begin = position - sum(frames)
        if final:
            # It ends before its last packet does, or some are missing.
            begin = max(begin, self._timeline.then)
        gap = self._timeline.gap(begin, sum(frames))
        at = self._timeline.then - sum(frames)
        for index, data in enumerate(packets):
            at += frames[index]
            excess = min(at - position, frames[index]) if final else 0
            self._packets.append(
                Packet(
                    data,
                    frames[index],
                    end,
                    gap=gap if index == 0 else 0,
                    cut=max(0, excess),
                )
            )

    def _search(self, at: int) -> bool:
        """Go on to the next page or file; tell whether there is one."""
        if not self._started and self._serial is None and not self._other:
            raise DamagedAudioError("the Ogg file does not begin with a page")
        page = self._buffer.find(_MAGIC, at)
        header = HEADER.search(self._buffer, at)
        last = max(at, len(self._buffer) - SIGNATURE_BYTES + 1)
        found = len(self._buffer) if self._last else last
        if page >= 0:
            found = min(found, page)
        if header is not None:
            found = min(found, header.start())
        here = found in {page, header.start() if header else page}
        self._count_junk(found)
        del self._buffer[:found]
        if here and found != page:
            self._end()
        return here


def _field(page: bytes, at: int, size: int) -> int:
    return int.from_bytes(page[at : at + size], "little")
