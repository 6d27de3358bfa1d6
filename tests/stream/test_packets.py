"""Compressed audio in pieces: the same samples as from the whole file."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packet_files import (
    FILES,
    LAW,
    decoded,
    joined,
    mp3,
    pieces,
    plain_mp3,
    read,
    whole,
)

from voicepipe.stream.mpeg import mpeg_frame
from voicepipe.types.audio import pcm16


@pytest.mark.parametrize("name", FILES)
def test_a_file_gives_what_it_gives_as_a_whole(name: str) -> None:
    codec, make = FILES[name]
    expected = whole(name)

    blocks, reader = read(codec, [make()])

    samples = joined(blocks)
    assert {block.rate for block in blocks} == {expected.rate}
    assert samples.shape == expected.samples.shape
    assert np.array_equal(pcm16(samples), expected.pcm16())
    if samples.dtype == np.float32:
        assert np.array_equal(samples, expected.samples)
    assert reader.counts()["damaged_frames"] == 0
    assert reader.ended is None


@pytest.mark.parametrize("name", FILES)
def test_single_bytes_give_the_same(name: str) -> None:
    codec, make = FILES[name]
    data = make()
    # Every byte of the beginning, where there is most to decide, and of the end.
    middle = max(0, len(data) - 6_000)
    cut = [1] * min(3_000, middle) + [max(0, middle - 3_000)] + [1] * 6_000

    blocks, _ = read(codec, pieces(data, cut))

    assert np.array_equal(joined(blocks), joined(read(codec, [data])[0]))


@LAW
@given(
    name=st.sampled_from(sorted(FILES)),
    lengths=st.lists(st.integers(0, 3_000), min_size=1, max_size=30),
    repeats=st.integers(1, 30),
)
def test_any_cut_gives_the_same(name: str, lengths: list[int], repeats: int) -> None:
    codec, make = FILES[name]
    data = make()

    blocks, reader = read(codec, pieces(data, lengths * repeats))

    once, other = read(codec, [data])
    assert np.array_equal(joined(blocks), joined(once))
    assert reader.counts() == other.counts()


@pytest.mark.parametrize("at", [0.31, 0.5, 0.77, 0.97])
@pytest.mark.parametrize(
    "name", ["mp3", "mp3 without a tag", "adts", "adts 44,100 Hz, 2", "flac"]
)
def test_a_file_that_is_cut_gives_as_much_as_it_does_whole(
    name: str, at: float
) -> None:
    codec, make = FILES[name]
    data = make()
    data = data[: round(at * len(data))]
    expected = decoded(data, cut=True)

    blocks, _ = read(codec, pieces(data, [100] * 1_000))

    samples = joined(blocks)
    assert samples.shape == expected.samples.shape
    # In the frame that is cut, FFmpeg reads what happens to lie behind it.
    last = 1_152 if codec == "mp3" else 0
    until = len(samples) - last
    assert np.array_equal(pcm16(samples)[:until], expected.pcm16()[:until])


@pytest.mark.parametrize("missing", range(1, 216, 7))
def test_a_frame_that_is_cut_gives_the_same_each_time(missing: int) -> None:
    data = plain_mp3(8_000, 2)[:-missing]
    first = joined(read("mp3", [data])[0])

    for length in (1, 50, 1_000):
        again = joined(read("mp3", pieces(data, [length] * len(data)))[0])
        assert np.array_equal(again, first)


@pytest.mark.parametrize("name", ["mp3 without a tag", "adts 44,100 Hz, 2"])
def test_sound_comes_as_soon_as_two_frames_are_there(name: str) -> None:
    codec, make = FILES[name]
    data = make()

    reader_blocks, pushed = first_sound(codec, data)

    assert len(reader_blocks[0].samples) in {1_024, 1_152}
    assert pushed < 1_500


def test_sound_of_flac_comes_when_its_second_frame_begins() -> None:
    codec, make = FILES["flac"]
    blocks, pushed = first_sound(codec, make())

    assert len(blocks[0].samples) == 4_096
    assert pushed < 4_096 * 2 + 200


def first_sound(codec, data):  # noqa: ANN001, ANN201
    from voicepipe.stream.packets.codec import AvPacketDecoder
    from voicepipe.stream.packets.readers import open_reader

    reader = open_reader(codec, AvPacketDecoder)
    for at in range(len(data)):
        if blocks := reader.push(data[at : at + 1]):
            return blocks, at + 1
    raise AssertionError


def test_no_packets_wait_where_the_end_is_far_away() -> None:
    """One who announces too little must not make the sound late."""
    from coded_bytes import xing_count

    data = xing_count(mp3(16_000, 1, 8.0), 5)
    blocks, _ = read("mp3", [data])
    reader_frames = sum(len(block.samples) for block in blocks)

    from voicepipe.stream.packets.codec import AvPacketDecoder
    from voicepipe.stream.packets.readers import open_reader

    reader = open_reader("mp3", AvPacketDecoder)
    early = sum(len(block.samples) for block in reader.push(data[:4_000]))
    late = sum(len(block.samples) for block in reader.push(data[4_000:8_000]))

    assert early > 10_000
    assert late > 10_000
    assert reader_frames == decoded(data).frames


def test_the_end_is_given_at_the_end_only() -> None:
    from voicepipe.stream.packets.codec import AvPacketDecoder
    from voicepipe.stream.packets.readers import open_reader

    reader = open_reader("mp3", AvPacketDecoder)
    pushed = sum(len(block.samples) for block in reader.push(mp3()))
    flushed = sum(len(block.samples) for block in reader.flush())

    assert pushed + flushed == 16_000
    assert flushed < 3 * 576


def test_names_of_codecs_are_ffmpegs() -> None:
    names = {}
    for name in ("mp3", "layer II", "adts", "flac"):
        codec, make = FILES[name]
        names[name] = read(codec, [make()])[1].codec

    assert names == {"mp3": "mp3", "layer II": "mp2", "adts": "aac", "flac": "flac"}


def test_an_encoder_that_we_did_not_ask_gives_the_same(tmp_path) -> None:  # noqa: ANN001
    """The program has its own libraries; its stream cannot seek back to its header."""
    import subprocess

    import imageio_ffmpeg
    from make_audio import encode, signal

    program = imageio_ffmpeg.get_ffmpeg_exe()
    wav = encode("wav", signal(44_100, 2, 3.0), 44_100)
    for codec, muxer in (("mp3", "mp3"), ("aac", "adts"), ("flac", "flac")):
        data = subprocess.run(
            [program, "-v", "error", "-i", "pipe:0", "-f", muxer, "pipe:1"],
            input=wav,
            capture_output=True,
            check=True,
        ).stdout
        expected = decoded(data)

        lengths = cycle([1, 4_096, 37])
        cut = [next(lengths) for _ in range(len(data) // 1_000)]
        samples = joined(read(codec, pieces(data, cut))[0])

        assert samples.shape == expected.samples.shape
        assert np.array_equal(pcm16(samples), expected.pcm16())
    assert mpeg_frame(plain_mp3(), 0) is not None
