"""MPEG audio and ADTS cut into frames; tags skipped, damage passed over."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from voicepipe.stream.mpeg import HEADER_BYTES, adts_frame, id3v2_size, mpeg_frame
from voicepipe.stream.packets.info import has_info, read_info
from voicepipe.stream.packets.signature import SIGNATURE_BYTES, begins_file
from voicepipe.stream.packets.splitter import Packet, Splitter


if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.stream.mpeg import Frame
    from voicepipe.stream.packets.decoder import CodecName


_ID3V1_BYTES = 128  # "TAG": id3.org/ID3v1
_APE_BYTES = 32  # header or footer of an APEv2 tag
_APE_IS_HEADER = 0x20000000

# Nobody needs more; a tag that says so is none.
_MAX_APE_BYTES = 1 << 24

# The first bytes of anything that may end a search: valid headers are few, and it is C
# that looks for them.
_TAGS = rb"ID3|TAG|APETAGEX|fLaC|RIFF|RF64|BW64"
_MPEG_BEGINNING = re.compile(
    rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]"
    rb"[\x10-\x1b\x20-\x2b\x30-\x3b\x40-\x4b\x50-\x5b\x60-\x6b\x70-\x7b"
    rb"\x80-\x8b\x90-\x9b\xa0-\xab\xb0-\xbb\xc0-\xcb\xd0-\xdb\xe0-\xeb]"
    rb"|" + _TAGS
)
_ADTS_BEGINNING = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]|" + _TAGS)

# See ``mpeg.find_frames``: chance makes headers, but not runs of them.
_RUN_AT_START = 2
_RUN_ELSEWHERE = 4
_RUN_AGAIN = 2

# FFmpeg begins an MP3 with the first frame that has these bits in common with the next:
# sync word, version, layer, rate, mode, copyright, original, emphasis.
_SAME = 0xFFFE0CCF
_MAX_LEADING_BYTES = 1 << 16

# MPEG audio, by its layer.
_LAYERS: dict[int, CodecName] = {3: "mp1", 2: "mp2", 1: "mp3"}

# Main data that a frame of layer III may lean on: nine bits of bytes.
_RESERVOIR_BYTES = 512

# The overlap of the transform and the memory of the filter bank: the frame before and,
# where frames have one granule, the one before that.
_WARM_FRAMES = 3

# Of AAC: the overlap reaches one frame back, prediction and band replication further.
_WARM_AAC = 8


class FrameSplitter(Splitter):
    """
    Cuts MPEG audio or ADTS into its frames.

    Frames are found as ``stream.sniff`` finds them: at the very beginning two headers
    must agree, behind anything else four. From then on a header is believed where a
    frame has ended; behind damage, two of the stream's own kind must agree. ID3v2,
    ID3v1 and APE tags are skipped wherever a frame may begin, without being kept. What
    ends the file: a frame with a Xing or Info tag that is not the first, frames of
    another rate, version or layer, and the signature of a WAV or FLAC file.

    Never keeps more than four frames of the longest kind: 12 kB of MPEG audio, 33 kB of
    ADTS.

    Args:
        codec: ``"mp3"`` for MPEG audio of any layer, ``"aac"`` for ADTS.
    """

    def __init__(self, codec: Literal["mp3", "aac"]) -> None:
        """Begin at the first byte."""
        super().__init__(codec)
        self._is_mpeg = codec == "mp3"
        self._parse = mpeg_frame if self._is_mpeg else adts_frame
        self._beginning = _MPEG_BEGINNING if self._is_mpeg else _ADTS_BEGINNING
        self._kind = 0  # of the stream's frames; zero before the first
        self._at_start = True  # nothing but tags has been seen
        self._leading = self._is_mpeg  # the frame to begin with has not been found
        self._in_step = False  # a frame or a tag has just ended

    def state(self) -> tuple[dict[str, Any], bytes]:
        """See ``Splitter``."""
        fields, waiting = super().state()
        own = {
            "codec": self._codec,
            "kind": self._kind,
            "at_start": self._at_start,
            "leading": self._leading,
            "in_step": self._in_step,
        }
        return fields | own, waiting

    def resume(
        self, fields: dict[str, Any], waiting: bytes, extradata: bytes, /
    ) -> None:
        """See ``Splitter``."""
        if (fields["codec"] == "aac") is self._is_mpeg:
            raise ValueError("it is of another codec")
        super().resume(fields, waiting, extradata)
        self._codec = fields["codec"]
        self._kind = fields["kind"]
        self._at_start = fields["at_start"]
        self._leading, self._in_step = fields["leading"], fields["in_step"]

    def warm_up(self, packets: Sequence[bytes], /) -> list[bytes]:
        """See ``Splitter``."""
        if not self._is_mpeg:
            return list(packets[-_WARM_AAC:])
        first, reservoir = max(0, len(packets) - _WARM_FRAMES), 0
        while first > 0 and reservoir < _RESERVOIR_BYTES:
            first -= 1
            reservoir += _main_bytes(packets[first])
        return list(packets[first:])

    def _step(self) -> bool:
        """See ``Splitter``; takes all that can be told."""
        buffer, at = bytes(self._buffer), 0
        while at < len(buffer):
            length = self._take(buffer, at)
            if length is None:
                break
            at += length
        self._drop(at)
        return False

    def _take(self, buffer: bytes, at: int) -> int | None:
        """
        Take what stands at an offset.

        Returns:
            Bytes to go on by, more than are there where a tag is skipped; ``None``
            where more are needed to tell, or where the file has ended.
        """
        room = len(buffer) - at
        if room < SIGNATURE_BYTES and not self._last:
            return None
        frame = self._parse(buffer, at)
        if frame is not None:
            return self._frame(buffer, at, frame)
        return self._no_frame(buffer, at)

    def _frame(self, buffer: bytes, at: int, frame: Frame) -> int | None:
        """Take a frame, if it is one."""
        believed = self._in_step and frame.kind == self._kind
        if not believed:
            agrees = self._agrees(buffer, at, frame)
            if agrees is None:
                return None
            if not agrees:
                return self._no_frame(buffer, at)
        missing = max(0, at + frame.length - len(buffer))
        alike = self._is_alike(buffer, at, frame)
        if (missing and not self._last) or alike is None:
            return None
        data = buffer[at : at + frame.length]
        if self._kind and self._begins_anew(frame, data):
            self._end(at)
            return None
        self._damaged += self._kind != 0 and self._junk > 0
        self._in_step, self._at_start, self._junk = True, False, 0
        if missing and not self._is_mpeg:
            self._dropped += len(data)
        else:
            end = self.total - len(buffer) + at + len(data)
            # What is missing would be whatever lies in the decoder's memory.
            data += bytes(missing)
            self._give(Packet(data, frame.samples, end, not missing, alike))
        self._kind = frame.kind
        return frame.length

    def _begins_anew(self, frame: Frame, data: bytes) -> bool:
        """Tell whether a frame that is not the first begins another file."""
        if frame.kind != self._kind:
            return True
        return self._is_mpeg and has_info(data, silent=True)

    def _give(self, packet: Packet) -> None:
        """Give a frame, unless FFmpeg would take it for garbage at the beginning."""
        info = None
        if self._is_mpeg:
            self._codec = _LAYERS[packet.data[1] >> 1 & 3]
        if not self._kind:
            self._begin = packet.end - len(packet.data)
            info = read_info(packet.data) if self._is_mpeg else None
        if self._leading:
            self._leading = info is not None and not (info.sounds and packet.alike)
            if info is None and not packet.alike and self._dropped < _MAX_LEADING_BYTES:
                self._leading = True
                self._dropped += len(packet.data)
                return
        self._packets.append(packet)

    def _is_alike(self, buffer: bytes, at: int, frame: Frame) -> bool | None:
        """Tell whether one of the first frames goes with the next one."""
        behind = at + frame.length
        if not self._leading:
            return True
        if behind + HEADER_BYTES > len(buffer):
            return True if self._last else None
        if self._parse(buffer, behind) is None:
            return True
        header = int.from_bytes(buffer[at : at + 4], "big")
        after = int.from_bytes(buffer[behind : behind + 4], "big")
        return (header ^ after) & _SAME == 0

    def _agrees(self, buffer: bytes, at: int, frame: Frame) -> bool | None:
        """Tell whether enough frames of one kind follow; ``None`` if it is not seen."""
        if not self._kind:
            wanted = _RUN_AT_START if self._at_start else _RUN_ELSEWHERE
        elif self._in_step or frame.kind == self._kind:
            wanted = _RUN_AGAIN
        else:
            wanted = _RUN_ELSEWHERE
        for _ in range(wanted - 1):
            at += frame.length
            if at + HEADER_BYTES > len(buffer):
                # The end of the file is as good as a frame where one had to begin.
                ends = at == len(buffer) or self._at_start
                return ends if self._last else None
            after = self._parse(buffer, at)
            if after is None or after.kind != frame.kind:
                return False
        return True

    def _no_frame(self, buffer: bytes, at: int) -> int | None:
        """Take a tag, or pass over what is nothing at all."""
        if begins_file(buffer, at):
            self._end(at)
            return None
        room = len(buffer) - at
        if room < _APE_BYTES and not self._last and buffer.startswith(b"APETAGEX", at):
            return None
        tag = _tag_bytes(buffer, at)
        if tag:
            self._in_step = True
            return tag
        return self._search(buffer, at)

    def _search(self, buffer: bytes, at: int) -> int:
        """
        Go on to the next place where a frame or a tag may begin.

        Raises:
            DamagedAudioError: If there has been none for too long.
        """
        self._in_step = self._at_start = False
        found = self._beginning.search(buffer, at + 1)
        # A beginning may itself be cut by the end of the buffer.
        last = len(buffer) if self._last else len(buffer) - SIGNATURE_BYTES + 1
        end = min(found.start() if found else last, max(last, at + 1))
        self._count_junk(end - at)
        return end - at


def _tag_bytes(buffer: bytes, at: int) -> int:
    """Give the size of the tag at an offset, zero where there is none."""
    if buffer.startswith(b"TAG", at):
        return _ID3V1_BYTES
    if buffer.startswith(b"APETAGEX", at):
        size = int.from_bytes(buffer[at + 12 : at + 16], "little")
        flags = int.from_bytes(buffer[at + 20 : at + 24], "little")
        if size > _MAX_APE_BYTES:
            return 0
        return _APE_BYTES + (size if flags & _APE_IS_HEADER else 0)
    return id3v2_size(buffer, at)


def _main_bytes(packet: bytes) -> int:
    """Give the bytes of main data in a frame of layer III, at least."""
    # Header, checksum, and side information by version and number of channels.
    is_mpeg1, is_mono = packet[1] >> 3 & 3 == 3, packet[3] >> 6 == 3
    side = {(True, False): 32, (False, True): 9}.get((is_mpeg1, is_mono), 17)
    return max(0, len(packet) - 6 - side)
