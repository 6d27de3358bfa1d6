"""Compressed files for the tests of live audio, and how they are read in pieces."""

from __future__ import annotations

import functools
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import av
import numpy as np
from coded_bytes import crc, id3_tag, mp3_frames, opus_silence, xing_count
from hypothesis import settings
from make_audio import encode, signal
from mux_audio import PLAIN_MP3, mux

from voicepipe import DecodeOptions, read_audio
from voicepipe.stream.packets.codec import AvPacketDecoder
from voicepipe.stream.packets.readers import open_reader
from voicepipe.stream.packets.splitter import Splitter


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt

    from voicepipe.stream.assembler.reader import Block
    from voicepipe.stream.packets.decoder import DecoderFactory
    from voicepipe.stream.packets.reader import PacketReader
    from voicepipe.stream.packets.readers import PacketCodec
    from voicepipe.stream.packets.splitter import Packet


AnySplitter = TypeVar("AnySplitter", bound=Splitter)

LAW = settings(max_examples=20)

CHROMIUM = Path(__file__).with_name("recorded") / "chromium.webm"
"""What Chromium 156 made of a sound like ``signal``, paused in the midst of it."""


@functools.cache
def mp3(rate: int = 16_000, channels: int = 1, seconds: float = 1.0) -> bytes:
    """Encode with an ID3v2 tag and an Info frame."""
    return encode("mp3", signal(rate, channels, seconds), rate)


@functools.cache
def plain_mp3(
    rate: int = 16_000, channels: int = 1, seconds: float = 1.0, bits: str = ""
) -> bytes:
    """Encode to frames and nothing else; at a bit rate only mono."""
    samples = signal(rate, channels, seconds)
    if not bits:
        return encode("mp3-plain", samples, rate)
    return mux(
        "mp3",
        "libmp3lame",
        samples,
        rate=rate,
        options=PLAIN_MP3,
        coding={"b": bits},
    )


@functools.cache
def variable_mp3(*, plain: bool) -> bytes:
    """Encode at a bit rate that changes."""
    options = PLAIN_MP3 if plain else {}
    coding = {"flags": "+qscale", "global_quality": "118"}
    samples = signal(16_000, 1, 2.0)
    samples[8_000:16_000] *= 0.001
    return mux(
        "mp3", "libmp3lame", samples, rate=16_000, options=options, coding=coding
    )


@functools.cache
def adts(rate: int = 16_000, channels: int = 1, seconds: float = 1.0) -> bytes:
    """Encode to AAC in ADTS."""
    return encode("aac", signal(rate, channels, seconds), rate)


@functools.cache
def flac(
    rate: int = 16_000,
    channels: int = 1,
    seconds: float = 1.0,
    subtype: str = "PCM_16",
) -> bytes:
    """Encode with libFLAC."""
    import io

    import soundfile as sf

    file = io.BytesIO()
    samples = signal(rate, channels, seconds)
    sf.write(file, samples, rate, format="FLAC", subtype=subtype)
    return file.getvalue()


@functools.cache
def opus(kind: str, channels: int = 1, seconds: float = 1.0) -> bytes:
    """Encode to Opus: ``"webm"``, ``"webm-live"``, or ``"opus"`` for Ogg."""
    return encode(kind, signal(48_000, channels, seconds), 48_000)


@functools.cache
def quiet_opus(muxer: str, frame_ms: str, bits: str = "64k") -> bytes:
    """Encode speech's way, with a pause in it, so that the codec changes its modes."""
    samples = signal(48_000, 1, 2.0)
    samples[30_000:60_000] *= 0.0001
    coding = {"b": bits, "frame_duration": frame_ms}
    if frame_ms in {"20", "60"}:
        coding["application"] = "voip"
    return mux(muxer, "libopus", samples, rate=48_000, coding=coding)


def layer_2(rate: int = 16_000) -> bytes:
    """Encode to MPEG audio, layer II."""
    return mux("mp2", "mp2", signal(rate, 1, 1.0), rate=rate)


def flac_frame(
    number: int, samples: npt.NDArray[np.int16], *, variable: bool = True
) -> bytes:
    """
    Make a frame of 16-bit sound, not compressed at all.

    Args:
        number: Of its first frame of sound, or of this frame if it is not variable.
        samples: Shape ``(frames, channels)``.
        variable: Whether the frames of the stream have different lengths.
    """
    frames, channels = samples.shape
    # 0111: the number of frames follows in 16 bits. 0000: the rate of STREAMINFO.
    head = bytes([0xFF, 0xF8 | variable, 0x70, (channels - 1) << 4 | 0x08])
    head += chr(number).encode() + struct.pack(">H", frames - 1)
    subframes = [b"\x02" + row.astype(">i2").tobytes() for row in samples.T]
    frame = head + bytes([crc(head, 0x07, 8)]) + b"".join(subframes)
    return frame + struct.pack(">H", crc(frame, 0x8005, 16))


def flac_head(rate: int, channels: int, longest: int) -> bytes:
    """Make the beginning of a file whose length is not known."""
    fields = rate << 44 | (channels - 1) << 41 | 15 << 36
    info = struct.pack(">HH6xQ16x", 16, longest, fields)
    return b"fLaC" + struct.pack(">I", 0x80000000 | len(info)) + info


@functools.cache
def variable_flac(channels: int = 2) -> bytes:
    """Make FLAC whose frames have different lengths."""
    rng = np.random.default_rng(2)
    pieces, number = [flac_head(16_000, channels, 4_000)], 0
    for frames in (16, 4_000, 1, 192, 3_000, 17, 576):
        samples = rng.integers(-30_000, 30_000, (frames, channels), dtype=np.int16)
        pieces.append(flac_frame(number, samples))
        number += frames
    return b"".join(pieces)


def xing_size(data: bytes, size: int) -> bytes:
    """Overwrite the number of bytes that the first frame announces."""
    at = max(data.find(b"Xing"), data.find(b"Info"))
    assert data[at + 7] & 3 == 3
    return data[: at + 12] + struct.pack(">I", size) + data[at + 16 :]


def without_tag(data: bytes) -> bytes:
    """Leave an ID3v2 tag of less than 128 bytes out."""
    assert data.startswith(b"ID3")
    return data[10 + data[9] :]


PICTURE = id3_tag(np.random.default_rng(4).bytes(100_000))
"""A tag with a picture, which is full of what looks like frames."""

ID3V1 = b"TAG" + bytes(range(125))
APE_FOOTER = b"APETAGEX" + struct.pack("<IIII8x", 2_000, 32, 0, 0)
APE = b"APETAGEX" + struct.pack("<IIII8x", 2_000, 1_000, 1, 1 << 29) + bytes(1_000)


def _frames_more(count: int) -> bytes:
    return mp3() + b"".join(list(mp3_frames(plain_mp3()))[:count])


def _announcing(count: int) -> bytes:
    """Announce a number of frames, and the most padding that can be told."""
    data = xing_count(mp3(16_000, 1, 0.05), count)
    at = data.find(b"Lavf", data.find(b"Info")) + 21
    at = at if at > 20 else data.find(b"Lavc", data.find(b"Info")) + 21
    return data[:at] + b"\x90\x0f\xff" + data[at + 3 :]


FILES: dict[str, tuple[PacketCodec, Callable[[], bytes]]] = {
    "mp3": ("mp3", mp3),
    **{
        f"mp3 {rate} Hz, {channels}": (
            "mp3",
            functools.partial(mp3, rate, channels, 0.7),
        )
        for rate in (8_000, 11_025, 12_000, 22_050, 24_000, 32_000, 44_100, 48_000)
        for channels in (1, 2)
    },
    "mp3 without a tag": ("mp3", functools.partial(plain_mp3, 44_100, 2)),
    "mp3 of 8 kbit/s": ("mp3", functools.partial(plain_mp3, 24_000, bits="8k")),
    "mp3 of 320 kbit/s": ("mp3", functools.partial(plain_mp3, 44_100, bits="320k")),
    "mp3 of a variable rate": ("mp3", lambda: variable_mp3(plain=False)),
    "mp3 of a variable rate, plain": ("mp3", lambda: variable_mp3(plain=True)),
    "mp3 behind a picture": ("mp3", lambda: PICTURE + mp3(44_100)),
    "mp3 behind two tags": ("mp3", lambda: id3_tag(bytes(50)) + mp3()),
    "mp3 behind garbage": ("mp3", lambda: b"\xff\xfb\x90garbage" * 50 + plain_mp3()),
    "mp3 with a tail": ("mp3", lambda: mp3() + ID3V1),
    "mp3 with a long tail": ("mp3", lambda: mp3() + bytes(700)),
    "mp3 that announces nothing": (
        "mp3",
        lambda: xing_size(xing_count(mp3(), 0), 0),
    ),
    "mp3 that announces no size": ("mp3", lambda: xing_size(mp3(), 0)),
    "mp3 that announces no frames": ("mp3", lambda: xing_count(mp3(), 0)),
    "mp3 that announces one frame": ("mp3", lambda: xing_count(mp3(), 1)),
    "mp3 that announces too few": ("mp3", lambda: xing_count(mp3(), 20)),
    "mp3 that goes on a little": ("mp3", lambda: _frames_more(1)),
    "mp3 that goes on": ("mp3", lambda: mp3() + plain_mp3()),
    "mp3 that goes on for long": (
        "mp3",
        lambda: mp3(44_100, 2) + plain_mp3(44_100, 2, 6.0),
    ),
    "mp3 that goes on by a tenth": ("mp3", lambda: _frames_more(3)),
    "mp3 of one frame": ("mp3", lambda: mp3(44_100, 1, 0.01)),
    # FFmpeg 8.1, in PyAV 19, believes the number and drops all of the sound as padding;
    # a stream cannot: it does not know whether more comes.
    **{
        f"mp3 of few frames that announces {count}": (
            "mp3",
            functools.partial(_announcing, count),
        )
        for count in (2, 3)
        if int(av.__version__.split(".")[0]) < 19
    },
    "layer II": ("mp3", layer_2),
    "adts": ("aac", adts),
    "adts 44,100 Hz, 2": ("aac", functools.partial(adts, 44_100, 2)),
    "adts 8,000 Hz": ("aac", functools.partial(adts, 8_000)),
    "adts behind a tag": ("aac", lambda: id3_tag(bytes(900)) + adts()),
    "flac": ("flac", flac),
    "flac 44,100 Hz, 2": ("flac", functools.partial(flac, 44_100, 2)),
    "flac 24 bits": ("flac", functools.partial(flac, 48_000, 2, subtype="PCM_24")),
    "flac 8 bits": ("flac", functools.partial(flac, 8_000, subtype="PCM_S8")),
    "flac of variable frames": ("flac", variable_flac),
    "flac behind a tag": ("flac", lambda: id3_tag(bytes(5_000)) + flac()),
    "webm": ("webm", functools.partial(opus, "webm")),
    "webm of a live stream, 2": ("webm", functools.partial(opus, "webm-live", 2)),
    "webm of Chromium": ("webm", CHROMIUM.read_bytes),
    "webm of speech": ("webm", functools.partial(quiet_opus, "webm", "60", "14k")),
    "webm of narrow band": ("webm", functools.partial(quiet_opus, "webm", "20", "6k")),
    "webm of short frames": ("webm", functools.partial(quiet_opus, "webm", "2.5")),
    "matroska": ("webm", functools.partial(quiet_opus, "matroska", "20", "40k")),
    "ogg": ("ogg", functools.partial(opus, "opus")),
    "ogg, 2": ("ogg", functools.partial(opus, "opus", 2)),
    "ogg of long frames": ("ogg", functools.partial(quiet_opus, "ogg", "120", "20k")),
    "ogg of silence": ("ogg", lambda: opus_silence(1)),
}
"""Whole files, each with what it is opened as."""


@functools.cache
def whole(name: str) -> Any:
    """Decode a file as a whole; gives ``Audio``."""
    return decoded(FILES[name][1]())


def decoded(data: bytes, *, cut: bool = False) -> Any:
    """Decode bytes as a whole; gives ``Audio``."""
    options = DecodeOptions(allow_truncated=cut)
    return anyio.run(functools.partial(read_audio, data, options=options))


def pieces(data: bytes, lengths: Iterable[int]) -> list[bytes]:
    """Cut bytes; the last piece has what is left."""
    cut, at = [], 0
    for length in lengths:
        cut.append(data[at : at + length])
        at += length
    return [*cut, data[at:]]


def read(
    codec: PacketCodec,
    parts: Sequence[bytes],
    decoders: DecoderFactory = AvPacketDecoder,
) -> tuple[list[Block], PacketReader]:
    """Read pieces to the end."""
    reader = open_reader(codec, decoders)
    blocks: list[Block] = []
    for part in parts:
        blocks += reader.push(memoryview(part))
        if reader.ended is not None:
            break
    blocks += reader.flush()
    reader.close()
    return blocks, reader


def split(
    splitter: AnySplitter, data: bytes, lengths: Iterable[int] = ()
) -> tuple[list[Packet], AnySplitter]:
    """Cut a file into packets, pushed in pieces until it ends."""
    packets = []
    for piece in pieces(data, lengths):
        packets += splitter.push(piece)
        if splitter.ended is not None:
            break
    packets += splitter.flush()
    return packets, splitter


def data_of(packets: Iterable[Packet]) -> tuple[bytes, ...]:
    """Give the bytes of packets."""
    return tuple(packet.data for packet in packets)


def joined(blocks: Sequence[Block]) -> Any:
    """Put the samples of one format together."""
    assert len({(block.rate, block.samples.dtype) for block in blocks}) == 1
    assert all(len(block.samples) for block in blocks)
    return np.concatenate([block.samples for block in blocks])
