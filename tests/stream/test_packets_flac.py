"""Native FLAC in pieces: metadata, damage, and where a file ends."""

from __future__ import annotations

import struct

import numpy as np
import packet_files
import pytest
from coded_bytes import FLAC_PICTURE, FLAC_TAGS, flac_silence, flac_with, id3_tag
from packet_files import (
    ID3V1,
    data_of,
    decoded,
    flac,
    flac_frame,
    flac_head,
    joined,
    pieces,
    read,
    variable_flac,
)

from voicepipe.errors import DamagedAudioError, UnsupportedAudioError
from voicepipe.stream.packets.codec import AvPacketDecoder
from voicepipe.stream.packets.flac import FlacSplitter
from voicepipe.stream.packets.flac_header import MAX_FRAME_BYTES
from voicepipe.stream.packets.readers import open_reader
from voicepipe.stream.packets.splitter import MAX_JUNK_BYTES


def split(data, lengths=()):  # noqa: ANN001, ANN201
    found, splitter = packet_files.split(FlacSplitter(), data, lengths)
    return list(data_of(found)), splitter


def head_and_frames(data: bytes) -> tuple[bytes, list[bytes]]:
    packets, splitter = split(data)
    return data[: splitter.begin], packets


def test_the_frames_are_all_that_is_behind_the_metadata() -> None:
    data = flac(16_000, 2)
    head, frames = head_and_frames(data)

    assert head + b"".join(frames) == data
    assert len(frames) == 4


@pytest.mark.parametrize("length", [1, 17, 65_536])
def test_metadata_of_any_size_is_skipped_and_not_kept(length: int) -> None:
    picture = np.random.default_rng(1).bytes(300_000)
    data = flac_with(flac(), FLAC_PICTURE, picture)
    data = flac_with(data, FLAC_TAGS, b"")
    splitter = FlacSplitter()

    kept = 0
    for piece in pieces(data[:300_000], [length] * 300_000):
        assert splitter.push(piece) == []
        kept = max(kept, len(splitter.state()[1]))

    assert kept < 64
    assert [packet.data for packet in splitter.push(data[300_000:])]
    assert np.array_equal(joined(read("flac", [data])[0]), joined(read_flac(flac())))


def read_flac(data: bytes):  # noqa: ANN201
    return read("flac", [data])[0]


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_any_number_of_channels_is_read(channels: int) -> None:
    samples = np.random.default_rng(1).integers(
        -9_000, 9_000, (5_000, channels), dtype=np.int16
    )
    data = flac_head(16_000, channels, 3_000)
    data += flac_frame(0, samples[:3_000]) + flac_frame(3_000, samples[3_000:])

    got = joined(read("flac", pieces(data, [1_111] * 50))[0])

    assert got.dtype == np.int16
    assert np.array_equal(got, samples)


def test_numbers_of_all_lengths_are_read() -> None:
    samples = np.random.default_rng(1).integers(-9, 9, (192, 1), dtype=np.int16)
    numbers = [0, 192, 2_000_000_000]
    data = flac_head(16_000, 1, 192)
    for start in (0, 1_000, 60_000):
        for k in range(3):
            data += flac_frame(start + 192 * k, samples)
    assert numbers

    packets, splitter = split(data)

    # Where the numbers do not follow, two frames go with it: of the one before, the
    # end is not known.
    assert len(packets) >= 5
    assert splitter.damaged == 2
    assert packets[0] == flac_frame(0, samples)
    assert packets[-1] == flac_frame(60_384, samples)


def test_fixed_frames_are_numbered_one_by_one() -> None:
    samples = np.random.default_rng(1).integers(-99, 99, (192, 1), dtype=np.int16)
    frames = [flac_frame(number, samples, variable=False) for number in range(300)]

    packets, splitter = split(flac_head(16_000, 1, 192) + b"".join(frames), [77] * 999)

    assert packets == frames
    assert splitter.damaged == 0


@pytest.mark.parametrize("make", [flac, variable_flac])
def test_a_wrong_checksum_costs_one_frame(make) -> None:  # noqa: ANN001
    data = make()
    head, frames = head_and_frames(data)
    broken = bytearray(frames[1])
    broken[len(broken) // 2] ^= 4
    samples = joined(read_flac(data))
    blocks, reader = read(
        "flac", [head + frames[0] + bytes(broken) + b"".join(frames[2:])]
    )

    first = len(joined(read_flac(head + frames[0])))
    lost = len(joined(read_flac(head + frames[1])))
    expected = np.concatenate([samples[:first], samples[first + lost :]])
    assert np.array_equal(joined(blocks), expected)
    assert reader.counts() == {"damaged_frames": 1, "dropped_bytes": 0}


def test_a_header_that_is_lost_costs_two_frames() -> None:
    head, frames = head_and_frames(flac(16_000, 1, 3.0))
    broken = b"\0\0" + frames[4][2:]

    packets, splitter = split(
        b"".join([head, *frames[:4], broken, *frames[5:]]), [500] * 999
    )

    assert packets == frames[:3] + frames[5:]
    assert splitter.damaged == 1
    assert splitter.dropped == len(frames[3] + frames[4])


@pytest.mark.parametrize("seed", range(5))
def test_garbage_costs_the_frame_before_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    garbage = rng.bytes(int(rng.integers(100, 60_000)))
    head, frames = head_and_frames(flac(16_000, 1, 3.0))

    packets, splitter = split(
        b"".join([head, *frames[:4], garbage, *frames[4:]]), [700] * 999
    )

    assert packets[:3] == frames[:3]
    assert packets[-7:] == frames[-7:]
    assert splitter.damaged <= 2


def test_a_missing_frame_is_noticed() -> None:
    head, frames = head_and_frames(flac(16_000, 1, 3.0))

    packets, splitter = split(b"".join([head, *frames[:4], *frames[5:]]))

    assert packets == frames[:3] + frames[5:]
    assert splitter.damaged == 1


@pytest.mark.parametrize("junk", [b"", b"x" * 5, bytes(100)])
@pytest.mark.parametrize("length", [1, 1_000])
def test_garbage_instead_of_frames_is_counted_to_the_byte(
    junk: bytes, length: int
) -> None:
    head, _ = head_and_frames(flac())

    packets, splitter = split(head + junk, [length] * 200)

    assert packets == []
    assert splitter.dropped == len(junk)


@pytest.mark.parametrize("behind", [flac(8_000), b"RIFF\x00\x00\x00\x00WAVEfmt "])
@pytest.mark.parametrize("length", [1, 64, 100_000_000])
def test_another_file_ends_this_one(behind: bytes, length: int) -> None:
    data = flac()
    _, frames = head_and_frames(data)

    packets, splitter = split(data + behind, [length] * (len(data) + 100))

    assert packets == frames
    assert splitter.ended is not None
    assert behind.startswith(splitter.ended)
    assert splitter.total == len(data)


@pytest.mark.parametrize("tail", [ID3V1, id3_tag(bytes(400))], ids=["ID3v1", "ID3v2"])
def test_a_tag_behind_the_last_frame_is_left_out(tail: bytes) -> None:
    blocks, _ = read("flac", pieces(flac() + tail, [99] * 999))

    assert np.array_equal(joined(blocks), joined(read_flac(flac())))


def test_the_end_of_a_tag_that_is_sound_is_kept() -> None:
    samples = np.frombuffer(b"TAG?" * 200, ">i2").astype(np.int16)[:, np.newaxis]
    data = flac_head(16_000, 1, 400) + flac_frame(0, samples)

    assert np.array_equal(joined(read_flac(data)), samples)


def with_header(number: int, channels: int) -> np.ndarray:
    """Make samples in which the header of a frame stands."""
    header = flac_frame(number, np.ones((192, channels), np.int16))
    raw = bytes(600) + header[: 10 + (number > 127) + (number > 2_047)] + bytes(600)
    return np.frombuffer(raw[: len(raw) // 2 * 2], ">i2").astype(np.int16)[:, None]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("last", [False, True])
def test_a_header_inside_of_a_frame_is_sound(channels: int, *, last: bool) -> None:
    """Of another format it is none; with another number it does not follow."""
    plain = np.arange(192, dtype=np.int16)[:, None]
    # The one that would follow, of another format; or one further on.
    ahead = 192 + 605 if channels == 2 else 5_000
    samples = with_header(ahead, channels)
    frames = [flac_frame(0, plain), flac_frame(192, samples)]
    if not last:
        frames.append(flac_frame(192 + len(samples), plain))
        assert len(samples) == 605 or channels == 1

    packets, splitter = split(flac_head(16_000, 1, 1_000) + b"".join(frames))

    assert packets == frames
    assert splitter.damaged == 0


def test_silence_is_not_waited_for() -> None:
    """Fifteen bytes a frame: many headers, and a second of sound in each."""
    data = flac_silence(16_000, 2, 20)

    assert len(joined(read_flac(data))) == decoded(data).frames == 20 * 65_535


def test_too_much_sound_at_once_is_refused() -> None:
    data = flac_silence(16_000, 8, 600)
    reader = open_reader("flac", AvPacketDecoder)

    with pytest.raises(UnsupportedAudioError, match="too much sound"):
        reader.push(data)


def test_a_rate_that_is_not_read_is_told() -> None:
    data = flac_head(1, 1, 192) + flac_frame(0, np.ones((192, 1), np.int16))

    with pytest.raises(UnsupportedAudioError, match="1 Hz is not supported"):
        read("flac", [data])


def test_longer_frames_than_wait_are_told_at_once() -> None:
    info = struct.pack(">HH3s3sQ16x", 16, 65_535, bytes(3), b"\x20\0\0", 0)
    data = b"fLaC" + struct.pack(">I", 0x80000000 | len(info)) + info

    with pytest.raises(UnsupportedAudioError, match="too long"):
        open_reader("flac", AvPacketDecoder).push(data)


def test_what_is_no_flac_is_told() -> None:
    with pytest.raises(DamagedAudioError, match="signature"):
        open_reader("flac", AvPacketDecoder).push(b"OggS" * 20)


@pytest.mark.parametrize(
    "junk",
    [bytes(1), b"\xff\xf8", flac_frame(9, np.ones((65_535, 1), np.int16))[:16]],
    ids=["zeros", "sync", "headers"],
)
def test_a_stream_of_nothing_is_refused(junk: bytes) -> None:
    splitter = FlacSplitter()
    splitter.push(flac())
    kept = 0

    def push_all() -> None:
        nonlocal kept
        for _ in range(50):
            splitter.push(junk * (40_000 // len(junk)))
            kept = max(kept, len(splitter.state()[1]))

    with pytest.raises(DamagedAudioError, match="in a row are no sound"):
        push_all()
    assert kept <= MAX_FRAME_BYTES + 40_016
    assert splitter.dropped >= MAX_JUNK_BYTES
