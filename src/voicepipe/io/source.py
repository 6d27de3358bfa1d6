"""The bytes to decode: a path, a ``bytes`` object or a file object, all alike."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from voicepipe.errors import TruncatedAudioError
from voicepipe.stream.mpeg import adts_frame, find_frames, id3v2_size, mpeg_frame
from voicepipe.stream.sniff import HEAD_BYTES, sniff


if TYPE_CHECKING:
    from voicepipe.stream.sniff import Container


AudioSource: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO"
"""
Where a recording comes from.

A path, the bytes of a whole file, or an open binary file object that can seek. A file
object is read from its beginning, whatever its position, and left open.
"""


RATION = 1 << 25
"""
Bytes read without any sound coming of it, after which a ``RationedFile`` ends.

A FLAC file may begin with a picture or two of 16 MiB, and an album in one MP3 file has
pictures in the middle.
"""


class SourceFile:
    """
    The recording's own bytes, without the tags in front, as a file to read from.

    Reading never raises: a decoder written in C cannot be trusted to pass an exception
    on. What the disk said is kept; ``check`` raises it.

    Args:
        source: See ``AudioSource``.
        raw: Take all of it for samples, whatever it looks like.

    Attributes:
        label: The path as the caller gave it, ``None`` for anything else.
        container: What the content says it is.
        size: Bytes behind the tags.

    Raises:
        OSError: If the file cannot be opened or read.
        TypeError: If a file object is not binary.
        ValueError: If a file object cannot seek.
        EmptyAudioError: If there are no bytes.
        NotAudioError: If it is no recording.
        UnsupportedAudioError: If it is a recording of a kind that is not read.
        TruncatedAudioError: If it ends inside an ID3v2 tag.
    """

    def __init__(self, source: AudioSource, *, raw: bool = False) -> None:
        """Open the file and look at its first bytes."""
        self.label: str | None = None
        self._owned = True
        if isinstance(source, bytes):
            self._file: BinaryIO = io.BytesIO(source)
        elif isinstance(source, str | os.PathLike):
            self.label = os.fspath(source)
            self._file = Path(source).open("rb")  # noqa: SIM115 - close() does
        else:
            self._file, self._owned = source, False
            if not source.seekable():
                raise ValueError("the file object must be able to seek")
            if not isinstance(source.read(0), bytes):
                raise TypeError("the file object must be binary")
        self._error: OSError | None = None
        try:
            self._start = 0
            self.size: int = self._file.seek(0, os.SEEK_END)
            self.container: Container = "raw" if raw else self._look()
        except BaseException:
            self.close()
            raise
        self.size -= self._start

    def read(self, size: int = -1) -> bytes:
        """Give the next bytes, none at the end or after an error."""
        if self._error is not None:
            return b""
        try:
            data = self._file.read(size)
            # An unbuffered file may give less than there is.
            while 0 < len(data) < size and (more := self._file.read(size - len(data))):
                data += more
        except OSError as exc:
            self._error = exc
            return b""
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position, counted from behind the tags."""
        if whence == os.SEEK_SET:
            offset += self._start
        return self._file.seek(offset, whence) - self._start

    def tell(self) -> int:
        """Give the position, counted from behind the tags."""
        return self._file.tell() - self._start

    def check(self) -> None:
        """
        Raise what the disk said.

        Raises:
            OSError: If a read failed.
        """
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Close the file, unless it is the caller's own."""
        if self._owned:
            self._file.close()

    def _look(self) -> Container:
        """Go behind the tags, and behind garbage where frames are searched for."""
        head = self._head()
        while tag := id3v2_size(head):
            self._start += tag
            head = self._head()
        if self._start > self.size:
            raise TruncatedAudioError("it ends inside an ID3v2 tag", source=self.label)
        container = sniff(head, source=self.label)
        if container in {"mp3", "aac"}:
            parse = mpeg_frame if container == "mp3" else adts_frame
            self._start += find_frames(head, parse) or 0
        return container

    def _head(self) -> bytes:
        self.seek(0)
        head = self.read(HEAD_BYTES)
        self.check()
        return head


class RationedFile:
    """
    A file as FFmpeg sees it: it ends if much is read and no sound comes of it.

    FFmpeg takes all that lies between two frames for one of them, into memory. Where
    pictures may take up any room between two pieces of sound, in MP4 and WebM, it goes
    by a table or by elements, and there is no limit.

    Args:
        file: What to read from.
    """

    def __init__(self, file: SourceFile) -> None:
        """Begin with a full ration."""
        self._file = file
        self._ration = math.inf if file.container in {"mp4", "webm"} else RATION
        self._left = self._ration

    @property
    def starved(self) -> bool:
        """Whether the ration has been used up."""
        return self._left <= 0

    def read(self, size: int) -> bytes:
        """Give the next bytes, none when the ration has been used up."""
        data = b"" if self.starved else self._file.read(size)
        self._left -= len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Give the position."""
        return self._file.tell()

    def refill(self) -> None:
        """Take note that sound has come of what was read."""
        self._left = self._ration
