"""
Ogg pages (RFC 3533, section 6).

A page has a checksum, a number in its stream, and says whether its stream begins or
ends with it and whether its last packet goes on in the next one.

What cannot be told: a stream without its end-of-stream page that ends between two pages
and two packets. That is what a recorder leaves that was switched off, and also a file
cut in just that place; it is taken for whole.
"""

from __future__ import annotations

import zlib

from voicepipe.stream.structure.walker import Structure


_MAGIC = b"OggS"
_HEADER_BYTES = 27
_FIRST, _LAST = 0x02, 0x04  # bits of the header type flag

# Each byte may begin a page that is not one and be looked at again in the next. After
# so many the file is damaged, and what is left of it is passed over.
_MAX_FAILED_BYTES = 1 << 23

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def checksum(page: bytes) -> int:
    """
    Give the checksum of a page whose checksum field is zero.

    CRC-32 with the polynomial 0x04c11db7, as in zlib, but most significant bit first,
    started at zero and not inverted. Reversing the bits of all that goes in and comes
    out makes zlib compute it, a hundred times as fast as a table in Python.
    """
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED), "big")


class OggStructure(Structure):
    """Follows Ogg pages of any number of streams, beside and behind one another."""

    def __init__(self) -> None:
        """Begin at the first page."""
        super().__init__()
        self._next: dict[bytes, int] = {}  # by serial number: the next page's number
        self._open: set[bytes] = set()  # streams that have not seen their last page
        self._unfinished: set[bytes] = set()  # of those, the ones inside a packet
        self._lost = False  # bytes have gone by that are no page
        self._failed = 0  # bytes looked at in pages whose checksum is wrong

    @property
    def cut(self) -> bool:
        """Whether a page, or a packet over several pages, is not complete."""
        begun = bool(self._buffer) and _MAGIC.startswith(self._buffer[:4])
        # Behind a stream's last page anything may stand, before it nothing else.
        passed = self._lost or bool(self._buffer)
        return begun or bool(self._unfinished) or (bool(self._open) and passed)

    @property
    def empty(self) -> bool:
        """Whether there are pages of headers and no others."""
        return bool(self._next) and self.last_at is None and not self.damaged

    def _element(self, buffer: bytes, at: int) -> int | None:
        if self._failed > _MAX_FAILED_BYTES:
            return len(buffer) - at
        if not buffer.startswith(_MAGIC, at):
            return self._search(buffer, at)
        body = at + _HEADER_BYTES + sum(buffer[at + 26 : at + 27])
        lacing = buffer[at + _HEADER_BYTES : body]
        end = body + sum(lacing)
        if at + _HEADER_BYTES > len(buffer) or end > len(buffer):
            return None
        page = buffer[at:end]
        crc = int.from_bytes(page[22:26], "little")
        if crc == checksum(page[:22] + b"\0\0\0\0" + page[26:]):
            self._page(page, lacing)
            return end - at
        self._lost = True
        self._failed += len(page)
        if self._failed > _MAX_FAILED_BYTES:
            self.damaged: bool = True
        # The length may be what is wrong: look for the next page right behind.
        return len(_MAGIC)

    def _page(self, page: bytes, lacing: bytes) -> None:
        flags, serial = page[5], page[14:18]
        number = int.from_bytes(page[18:22], "little")
        if flags & _FIRST:
            self._next.pop(serial, None)
            self._open.add(serial)
        if self._lost or self._next.get(serial, number) != number:
            self.damaged = True
        self._lost = False
        # Pages of headers have the position 0 (RFC 7845, section 3; Vorbis I, A.2).
        if any(page[6:14]):
            self.last_at: int | None = self._offset
        self._next[serial] = (number + 1) & 0xFFFFFFFF
        self._unfinished.discard(serial)
        if flags & _LAST:
            self._open.discard(serial)
        elif lacing.endswith(b"\xff"):
            self._unfinished.add(serial)

    def _search(self, buffer: bytes, at: int) -> int | None:
        """Go on to the next thing that may be a page."""
        found = buffer.find(_MAGIC, at)
        if found < 0:
            # The magic may begin in the last three bytes.
            found = max(at, len(buffer) - len(_MAGIC) + 1)
        if found == at:
            return None
        self._lost = True
        return found - at
