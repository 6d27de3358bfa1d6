from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_audio import encode, signal

from voicepipe.io.source import SourceFile
from voicepipe.stream.sniff import sniff
from voicepipe.stream.structure import structure_of
from voicepipe.stream.structure.ogg import checksum


if TYPE_CHECKING:
    from voicepipe.stream.structure.walker import Structure


KINDS = [
    "mp3",
    "mp3-plain",
    "aac",
    "ogg",
    "opus",
    "m4a",
    "m4a-faststart",
    "m4a-fragmented",
    "webm",
    "webm-live",
]


def frames_of(data: bytes) -> bytes:
    """Leave out the tags in front, as the decoder does."""
    file = SourceFile(data)
    file.seek(0)
    return file.read()


DATA = {kind: frames_of(encode(kind, signal(44_100, 2, 4.0), 44_100)) for kind in KINDS}


def follow(data: bytes, *, like: bytes, piece: int = 1 << 16) -> Structure:
    structure = structure_of(sniff(like[: 1 << 16]))
    assert structure is not None
    for at in range(0, len(data), piece):
        structure.push(data[at : at + piece])
    return structure


def told(structure: Structure) -> tuple[object, ...]:
    return (
        structure.cut,
        structure.damaged,
        structure.declared_s,
        structure.last_at,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_is_whole(kind: str) -> None:
    structure = follow(DATA[kind], like=DATA[kind])

    assert not structure.cut
    assert not structure.damaged


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_its_end_is_cut(kind: str) -> None:
    data = DATA[kind]

    for tenth in range(3, 10):
        end = len(data) * tenth // 10
        # One of the two may lie between two elements, where a cut cannot be told.
        found = [follow(data[:at], like=data) for at in (end - 1, end)]
        assert any(structure.cut for structure in found), tenth
        assert not any(structure.damaged for structure in found), tenth


@pytest.mark.parametrize("kind", ["mp3", "mp3-plain", "aac", "ogg", "opus"])
def test_a_hole_is_damage(kind: str) -> None:
    data = DATA[kind]
    middle = len(data) // 2

    for size in (1, 100, 5_000):
        structure = follow(data[:middle] + data[middle + size :], like=data)
        assert structure.damaged, size


@given(
    kind=st.sampled_from(KINDS),
    change=st.integers(0, 1 << 20),
    size=st.integers(0, 2_000),
    pieces=st.lists(st.integers(1, 3_000), min_size=1, max_size=5),
)
@settings(max_examples=60)
def test_how_the_bytes_are_cut_does_not_matter(
    kind: str, change: int, size: int, pieces: list[int]
) -> None:
    data = DATA[kind]
    change %= len(data)
    damaged = data[:change] + bytes(size // 2) + data[change + size :]
    structure = structure_of(sniff(data[: 1 << 16]))
    assert structure is not None

    at = index = 0
    while at < len(damaged):
        piece = pieces[index % len(pieces)]
        structure.push(damaged[at : at + piece])
        at, index = at + piece, index + 1

    assert told(structure) == told(follow(damaged, like=data, piece=1 << 24))


ID3V1 = b"TAG" + bytes(125)
APE = struct.pack("<8sIIII8x", b"APETAGEX", 2_000, 32 + 50, 1, 0xA0000000) + (
    b"\xff\xfb\x90\x00\x00" * 10
    + struct.pack("<8sIIII8x", b"APETAGEX", 2_000, 32 + 50, 1, 0x80000000)
)
ID3V2 = b"ID3\x04\x00\x00\x00\x00\x01\x00" + b"\xff\xfb\x90\x00" * 32


@pytest.mark.parametrize("kind", ["mp3", "mp3-plain", "aac"])
@pytest.mark.parametrize("tag", [ID3V1, APE, ID3V2, APE + ID3V1, bytes(900)])
def test_tags_behind_and_between_frames_are_no_damage(kind: str, tag: bytes) -> None:
    data = DATA[kind]

    behind = follow(data + tag, like=data)
    between = follow(data + tag + data, like=data)

    assert (behind.cut, behind.damaged) == (False, False)
    assert (between.cut, between.damaged) == (False, False)


@pytest.mark.parametrize("kind", ["mp3-plain", "aac"])
def test_a_file_that_was_filled_in_part_is_cut(kind: str) -> None:
    assert follow(DATA[kind] + bytes(10_000), like=DATA[kind]).cut


def test_an_announced_number_of_frames_decides() -> None:
    data = DATA["mp3"]

    assert follow(data, like=data).declared_s == pytest.approx(4.0, abs=0.06)
    assert not follow(data + bytes(100_000), like=data).cut


def without_last_page(data: bytes) -> bytes:
    return data[: data.rindex(b"OggS")]


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_a_live_stream_that_was_switched_off_is_whole(kind: str) -> None:
    structure = follow(without_last_page(DATA[kind]), like=DATA[kind])

    assert not structure.cut


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_streams_may_follow_one_another(kind: str) -> None:
    structure = follow(DATA[kind] * 2, like=DATA[kind])

    assert (structure.cut, structure.damaged) == (False, False)


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_what_stands_behind_the_last_page_does_not_matter(kind: str) -> None:
    assert not follow(DATA[kind] + b"junk" * 999, like=DATA[kind]).cut
    assert follow(without_last_page(DATA[kind]) + bytes(99), like=DATA[kind]).cut


def test_a_flipped_bit_breaks_the_checksum_of_its_page() -> None:
    data = bytearray(DATA["ogg"])
    data[len(data) // 2] ^= 1

    assert follow(bytes(data), like=DATA["ogg"]).damaged


@given(st.binary(max_size=300))
def test_the_checksum_is_the_one_of_rfc_3533(page: bytes) -> None:
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc >> 31 else crc << 1) & 0xFFFFFFFF

    assert checksum(page) == crc


def test_a_live_webm_can_only_be_whole_between_two_blocks() -> None:
    data = DATA["webm-live"]

    ends = [
        end
        for end in range(len(data) - 2_000, len(data) + 1)
        if not follow(data[:end], like=data).cut
    ]

    assert ends[-1] == len(data)
    # A block holds 20 ms, some 200 bytes.
    assert 5 <= len(ends) <= 40


def test_an_mp4_whose_last_box_has_no_size_goes_to_the_end() -> None:
    data = DATA["m4a-faststart"]
    at = data.index(b"mdat") - 4
    endless = data[:at] + bytes(4) + data[at + 4 :]

    assert not follow(endless, like=data).cut


def test_a_fragment_without_its_samples_is_cut() -> None:
    data = DATA["m4a-fragmented"]
    at = data.rindex(b"mdat") - 4

    assert follow(data[:at], like=data).cut
