"""
WebM and Matroska cut into packets of Opus, as a browser's MediaRecorder writes them.

A live recording leaves the lengths of its segment and its clusters unknown, so both are
entered, and what stands in them is read in one row. Every other element says how long
it is, and is not believed where that makes no sense.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from voicepipe.errors import DamagedAudioError
from voicepipe.stream.packets import matroska
from voicepipe.stream.packets.opus import MAX_PACKET_BYTES, packet_frames, warm_up
from voicepipe.stream.packets.signature import HEADER, SIGNATURE_BYTES
from voicepipe.stream.packets.splitter import Packet, Splitter
from voicepipe.stream.packets.timeline import Timeline


if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.stream.packets.matroska import Block, Element


# Longest element that is kept to be read: tracks, or one block.
_MAX_KEPT_BYTES = MAX_PACKET_BYTES

# Longest one that is passed over, of a kind that is known, and of one that is not.
_MAX_PASSED_BYTES = 64 << 20
_MAX_UNKNOWN_BYTES = 1 << 16

_ENTERED = frozenset({matroska.SEGMENT, matroska.CLUSTER})
_BLOCKS = frozenset({matroska.SIMPLE_BLOCK, matroska.BLOCK_GROUP})
_KEPT = _BLOCKS | {
    *(matroska.EBML, matroska.INFO, matroska.TRACKS, matroska.TIMESTAMP),
}

_EBML = matroska.EBML.to_bytes(4, "big")

# Where one can go on behind damage.
_CLUSTER = matroska.CLUSTER.to_bytes(4, "big")
_BEGINNING = re.compile(re.escape(_CLUSTER) + b"|" + HEADER.pattern)


class WebmSplitter(Splitter):
    """
    Cuts WebM and Matroska into the packets of its first track of Opus.

    All else in it is passed over without being kept. Where the times of two blocks
    leave a gap, the packet behind it says how long that is. Damage costs what is left
    of its cluster.

    What ends the file: the header of another WebM, Ogg, WAV or FLAC file where an
    element should begin.

    Never keeps more than 64 KiB and a few bytes.
    """

    def __init__(self) -> None:
        """Begin at the first byte."""
        super().__init__("opus")
        self._begun = False  # the EBML header has been seen
        self._lost = False  # the next element is looked for
        self._track: int | None = None
        self._scale = 1_000_000  # nanoseconds of a tick
        self._cluster = 0  # when it begins, in ticks
        self._timeline = Timeline()

    def state(self) -> tuple[dict[str, Any], bytes]:
        """See ``Splitter``."""
        fields, waiting = super().state()
        own = {
            "begun": self._begun,
            "lost": self._lost,
            "track": self._track,
            "scale": self._scale,
            "cluster": self._cluster,
            "timeline": self._timeline.state(),
        }
        return fields | own, waiting

    def resume(
        self, fields: dict[str, Any], waiting: bytes, extradata: bytes, /
    ) -> None:
        """See ``Splitter``."""
        super().resume(fields, waiting, extradata)
        self._begun, self._lost = fields["begun"], fields["lost"]
        self._track = fields["track"]
        self._scale, self._cluster = fields["scale"], fields["cluster"]
        self._timeline = Timeline(fields["timeline"])

    def warm_up(self, packets: Sequence[bytes], /) -> list[bytes]:
        """See ``Splitter``."""
        return warm_up(packets)

    def _step(self) -> bool:
        """See ``Splitter``."""
        if self._lost:
            return self._search()
        try:
            element = matroska.read_element(self._buffer)
        except IndexError:
            return False
        except ValueError:
            return self._foreign()
        if self._begun is (element.kind == matroska.EBML):
            return self._foreign()
        if element.kind in _KEPT:
            return self._keep(element)
        return self._pass(element)

    def _keep(self, element: Element) -> bool:
        """Read an element as soon as it is whole."""
        whole = element.header + element.size
        if element.kind in _BLOCKS and element.size >= 0:
            peeked = min(whole, element.header + matroska.PEEK_BYTES)
            if len(self._buffer) < peeked:
                return False
            if not self._concerns(element.kind, self._buffer[element.header : peeked]):
                return self._pass(element)
        if not 0 <= element.size <= _MAX_KEPT_BYTES:
            if self._track is None:
                raise DamagedAudioError("the header of WebM is damaged")
            return self._lose()
        if len(self._buffer) < whole:
            return False
        body = bytes(self._buffer[element.header : whole])
        if element.kind in _BLOCKS:
            self._block(element.kind, body, whole)
        else:
            self._head(element.kind, body)
        self._drop(whole)
        return True

    def _concerns(self, kind: int, head: bytearray) -> bool:
        """Tell whether a block may be of our track, by its first bytes."""
        if self._track is None:
            raise DamagedAudioError("there are no tracks before the sound")
        try:
            number = matroska.first_track(kind, bytes(head))
        except (IndexError, ValueError):
            return True
        return number in {self._track, -1}

    def _head(self, kind: int, body: bytes) -> None:
        """Read what is no block."""
        if kind == matroska.TIMESTAMP:
            self._cluster = matroska.unsigned(body)
        elif kind == matroska.EBML:
            matroska.check_doc_type(body)
            self._begun = True
        elif kind == matroska.INFO:
            self._scale = matroska.read_scale(body)
        elif self._track is None:
            self._track, self._extradata, self._lead = matroska.read_track(body)

    def _block(self, kind: int, body: bytes, length: int) -> None:
        """Take packets out of a block."""
        read = (
            matroska.read_block
            if kind == matroska.SIMPLE_BLOCK
            else matroska.read_group
        )
        try:
            block = read(body)
        except (DamagedAudioError, IndexError, ValueError):
            self._damaged += 1
            return
        if block.track != self._track:
            return
        self._junk = 0
        end = self._offset(length)
        self._begin = self._begin or end - length
        self._give(block, end)

    def _give(self, block: Block, end: int) -> None:
        frames = [packet_frames(packet) for packet in block.packets]
        begin = matroska.in_frames((self._cluster + block.time) * self._scale)
        gap = self._timeline.gap(begin, sum(frames))
        padding = matroska.in_frames(block.padding)
        final = len(frames) - 1
        for index, data in enumerate(block.packets):
            self._packets.append(
                Packet(
                    data,
                    frames[index],
                    end,
                    gap=gap if index == 0 else 0,
                    cut=padding if index == final else 0,
                )
            )

    def _pass(self, element: Element) -> bool:
        """Pass over an element, if its length makes sense, or enter it."""
        if element.kind in _ENTERED:
            self._drop(element.header)
            return True
        known = element.kind in matroska.PASSED or element.kind in _BLOCKS
        if not known and len(self._buffer) < SIGNATURE_BYTES and not self._last:
            return False
        if not known and HEADER.match(self._buffer):
            self._end()
            return False
        most = _MAX_PASSED_BYTES if known else _MAX_UNKNOWN_BYTES
        if not 0 <= element.size <= most:
            return self._lose()
        self._drop(element.header + element.size)
        return True

    def _foreign(self) -> bool:
        """Look at what is no element, or stands where it should not."""
        if not self._begun:
            raise DamagedAudioError("the WebM file does not begin with its header")
        if not self._buffer.startswith(_EBML):
            return self._lose()
        self._end()
        return False

    def _lose(self) -> bool:
        self._damaged += 1
        self._lost = True
        return True

    def _search(self) -> bool:
        """Go on to the next cluster or file; tell whether there is one."""
        found = _BEGINNING.search(self._buffer)
        # A beginning may be cut by the end of the buffer.
        last = max(0, len(self._buffer) - SIGNATURE_BYTES + 1)
        at = len(self._buffer) if self._last else last
        at = at if found is None else min(found.start(), at)
        here = found is not None and found.start() == at
        self._count_junk(at)
        del self._buffer[:at]
        if not here:
            return False
        self._lost = False
        if not self._buffer.startswith(_CLUSTER):
            self._end()
        return True
