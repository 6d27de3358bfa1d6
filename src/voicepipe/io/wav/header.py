"""
What the header of a WAV file says, checked against the bytes on disk.

The size of the samples is believed where the file agrees. Where it was left open, all
that is there are samples; see ``WavHeader.unclosed``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import attrs

from voicepipe.errors import (
    DamagedAudioError,
    TruncatedAudioError,
)
from voicepipe.stream.riff import (
    ABOUT_2_GIB,
    ABOUT_4_GIB,
    CODECS,
    FLOAT,
    FORM_BYTES,
    MAX_CHUNKS,
    NOT_CLOSED,
    PCM,
    UNCOMPRESSED,
    UNKNOWN_32,
    UNKNOWN_64,
    read_form,
)


if TYPE_CHECKING:
    from voicepipe.io.options import RawFormat
    from voicepipe.io.source import SourceFile


__all__ = [
    "FLOAT",
    "NOT_CLOSED",
    "PCM",
    "UNCOMPRESSED",
    "WavHeader",
    "raw_header",
    "read_header",
]


@attrs.frozen(kw_only=True)
class WavHeader:
    """
    What a WAV file's header says, checked against the size of the file.

    Attributes:
        tag: Format of the samples, one of ``UNCOMPRESSED`` or that of a compression.
        channels: Number of channels, as written.
        rate: Frames per second, as written.
        bits: Bits that one sample takes up, as written; of G.711, always 8. Samples of
            less valid bits stand at the upper end, so that their number does not
            matter.
        data_at: Offset of the samples.
        data_bytes: Bytes of samples in the file.
        declared_bytes: Bytes of samples that the header announces, ``None`` where it
            leaves them open.
        unclosed: Whether the header was not closed: sizes that are zero, unknown or as
            large as can be, with a file that does not agree. All that is there are
            samples then.
        trailing_bytes: Bytes behind the samples that belong to nothing known: neither
            well-formed chunks nor padding. A second chunk of samples counts: only the
            first is read.
    """

    tag: int
    channels: int
    rate: int
    bits: int
    data_at: int
    data_bytes: int
    declared_bytes: int | None
    unclosed: bool = False
    trailing_bytes: int = 0

    @property
    def cut(self) -> bool:
        """Whether a header that was closed announces more samples than there are."""
        return not self.unclosed and self._less_than_declared

    @property
    def promises_more(self) -> bool:
        """Whether one that was not closed does, with a number nobody counted."""
        return self.unclosed and self._less_than_declared

    @property
    def codec(self) -> str | None:
        """FFmpeg's name for uncompressed samples, ``None`` for what is not read."""
        return CODECS.get((self.tag, self.bits))

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame of uncompressed samples; the written number may be off."""
        return self.channels * self.bits // 8

    @property
    def declared_frames(self) -> int | None:
        """Frames of uncompressed samples that the header announces, if it does."""
        if self.declared_bytes is None or self.codec is None or not self.channels:
            return None
        return self.declared_bytes // self.frame_bytes

    @property
    def _less_than_declared(self) -> bool:
        return self.declared_bytes is not None and self.data_bytes < self.declared_bytes


def raw_header(raw: RawFormat, size: int) -> WavHeader:
    """
    Give the header that samples without one would have.

    Args:
        raw: Their format.
        size: Bytes in the file: all of them are samples. What is left behind the last
            whole frame counts as trailing.
    """
    tag, bits = next(kind for kind, name in CODECS.items() if name == raw.encoding)
    trailing = size % (raw.channels * bits // 8)
    return WavHeader(
        tag=tag,
        channels=raw.channels,
        rate=raw.rate,
        bits=bits,
        data_at=0,
        data_bytes=size - trailing,
        declared_bytes=None,
        trailing_bytes=trailing,
    )


def read_header(file: SourceFile) -> WavHeader:
    """
    Walk the chunks to the samples, and those behind them.

    Raises:
        TruncatedAudioError: If the file ends before the samples begin.
        DamagedAudioError: If there are more than 1,000 chunks before the samples, or no
            format among them, or not the sizes that RF64 must have.
        OSError: If reading fails.
    """
    chunks = _chunks_before(file)
    if len(chunks.form) < 16:
        raise DamagedAudioError("no format before the samples", source=file.label)
    form = read_form(chunks.form)
    extent = _extent(file, chunks)
    return WavHeader(
        tag=form.tag,
        channels=form.channels,
        rate=form.rate,
        bits=form.bits,
        data_at=chunks.data_at,
        data_bytes=extent.there,
        declared_bytes=extent.declared,
        unclosed=extent.unclosed,
        trailing_bytes=extent.trailing,
    )


@attrs.frozen
class _Chunks:
    """What the chunks before the samples say: sizes as they are written."""

    form: bytes
    data_at: int
    riff_bytes: int
    data_bytes: int
    ds64: tuple[int, int] | None  # the same two in 64 bits
    not_closed: bool  # by our own writer, which says so


@attrs.frozen
class _Extent:
    """How far the samples reach, in bytes; see ``WavHeader``."""

    there: int
    declared: int | None
    unclosed: bool = False
    trailing: int = 0


def _chunks_before(file: SourceFile) -> _Chunks:
    magic, riff_bytes = struct.unpack("<4sI4x", _exactly(file, 0, 12))
    at, form, ds64, not_closed = 12, b"", None, False
    for _ in range(MAX_CHUNKS):
        name, size = struct.unpack("<4sI", _exactly(file, at, 8))
        at += 8
        if name == b"data":
            break
        if name == b"fmt ":
            form = _exactly(file, at, min(size, FORM_BYTES))
        elif name == b"JUNK" and size == len(NOT_CLOSED):
            not_closed = _exactly(file, at, size) == NOT_CLOSED
        elif name == b"ds64" and size >= 16:
            ds64 = struct.unpack("<QQ", _exactly(file, at, 16))
        at += size + size % 2
    else:
        raise DamagedAudioError("no samples among 1,000 chunks", source=file.label)
    if magic != b"RIFF" and size == UNKNOWN_32 and ds64 is None:
        # Nobody is known to leave this: those who turn RIFF into RF64 while recording
        # are told to write the sizes first and the new name last (BS.2088, 2.5).
        msg = f"{magic.decode()} without the chunk that has its sizes"
        raise DamagedAudioError(msg, source=file.label)
    return _Chunks(form, at, riff_bytes, size, ds64, not_closed)


def _extent(file: SourceFile, chunks: _Chunks) -> _Extent:
    """Weigh the announced size of the samples against the file."""
    riff_bytes, size = chunks.riff_bytes, chunks.data_bytes
    doubtful = size in ABOUT_2_GIB or size in ABOUT_4_GIB
    there = file.size - chunks.data_at
    if chunks.not_closed and size <= there:
        return _Extent(there, size, unclosed=True)
    if size == UNKNOWN_32:
        if chunks.ds64 is None or chunks.ds64[1] in UNKNOWN_64:
            return _Extent(there, None, unclosed=True)
        riff_bytes, size = chunks.ds64
    if size == 0 and file.size - 8 - riff_bytes not in {0, 1}:
        return _Extent(there, None, unclosed=True)
    trailing = 0
    if size <= there:
        trailing = _trailing(file, chunks.data_at + size, padded=size % 2 == 1)
    # No samples, in a file that is as long as it says, is believed: unless what is
    # there instead is nothing else.
    if (size == 0 and trailing) or (doubtful and (trailing or size > there)):
        declared = size if size in ABOUT_2_GIB else None
        return _Extent(there, declared, unclosed=True)
    return _Extent(min(there, size), size, trailing=trailing)


def _trailing(file: SourceFile, at: int, *, padded: bool) -> int:
    """Count the bytes from an offset to the end that are no well-formed chunks."""
    trailing = 0
    for _ in range(MAX_CHUNKS):
        head = _read(file, at, 9)
        # Not all writers pad to an even length. No name of a chunk begins with a zero.
        if padded and not _printable(head[:1]):
            head, at = head[1:], at + 1
        if at >= file.size:
            return trailing
        name, size = head[:4], int.from_bytes(head[4:8], "little")
        if len(head) < 8 or not _printable(name) or at + 8 + size > file.size:
            break
        if name == b"data":
            trailing += 8 + size
        at, padded = at + 8 + size, size % 2 == 1
    return trailing + file.size - at


def _printable(name: bytes) -> bool:
    """Tell whether some bytes may be from a chunk's name: ASCII that can be seen."""
    return all(0x20 <= byte < 0x7F for byte in name)


def _exactly(file: SourceFile, at: int, size: int) -> bytes:
    data = _read(file, at, size)
    if len(data) < size:
        msg = "the file ends before its samples begin"
        raise TruncatedAudioError(msg, source=file.label)
    return data


def _read(file: SourceFile, at: int, size: int) -> bytes:
    file.seek(at)
    data = file.read(size)
    file.check()
    return data
