"""Whether a file is whole, told by its own structure beside its decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.stream.mpeg import HEADER_BYTES, adts_frame, mpeg_frame
from voicepipe.stream.structure import structure_of


if TYPE_CHECKING:
    from voicepipe.io.source import SourceFile
    from voicepipe.stream.structure.walker import Structure


_READ_BYTES = 1 << 16

# Blocks of metadata looked at; nobody needs more than a dozen.
_MAX_BLOCKS = 1_000


class Follower:
    """
    Follows a file's pages, frames or boxes as far as its decoder has come.

    Decoders pass over what is broken or missing without a word. Where the container has
    no structure that could tell (FLAC and compressed WAV), nothing is read.

    Args:
        file: The file; its position is left as it was.

    Attributes:
        structure: What has been seen so far, ``None`` where there is none to follow.
    """

    def __init__(self, file: SourceFile) -> None:
        """Begin at the first byte."""
        self._file = file
        self._followed = 0
        self.structure: Structure | None = structure_of(file.container)

    @property
    def damaged(self) -> bool:
        """Whether something is broken that good elements follow."""
        return self.structure is not None and self.structure.damaged

    @property
    def cut(self) -> bool:
        """Whether the file would lack its end if it ended here."""
        if self._file.container == "flac":
            return self._ends_in_metadata()
        return self.structure is not None and self.structure.cut

    @property
    def empty(self) -> bool:
        """Whether all is well and there is no sound."""
        return self.structure is not None and self.structure.empty

    def is_sound(self, packet: bytes) -> bool:
        """Tell whether a packet that cannot be decoded should have been sound."""
        parse = {"mp3": mpeg_frame, "aac": adts_frame}.get(self._file.container)
        if parse is None:
            return True
        # Tags and garbage among the frames of an MP3 come as packets too.
        frame = parse(packet[:HEADER_BYTES], 0)
        return frame is not None and frame.length == len(packet)

    def to(self, end: int) -> None:
        """
        Go on to an offset.

        Raises:
            OSError: If reading fails.
        """
        structure, file = self.structure, self._file
        if structure is None:
            return
        back = file.tell()
        file.seek(self._followed)
        while self._followed < end:
            data = file.read(min(_READ_BYTES, end - self._followed))
            if not data:
                break
            structure.push(data)
            self._followed += len(data)
        file.seek(back)
        file.check()

    def _ends_in_metadata(self) -> bool:
        """Tell whether a FLAC file ends before its frames (RFC 9639, section 8)."""
        file, at = self._file, 4
        for _ in range(_MAX_BLOCKS):
            file.seek(at)
            header = file.read(4)
            file.check()
            at += 4 + int.from_bytes(header[1:], "big")
            if len(header) < 4 or at > file.size:
                return True
            if header[0] & 0x80:  # the last one
                break
        return False
