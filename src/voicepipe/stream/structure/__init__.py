"""
What the structure of a file says that its decoder does not.

Decoders are made to play on: FFmpeg skips a lost page, a hole in an MP3 or the missing
end of a WebM file without a word. Each class here follows one container through its
bytes, in order and by headers only, and knows at the end whether the file was whole.
All are pure, and chunk-invariant: how the bytes are cut does not matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.stream.mpeg import adts_frame, mpeg_frame
from voicepipe.stream.structure.mp4 import Mp4Structure
from voicepipe.stream.structure.mpeg import MpegStructure
from voicepipe.stream.structure.ogg import OggStructure
from voicepipe.stream.structure.webm import WebmStructure


if TYPE_CHECKING:
    from voicepipe.stream.sniff import Container
    from voicepipe.stream.structure.walker import Structure


__all__ = ["structure_of"]


def structure_of(container: Container) -> Structure | None:
    """
    Give the follower for a container, from the first byte behind its ID3v2 tags.

    ``None`` for WAV, whose header says it all, and FLAC, whose frames have checksums.
    """
    match container:
        case "ogg":
            return OggStructure()
        case "mp3":
            return MpegStructure(mpeg_frame)
        case "aac":
            return MpegStructure(adts_frame)
        case "mp4":
            return Mp4Structure()
        case "webm":
            return WebmStructure()
        case _:
            return None
