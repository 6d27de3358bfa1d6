"""MPEG audio and ADTS in pieces: tags, garbage, holes, and where a file ends."""

from __future__ import annotations

import itertools

import numpy as np
import packet_files
import pytest
from coded_bytes import id3_tag, mp3_frames
from packet_files import (
    APE,
    APE_FOOTER,
    ID3V1,
    PICTURE,
    adts,
    data_of,
    flac,
    joined,
    layer_2,
    mp3,
    plain_mp3,
    read,
    without_tag,
)

from voicepipe.errors import DamagedAudioError
from voicepipe.stream.mpeg import adts_frame
from voicepipe.stream.packets.info import read_info
from voicepipe.stream.packets.mpeg import FrameSplitter
from voicepipe.stream.packets.splitter import MAX_JUNK_BYTES
from voicepipe.stream.sniff import sniff


def adts_frames(data: bytes) -> list[bytes]:
    frames, at = [], 0
    while at < len(data):
        frame = adts_frame(data, at)
        assert frame is not None
        frames.append(data[at : at + frame.length])
        at += frame.length
    return frames


def frames_of(codec: str) -> list[bytes]:
    return list(mp3_frames(plain_mp3())) if codec == "mp3" else adts_frames(adts())


def split(codec, data, lengths=()):  # noqa: ANN001, ANN201
    found, splitter = packet_files.split(FrameSplitter(codec), data, lengths)
    return list(data_of(found)), splitter


@pytest.mark.parametrize("codec", ["mp3", "aac"])
@pytest.mark.parametrize(
    "tag",
    [PICTURE, id3_tag(b""), ID3V1, APE, APE_FOOTER, PICTURE + ID3V1 + APE],
    ids=["ID3v2", "empty ID3v2", "ID3v1", "APE", "APE footer", "three"],
)
@pytest.mark.parametrize("length", [1, 7, 100_000_000])
def test_tags_are_skipped_between_frames(codec, tag, length) -> None:  # noqa: ANN001
    frames = frames_of(codec)
    data = b"".join(frames[:9]) + tag + b"".join(frames[9:])
    # Byte by byte only where it matters.
    near = len(b"".join(frames[:9])) - 50

    packets, splitter = split(codec, data, [near, *[length] * 400])

    assert packets == frames
    assert (splitter.dropped, splitter.damaged, splitter.ended) == (0, 0, None)


def test_a_tag_is_not_kept_in_memory() -> None:
    splitter = FrameSplitter("mp3")
    tag = id3_tag(b"", size=(1 << 28) - 1)
    splitter.push(tag)
    for _ in range(200):
        splitter.push(bytes(100_000))

    assert splitter.state()[1] == b""


@pytest.mark.parametrize("codec", ["mp3", "aac"])
@pytest.mark.parametrize("seed", range(8))
def test_garbage_between_frames_costs_no_frame(codec, seed) -> None:  # noqa: ANN001
    rng = np.random.default_rng(seed)
    frames = frames_of(codec)
    garbage = rng.bytes(int(rng.integers(1, 5_000)))
    data = b"".join(frames[:9]) + b"x" + garbage + b"".join(frames[9:])

    packets, splitter = split(codec, data, [1_000] * 300)

    assert packets == frames
    assert splitter.dropped == len(garbage) + 1
    assert splitter.damaged == 1


@pytest.mark.parametrize("codec", ["mp3", "aac"])
def test_a_hole_costs_the_frames_that_it_touches(codec: str) -> None:
    frames = frames_of(codec)
    data = b"".join(frames[:9]) + frames[9][:50] + frames[12][-20:]
    data += b"".join(frames[13:])

    packets, splitter = split(codec, data)

    assert packets[:9] == frames[:9]
    # The frame that is cut swallows what comes behind it.
    assert packets[-len(frames) + 16 :] == frames[16:]
    assert splitter.damaged == 1


@pytest.mark.parametrize("codec", ["mp3", "aac"])
def test_a_frame_that_cannot_be_decoded_is_counted_and_left_out(codec: str) -> None:
    frames = frames_of(codec)
    broken = frames[5][:7] + b"\xff" * (len(frames[5]) - 7)
    data = b"".join([*frames[:5], broken, *frames[6:]])

    blocks, reader = read("mp3" if codec == "mp3" else "aac", [data])

    whole = joined(read("mp3" if codec == "mp3" else "aac", [b"".join(frames)])[0])
    lost = reader.counts()["damaged_frames"]
    samples = joined(blocks)
    step = 576 if codec == "mp3" else 1_024
    assert len(samples) == len(whole) - lost * step
    assert np.array_equal(samples[: 4 * step], whole[: 4 * step])
    assert np.array_equal(samples[-5 * step :], whole[-5 * step :])


def test_broken_adts_frames_are_counted() -> None:
    frames = frames_of("aac")
    rng = np.random.default_rng(1)
    broken = [frame[:7] + rng.bytes(len(frame) - 7) for frame in frames[5:9]]
    _, reader = read("aac", [b"".join([*frames[:5], *broken, *frames[9:]])])

    assert 1 <= reader.counts()["damaged_frames"] <= 4


def test_a_stream_may_begin_anywhere() -> None:
    data = plain_mp3(44_100, 2)
    frames = list(mp3_frames(data))

    packets, _ = split("mp3", data[333:], [11] * 9_000)

    assert packets == frames[-len(packets) :]
    assert len(packets) >= len(frames) - 2


@pytest.mark.parametrize("length", [1, 64, 100_000_000])
@pytest.mark.parametrize(
    ("codec", "behind"),
    [
        ("mp3", without_tag(mp3(44_100, 2))),
        ("mp3", without_tag(mp3())),
        ("mp3", flac()),
        ("mp3", b"RIFF\x00\x00\x00\x00WAVEfmt "),
        ("mp3", b"RF64\xff\xff\xff\xffWAVEds64"),
        ("mp3", plain_mp3(44_100)),
        ("mp3", layer_2()),
        ("aac", flac()),
        ("aac", b"RIFF\xff\xff\xff\xffWAVEfmt "),
        ("aac", adts(44_100)),
    ],
)
def test_another_file_ends_this_one(codec, behind, length) -> None:  # noqa: ANN001
    frames = frames_of(codec)
    data = b"".join(frames) + behind

    packets, splitter = split(codec, data, [length] * len(data))

    assert packets == frames
    assert splitter.ended is not None
    assert behind.startswith(splitter.ended)
    assert splitter.dropped == 0
    if length > len(data):
        assert splitter.ended == behind
        assert sniff(splitter.ended) in {"mp3", "flac", "wav", "aac"}


def test_what_ends_a_file_stands_behind_its_tags() -> None:
    behind = without_tag(mp3())
    data = plain_mp3() + ID3V1 + PICTURE + behind

    packets, splitter = split("mp3", data, [900] * 1_000)

    assert packets == frames_of("mp3")
    assert splitter.ended
    assert behind.startswith(splitter.ended)


def test_a_file_with_a_tag_does_not_end_at_its_own() -> None:
    packets, splitter = split("mp3", mp3(), [5] * 5_000)

    assert splitter.ended is None
    info = read_info(packets[0])
    assert info is not None
    assert info.start == 1_105


def test_sound_that_looks_like_a_tag_is_no_tag() -> None:
    frames = frames_of("mp3")
    at = 4 + 9
    lookalike = frames[20][:at] + b"Info" + frames[20][at + 4 :]
    frames[20] = lookalike

    packets, splitter = split("mp3", b"".join(frames))

    assert splitter.ended is None
    assert packets == frames


@pytest.mark.parametrize("codec", ["mp3", "aac"])
@pytest.mark.parametrize(
    "junk",
    [bytes(1), b"\xff", b"\xff\xfb\x90\x00", b"ID3", b"RIFF", b"\xff\xf1\x50\x80"],
    ids=["zeros", "sync", "headers", "tags", "RIFF", "ADTS"],
)
def test_a_stream_of_nothing_is_refused(codec: str, junk: bytes) -> None:
    splitter = FrameSplitter("mp3" if codec == "mp3" else "aac")
    frames = frames_of(codec)
    splitter.push(b"".join(frames[:4]))
    kept = 0

    def push_all() -> None:
        nonlocal kept
        for _ in itertools.repeat(None, 40):
            data = junk * (40_000 // len(junk))
            splitter.push(data)
            kept = max(kept, len(splitter.state()[1]))

    with pytest.raises(DamagedAudioError, match="in a row are no sound"):
        push_all()
    assert kept < 40_000
    assert splitter.dropped >= MAX_JUNK_BYTES


def test_waiting_bytes_are_few() -> None:
    """The longest frame of ADTS, three times, and no fourth."""
    header = bytes.fromhex("fff15083fffffc")
    longest = header + bytes(8_191 - 7)
    splitter = FrameSplitter("aac")

    splitter.push(b"x" + longest * 3 + longest[:-1])

    assert len(splitter.state()[1]) < 4 * 8_191
    splitter.push(longest[-1:] + longest[:7])
    assert len(splitter.state()[1]) < 8_191
