"""
Frames of MPEG audio and ADTS, one behind the other, and the tags among them.

The first frame of an MP3 may say how many follow: the tags Xing and Info (as LAME
writes them: gabriel.mp3-tech.org/mp3infotag.html) and VBRI (of Fraunhofer's encoder).
Without one, a file that ends between two frames cannot be told from a whole one; that
holds for every ADTS file. Nor is damage seen that leaves every header as it was.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from voicepipe.stream.mpeg import (
    CHECKED_BYTES,
    HEADER_BYTES,
    has_bad_checksum,
    id3v2_size,
    mpeg_frame,
)
from voicepipe.stream.structure.walker import Structure


if TYPE_CHECKING:
    from voicepipe.stream.mpeg import Frame, FrameParser


_TRAILING_BYTES = 8_192
"""
Most bytes behind the last frame that are not missed sound: the longest ADTS frame.

Players leave all kinds of tags there. More, and the file was set aside whole and filled
in part.
"""

_MAX_LENGTHS = 1_024

_ID3V1_BYTES = 128  # "TAG": id3.org/ID3v1
_APE_BYTES = 32  # header or footer of an APEv2 tag
_APE_IS_HEADER = 0x20000000
_BEGINNING = re.compile(rb"\xff|ID3|TAG|APETAGEX")
_XING = frozenset({b"Xing", b"Info"})
_UNKNOWN_COUNT = 0xFFFFFFFF


class MpegStructure(Structure):
    """
    Follows the frames of an MP3 or ADTS file.

    Args:
        parse: ``mpeg_frame`` or ``adts_frame``.
    """

    def __init__(self, parse: FrameParser) -> None:
        """Begin at the first frame."""
        super().__init__()
        self._parse = parse
        self._first: Frame | None = None
        self._frames = 0
        self._declared: int | None = None
        self._in_frame = False  # the last element was a frame
        self._passed = 0  # bytes since the last frame or tag that were neither
        self._junk = 0  # of those, the ones that are not zero
        self._bad_checksums = 0
        # Lengths of whole frames without a checksum, by their headers: a file has a
        # handful of those, and a frame for each 26 ms.
        self._lengths: dict[bytes, int] = {}
        self._key_bytes = 4 if parse is mpeg_frame else HEADER_BYTES

    @property
    def declared_s(self) -> float | None:
        """Seconds that the first frame announces, padding included."""
        if self._declared is None or self._first is None:
            return None
        return self._declared * self._first.samples / self._first.rate

    @property
    def cut(self) -> bool:
        """Whether the last frame is not complete, or announced ones are missing."""
        if self._first is None:
            return bool(self._buffer)
        if (self._in_frame and self._skip) or self._ends_in_header():
            return True
        if self._declared is not None:
            # Some encoders count the announcing frame itself.
            return self._frames + 1 < self._declared
        return self.trailing_bytes > _TRAILING_BYTES

    @property
    def empty(self) -> bool:
        """Whether there is a frame that announces others, and no other."""
        return self._first is not None and self._frames == 0 and not self.damaged

    @property
    def bad_checksums(self) -> int:
        """Frames whose checksum is wrong; some old encoders could not do better."""
        return self._bad_checksums

    @property
    def trailing_bytes(self) -> int:
        """Bytes behind the last frame or tag that are neither."""
        return self._passed + len(self._buffer)

    def _element(self, buffer: bytes, at: int) -> int | None:
        room = len(buffer) - at
        frame = self._parse(buffer, at) if room >= HEADER_BYTES else None
        if room < (min(frame.length, CHECKED_BYTES) if frame else _APE_BYTES):
            return None
        if frame is not None and self._passed:
            behind = at + frame.length
            if behind + HEADER_BYTES > len(buffer):
                return None
            frame = frame if self._goes_on(frame, buffer, behind) else None
        if frame is None:
            return self._no_frame(buffer, at) if room >= _APE_BYTES else None
        if self._first is None:
            if room < frame.length:
                return None
            self._first = frame
            announced = _announced(buffer[at : at + frame.length])
            if announced is not None:
                self._declared = announced or None
                return frame.length  # it holds no sound
        self._count(buffer, at)
        if buffer[at + 1] & 1 and len(self._lengths) < _MAX_LENGTHS:
            self._lengths[buffer[at : at + self._key_bytes]] = frame.length
        return frame.length

    def _run(self, buffer: bytes, at: int) -> int:
        if self._passed or not self._in_frame:
            return 0
        lengths, key_bytes = self._lengths, self._key_bytes
        begin, last, end = at, at, len(buffer) - CHECKED_BYTES
        while at <= end and (length := lengths.get(buffer[at : at + key_bytes])):
            last, at = at, at + length
            self._frames += 1
        if at > begin:
            self.last_at = self._offset + last - begin
        return at - begin

    def _count(self, buffer: bytes, at: int) -> None:
        self._frames += 1
        self._bad_checksums += has_bad_checksum(buffer, at)
        self._in_frame = True
        self.last_at: int | None = self._offset
        # Zeros between two recordings that were put together are no damage.
        self.damaged: bool = self.damaged or self._junk > 0
        self._passed = self._junk = 0

    def _no_frame(self, buffer: bytes, at: int) -> int:
        self._in_frame = False
        return self._tag(buffer, at) or self._search(buffer, at)

    def _ends_in_header(self) -> bool:
        """Tell whether the last few bytes, too few to be taken, begin a frame."""
        if self._passed or not self._buffer.startswith(b"\xff"):
            return False
        if len(self._buffer) < HEADER_BYTES:
            return True
        frame = self._parse(self._buffer, 0)
        return frame is not None and frame.length > len(self._buffer)

    def _goes_on(self, frame: Frame, buffer: bytes, behind: int) -> bool:
        """Tell whether a header among other bytes continues the stream."""
        first, after = self._first or frame, self._parse(buffer, behind)
        return after is not None and frame.kind == first.kind == after.kind

    def _search(self, buffer: bytes, at: int) -> int:
        """Go on to the next place where a frame or a tag may begin."""
        found = _BEGINNING.search(buffer, at + 1)
        # A beginning may itself be cut by the end of the buffer.
        end = found.start() if found else len(buffer) - _APE_BYTES + 1
        self._passed += end - at
        self._junk += end - at - buffer.count(b"\0", at, end)
        return end - at

    @staticmethod
    def _tag(buffer: bytes, at: int) -> int:
        """Give the size of the tag at an offset, zero where there is none."""
        if buffer.startswith(b"TAG", at):
            return _ID3V1_BYTES
        if buffer.startswith(b"APETAGEX", at):
            size = int.from_bytes(buffer[at + 12 : at + 16], "little")
            flags = int.from_bytes(buffer[at + 20 : at + 24], "little")
            return _APE_BYTES + (size if flags & _APE_IS_HEADER else 0)
        return id3v2_size(buffer, at)


def _announced(frame: bytes) -> int | None:
    """Give the number of frames that a frame announces, 0 where it is not known."""
    # VBRI stands 32 bytes behind the header; Xing behind the side information, whose
    # length depends on version and mode.
    if frame.startswith(b"VBRI", 36):
        count = frame[50:54]
    else:
        at = next((at for at in (13, 21, 36) if frame[at : at + 4] in _XING), None)
        if at is None or not int.from_bytes(frame[at + 4 : at + 8], "big") & 1:
            return None
        count = frame[at + 8 : at + 12]
    frames = int.from_bytes(count, "big")
    return 0 if frames == _UNKNOWN_COUNT else frames
