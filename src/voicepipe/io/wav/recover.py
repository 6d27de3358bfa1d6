"""WAV files whose header does not tell what is there, put right in place."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
import attrs

from voicepipe.errors import EmptyAudioError, UnsupportedAudioError
from voicepipe.io.atomic import DiskErrors
from voicepipe.io.source import SourceFile
from voicepipe.io.wav.header import NOT_CLOSED, WavHeader, read_header
from voicepipe.io.wav.writer import HEADER_BYTES, MAX_RIFF_BYTES, ROOM_BYTES
from voicepipe.types.audio import WavFile


if TYPE_CHECKING:
    import os


# Largest size that 32 bits can hold: one more is the sign that ds64 has it.
_MOST_32 = 0xFFFFFFFE

# Bytes that the RIFF size may be beyond the file's end: some writers count the eight
# bytes in front of it, or a padding byte that is not there.
_SLACK_BYTES = 8

# What a file begins with: RIFF, its size, WAVE, and the first chunk up to the length
# of a ds64 chunk, which belongs there and nowhere else.
_TOP_BYTES = 12 + 8 + ROOM_BYTES


@attrs.frozen(kw_only=True)
class Recovery:
    """
    What ``recover`` found.

    Attributes:
        file: The file as it is now.
        gained: Frames that the header did not tell of before.
        changed: Whether anything was written.
    """

    file: WavFile
    gained: int
    changed: bool


async def recover(path: str | os.PathLike[str]) -> Recovery:
    """
    Make the header of a WAV file tell what is there.

    For files that were not closed, by ``WavWriter`` or another program, because it was
    killed or wrote to a pipe, and for files that are cut: afterwards every reader opens
    them with all the frames there are. Only sizes in the header are replaced, in
    milliseconds whatever the length; samples are not touched, but a last frame that is
    not whole is cut off. A file whose header is right stays as it is, to the byte.
    Killed at any moment and run again, it comes to the same end. Nothing is flushed to
    disk.

    There is no lock: nobody may be writing the file. A file that was to appear when
    whole (``WavWriter(atomic=True)``) keeps the name ``.voicepipe-….part``.

    Args:
        path: The file: PCM, float, A-law or mu-law, with any header that
            ``read_audio`` takes.

    Returns:
        The file, and what has changed.

    Raises:
        OSError: If the file cannot be opened, read or written.
        EmptyAudioError: If there is not one frame, or not one byte; nothing is changed.
        NotAudioError: If it is no recording.
        UnsupportedAudioError: If it is no WAV file, its coding does not tell where a
            frame ends, or it holds more than 4 GiB and has no room in its header for
            such a size (RF64's ``ds64``).
        TruncatedAudioError: If it ends before its samples begin.
        DamagedAudioError: If there is no format before its samples.

    Cancellation: takes effect when it is done.

    Example:
        >>> found = await recover("call.wav")  # doctest: +SKIP
        >>> found.gained  # doctest: +SKIP
        640
    """
    return await anyio.to_thread.run_sync(_recover, Path(path))


@attrs.frozen(kw_only=True)
class _Found:
    """
    A WAV file as it was found.

    Attributes:
        label: The path as the caller gave it.
        start: Offset of the header: tags may be in front of it.
        size: Bytes from there to the end.
        top: The first bytes from there.
        header: What the header says.
    """

    label: str | None
    start: int
    size: int
    top: bytes
    header: WavHeader

    @property
    def long(self) -> bool:
        """Whether it is RF64 or BW64."""
        return self.top[:4] != b"RIFF"

    @property
    def has_ds64(self) -> bool:
        """Whether its sizes in 64 bits are where they belong."""
        return self.top[12:16] == b"ds64"

    @property
    def room(self) -> bool:
        """Whether there is room for sizes in 64 bits."""
        name, size = struct.unpack("<4sI", self.top[12:20])
        return name in {b"JUNK", b"junk", b"ds64"} and size >= ROOM_BYTES

    @property
    def riff_end(self) -> int | None:
        """Where the whole ends, as it is written; ``None`` where that is nowhere."""
        if not self.long:
            return 8 + int.from_bytes(self.top[4:8], "little")
        return 8 + int.from_bytes(self.top[20:28], "little") if self.has_ds64 else None

    @property
    def left_by_us(self) -> bool:
        """Whether ``WavWriter`` wrote the file and did not close it."""
        if not self.long:
            return self.top[20:] == NOT_CLOSED
        # Without a number of frames it may also be another program's, and in order.
        return (
            self.header.data_at == HEADER_BYTES
            and self.has_ds64
            and self.top[36:44] == bytes(8)
            and self.riff_end is not None
            and self.riff_end < self.size
        )

    @property
    def open_ended(self) -> bool:
        """Whether the samples go on to the end of the file, unlike the header says."""
        return self.left_by_us or self.header.cut or self.header.unclosed

    @property
    def healthy(self) -> bool:
        """Whether the sizes fit each other and the file."""
        if self.open_ended:
            return False
        end, data_end = self.riff_end, self.header.data_at + self.header.data_bytes
        return end is None or data_end <= end <= self.size + _SLACK_BYTES

    @property
    def data_bytes(self) -> int:
        """Bytes of samples that the header ought to give; whole frames, where open."""
        if not self.open_ended:
            return self.header.data_bytes
        there = self.size - self.header.data_at
        return there - there % self.header.frame_bytes

    @property
    def new_size(self) -> int:
        """Where the file ought to end: without a last frame that is not whole."""
        return self.header.data_at + self.data_bytes if self.open_ended else self.size

    def patches(self) -> list[tuple[int, bytes]]:
        """
        Give what has to be written, and where; nothing to a file that is in order.

        In this order: if a kill comes between, the file is still seen as one to
        recover, or is recovered.

        Raises:
            UnsupportedAudioError: If there is no room for the size.
        """
        if self.healthy:
            return []
        riff_bytes, data_at = self.new_size - 8, self.header.data_at
        if self.room and (self.long or riff_bytes > MAX_RIFF_BYTES):
            frames = self.data_bytes // self.header.frame_bytes
            sizes = struct.pack("<QQQ", riff_bytes, self.data_bytes, frames)
            # A table of other chunks' sizes may follow.
            sizes += self.top[44:48] if self.has_ds64 else bytes(4)
            magic = self.top[:4] if self.long else b"RF64"
            return [
                (data_at - 4, b"\xff" * 4),
                (12, b"ds64" + self.top[16:20] + sizes),
                (0, magic + b"\xff" * 4),
            ]
        if riff_bytes > _MOST_32:
            raise UnsupportedAudioError(
                "it holds more than 4 GiB, and its header has no room for such a size",
                source=self.label,
                got=f"{self.data_bytes} bytes of samples",
                wanted="less than 4 GiB, or room for a ds64 chunk",
            )
        return [
            (data_at - 4, struct.pack("<I", self.data_bytes)),
            *([(20, bytes(ROOM_BYTES))] if self.left_by_us else []),
            (0, struct.pack("<4sI", b"RIFF", riff_bytes)),
        ]


def _recover(path: Path) -> Recovery:
    found = _find(path)
    frames = found.data_bytes // found.header.frame_bytes
    if not frames:
        raise EmptyAudioError("there is not one frame of sound", source=str(path))
    patches = found.patches()
    if patches:
        with DiskErrors(path), path.open("r+b", buffering=0) as file:
            file.truncate(found.start + found.new_size)
            for at, new in patches:
                file.seek(found.start + at)
                file.write(new)
    header = found.header
    told = 0 if header.unclosed else header.data_bytes
    if found.left_by_us:
        told = header.declared_bytes or 0
    return Recovery(
        file=WavFile(
            path=path, rate=header.rate, channels=header.channels, frames=frames
        ),
        gained=frames - told // header.frame_bytes,
        changed=bool(patches),
    )


def _find(path: Path) -> _Found:
    file = SourceFile(path)
    try:
        if file.container != "wav":
            raise UnsupportedAudioError(
                f"it is {file.container}, and only WAV is recovered",
                source=file.label,
                got=file.container,
                wanted="wav",
            )
        header = read_header(file)
        _check(header, file.label)
        file.seek(0)
        top = file.read(_TOP_BYTES)
        file.check()
        return _Found(
            label=file.label,
            start=path.stat().st_size - file.size,
            size=file.size,
            top=top,
            header=header,
        )
    finally:
        file.close()


def _check(header: WavHeader, label: str | None) -> None:
    """Refuse what does not tell how long a frame is, or how long it lasts."""
    if header.codec is not None and header.channels and header.rate:
        return
    got = (
        f"format {header.tag:#06x}, {header.bits} bits, {header.channels} channels, "
        f"{header.rate} Hz"
    )
    raise UnsupportedAudioError(
        f"such samples cannot be recovered: {got}",
        source=label,
        got=got,
        wanted="PCM of 8 to 32 bits, float of 32 or 64, A-law or mu-law",
    )
