"""Readers of compressed files that come in pieces."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from voicepipe.stream.packets.flac import FlacSplitter
from voicepipe.stream.packets.mpeg import FrameSplitter
from voicepipe.stream.packets.ogg import OggSplitter
from voicepipe.stream.packets.reader import PacketReader
from voicepipe.stream.packets.webm import WebmSplitter


if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.stream.packets.decoder import DecoderFactory
    from voicepipe.stream.packets.splitter import Splitter


PacketCodec: TypeAlias = Literal["mp3", "aac", "flac", "webm", "ogg"]
"""
Kinds of files: MPEG audio of any layer, AAC in ADTS, native FLAC, Opus in WebM (or
Matroska) and in Ogg.
"""


_SPLITTERS: dict[PacketCodec, Callable[[], Splitter]] = {
    "mp3": partial(FrameSplitter, "mp3"),
    "aac": partial(FrameSplitter, "aac"),
    "flac": FlacSplitter,
    "webm": WebmSplitter,
    "ogg": OggSplitter,
}


def open_reader(codec: PacketCodec, decoders: DecoderFactory) -> PacketReader:
    """
    Begin a file.

    Args:
        codec: What kind of file it is, as ``stream.sniff`` tells.
        decoders: Makes the decoder: ``AvPacketDecoder``, or what runs it elsewhere.
    """
    return PacketReader(_SPLITTERS[codec](), decoders)


def restore_reader(
    codec: PacketCodec, snapshot: bytes, decoders: DecoderFactory
) -> PacketReader:
    """
    Go on with a file where ``PacketReader.snapshot`` was taken.

    The same frames come, not one more or less. FLAC and MP3 are bit-identical: as many
    packets are kept as a frame may lean on. So is Opus, but for frames of 2.5 and 5 ms,
    which nobody records with: they lean on more, and may differ by some thousandths. So
    is AAC, but for bands that are coded as noise: the decoder makes up other noise of
    the same power. The layers I and II may differ by one step of 16 bits, as their
    decoder keeps what it has rounded away.

    Args:
        codec: As it was opened with.
        snapshot: What ``snapshot`` gave.
        decoders: Makes the decoder.

    Raises:
        ValueError: If the snapshot is damaged, or of another codec.
    """
    reader = open_reader(codec, decoders)
    reader.resume(snapshot)
    return reader
