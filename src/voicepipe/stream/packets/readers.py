"""Readers of compressed files that come in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from voicepipe.stream.packets.flac import FlacSplitter
from voicepipe.stream.packets.mpeg import FrameSplitter
from voicepipe.stream.packets.reader import PacketReader


if TYPE_CHECKING:
    from voicepipe.stream.packets.decoder import DecoderFactory
    from voicepipe.stream.packets.splitter import Splitter


PacketCodec: TypeAlias = Literal["mp3", "aac", "flac"]
"""Kinds of files: MPEG audio of any layer, AAC in ADTS, native FLAC."""


def open_reader(codec: PacketCodec, decoders: DecoderFactory) -> PacketReader:
    """
    Begin a file.

    Args:
        codec: What kind of file it is, as ``stream.sniff`` tells.
        decoders: Makes the decoder: ``AvPacketDecoder``, or what runs it elsewhere.
    """
    return PacketReader(_splitter(codec), decoders)


def restore_reader(
    codec: PacketCodec, snapshot: bytes, decoders: DecoderFactory
) -> PacketReader:
    """
    Go on with a file where ``PacketReader.snapshot`` was taken.

    The same frames come, not one more or less. FLAC and MP3 are bit-identical: as many
    packets are kept as a frame may lean on. So is AAC, but for bands that are coded as
    noise: the decoder makes up other noise of the same power. The layers I and II may
    differ by one step of 16 bits, as their decoder keeps what it has rounded away.

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


def _splitter(codec: PacketCodec) -> Splitter:
    return FlacSplitter() if codec == "flac" else FrameSplitter(codec)
