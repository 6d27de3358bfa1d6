from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile as sf
from bad_wav import WAV
from hypothesis import given, settings
from hypothesis import strategies as st
from make_audio import signal
from riff_bytes import DATA, FORM, PCM, SOUND, chunk, ds64, form, riff
from stream_cuts import assemble, cuts, joined, pieces_of, whole

from voicepipe.errors import AudioError, DamagedAudioError, UnsupportedAudioError
from voicepipe.stream.assembler.assembler import ChunkAssembler
from voicepipe.stream.assembler.header import UNKNOWN, HeaderParser
from voicepipe.stream.riff import NOT_CLOSED
from voicepipe.testing import check_stage


if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from bad_case import Case


SHORT = SOUND[:50]
SMALL = riff(FORM, chunk(b"data", SHORT.tobytes()))
PIPE = riff(FORM, chunk(b"data", b"", 0xFFFFFFFF), size=0xFFFFFFFF)
"""A header without an end."""

# What a stream makes more of than a file: sound goes on behind the declared end.
LONGER = {
    "10a data=100 of 16,000 bytes": (8_000, True),
    "10b bytes behind the last chunk": (8_499, True),
    "28 two data chunks": (16_000, True),
    "32 RF64 without ds64": (8_000, False),
    "62a WAV, then ZIP": (8_065, True),
}

SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW")


def of(subtype: str, channels: int, rate: int, path: Path) -> bytes:
    sf.write(path, signal(rate, channels, 0.05), rate, format="WAV", subtype=subtype)
    return path.read_bytes()


@pytest.fixture(scope="module")
def encodings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("wav") / "one.wav"
    return {
        f"{subtype}-{channels}": of(subtype, channels, 8_000, path)
        for subtype in SUBTYPES
        for channels in (1, 2)
    }


@pytest.mark.parametrize("case", WAV, ids=lambda case: case.id)
def test_a_bad_file_gives_what_the_whole_file_gives_or_more(case: Case) -> None:
    data = case.make()
    expected: npt.NDArray[np.int16] | None
    try:
        expected = whole(data, channels=1)
    except AudioError:
        expected = None
    try:
        samples = assemble([data], rate=8_000)
    except AudioError:
        assert expected is None
        return
    frames, is_prefix = LONGER.get(case.id, (None, True))
    if frames is not None:
        assert len(samples) == frames
    if expected is None:
        # Too little for a file, and so far nothing wrong with it.
        assert len(samples) == 0 or not is_prefix
    elif frames is None:
        np.testing.assert_array_equal(samples, expected)
    else:
        np.testing.assert_array_equal(samples[: len(expected)], expected)


@pytest.mark.parametrize("case", WAV, ids=lambda case: case.id)
def test_a_bad_file_cut_to_bytes_is_the_same_file(case: Case) -> None:
    data = case.make()[:20_000]
    try:
        expected = assemble([data], rate=8_000)
    except AudioError as exc:
        with pytest.raises(type(exc)):
            assemble(pieces_of(data, range(1, len(data))), rate=8_000)
    else:
        samples = assemble(pieces_of(data, range(1, len(data))), rate=8_000)
        np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize("session_channels", [1, 2])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_every_encoding_is_that_of_the_whole_file(
    encodings: dict[str, bytes], subtype: str, channels: int, session_channels: int
) -> None:
    data = encodings[f"{subtype}-{channels}"]

    samples = assemble(
        pieces_of(data, range(7, len(data), 101)), rate=8_000, channels=session_channels
    )

    expected = whole(data, channels=min(channels, session_channels))
    np.testing.assert_array_equal(
        samples, np.broadcast_to(expected, (len(expected), session_channels))
    )


@given(data=st.data(), subtype=st.sampled_from(SUBTYPES), channels=st.integers(1, 2))
@settings(max_examples=60)
def test_any_cut_of_any_encoding_gives_the_same_samples(
    encodings: dict[str, bytes], data: st.DataObject, subtype: str, channels: int
) -> None:
    file = encodings[f"{subtype}-{channels}"]
    rate = data.draw(st.sampled_from([8_000, 16_000, 44_100]))

    check_stage(
        lambda: ChunkAssembler(rate=rate, channels=channels),
        [[file], pieces_of(file, data.draw(cuts(len(file))))],
        join=lambda out: np.concatenate(out).tobytes(),
    )


def test_a_long_stream_in_one_push_is_that_of_many() -> None:
    data = PIPE + np.random.default_rng(3).bytes(10 << 20)

    for rate, channels in ((8_000, 1), (16_000, 2)):
        one = assemble([data], rate=rate, channels=channels)
        many = assemble(
            pieces_of(data, range(0, len(data), 40_961)), rate=rate, channels=channels
        )
        assert len(one) == (5 << 20) * rate // 8_000
        np.testing.assert_array_equal(one, many)


@given(
    riff_bytes=st.integers(0, 0xFFFFFFFF),
    size=st.integers(0, 0xFFFFFFFF) | st.integers(0, 2 * len(PCM)),
    long=st.none() | st.integers(0, 2**64 - 1) | st.integers(0, 2 * len(PCM)),
    at=st.data(),
)
@settings(max_examples=300)
def test_no_size_in_a_header_loses_or_adds_a_sample(
    riff_bytes: int, size: int, long: int | None, at: st.DataObject
) -> None:
    first = () if long is None else (ds64(long),)
    magic = b"RIFF" if long is None else b"RF64"
    data = riff(*first, FORM, chunk(b"data", PCM, size), magic=magic, size=riff_bytes)

    samples = assemble(pieces_of(data, at.draw(cuts(len(data)))), rate=8_000)

    np.testing.assert_array_equal(samples, SOUND)


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    lies=st.lists(st.integers(0, 99), min_size=12, max_size=12),
    at=st.data(),
)
@settings(max_examples=200)
def test_small_files_cut_anywhere_and_lying_are_put_together(
    sizes: list[int], lies: list[int], at: st.DataObject
) -> None:
    kinds = {0: 0, 1: 0xFFFFFFFF, 2: 2, 3: 10_000, 4: 0x7FFFF000}
    files = []
    for size, lie in zip(sizes, lies, strict=False):
        body = SOUND[:size].tobytes()
        files.append(riff(FORM, chunk(b"data", body, kinds.get(lie, len(body)))))
    data = b"".join(files)

    samples = assemble(pieces_of(data, at.draw(cuts(len(data)))), rate=8_000)

    expected = np.concatenate([SOUND[:size] for size in sizes])
    np.testing.assert_array_equal(samples, expected)


def test_files_of_other_forms_follow_one_another(encodings: dict[str, bytes]) -> None:
    files = list(encodings.values())
    data = b"".join(files)

    samples = assemble(pieces_of(data, range(0, len(data), 11)), rate=8_000)

    expected = np.concatenate([whole(file, channels=1) for file in files])
    np.testing.assert_array_equal(samples, expected)


def test_a_change_of_rate_ends_one_filter_and_begins_another() -> None:
    files = [
        riff(chunk(b"fmt ", form(rate=rate)), chunk(b"data", PCM, size))
        for rate, size in ((8_000, 0), (44_100, 0), (44_100, len(PCM)), (16_000, 0))
    ]

    samples = assemble(files, rate=16_000)

    # The two of the same rate are one sound: a filter of their own for each would
    # leave a click between them.
    both = riff(chunk(b"fmt ", form(rate=44_100)), chunk(b"data", PCM + PCM))
    expected = [whole(files[0], rate=16_000), whole(both, rate=16_000), SOUND]
    np.testing.assert_array_equal(samples, np.concatenate(expected))


@pytest.mark.parametrize("behind", [b"LIST", b"id3 ", b"bext", b"JUNK"])
@pytest.mark.parametrize("padded", [True, False])
def test_chunks_behind_the_samples_are_no_sound(behind: bytes, *, padded: bool) -> None:
    mono_u8 = chunk(b"fmt ", form(bits=8))
    body = bytes(range(101))
    data = chunk(b"data", body) + bytes(padded)
    tail = chunk(behind, b"text" * 5 + b"odd", 23) + b"\0" + chunk(b"fact", bytes(4))
    file = riff(mono_u8, data, tail)

    samples = assemble(pieces_of(file * 3, range(1, 3 * len(file))), rate=8_000)

    expected = (np.tile(np.arange(101), 3) - 128) * 256
    np.testing.assert_array_equal(samples[:, 0], expected)


def test_padding_at_the_very_end_is_no_sound() -> None:
    file = riff(chunk(b"fmt ", form(bits=8)), chunk(b"data", b"\x90\x70\x90"), b"\0")

    assert assemble([file], rate=8_000)[:, 0].tolist() == [4_096, -4_096, 4_096]


def test_padding_between_files_is_no_sound() -> None:
    file = riff(chunk(b"fmt ", form(bits=8)), chunk(b"data", b"\x90\x70\x90"), b"\0")

    for pieces in ([file * 3], pieces_of(file * 3, range(1, 3 * len(file)))):
        samples = assemble(pieces, rate=8_000)
        assert samples[:, 0].tolist() == [4_096, -4_096, 4_096] * 3


def test_a_chunk_that_breaks_off_at_the_end_is_no_sound() -> None:
    for tail in (b"LIST", b"LIST\4\0\0", chunk(b"LIST", b"INFO")[:-1]):
        np.testing.assert_array_equal(assemble([SMALL + tail], rate=8_000), SHORT)


@pytest.mark.parametrize("tail", [chunk(b"LIST", b"INFO"), SMALL, DATA])
def test_half_a_sample_before_what_comes_next_is_counted(tail: bytes) -> None:
    file = riff(FORM, chunk(b"data", PCM[:101]), b"\0", tail)
    assembler = ChunkAssembler(rate=8_000)

    (samples, *_) = [*assembler.push(file), *assembler.flush()]

    assert samples.tobytes()[:100] == PCM[:100]
    assert assembler.report.dropped_bytes == 1


def test_a_file_may_begin_in_a_chunk_that_breaks_off() -> None:
    cut = riff(FORM, chunk(b"data", SHORT.tobytes()), chunk(b"LIST", b"INFOISFT", 400))
    assembler = ChunkAssembler(rate=8_000)

    arrays = [*assembler.push(cut + SMALL), *assembler.flush()]

    np.testing.assert_array_equal(joined(arrays), np.tile(SHORT, (2, 1)))
    assert assembler.report.dropped_bytes == 0


def test_a_file_may_begin_in_the_place_of_a_chunk_of_the_header() -> None:
    begun = riff(chunk(b"JUNK", bytes(28)))

    for pieces in ([begun + SMALL], pieces_of(begun + SMALL, range(1, 120))):
        np.testing.assert_array_equal(assemble(pieces, rate=8_000), SHORT)


def test_a_file_may_begin_in_the_last_byte_declared() -> None:
    first = riff(chunk(b"fmt ", form(bits=8)), chunk(b"data", b"\x80\x90", 3))

    for pieces in ([first + SMALL], pieces_of(first + SMALL, range(1, 150))):
        samples = assemble(pieces, rate=8_000)
        assert samples[:2, 0].tolist() == [0, 4_096]
        np.testing.assert_array_equal(samples[2:], SHORT)


def test_an_error_behind_half_a_chunk_of_the_header_is_undone() -> None:
    assembler = ChunkAssembler(rate=8_000)
    assembler.push(riff(chunk(b"LIST", bytes(50), 100)))
    with pytest.raises(DamagedAudioError):
        assembler.push(bytes(50) + DATA)

    arrays = [*assembler.push(bytes(50) + FORM + DATA), *assembler.flush()]

    np.testing.assert_array_equal(joined(arrays), SOUND)


def test_a_file_that_was_not_closed_has_nothing_but_samples() -> None:
    sound = PCM[:100] + chunk(b"LIST", b"INFO")
    file = riff(chunk(b"JUNK", NOT_CLOSED), FORM, chunk(b"data", sound, 100))

    assert assemble([file], rate=8_000).tobytes() == sound


# More than two gigabytes would have to come before it made a difference.
@pytest.mark.parametrize("size", [0x7FFFF000, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF])
def test_sizes_as_large_as_can_be_are_unknown(size: int) -> None:
    assert HeaderParser().believed(size) == UNKNOWN
    assert HeaderParser().believed(0x7FF00000) == 0x7FF00000


def test_what_only_looks_like_a_chunk_is_sound() -> None:
    unknown = b"what" + struct.pack("<I", 20) + bytes(20)
    too_long = b"LIST" + struct.pack("<I", 0x7F000000) + bytes(20)

    for tail in (unknown, too_long):
        file = riff(FORM, chunk(b"data", PCM[:100], 100), tail)
        samples = assemble(pieces_of(file, range(1, len(file))), rate=8_000)
        assert samples.tobytes() == PCM[:100] + tail


@pytest.mark.parametrize("magic", [b"RIFF", b"RF64", b"BW64"])
def test_a_header_begins_a_file_at_any_place_in_the_samples(magic: bytes) -> None:
    second = riff(FORM, DATA, magic=magic)
    for place in (0, 1, 2, 30, 31):
        stream = PIPE + PCM[:place] + second
        assembler = ChunkAssembler(rate=8_000)
        pieces = pieces_of(stream, range(1, len(stream)))
        arrays = [array for piece in pieces for array in assembler.push(piece)]
        arrays.extend(assembler.flush())

        samples = np.concatenate(arrays)
        np.testing.assert_array_equal(samples[: place // 2], SOUND[: place // 2])
        np.testing.assert_array_equal(samples[place // 2 :], SOUND)
        assert assembler.report.dropped_bytes == place % 2
        assert assembler.report.files == 2


@pytest.mark.parametrize("quoted", [b"WAVE", b"RIFF", b"RIFFabcdWAVE", b"RIFF____AVI "])
def test_words_in_the_samples_are_samples(quoted: bytes) -> None:
    sound = PCM[:100] + quoted + b"\0\0" + PCM[100:200] + quoted[:3] + b"\0"
    stream = PIPE + sound

    for pieces in ([stream], pieces_of(stream, range(1, len(stream)))):
        assert assemble(pieces, rate=8_000).tobytes() == sound


def test_a_header_that_breaks_off_at_the_end_is_no_sound() -> None:
    for kept in (4, 8, 12, 15, 16, 30, 43):
        samples = assemble([PIPE + PCM + riff(FORM, DATA)[:kept]], rate=8_000)
        np.testing.assert_array_equal(samples, SOUND)


def test_half_a_sample_is_carried_and_one_at_the_end_is_counted() -> None:
    assembler = ChunkAssembler(rate=8_000, channels=2)
    stereo = riff(chunk(b"fmt ", form(channels=2)), chunk(b"data", b"", 0xFFFFFFFF))
    assert assembler.push(stereo + b"\1\0\2") == ()

    (frame,) = assembler.push(b"\0\3\0\4")

    assert frame.tolist() == [[1, 2]]
    assert assembler.report.dropped_bytes == 0
    assert assembler.flush() == ()
    assert assembler.report.dropped_bytes == 3


@pytest.mark.parametrize(
    ("file", "error"),
    [
        (riff(chunk(b"fmt ", form(rate=1)), DATA), UnsupportedAudioError),
        (riff(chunk(b"fmt ", form(bits=12)), DATA), UnsupportedAudioError),
        (riff(chunk(b"fmt ", form(tag=0x55)), DATA), UnsupportedAudioError),
        (riff(chunk(b"fmt ", form(channels=3)), DATA), UnsupportedAudioError),
        (riff(DATA), DamagedAudioError),
        (riff(chunk(b"JUNK", b"") * 1_001, FORM, DATA), DamagedAudioError),
        (riff(chunk(b"LIST", b"", 1 << 27), FORM, DATA), DamagedAudioError),
    ],
)
def test_a_file_that_is_refused_leaves_everything_as_it_was(
    file: bytes, error: type[AudioError]
) -> None:
    stereo = riff(chunk(b"fmt ", form(channels=2, rate=44_100)), chunk(b"data", PCM, 0))
    # What the connection before has sent, and what comes in front of the file.
    for begun, front in (
        (b"", b""),
        (stereo + b"\1", PCM[:51]),
        (b"\1\0\2", b""),
        (stereo[:30], b""),
    ):
        twins = [ChunkAssembler(rate=8_000, channels=2) for _ in range(2)]
        samples = [list(assembler.push(begun)) for assembler in twins]
        for assembler, own in zip(twins, samples, strict=True):
            own.extend(assembler.restart())

        with pytest.raises(error):
            twins[0].push(front + file)

        assert twins[0].report == twins[1].report
        for assembler, own in zip(twins, samples, strict=True):
            for piece in (stereo, PCM[:999]):
                own.extend(assembler.push(piece))
            own.extend(assembler.flush())
        np.testing.assert_array_equal(joined(samples[0], 2), joined(samples[1], 2))
        assert twins[0].report == twins[1].report


def test_bytes_that_may_change_are_not_kept() -> None:
    assembler = ChunkAssembler(rate=8_000)
    buffer = bytearray(SMALL)

    (samples,) = assembler.push(buffer)
    (more,) = assembler.push(memoryview(bytearray(b"\0\0" + SMALL))[2:])
    buffer[:] = bytes(len(buffer))

    np.testing.assert_array_equal(samples, SHORT)
    np.testing.assert_array_equal(more, SHORT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 3_999},
        {"rate": 192_001},
        {"rate": 8_000, "channels": 0},
        {"rate": 8_000, "channels": 9},
        {"rate": 8_000, "format": "ogg"},
    ],
)
def test_a_session_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"rate|channels|format"):
        ChunkAssembler(**wrong)


def test_after_flush_there_is_nothing_more() -> None:
    assembler = ChunkAssembler(rate=8_000)
    assembler.push(SMALL)
    assembler.flush()

    for call in (assembler.flush, assembler.restart, assembler.snapshot):
        with pytest.raises(ValueError, match="flushed"):
            call()
    with pytest.raises(ValueError, match="flushed"):
        assembler.push(b"")
    assembler.close()
    assembler.close()
