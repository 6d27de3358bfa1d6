"""
Elements of Matroska and WebM (RFC 8794 for EBML, RFC 9559 for Matroska).

An element is an id, a length and a body. Segment and Cluster, which hold all the
others that matter, are entered; live recordings leave their lengths unknown.

What cannot be told: a live recording that ends between two blocks. Nor is damage seen
inside a block: there are no checksums.
"""

from __future__ import annotations

from voicepipe.stream.structure.walker import Structure


_SEGMENT = 0x18538067
_CLUSTER = 0x1F43B675
_HEADER_BYTES = 12  # at most four of the id, eight of the length


class WebmStructure(Structure):
    """Follows the elements of a WebM file, down to the blocks."""

    def __init__(self) -> None:
        """Begin at the EBML header."""
        super().__init__()
        self._segment_end: int | None = None  # None where its length is not known
        self._lost = False

    @property
    def cut(self) -> bool:
        """Whether an element, or the segment, is not complete."""
        if self._segment_end is not None:
            return self._offset - self._skip < self._segment_end
        return self._skip > 0 or bool(self._buffer)

    def _element(self, buffer: bytes, at: int) -> int | None:
        ended = self._segment_end is not None and self._offset >= self._segment_end
        if ended or self._lost:
            return len(buffer) - at  # what stands behind the segment does not matter
        header = buffer[at : at + _HEADER_BYTES]
        id_bytes = 9 - header[0].bit_length()
        if id_bytes > 4:
            # There is no such id. What cannot be followed is left to the decoder.
            self.damaged = self._lost = True
            return len(buffer) - at
        if len(header) <= id_bytes:
            return None
        length_bytes = 9 - header[id_bytes].bit_length()
        body = id_bytes + length_bytes
        if len(header) < body:
            return None
        length = int.from_bytes(header[id_bytes:body], "big")
        length &= (1 << 7 * length_bytes) - 1
        unknown = length == (1 << 7 * length_bytes) - 1
        kind = int.from_bytes(header[:id_bytes], "big")
        if kind == _SEGMENT and not unknown:
            self._segment_end = self._offset + body + length
        if unknown or kind in {_SEGMENT, _CLUSTER}:
            return body
        return body + length
