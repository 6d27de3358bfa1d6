from __future__ import annotations

import functools
import io
import itertools
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from coded_bytes import free_format, id3_tag, mp3_frames
from hypothesis import given, settings
from hypothesis import strategies as st
from make_audio import encode, signal
from mux_audio import mux
from riff_bytes import DATA, FORM, PCM, SOUND, chunk, riff
from stream_cuts import assemble, cuts, joined, pieces_of, whole
from webm_bytes import beginning, track

from voicepipe.errors import AudioError, NotAudioError, UnsupportedAudioError
from voicepipe.stream.assembler.assembler import ChunkAssembler
from voicepipe.testing import check_stage


if TYPE_CHECKING:
    import numpy.typing as npt

    from voicepipe.stream.assembler.detect import StreamFormat


FORMATS: tuple[StreamFormat, ...] = ("wav", "mp3", "flac", "aac")

RATE = 16_000


@functools.cache
def coded(kind: str) -> bytes:
    return encode(kind, signal(RATE, 1, 1.0), RATE)


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("call.wav", riff(FORM, DATA))
    return file.getvalue()


REFUSED: dict[str, tuple[bytes, type[AudioError]]] = {
    "ZIP": (zipped(), NotAudioError),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(600), NotAudioError),
    "HTML": (b"<!doctype html><title>Not found</title>" + b" " * 600, NotAudioError),
    "JSON": (b'{"error": "no such call"}' + b"\n" * 600, NotAudioError),
    "text": ("Grüße aus Köln. ".encode() * 50, NotAudioError),
    "UTF-16": (b"\xff\xfe" + ("<html>" * 90).encode("utf-16-le"), NotAudioError),
    "tar": (
        b"call.wav".ljust(257, b"\0") + b"ustar\x0000" + bytes(300),
        NotAudioError,
    ),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(600), NotAudioError),
    "M3U": (b"#EXTM3U\nhttp://127.0.0.1/\n" + bytes(600), UnsupportedAudioError),
    "AIFF": (b"FORM\0\0\1\0AIFFCOMM" + bytes(600), UnsupportedAudioError),
    "RIFX": (riff(FORM, DATA, magic=b"RIFX"), UnsupportedAudioError),
    "AVI": (b"RIFF\0\0\1\0AVI LIST" + bytes(600), UnsupportedAudioError),
}


@pytest.mark.parametrize("hint", FORMATS)
@pytest.mark.parametrize("kind", ["wav", "mp3", "mp3-plain", "flac", "aac"])
def test_content_tells_what_it_is_whatever_the_client_says(
    kind: str, hint: StreamFormat
) -> None:
    file = coded(kind)

    samples = assemble(pieces_of(file, range(0, len(file), 77)), rate=RATE, format=hint)

    np.testing.assert_array_equal(samples, whole(file))


@pytest.mark.parametrize("hint", FORMATS)
def test_samples_without_a_header_are_told_by_being_nothing_else(
    hint: StreamFormat,
) -> None:
    assembler = ChunkAssembler(rate=8_000, format=hint)

    arrays = [*assembler.push(PCM), *assembler.flush()]

    np.testing.assert_array_equal(joined(arrays), SOUND)
    assert assembler.report.container == "raw"
    assert assembler.report.codec == "pcm_s16le"
    assert assembler.report.files == 1


@given(data=st.binary(max_size=6_000), hint=st.sampled_from(FORMATS), at=st.data())
@settings(max_examples=150)
def test_any_cut_of_any_bytes_gives_the_same_samples(
    data: bytes, hint: StreamFormat, at: st.DataObject
) -> None:
    # A byte that no text has, and no magic number at the front.
    stream = b"\0\1" + data
    check_stage(
        lambda: ChunkAssembler(rate=8_000, channels=2, format=hint),
        [[stream], pieces_of(stream, at.draw(cuts(len(stream))))],
        join=lambda out: joined(out, 2).tobytes(),
    )


def test_samples_come_as_soon_as_512_bytes_are_there() -> None:
    assembler = ChunkAssembler(rate=8_000)
    assert assembler.push(PCM[:511]) == ()

    (first,) = assembler.push(PCM[511:513])
    (second,) = assembler.push(PCM[513:514])

    assert (len(first), len(second)) == (256, 1)


def test_a_few_samples_are_all_there_is() -> None:
    for size in (1, 2, 3, 20, 400):
        assert assemble([PCM[:size]], rate=8_000).tobytes() == PCM[: size // 2 * 2]


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("hint", FORMATS)
def test_what_is_no_stream_is_refused_and_the_next_one_may_come(
    name: str, hint: StreamFormat
) -> None:
    data, error = REFUSED[name]
    assembler = ChunkAssembler(rate=8_000, format=hint)

    with pytest.raises(error):
        assembler.push(data)

    arrays = [*assembler.push(riff(FORM, DATA)), *assembler.flush()]
    np.testing.assert_array_equal(joined(arrays), SOUND)
    assert assembler.report.dropped_bytes == 0


@pytest.mark.parametrize("kind", ["m4a", "m4a-fragmented"])
def test_containers_that_cannot_be_streamed_are_refused(kind: str) -> None:
    rate = 48_000
    file = encode(kind, signal(rate, 1, 0.2), rate)
    for size in (len(file), 20):
        with pytest.raises(UnsupportedAudioError, match="WAV, MP3, FLAC"):
            ChunkAssembler(rate=rate).push(file[:size])


@pytest.mark.parametrize("kind", ["ogg", "webm-vorbis", "webm-flac", "matroska-pcm"])
def test_containers_of_another_codec_are_refused(kind: str) -> None:
    sound = signal(48_000, 1, 0.2)
    if kind == "ogg":
        file = encode(kind, sound, 48_000)
    elif kind == "matroska-pcm":
        file = mux("matroska", "pcm_s16le", sound, rate=48_000)
    else:
        codec = {"webm-vorbis": b"A_VORBIS", "webm-flac": b"A_FLAC"}[kind]
        file = beginning(track(codec=codec))

    assembler = ChunkAssembler(rate=48_000)
    with pytest.raises(UnsupportedAudioError, match=r"Vorbis|VORBIS|FLAC|PCM"):
        assembler.push(file)

    arrays = [*assembler.push(riff(FORM, DATA)), *assembler.flush()]
    assert joined(arrays).any()


# A tar archive takes 262 bytes to tell: more than is held back where sound may go on.
@pytest.mark.parametrize("name", sorted(REFUSED.keys() - {"tar"}))
def test_text_and_archives_are_refused_on_a_new_connection_too(name: str) -> None:
    data, error = REFUSED[name]
    assembler = ChunkAssembler(rate=8_000)
    arrays = [*assembler.push(PCM[:1_001])]
    arrays += assembler.restart()

    with pytest.raises(error):
        assembler.push(data)

    arrays += [*assembler.push(PCM[1_001:]), *assembler.flush()]
    np.testing.assert_array_equal(joined(arrays), SOUND)


def test_too_short_to_be_told_and_no_sound_is_counted() -> None:
    for data in (b"RIFF", b"hello", b"ID3", b"OggS\0\2"):
        assembler = ChunkAssembler(rate=8_000)
        assert assembler.push(data) == ()
        assert assembler.flush() == ()
        assert assembler.report.dropped_bytes == len(data)


@pytest.mark.parametrize("kind", ["mp3-plain", "aac", "flac"])
def test_a_tag_of_any_length_is_passed_over(kind: str) -> None:
    file = coded(kind)
    # What a picture has, a tag may have: signatures, text, and frames.
    body = riff(FORM, DATA) + file[:3_000] + b"text" * 30_000
    tagged = id3_tag(body) + id3_tag(b"one more") + file

    for hint in FORMATS:
        pieces = pieces_of(tagged, range(0, len(tagged), 5_003))
        samples = assemble(pieces, rate=RATE, format=hint)
        np.testing.assert_array_equal(samples, whole(file))


@pytest.mark.parametrize("kind", ["mp3-plain", "aac"])
def test_a_stream_joined_in_its_middle_is_found_if_the_client_says_what(
    kind: str,
) -> None:
    file = coded(kind)[333:]
    hint: StreamFormat = "aac" if kind == "aac" else "mp3"

    samples = assemble([file[:100], file[100:]], rate=RATE, format=hint)

    assert abs(len(samples) - len(whole(coded(kind)))) < 3_000
    # Else it is taken for samples.
    assert len(assemble([file], rate=RATE)) == len(file) // 2


def test_samples_that_begin_as_a_frame_does_are_samples() -> None:
    # 0xFFFB is MPEG's sync word, and -1,025 in samples.
    frame = next(mp3_frames(coded("mp3-plain")))
    sound = frame[:4] + PCM[4:]

    for hint in FORMATS:
        for step in (1, len(sound)):
            pieces = pieces_of(sound, range(step, len(sound), step))
            assert assemble(pieces, rate=8_000, format=hint).tobytes() == sound


def test_samples_that_begin_as_utf_16_does_are_samples() -> None:
    for mark in (b"\xff\xfe", b"\xfe\xff"):
        sound = mark + PCM[2:]
        assert assemble([sound], rate=8_000).tobytes() == sound


def test_mpeg_audio_of_a_free_rate_is_refused_if_the_client_says_mp3() -> None:
    file = free_format(mp3_frames(encode("mp3-plain", signal(48_000, 1, 1.0), 48_000)))

    with pytest.raises(UnsupportedAudioError, match="free rate"):
        ChunkAssembler(rate=48_000, format="mp3").push(file)


def test_one_frame_alone_is_what_the_client_says() -> None:
    frame = next(mp3_frames(coded("mp3-plain")))

    assert len(assemble([frame], rate=RATE, format="mp3")) == 576
    assert len(assemble([frame], rate=RATE, format="wav")) == len(frame) // 2


def restarted(
    pieces: tuple[bytes, ...], *, step: int = 0, **session: object
) -> tuple[npt.NDArray[np.int16], ChunkAssembler]:
    """Push each piece in a connection of its own."""
    assembler = ChunkAssembler(rate=RATE, **session)  # type: ignore[arg-type]
    arrays = []
    for piece in pieces:
        arrays += assembler.restart()
        for part in pieces_of(piece, range(step, len(piece), step) if step else ()):
            arrays += assembler.push(part)
    arrays += assembler.flush()
    return joined(arrays, assembler.channels), assembler


@pytest.mark.parametrize("step", [0, 1, 33])
@pytest.mark.parametrize("first", ["raw", "wav", "mp3", "mp3-plain", "flac", "aac"])
@pytest.mark.parametrize("second", ["wav", "mp3", "mp3-plain", "flac", "aac"])
def test_a_header_on_a_new_connection_begins_a_new_file(
    first: str, second: str, step: int
) -> None:
    one = PCM if first == "raw" else coded(first)
    expected = SOUND if first == "raw" else whole(one)
    two = coded(second)

    samples, assembler = restarted((one, two), step=step)

    if (first, second) in {
        ("mp3", "mp3-plain"),
        ("mp3-plain", "mp3-plain"),
        ("aac", "aac"),
    }:
        # Frames go on, as they do in a whole file that has been joined.
        assert abs(len(samples) - len(expected) - len(whole(two))) < 3_000
        return
    np.testing.assert_array_equal(samples, np.concatenate([expected, whole(two)]))
    assert assembler.report.files == 2
    assert assembler.report.dropped_bytes == 0


@pytest.mark.parametrize("kind", ["raw", "wav", "mp3", "mp3-plain", "flac", "aac"])
def test_without_a_header_a_new_connection_goes_on(kind: str) -> None:
    file = PCM if kind == "raw" else coded(kind)
    rng = np.random.default_rng(5)
    for places in ([1], [13], [45], [len(file) // 2 + 1], rng.integers(0, 9_999, 9)):
        samples, assembler = restarted(tuple(pieces_of(file, places)))

        expected = SOUND if kind == "raw" else whole(file)
        np.testing.assert_array_equal(samples, expected)
        assert assembler.report.files == 1


def test_a_connection_that_sent_part_of_a_header_may_send_it_again() -> None:
    file = coded("wav")
    for sent in (1, 4, 13, 15, 30, 44):
        samples, _ = restarted((file[:sent], file, b"", file[:7], file))

        np.testing.assert_array_equal(samples, np.tile(whole(file), (2, 1)))


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
def test_a_connection_that_ended_within_a_tag_may_begin_a_file(kind: str) -> None:
    samples, _ = restarted((id3_tag(bytes(99_999))[:100], coded(kind)))

    np.testing.assert_array_equal(samples, whole(coded(kind)))


def test_frames_go_on_where_a_connection_ended_with_a_whole_one() -> None:
    file = coded("mp3-plain")
    place = sum(map(len, itertools.islice(mp3_frames(file), 7)))

    samples, assembler = restarted((file[:place], file[place:]))

    np.testing.assert_array_equal(samples, whole(file))
    assert assembler.report.files == 1


def test_half_a_sample_is_carried_from_one_connection_to_the_next() -> None:
    samples, assembler = restarted((PCM[:1_001], PCM[1_001:]))

    np.testing.assert_array_equal(samples, SOUND)
    assert assembler.report.dropped_bytes == 0
    _, assembler = restarted((PCM[:1_001], coded("wav")))
    assert assembler.report.dropped_bytes == 1


def test_a_frame_in_the_middle_of_samples_is_no_new_file() -> None:
    stream = PCM[:2_000] + coded("mp3-plain")
    assert assemble([stream], rate=8_000).tobytes() == stream[: len(stream) // 2 * 2]


def test_tags_are_read_on_where_the_last_connection_stopped() -> None:
    text = riff(FORM, chunk(b"LIST", b"<html>" * 500), DATA)
    picture = id3_tag(b"\x89PNG\r\n\x1a\n" * 500) + coded("mp3-plain")

    for place in (60, 62, 66, 1_234):
        samples, _ = restarted((text[:place], text[place:]))
        np.testing.assert_array_equal(samples, whole(text, rate=RATE))
        samples, _ = restarted((picture[:place], picture[place:]))
        np.testing.assert_array_equal(samples, whole(coded("mp3-plain")))
