"""Damaged and hostile bytes: what any cut of them gives, and what they may cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from coded_bytes import id3_tag
from packet_files import FILES, ID3V1, variable_flac

from voicepipe.errors import AudioError
from voicepipe.stream.packets.codec import AvPacketDecoder
from voicepipe.stream.packets.flac import FlacSplitter
from voicepipe.stream.packets.flac_header import MAX_FRAME_BYTES
from voicepipe.stream.packets.mpeg import FrameSplitter
from voicepipe.stream.packets.ogg import OggSplitter
from voicepipe.stream.packets.readers import open_reader, restore_reader
from voicepipe.stream.packets.webm import WebmSplitter


if TYPE_CHECKING:
    from stress_report import Report

    from voicepipe.stream.packets.readers import PacketCodec
    from voicepipe.stream.packets.splitter import Splitter


CODECS: tuple[PacketCodec, ...] = ("mp3", "aac", "flac", "webm", "ogg")

NAMES: dict[str, list[str]] = {
    "mp3": ["mp3", "mp3 without a tag", "mp3 of 8 kbit/s", "mp3 of a variable rate"],
    "aac": ["adts", "adts 44,100 Hz, 2"],
    "flac": ["flac", "flac 44,100 Hz, 2", "flac of variable frames"],
    "webm": ["webm", "webm of a live stream, 2", "webm of speech", "webm of Chromium"],
    "ogg": ["ogg", "ogg, 2", "ogg of long frames"],
}

# Four of the longest frames, or one of FLAC and the next one's header; an element; a
# page and a packet. And the piece.
BOUNDS = {
    "mp3": 12_000,
    "aac": 33_000,
    "flac": MAX_FRAME_BYTES + 32,
    "webm": (64 << 10) + 32,
    "ogg": 128 << 10,
}


def splitter_of(codec: PacketCodec) -> Splitter:
    if codec == "mp3" or codec == "aac":  # noqa: PLR1714 - narrows the type
        return FrameSplitter(codec)
    return {"flac": FlacSplitter, "webm": WebmSplitter, "ogg": OggSplitter}[codec]()


def damaged(codec: PacketCodec, rng: np.random.Generator) -> bytes:
    """Make a file and hurt it in some places."""
    data = bytearray(FILES[str(rng.choice(NAMES[codec]))][1]())
    if rng.random() < 0.2:
        other = CODECS[int(rng.integers(len(CODECS)))]
        data += FILES[str(rng.choice(NAMES[other]))][1]()
    for _ in range(int(rng.choice([0, 1, 3, 20]))):
        at = int(rng.integers(len(data)))
        length = int(rng.choice([1, 5, 100, 3_000]))
        put = [
            b"",
            bytes(data[-length:]),
            rng.bytes(length),
            id3_tag(rng.bytes(length)),
            ID3V1,
            bytes(length),
            b"\xff" * length,
            bytes([data[at] ^ 1 << int(rng.integers(8))]),
        ]
        kind = int(rng.integers(len(put)))
        end = at + length if kind == 0 else at + 1 if kind == 7 else at
        data[at:end] = put[kind]
        data += bytes(max(0, 20 - len(data)))
    return bytes(data)


def split(
    codec: PacketCodec, data: bytes, lengths: list[int], restart: float = 0.0
) -> tuple[Any, ...]:
    """Cut a file into packets; gives them, and everything that was counted."""
    rng = np.random.default_rng(1)
    splitter, packets, at = splitter_of(codec), [], 0
    try:
        for length in [*lengths, len(data)]:
            packets += splitter.push(data[at : at + length])
            at = min(len(data), at + length)
            if splitter.ended is not None:
                break
            fields, waiting = splitter.state()
            assert len(waiting) <= BOUNDS[codec]
            if rng.random() < restart:
                other = splitter_of(codec)
                plain = json.loads(json.dumps(fields))
                other.resume(plain, waiting, splitter.extradata)
                splitter = other
        rest = None if splitter.ended is None else at - len(splitter.ended)
        packets += splitter.flush()
    except AudioError as exc:
        return (type(exc),)
    counts = (splitter.dropped, splitter.damaged, splitter.begin, splitter.total)
    return packets, counts, rest, splitter.codec


def check_cuts(codec: PacketCodec, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = damaged(codec, rng)
    few = [1, 3, 50, 1_000, 20_000]

    once = split(codec, data, [])
    assert split(codec, data, [7] * len(data)) == once
    lengths = [int(rng.choice(few)) for _ in range(len(data) // 20)]
    assert split(codec, data, lengths, restart=0.05) == once


def check_reader(codec: PacketCodec, seed: int) -> int:
    """Decode a damaged file; gives how many frames came."""
    rng = np.random.default_rng(seed)
    data = damaged(codec, rng)
    reader = open_reader(codec, AvPacketDecoder)
    frames = 0
    try:
        for at in range(0, len(data), 3_000):
            blocks = reader.push(data[at : at + 3_000])
            if reader.ended is not None:
                break
            snapshot = reader.snapshot()
            assert len(snapshot) <= 200 << 10
            reader.close()
            reader = restore_reader(codec, snapshot, AvPacketDecoder)
            frames += sum(len(block.samples) for block in blocks)
        blocks += reader.flush()
    except AudioError:
        return frames
    for block in blocks:
        assert block.samples.dtype in {np.dtype(np.int16), np.dtype(np.float32)}
        assert np.abs(block.samples.astype(np.float64)).max() <= (
            1.0 if block.samples.dtype == np.float32 else 32_768
        )
    return frames


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("seed", range(12))
def test_any_cut_of_damaged_bytes_gives_the_same_packets(
    codec: PacketCodec, seed: int
) -> None:
    check_cuts(codec, seed)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("seed", range(12))
def test_damaged_bytes_raise_nothing_but_our_errors(
    codec: PacketCodec, seed: int
) -> None:
    check_reader(codec, seed)


def test_most_of_what_is_damaged_is_sound() -> None:
    assert sum(check_reader("mp3", seed) for seed in range(20)) > 100_000
    assert variable_flac()


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_damaged_bytes_by_the_thousand(stress_report: Report) -> None:
    for seed in range(1_000, 1_400):
        for codec in CODECS:
            check_cuts(codec, seed)
            check_reader(codec, seed)
    stress_report(
        "2,000 damaged MP3, AAC, FLAC, WebM and Ogg streams, each cut in three ways",
        "the same packets, no error that is not ours, no snapshot over 200 KiB",
    )
