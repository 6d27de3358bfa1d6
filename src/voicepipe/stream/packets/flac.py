"""
Native FLAC cut into its frames (RFC 9639).

A frame does not say how long it is. It ends where the next one begins: a sync code and
a header whose checksum is right, of the same format, with the number that follows. By
chance that happens once in 2**40 bytes. The checksum behind each frame is left to the
decoder, which computes it a hundred times as fast.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from voicepipe.errors import DamagedAudioError, UnsupportedAudioError
from voicepipe.stream.mpeg import ID3_HEADER_BYTES, id3v2_size
from voicepipe.stream.packets.flac_header import (
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    FlacHeader,
    crc_16,
    follows,
    read_header,
)
from voicepipe.stream.packets.signature import FILE
from voicepipe.stream.packets.splitter import Packet, Splitter


if TYPE_CHECKING:
    from collections.abc import Sequence


_STREAMINFO_BYTES = 34
_ID3V1_BYTES = 128

_BEGINNING = re.compile(rb"\xff[\xf8\xf9]|" + FILE.pattern)


class FlacSplitter(Splitter):
    """
    Cuts native FLAC into its frames.

    Metadata is skipped without being kept, but for STREAMINFO. A frame is given when
    the next one has begun: at most 16 bytes later. Damage costs the frames that it
    touches, and where a header is lost the frame before it.

    Never keeps more than ``MAX_FRAME_BYTES`` and a few. The signature of a WAV or FLAC
    file ends this one wherever it stands.
    """

    def __init__(self) -> None:
        """Begin at the first byte."""
        super().__init__("flac")
        self._stage = "magic"  # then "blocks", then "frames"
        self._scan = 0  # where to look for headers next, in the buffer
        # The frame that begins the buffer, and one behind it that does not follow it.
        self._start: FlacHeader | None = None
        self._second: tuple[int, FlacHeader] | None = None

    def state(self) -> tuple[dict[str, Any], bytes]:
        """See ``Splitter``."""
        fields, waiting = super().state()
        own = {
            "stage": self._stage,
            "scan": self._scan,
            "start": self._start,
            "second": self._second,
        }
        return fields | own, waiting

    def resume(
        self, fields: dict[str, Any], waiting: bytes, extradata: bytes, /
    ) -> None:
        """See ``Splitter``."""
        super().resume(fields, waiting, extradata)
        self._stage, self._scan = fields["stage"], fields["scan"]
        start, second = fields["start"], fields["second"]
        self._start = None if start is None else FlacHeader(*start)
        self._second = None if second is None else (second[0], FlacHeader(*second[1]))

    def warm_up(self, _packets: Sequence[bytes], /) -> list[bytes]:
        """See ``Splitter``; a frame of FLAC leans on nothing."""
        return []

    def _step(self) -> bool:
        """See ``Splitter``."""
        if self._stage != "frames":
            return self._metadata()
        self._frames()
        if self._last and self.ended is None:
            self._give_last()
        return False

    # --- metadata ---------------------------------------------------------------------

    def _metadata(self) -> bool:
        """Take a tag or a block in front of the frames; tell whether to go on."""
        room = len(self._buffer)
        if room < ID3_HEADER_BYTES and not (self._stage == "blocks" and room >= 4):
            return False
        if self._stage == "magic":
            return self._magic()
        kind, length = self._buffer[0], int.from_bytes(self._buffer[1:4], "big")
        if kind & 0x7F == 0 and not self._extradata:
            if room < 4 + _STREAMINFO_BYTES:
                return False
            self._extradata = bytes(self._buffer[4 : 4 + _STREAMINFO_BYTES])
            _check_longest(self._extradata)
        if kind & 0x80:
            self._stage = "frames"
        self._drop(4 + length)
        if self._stage == "frames":
            self._begin = self._offset() + self._skip
        return True

    def _magic(self) -> bool:
        tag = id3v2_size(bytes(self._buffer[:ID3_HEADER_BYTES]))
        if not tag and not self._buffer.startswith(b"fLaC"):
            raise DamagedAudioError("the FLAC file does not begin with its signature")
        if not tag:
            self._stage = "blocks"
        self._drop(tag or 4)
        return True

    # --- frames -----------------------------------------------------------------------

    def _frames(self) -> None:
        """Find where frames begin, as far as it can be told."""
        while self.ended is None:
            # A header is read whole, so that it does not matter when it came.
            known = len(self._buffer) - (0 if self._last else HEADER_BYTES - 1)
            found = _BEGINNING.search(self._buffer, self._scan)
            if found is None or found.start() >= known:
                self._scan = max(self._scan, known)
                self._give_up(self._scan)
                return
            if not self._give_up(found.start()):
                self._candidate(found.start())

    def _candidate(self, at: int) -> None:
        """Look at what may be a header, or another file's signature."""
        if FILE.match(self._buffer, at):
            self._end(at)
            self._give_last()
            return
        self._scan = at + 1
        header = read_header(
            bytes(self._buffer[at : at + HEADER_BYTES]), self._extradata
        )
        if header is None:
            return
        start, second = self._start, self._second
        if start is None:
            self._start = header
        elif follows(start, header):
            self._give(at, header)
        elif second is not None and follows(second[1], header):
            # What stood between was a header, now unreadable, or none.
            self._damaged += 1
            self._pass(second[0])
            self._give(at - second[0], header)
        elif header.kind == start.kind:
            self._second = (at, header)

    def _give(self, end: int, header: FlacHeader) -> None:
        """Give the frame that begins the buffer; the next one's header is known."""
        self._packet(bytes(self._buffer[:end]))
        del self._buffer[:end]
        self._scan = header.length
        self._start, self._second, self._junk = header, None, 0

    def _give_up(self, at: int) -> bool:
        """
        Drop what cannot become a frame if none begins before an offset.

        Returns:
            Whether the buffer has changed.
        """
        start, second = self._start, self._second
        if start is None:
            self._pass(at)
            return at > 0
        if at <= start.longest:
            return False
        self._damaged += 1
        if second is None:
            self._start = None
            self._pass(at)
        else:
            self._start, self._second = second[1], None
            self._pass(second[0])
        return True

    def _pass(self, count: int) -> None:
        """
        Drop bytes at the beginning of the buffer.

        Raises:
            DamagedAudioError: If there has been no frame for too long.
        """
        del self._buffer[:count]
        self._scan = max(0, self._scan - count)
        self._count_junk(count)

    def _packet(self, data: bytes, *, whole: bool = True) -> None:
        assert self._start is not None  # noqa: S101 - for the type checker
        end = self._offset(len(data))
        self._packets.append(Packet(data, self._start.frames, end, whole))

    def _give_last(self) -> None:
        """Give what the buffer holds as the last frame, without tags behind it."""
        if self._start is None:
            return
        data = bytes(self._buffer)
        if self._second is not None and crc_16(data):
            at, self._start = self._second
            self._damaged += 1
            self._dropped += at
            data = data[at:]
        tag = len(data) - _ID3V1_BYTES
        for at in (data.find(b"TAG", max(0, tag)), data.rfind(b"ID3")):
            if at > 0 and not crc_16(data[:at]):
                data = data[:at]
                break
        self._packet(data, whole=False)
        self._buffer.clear()
        self._start = self._second = None


def _check_longest(streaminfo: bytes) -> None:
    longest = int.from_bytes(streaminfo[7:10], "big")
    if longest > MAX_FRAME_BYTES:
        raise UnsupportedAudioError(
            "the frames of the FLAC file are too long",
            got=f"{longest} bytes",
            wanted=f"at most {MAX_FRAME_BYTES} bytes",
        )
