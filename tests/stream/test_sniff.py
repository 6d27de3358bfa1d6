from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.errors import (
    AudioError,
    EmptyAudioError,
    NotAudioError,
    UnsupportedAudioError,
)
from voicepipe.stream.mpeg import (
    adts_frame,
    find_frames,
    id3v2_size,
    mpeg_frame,
)
from voicepipe.stream.sniff import HEAD_BYTES, sniff


# MPEG-1 layer III, 128 kbit/s, 44.1 kHz, stereo: 417 bytes.
MP3_FRAME = b"\xff\xfb\x90\x00" + b"\x55" * 413

# AAC LC, 44.1 kHz, stereo, 200 bytes.
ADTS_FRAME = bytes.fromhex("fff15080191ffc") + b"\x55" * 193


def id3(size: int, *, flags: int = 0) -> bytes:
    digits = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    footer = b"3DI" + bytes(7) if flags & 0x10 else b""
    return b"ID3\x04\x00" + bytes([flags]) + digits + bytes(size) + footer


def box(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


RECORDINGS = {
    "riff": (b"RIFF\x24\x00\x00\x00WAVEfmt ", "wav"),
    "rf64": (b"RF64\xff\xff\xff\xffWAVEds64", "wav"),
    "bw64": (b"BW64\xff\xff\xff\xffWAVEds64", "wav"),
    "flac": (b"fLaC\x00\x00\x00\x22", "flac"),
    "flac behind a tag": (id3(300) + b"fLaC\x00\x00\x00\x22", "flac"),
    "ogg": (b"OggS\x00\x02" + bytes(21), "ogg"),
    "mp3": (MP3_FRAME * 3, "mp3"),
    "one mp3 frame": (MP3_FRAME[:300], "mp3"),
    "mp3 behind a tag": (id3(300) + MP3_FRAME * 2, "mp3"),
    "mp3 behind two tags": (id3(9) + id3(9, flags=0x10) + MP3_FRAME * 2, "mp3"),
    "mp3 behind a tag longer than the head": (id3(1_000)[:500], "mp3"),
    "mp3 behind garbage": (b"\x00\x13garbage" * 99 + MP3_FRAME * 4, "mp3"),
    "adts": (ADTS_FRAME * 3, "aac"),
    "adts behind a tag": (id3(20) + ADTS_FRAME * 2, "aac"),
    "m4a": (box(b"ftyp", b"M4A \x00\x00\x00\x00"), "mp4"),
    "mov without ftyp": (box(b"moov", b"...."), "mp4"),
    "mdat first": (box(b"mdat", b"...."), "mp4"),
    "fragment": (box(b"styp", b"msdh"), "mp4"),
    "webm": (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", "webm"),
    "matroska": (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska", "webm"),
}


@pytest.mark.parametrize(("head", "kind"), RECORDINGS.values(), ids=RECORDINGS)
def test_a_recording_is_known_by_its_content(head: bytes, kind: str) -> None:
    assert sniff(head) == kind


REFUSED = {
    b"ffconcat version 1.0\nfile a.wav\n": "ffconcat",
    b"\xef\xbb\xbf  ffconcat version 1.0\n": "ffconcat",
    b"#EXTM3U\n#EXTINF:1,\na.mp3\n": "M3U8",
    b"[playlist]\nFile1=a.mp3\n": "PLS",
    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n": "SDP",
    b"v=0\no=-": "SDP",
    b"RIFX\x24\x00\x00\x00WAVEfmt ": "RIFX",
    b"RIFF\x24\x00\x00\x00AVI LIST": "AVI",
    b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb": "Wave64",
    b".snd\x00\x00\x00\x18": "AU",
    b"FORM\x00\x00\x10\x00AIFFCOMM": "AIFF",
    b"caff\x00\x01\x00\x00": "Core Audio",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9": "ASF",
    b"MThd\x00\x00\x00\x06": "MIDI",
    b"#!AMR\n\x3c": "AMR",
    b"\x1a\x45\xdf\xa3\x9f\x42\x82\x87unknown": "EBML",
}


@pytest.mark.parametrize(("head", "what"), REFUSED.items(), ids=REFUSED.values())
def test_other_containers_and_playlists_are_refused(head: bytes, what: str) -> None:
    with pytest.raises(UnsupportedAudioError) as error:
        sniff(head)

    assert what in error.value.got
    assert "WAV" in error.value.wanted


FOREIGN = {
    b"<!DOCTYPE html><html>": "HTML",
    b"\n <html lang='en'>": "HTML",
    b"<?xml version='1.0'?><a/>": "XML",
    b'{"error": "not found"}': "JSON",
    b"Hello, this is no sound.\n": "text",
    "Привет, мир".encode(): "text",
    "\ufeffA text of some length".encode("utf-16-le"): "text",
    b"OggS is the magic of Ogg": "text",
    b"ID3 tags are found in MP3 files": "text",
    b"PK\x03\x04\x14\x00\x00\x00": "ZIP",
    b"\x1f\x8b\x08\x00\x00\x00": "gzip",
    b"\x89PNG\r\n\x1a\n\x00\x00": "PNG",
    b"\xff\xd8\xff\xe0\x00\x10JFIF": "JPEG",
    b"RIFF\x24\x00\x00\x00WEBPVP8 ": "WEBP",
    b"RIFF": "IFF",
    bytes(50_000): "unknown",
    b"\xff" * 50_000: "unknown",
    b"\x00\x01\x02\x03\x80\x81": "unknown",
    box(b"ftyp", b"heic\x00\x00\x00\x00"): "HEIF",
}


@pytest.mark.parametrize(("head", "what"), FOREIGN.items(), ids=FOREIGN.values())
def test_what_is_no_recording_is_called_by_its_name(head: bytes, what: str) -> None:
    with pytest.raises(NotAudioError, match=what):
        sniff(head)


def test_nothing_is_empty() -> None:
    with pytest.raises(EmptyAudioError):
        sniff(b"")


def test_errors_name_the_source() -> None:
    with pytest.raises(NotAudioError, match=r"call\.wav") as error:
        sniff(b"text", source="call.wav")

    assert error.value.source == "call.wav"


def test_a_web_page_that_holds_frames_is_a_web_page() -> None:
    with pytest.raises(NotAudioError, match="HTML"):
        sniff(b"<html>" + b"<p>words</p>" * 50 + MP3_FRAME * 10)


def test_a_frame_among_garbage_is_not_enough() -> None:
    with pytest.raises(NotAudioError):
        sniff(b"\x00garbage" + MP3_FRAME + b"\x00garbage" * 90)


@given(st.integers(0, 2**32))
def test_random_bytes_are_no_recording(seed: int) -> None:
    with pytest.raises(AudioError):
        sniff(b"\xff\xfb" + random.Random(seed).randbytes(HEAD_BYTES - 2))


BEGINNINGS = [head for head, _ in RECORDINGS.values()]
BEGINNINGS += [*REFUSED, *FOREIGN]


@given(
    st.one_of(st.just(b""), st.sampled_from(BEGINNINGS)),
    st.integers(0, 400),
    st.binary(max_size=2_000),
)
def test_any_bytes_are_told_or_refused(start: bytes, keep: int, rest: bytes) -> None:
    try:
        kind = sniff(start[:keep] + rest)
    except AudioError:
        return
    assert kind in {"wav", "flac", "ogg", "mp3", "aac", "mp4", "webm"}


def test_frame_headers_are_read() -> None:
    mp3, aac = mpeg_frame(MP3_FRAME, 0), adts_frame(ADTS_FRAME, 0)

    assert mp3 is not None
    assert aac is not None
    assert mp3[:3] == (417, 1152, 44_100)
    assert aac[:3] == (200, 1024, 44_100)


@pytest.mark.parametrize(
    ("header", "length", "samples", "rate"),
    [
        ("fffb9200", 418, 1152, 44_100),  # with padding
        ("fff38400", 192, 576, 24_000),  # MPEG-2 layer III, 64 kbit/s
        ("ffe32800", 144, 576, 8_000),  # MPEG-2.5 layer III, 16 kbit/s
        ("fffd8400", 384, 1152, 48_000),  # MPEG-1 layer II, 128 kbit/s
        ("ffff3000", 104, 384, 44_100),  # MPEG-1 layer I, 96 kbit/s
    ],
)
def test_every_layer_and_version_has_its_lengths(
    header: str, length: int, samples: int, rate: int
) -> None:
    frame = mpeg_frame(bytes.fromhex(header), 0)

    assert frame is not None
    assert frame[:3] == (length, samples, rate)


@pytest.mark.parametrize(
    "header",
    [
        "ffeb9000",  # reserved version
        "fff99000",  # reserved layer
        "fffb0000",  # free rate
        "fffbf000",  # forbidden rate
        "fffb9c00",  # reserved sampling rate
        "fefb9000",  # no sync word
    ],
)
def test_reserved_values_are_no_header(header: str) -> None:
    assert mpeg_frame(bytes.fromhex(header), 0) is None


def test_frames_are_found_behind_garbage_at_their_offset() -> None:
    data = b"\xff\xfb\x90garbage" + MP3_FRAME * 5

    assert find_frames(data, mpeg_frame) == 10


def test_the_size_of_a_tag_needs_ten_bytes_of_it() -> None:
    tag = id3(300)

    assert id3v2_size(tag[:10]) == len(tag) == 310
    assert id3v2_size(id3(300, flags=0x10)[:10]) == 320
    assert id3v2_size(tag[:9]) == 0
    assert id3v2_size(b"ID3\x04\x00\x00\x80\x00\x00\x00") == 0
    assert id3v2_size(b"..." + tag, 3) == 310
