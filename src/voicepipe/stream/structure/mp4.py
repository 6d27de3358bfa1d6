"""
Boxes of an MP4 file (ISO/IEC 14496-12, section 4.2), on the outermost level.

``moov`` says where the sound is. It may stand last, so a file without it was cut, or
its recorder was. A fragment is a ``moof`` and the ``mdat`` behind it.

What cannot be told: a fragmented file that ends between two fragments.
"""

from __future__ import annotations

from voicepipe.stream.structure.walker import Structure


_HEADER_BYTES = 8
_LONG_HEADER_BYTES = 16


class Mp4Structure(Structure):
    """Follows the outermost boxes of an MP4 file."""

    def __init__(self) -> None:
        """Begin at the first box."""
        super().__init__()
        self._seen_moov = False
        self._in_fragment = False
        self._open_ended = False  # the last box has no size and goes on to the end

    @property
    def cut(self) -> bool:
        """Whether a box is not complete, or one that must be there is missing."""
        if not self._seen_moov or self._in_fragment:
            return True
        return not self._open_ended and (self._skip > 0 or bool(self._buffer))

    def _element(self, buffer: bytes, at: int) -> int | None:
        if self._open_ended or at + _HEADER_BYTES > len(buffer):
            return len(buffer) - at if self._open_ended else None
        size = int.from_bytes(buffer[at : at + 4], "big")
        kind = buffer[at + 4 : at + 8]
        if size == 1:
            if at + _LONG_HEADER_BYTES > len(buffer):
                return None
            size = int.from_bytes(buffer[at + 8 : at + 16], "big")
        if size < _HEADER_BYTES:
            # Zero is "to the end of the file", less is no box: what cannot be followed
            # is left to the decoder.
            self._open_ended = True
            size = len(buffer) - at
        self._seen_moov = self._seen_moov or kind == b"moov"
        self._in_fragment = kind == b"moof"
        return size
