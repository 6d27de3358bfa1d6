"""
The header of a WAV file that comes in pieces, and whose sizes nobody believes.

A stream's header is written before its length is known, or copied from another file.
So a size is where to look for something else, and never where the sound must end.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from voicepipe.errors import DamagedAudioError
from voicepipe.stream.resample import check_format
from voicepipe.stream.riff import (
    ABOUT_2_GIB,
    ABOUT_4_GIB,
    FORM_BYTES,
    MAX_CHUNKS,
    NOT_CLOSED,
    UNKNOWN_32,
    UNKNOWN_64,
    Form,
    read_form,
    unsupported,
)


if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


UNKNOWN = 1 << 62
"""Bytes to come where nobody knows: more than will ever."""

MAX_HEADER_BYTES = 64 << 20
"""Most bytes before the samples: pictures and the like, that are passed over."""

SIGNATURE = re.compile(rb"(?s)(?:RIFF|RF64|BW64).{4}WAVE[ -~]{4}")
"""
How a WAV file begins, up to the name of its first chunk.

Twelve bytes that samples have by chance once in 2**90 places: two names of four bytes,
and a third of characters that can be seen.
"""

SIGNATURE_BYTES = 16
"""Length of ``SIGNATURE``."""

MAY_BEGIN = re.compile(
    rb"(?s)(?:RIFF|RF64|BW64)(?:.{0,3}|.{4}(?:W?|WA|WAV|WAVE[ -~]{0,3}))\Z"
    rb"|(?:RIF|RF6|BW6|RI|RF|BW|R|B)\Z"
)
"""Bytes at an end that are a beginning of ``SIGNATURE``: 15 at most."""

MAGICS = frozenset({b"RIFF", b"RF64", b"BW64"})
"""First four bytes of the files that ``SIGNATURE`` describes."""

# Bytes that are looked at of the chunks that matter.
_BODY_BYTES = {b"fmt ": FORM_BYTES, b"ds64": 16, b"JUNK": len(NOT_CLOSED)}


class Samples(NamedTuple):
    """
    Where a header has led to.

    Attributes:
        form: What the samples are; checked.
        left: Bytes of samples declared, ``UNKNOWN`` where they are not, or with a
            number that nobody counted.
    """

    form: Form
    left: int


class HeaderParser:
    """
    Walks the chunks to the samples.

    Attributes:
        found: Where it has led to, ``None`` until then.
    """

    __slots__ = (
        "_chunks",
        "_ds64",
        "_form",
        "_not_closed",
        "_seen",
        "_skip",
        "found",
    )

    def __init__(self) -> None:
        """Begin before the first byte."""
        self.found: Samples | None = None
        self._seen = 0  # bytes of the header, those still to skip counted
        self._chunks = 0
        self._skip = 0
        self._form = b""
        self._ds64 = UNKNOWN
        self._not_closed = False

    def take(self, data: bytes, at: int) -> int:
        """
        Go on with the bytes from an offset; stop at the samples.

        Returns:
            The offset up to which the bytes are done with. What is behind it has to be
            given again, with more: 47 bytes at most.

        Raises:
            DamagedAudioError: If there is no format before the samples, or they do not
                begin within 1,000 chunks and 64 MiB.
            UnsupportedAudioError: If they are of a kind that is not read.
        """
        while self.found is None:
            step = self._step(data, at)
            if step == 0:
                break
            at += step
        return at

    def _step(self, data: bytes, at: int) -> int:
        """Take one thing, and give its length; 0 where it is not whole yet."""
        there = len(data) - at
        if self._skip:
            step = min(self._skip, there)
            self._skip -= step
            return step
        if there < (8 if self._seen else 12):
            return 0
        if self._seen == 0:
            self._seen = 12
            return 12
        name, size = struct.unpack_from("<4sI", data, at)
        if name == b"data":
            self.found = self._samples(size)
            return 8
        if name in MAGICS:
            return self._again(data, at)
        return self._chunk(name, size, data[at + 8 : at + 8 + FORM_BYTES])

    def _chunk(self, name: bytes, size: int, body: bytes) -> int:
        """Read a chunk of which there are so many bytes at least, or pass over it."""
        wanted = min(size, _BODY_BYTES.get(name, 0))
        if len(body) < wanted:
            return 0
        self._chunks += 1
        self._seen += 8 + size
        if self._chunks > MAX_CHUNKS or self._seen > MAX_HEADER_BYTES:
            msg = "no samples among 1,000 chunks, or within 64 MiB"
            raise DamagedAudioError(msg)
        if name == b"fmt ":
            self._form = body[:wanted]
        elif name == b"JUNK":
            self._not_closed |= body[:wanted] == NOT_CLOSED and size == wanted
        elif name == b"ds64" and wanted == 16:
            self._ds64 = struct.unpack("<8xQ", body[:16])[0]
        self._skip = size + size % 2 - wanted
        return 8 + wanted

    def _again(self, data: bytes, at: int) -> int:
        """Begin with another header, that stands where a chunk should."""
        if len(data) - at < 12:
            return 0
        if data[at + 8 : at + 12] != b"WAVE":
            name, size = struct.unpack_from("<4sI", data, at)
            return self._chunk(name, size, b"")
        self._seen, self._chunks, self._form = 12, 0, b""
        self._ds64, self._not_closed = UNKNOWN, False
        return 12

    def _samples(self, size: int) -> Samples:
        if len(self._form) < 16:
            raise DamagedAudioError("no format before the samples")
        form = read_form(self._form)
        check_format(form.rate, form.channels)
        if form.codec is None:
            raise unsupported(form.tag, form.bits)
        return Samples(form, UNKNOWN if self._not_closed else self.believed(size))

    def believed(self, size: int) -> int:
        """Give the size of samples as far as it is worth looking there for an end."""
        if size == UNKNOWN_32:
            return UNKNOWN if self._ds64 in UNKNOWN_64 else self._ds64
        return UNKNOWN if size in ABOUT_2_GIB or size in ABOUT_4_GIB else size

    def copy(self) -> HeaderParser:
        """Give a parser that goes on from the same place."""
        return HeaderParser.restore(self.state())

    def state(self) -> dict[str, Any]:
        """Give all that is needed to go on, as JSON has it."""
        return {
            "seen": self._seen,
            "chunks": self._chunks,
            "skip": self._skip,
            "form": self._form.hex(),
            "ds64": self._ds64,
            "not_closed": self._not_closed,
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> HeaderParser:
        """Go on from what ``state`` gave."""
        parser = cls()
        parser._seen = state["seen"]
        parser._chunks = state["chunks"]
        parser._skip = state["skip"]
        parser._form = bytes.fromhex(state["form"])
        parser._ds64 = state["ds64"]
        parser._not_closed = state["not_closed"]
        return parser
