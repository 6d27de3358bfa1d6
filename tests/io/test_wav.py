from __future__ import annotations

import contextlib
import io
import os
import struct
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
import soundfile as sf
from riff_bytes import chunk, ds64, form, riff

from voicepipe.errors import (
    AudioError,
    DamagedAudioError,
    EmptyAudioError,
    TruncatedAudioError,
    UnsupportedAudioError,
)
from voicepipe.io.decode import open_audio
from voicepipe.io.options import DecodeOptions, RawEncoding, RawFormat
from voicepipe.io.source import SourceFile
from voicepipe.io.wav.header import UNCOMPRESSED, raw_header, read_header
from voicepipe.io.wav.pcm import PcmDecoder
from voicepipe.stream.g711 import expand


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt
    from stress_report import Report

    from voicepipe.io.wav.header import WavHeader


SOUND = (np.random.default_rng(0).standard_normal(8_000) * 0.2).astype(np.float32)
PCM = (SOUND * 32_768).astype("<i2").tobytes()


def read(data: bytes, *, allow_truncated: bool = False) -> npt.NDArray[np.float32]:
    options = DecodeOptions(allow_truncated=allow_truncated)
    with open_audio(data, options=options) as reader:
        return np.concatenate(list(reader.blocks()))


def header_of(data: bytes) -> WavHeader:
    return read_header(SourceFile(data))


def header_at(path: Path) -> WavHeader:
    with contextlib.closing(SourceFile(path)) as file:
        return read_header(file)


def decoder_of(data: bytes) -> PcmDecoder:
    file = SourceFile(data)
    return PcmDecoder(file, read_header(file))


@contextlib.contextmanager
def decoder_at(path: Path) -> Iterator[PcmDecoder]:
    with contextlib.closing(SourceFile(path)) as file:
        yield PcmDecoder(file, read_header(file))


FORM = chunk(b"fmt ", form())
DATA = chunk(b"data", PCM)


WHOLE = {
    "plain": riff(FORM, DATA),
    "killed libsndfile": riff(FORM, chunk(b"data", PCM, 0), size=8),
    "sizes 0 and 0": riff(FORM, chunk(b"data", PCM, 0), size=0),
    "sizes 36 and 0": riff(FORM, chunk(b"data", PCM, 0), size=36),
    "FFmpeg's pipe": riff(FORM, chunk(b"data", PCM, 0xFFFFFFFF), size=0xFFFFFFFF),
    "SoX's pipe": riff(FORM, chunk(b"data", PCM, 0x7FFFF000), size=0x7FFFF024),
    "arecord's pipe": riff(FORM, chunk(b"data", PCM, 0x80000000)),
    "chunk before": riff(chunk(b"JUNK", bytes(28)), FORM, DATA),
    "odd chunk before": riff(chunk(b"LIST", b"odd") + b"\0", FORM, DATA),
    "chunk behind": riff(FORM, DATA, chunk(b"LIST", b"INFO")),
    "second data chunk": riff(FORM, DATA, DATA),
    "long format": riff(chunk(b"fmt ", form() + bytes(2)), DATA),
    "extensible": riff(
        chunk(
            b"fmt ",
            form(tag=0xFFFE)
            + struct.pack("<HHIH", 22, 16, 4, 1)
            + bytes.fromhex("000000001000800000aa00389b71"),
        ),
        DATA,
    ),
    "block align 0": riff(chunk(b"fmt ", form(align=0)), DATA),
    "block align wrong": riff(chunk(b"fmt ", form(align=7)), DATA),
    "odd number of bytes": riff(FORM, chunk(b"data", PCM + b"\x01")),
    "rf64": riff(ds64(len(PCM)), FORM, chunk(b"data", PCM, 0xFFFFFFFF), magic=b"RF64"),
    "bw64": riff(ds64(len(PCM)), FORM, chunk(b"data", PCM, 0xFFFFFFFF), magic=b"BW64"),
    "rf64 without sizes": riff(
        ds64(0), FORM, chunk(b"data", PCM, 0xFFFFFFFF), magic=b"RF64"
    ),
    "rf64 of 2**63-1": riff(
        ds64(2**63 - 1), FORM, chunk(b"data", PCM, 0xFFFFFFFF), magic=b"RF64"
    ),
    "rf64 of 2**64-1": riff(
        ds64(2**64 - 1), FORM, chunk(b"data", PCM, 0xFFFFFFFF), magic=b"RF64"
    ),
    "rf64 with a short ds64": riff(
        chunk(b"ds64", bytes(8)), FORM, chunk(b"data", PCM), magic=b"RF64"
    ),
    "sizes in 64 bits, not yet renamed": riff(
        ds64(len(PCM)), FORM, chunk(b"data", PCM, 0xFFFFFFFF)
    ),
}


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_all_samples_are_read(data: bytes) -> None:
    samples = read(data)

    assert np.array_equal(samples[:, 0] * 32_768, np.frombuffer(PCM, "<i2"))


@pytest.mark.parametrize(
    "subtype",
    ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"],
)
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_every_width_is_read_as_libsndfile_reads_it(
    subtype: str, channels: int
) -> None:
    file = io.BytesIO()
    sound = np.stack([SOUND * 0.9**index for index in range(channels)], axis=1)
    sf.write(file, sound, 8_000, format="WAV", subtype=subtype)
    file.seek(0)
    expected, _ = sf.read(file, dtype="float32", always_2d=True)

    assert np.array_equal(read(file.getvalue()), expected)


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_compressed_sound_in_wav_is_read(subtype: str) -> None:
    file = io.BytesIO()
    sf.write(file, SOUND, 8_000, format="WAV", subtype=subtype)
    file.seek(0)
    expected, _ = sf.read(file, dtype="float32", always_2d=True)

    samples = read(file.getvalue())

    assert abs(len(samples) - len(expected)) < 1_024
    common = min(len(samples), len(expected))
    # Decoders of MS ADPCM round differently.
    assert np.abs(samples[:common] - expected[:common]).max() < 1e-2


@pytest.mark.parametrize("subtype", ["ULAW", "IMA_ADPCM"])
def test_compressed_sound_that_is_cut_is_truncated(subtype: str) -> None:
    file = io.BytesIO()
    sf.write(file, SOUND, 8_000, format="WAV", subtype=subtype)
    data = file.getvalue()

    with pytest.raises(TruncatedAudioError):
        read(data[: len(data) // 2])
    assert len(read(data[: len(data) // 2], allow_truncated=True)) > 3_000


CUT = {
    "no magic's end": b"RIFF\x24\x00\x00\x00WAVE",
    "inside the format": riff(FORM)[:30],
    "before the data": riff(FORM),
    "inside the data": riff(FORM, DATA)[:9_000],
    "only announced": riff(FORM, chunk(b"data", b"", 16_000)),
    "a chunk of 4 GiB": riff(chunk(b"LIST", b"", 0xFFFFFFFE), FORM, DATA),
    "rf64": riff(ds64(2**40), FORM, chunk(b"data", PCM, 0xFFFFFFFF), magic=b"RF64"),
}


@pytest.mark.parametrize("data", CUT.values(), ids=CUT)
def test_less_than_announced_is_truncated(data: bytes) -> None:
    with pytest.raises(TruncatedAudioError):
        read(data)


def test_a_cut_file_says_how_much_there_is() -> None:
    with pytest.raises(TruncatedAudioError) as error:
        read(riff(FORM, DATA)[: 44 + 12_000])

    assert (error.value.decoded_s, error.value.declared_s) == (0.75, 1.0)


@pytest.mark.parametrize(
    "data",
    [
        riff(FORM, chunk(b"data", b"")),
        riff(FORM, chunk(b"data", b""), chunk(b"LIST", b"INFO")),
        riff(FORM, chunk(b"data", b"", 0xFFFFFFFF)),
        riff(FORM, chunk(b"data", b"\x01")),
    ],
)
def test_a_header_alone_is_empty(data: bytes) -> None:
    with pytest.raises(EmptyAudioError):
        read(data)


@pytest.mark.parametrize(
    ("bad", "got"),
    [
        ({"rate": 0}, "0 Hz"),
        ({"rate": 1}, "1 Hz"),
        ({"rate": 3_999}, "3999 Hz"),
        ({"rate": 192_001}, "192001 Hz"),
        ({"rate": 4_000_000_000}, "4000000000 Hz"),
        ({"channels": 0}, "0 channels"),
        ({"channels": 9}, "9 channels"),
        ({"channels": 1_024}, "1024 channels"),
        ({"channels": 65_535}, "65535 channels"),
        ({"bits": 0}, "0-bit integer"),
        ({"bits": 17}, "17-bit integer"),
        ({"bits": 64}, "64-bit integer"),
        ({"bits": 16, "tag": 3}, "16-bit float"),
    ],
)
def test_a_strange_format_is_refused(bad: dict[str, int], got: str) -> None:
    # The written numbers that follow from the bad one do not have to fit.
    body = form(**{**bad, "rate": 8_000, "channels": 1, "align": 2})
    numbers = struct.pack("<HI", bad.get("channels", 1), bad.get("rate", 8_000))
    data = riff(chunk(b"fmt ", body[:2] + numbers + body[8:]), DATA)

    with pytest.raises(UnsupportedAudioError) as error:
        read(data)

    assert error.value.got == got
    assert error.value.wanted


LIST = chunk(b"LIST", b"INFO")

# A file, and of its header: the bytes of samples there, the bytes announced, whether it
# was left open, and the bytes behind the samples that belong to nothing.
SIZES: dict[str, tuple[bytes, int, int | None, bool, int]] = {
    "plain": (riff(FORM, DATA), 16_000, 16_000, False, 0),
    "cut": (riff(FORM, chunk(b"data", PCM, 20_000)), 16_000, 20_000, False, 0),
    "killed libsndfile": (WHOLE["killed libsndfile"], 16_000, None, True, 0),
    "sizes 0 and 0": (WHOLE["sizes 0 and 0"], 16_000, None, True, 0),
    "sizes 36 and 0": (WHOLE["sizes 36 and 0"], 16_000, None, True, 0),
    "killed between two sizes": (
        riff(FORM, chunk(b"data", PCM, 0)),
        *(16_000, None, True, 0),
    ),
    "FFmpeg's pipe": (WHOLE["FFmpeg's pipe"], 16_000, None, True, 0),
    "SoX's pipe": (WHOLE["SoX's pipe"], 16_000, 0x7FFFF000, True, 0),
    "arecord's pipe": (WHOLE["arecord's pipe"], 16_000, 0x80000000, True, 0),
    "2 GiB less one byte": (
        riff(FORM, chunk(b"data", PCM, 0x7FFFFFFF)),
        *(16_000, 0x7FFFFFFF, True, 0),
    ),
    "clamped": (riff(FORM, chunk(b"data", PCM, 0xFFFFFFDB)), 16_000, None, True, 0),
    "open, with more behind": (
        riff(FORM, chunk(b"data", PCM, 0xFFFFFFFF), LIST),
        *(16_012, None, True, 0),
    ),
    "meant to be empty": (riff(FORM, chunk(b"data", b""), LIST), 0, 0, False, 0),
    "meant to be empty, last byte not counted": (
        riff(FORM, chunk(b"data", b""), chunk(b"LIST", b"odd")) + b"\0",
        *(0, 0, False, 0),
    ),
    "rf64 meant to be empty": (
        riff(
            *(ds64(0, 4 + 36 + 24 + 8 + 12), FORM),
            *(chunk(b"data", b"", 0xFFFFFFFF), LIST),
            magic=b"RF64",
            size=0xFFFFFFFF,
        ),
        *(0, 0, False, 0),
    ),
    "rf64": (WHOLE["rf64"], 16_000, 16_000, False, 0),
    "rf64 without sizes": (WHOLE["rf64 without sizes"], 16_000, None, True, 0),
    "rf64 of 2**63-1": (WHOLE["rf64 of 2**63-1"], 16_000, None, True, 0),
    "rf64 of 2**64-1": (WHOLE["rf64 of 2**64-1"], 16_000, None, True, 0),
    "rf64 of 2 GiB, cut": (
        riff(ds64(1 << 31), FORM, chunk(b"data", PCM, 0xFFFFFFFF), magic=b"RF64"),
        *(16_000, 1 << 31, False, 0),
    ),
    "too small": (riff(FORM, chunk(b"data", PCM, 100)), 100, 100, False, 15_900),
    "chunks behind": (
        riff(FORM, DATA, LIST, chunk(b"id3 ", bytes(10)), chunk(b"bext", bytes(602))),
        *(16_000, 16_000, False, 0),
    ),
    "padding behind": (
        riff(FORM, chunk(b"data", PCM[:-1]) + b"\0", chunk(b"LIST", b"odd") + b"\0"),
        *(15_999, 15_999, False, 0),
    ),
    "padding forgotten": (
        riff(FORM, chunk(b"data", PCM[:-1]), chunk(b"LIST", b"odd"), LIST),
        *(15_999, 15_999, False, 0),
    ),
    "second data chunk": (riff(FORM, DATA, LIST, DATA), 16_000, 16_000, False, 16_008),
    "second data chunk, and junk": (
        riff(FORM, DATA, DATA) + b"junk",
        *(16_000, 16_000, False, 16_012),
    ),
    "second data chunk, open": (
        riff(FORM, DATA, chunk(b"data", PCM, 0xFFFFFFFF)),
        *(16_000, 16_000, False, 16_008),
    ),
    "a chunk that is cut": (riff(FORM, DATA, LIST[:-1]), 16_000, 16_000, False, 11),
    "a chunk's name that is cut": (
        riff(FORM, DATA, LIST, b"LI"),
        *(16_000, 16_000, False, 2),
    ),
    "an archive behind": (
        riff(FORM, DATA, LIST) + b"PK\x03\x04" + bytes(96),
        *(16_000, 16_000, False, 100),
    ),
    "as many chunks as are followed": (
        riff(FORM, DATA, LIST * 1_000),
        *(16_000, 16_000, False, 0),
    ),
    "more chunks than are followed": (
        riff(FORM, DATA, LIST * 1_002),
        *(16_000, 16_000, False, 24),
    ),
}


@pytest.mark.parametrize(
    ("data", "there", "declared", "unclosed", "trailing"), SIZES.values(), ids=SIZES
)
def test_the_header_tells_how_far_the_samples_reach(
    data: bytes, there: int, declared: int | None, *, unclosed: bool, trailing: int
) -> None:
    header = header_of(data)

    assert header.data_bytes == there
    assert header.declared_bytes == declared
    assert (header.unclosed, header.trailing_bytes) == (unclosed, trailing)
    less = declared is not None and there < declared
    assert (header.cut, header.promises_more) == (
        less and not unclosed,
        less and unclosed,
    )
    report = decoder_of(data).report
    assert report.truncated is less
    assert (report.unclosed, report.trailing_bytes) == (unclosed, trailing)
    assert report.declared_frames == (None if declared is None else declared // 2)


@contextlib.contextmanager
def tracing() -> Iterator[Callable[[], int]]:
    """Give what tells the most bytes of memory taken in the block."""
    tracemalloc.start()
    peaks = []
    try:
        yield lambda: peaks[0]
        peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


class Sparse:
    """Makes files whose gigabytes of zeros take no room on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, head: bytes, zeros: int, tail: bytes = b"") -> Path:
        with self._path.open("wb") as file:
            file.write(head)
            file.seek(zeros, os.SEEK_CUR)
            file.truncate()
            file.write(tail)
        return self._path


@pytest.fixture
def sparse(tmp_path: Path) -> Sparse:
    return Sparse(tmp_path / "sparse.wav")


@pytest.mark.parametrize("size", [0x7FFFF000, 0x7FFFFFFE, 0x80000000, 0xFFFF0000])
def test_a_size_that_usually_means_nothing_is_believed_if_the_file_agrees(
    size: int, sparse: Sparse
) -> None:
    head = riff(FORM, chunk(b"data", b"", size), size=36 + size)

    for tail in (b"", LIST):
        header = header_at(sparse(head, size, tail))
        assert (header.data_bytes, header.declared_bytes) == (size, size)
        assert not header.unclosed
    assert header_at(sparse(head, size + 99)).data_bytes == size + 99
    assert header_at(sparse(head, size + 99)).unclosed


def test_eight_gigabytes_are_all_seen(sparse: Sparse) -> None:
    size = 8 << 30
    data = chunk(b"data", b"", 0xFFFFFFFF)

    for head in (riff(ds64(size), FORM, data, magic=b"RF64"), riff(FORM, data)):
        assert header_at(sparse(head, size)).data_bytes == size


def test_reading_takes_the_same_memory_whatever_the_length(sparse: Sparse) -> None:
    path = sparse(
        riff(chunk(b"fmt ", form(bits=24)), chunk(b"data", b"", 3 << 26)), 3 << 26
    )
    with decoder_at(path) as decoder, tracing() as peak:
        frames = sum(len(block) for block in decoder.blocks())

    assert frames == 1 << 26
    assert peak() < 8 << 20


@pytest.mark.stress
def test_eight_gigabytes_are_read_in_the_same_memory(
    sparse: Sparse, stress_report: Report
) -> None:
    size = 8 << 30
    head = riff(ds64(size), FORM, chunk(b"data", b"", 0xFFFFFFFF), magic=b"RF64")
    path = sparse(head, size - 4, b"\x01\x00\x02\x00")
    frames, last = 0, np.zeros((0, 1), np.float32)
    with decoder_at(path) as decoder, tracing() as peak:
        for block in decoder.blocks():
            frames += len(block)
            last = block[-2:]

    stress_report(
        "reading an RF64 file of 8 GiB",
        f"{frames:,} frames, {peak() >> 10} KiB at most",
    )
    assert frames == size // 2
    assert (last[:, 0] * 32_768).tolist() == [1, 2]
    assert peak() < 8 << 20


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("frames", [0, 200_000])
def test_what_a_killed_libsndfile_leaves_is_read(
    kind: str, frames: int, tmp_path: Path
) -> None:
    path = tmp_path / "killed"
    program = f"""
import os, numpy, soundfile
file = soundfile.SoundFile({str(path)!r}, "w", 8_000, 1, "PCM_16", format={kind!r})
file.write(numpy.arange({frames}).astype("int16"))
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", program], check=False)

    with decoder_at(path) as decoder:
        blocks = list(decoder.blocks())

    assert decoder.report.unclosed
    samples = np.concatenate([np.zeros((0, 1), np.float32), *blocks])
    expected = np.arange(frames).astype(np.int16)
    assert np.array_equal(samples[:, 0] * 32_768, expected)


@pytest.mark.parametrize(
    ("subtype", "codec"),
    [
        ("PCM_U8", "pcm_u8"),
        ("PCM_16", "pcm_s16le"),
        ("PCM_24", "pcm_s24le"),
        ("PCM_32", "pcm_s32le"),
        ("FLOAT", "pcm_f32le"),
        ("DOUBLE", "pcm_f64le"),
        ("ULAW", "pcm_mulaw"),
        ("ALAW", "pcm_alaw"),
    ],
)
@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64"])
def test_every_codec_is_named_and_decoded(subtype: str, codec: str, kind: str) -> None:
    # More than two blocks of them.
    sound = np.tile(np.stack([SOUND, -SOUND], axis=1), (20, 1))
    file = io.BytesIO()
    sf.write(file, sound, 8_000, format=kind, subtype=subtype)
    file.seek(0)
    expected, _ = sf.read(file, dtype="float32")
    header, decoder = header_of(file.getvalue()), decoder_of(file.getvalue())

    assert np.array_equal(np.concatenate(list(decoder.blocks())), expected)
    assert (header.tag in UNCOMPRESSED, header.codec) == (True, codec)
    assert header.declared_frames == len(sound)
    report = decoder.report
    assert (report.container, report.codec, report.frames) == ("wav", codec, 160_000)
    assert decoder.fraction == 1.0


@pytest.mark.parametrize("bits", [0, 8, 13, 14, 16])
def test_a_code_of_g711_has_8_bits_whatever_is_written(bits: int) -> None:
    codes = bytes(range(256))
    body = chunk(b"fmt ", form(tag=7, bits=bits, align=bits // 8))

    (samples,) = decoder_of(riff(body, chunk(b"data", codes))).blocks()

    assert np.array_equal(
        samples[:, 0] * 32_768, expand(np.frombuffer(codes, np.uint8), "mulaw")
    )


def extensible(valid_bits: int, guid: str, bits: int = 32) -> bytes:
    more = struct.pack("<HHI", 22, valid_bits, 4) + bytes.fromhex(guid)
    return chunk(b"fmt ", form(tag=0xFFFE, bits=bits) + more)


INTEGERS = "0100" + "000000001000800000aa00389b71"
AMBISONIC_FLOATS = "0300" + "00002107d3118644c8c1ca000000"


@pytest.mark.parametrize("valid_bits", [0, 20, 24, 32, 99])
def test_samples_of_less_valid_bits_stand_at_the_upper_end(valid_bits: int) -> None:
    body = np.array([1 << 30, -(1 << 31)], "<i4").tobytes()
    data = riff(extensible(valid_bits, INTEGERS), chunk(b"data", body))

    assert read(data)[:, 0].tolist() == [0.5, -1.0]


def test_the_subformat_decides_by_all_its_bytes() -> None:
    body = np.array([0.5, -1.0], "<f4").tobytes()
    known = riff(extensible(32, AMBISONIC_FLOATS), chunk(b"data", body))
    unknown = riff(extensible(32, "0300" + "ab" * 14), chunk(b"data", body))

    assert next(decoder_of(known).blocks())[:, 0].tolist() == [0.5, -1.0]
    assert header_of(unknown).codec is None
    with pytest.raises(UnsupportedAudioError, match="0xFFFE"):
        decoder_of(unknown)
    with pytest.raises(AudioError):
        read(unknown)


RAW_VIEWS = {
    "pcm_u8": "u1",
    "pcm_s16le": "<i2",
    "pcm_s24le": "V3",
    "pcm_s32le": "<i4",
    "pcm_f32le": "<f4",
    "pcm_f64le": "<f8",
    "pcm_mulaw": "u1",
    "pcm_alaw": "u1",
}


@pytest.mark.parametrize("encoding", get_args(RawEncoding))
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_without_a_header_are_those_behind_one(
    encoding: RawEncoding, channels: int
) -> None:
    frame = channels * np.dtype(RAW_VIEWS[encoding]).itemsize
    body = np.random.default_rng(0).bytes(1_000 * frame)
    raw = RawFormat(rate=16_000, channels=channels, encoding=encoding)
    tag = {"f": 3, "m": 7, "a": 6}.get(encoding.removeprefix("pcm_")[0], 1)
    bits = 8 * frame // channels
    described = form(tag=tag, channels=channels, rate=16_000, bits=bits)
    expected = list(
        decoder_of(riff(chunk(b"fmt ", described), chunk(b"data", body))).blocks()
    )

    # A last frame that is not whole is dropped, and told.
    file = SourceFile(body + bytes(frame - 1), raw=True)
    decoder = PcmDecoder(file, raw_header(raw, file.size))
    samples = list(decoder.blocks())

    assert np.array_equal(samples, expected, equal_nan=True)
    report = decoder.report
    assert (report.container, report.codec) == ("raw", encoding)
    assert (report.rate, report.channels, report.frames) == (16_000, channels, 1_000)
    assert (report.declared_frames, report.unclosed) == (None, False)
    assert report.trailing_bytes == frame - 1


def test_what_looks_like_a_header_is_samples_too_without_one() -> None:
    data = riff(FORM, DATA)
    file = SourceFile(data, raw=True)

    (samples,) = PcmDecoder(file, raw_header(RawFormat(rate=8_000), file.size)).blocks()

    assert np.array_equal(samples[:, 0] * 32_768, np.frombuffer(data, "<i2"))


# The second one: where a block ends.
@pytest.mark.parametrize("size", [700_001, 2 * 262_144])
def test_a_file_that_shrinks_while_it_is_read_is_truncated(
    size: int, tmp_path: Path
) -> None:
    path = tmp_path / "shrinking.wav"
    path.write_bytes(riff(FORM, chunk(b"data", PCM * 50)))
    with decoder_at(path) as decoder:
        blocks = decoder.blocks()
        given = [next(blocks)]
        os.truncate(path, 44 + size)
        with pytest.raises(TruncatedAudioError) as error:
            given += blocks

    assert error.value.declared_s == 50.0
    assert decoder.report.truncated
    # What has been read ahead before the cut comes as well.
    assert decoder.report.frames == sum(map(len, given)) < 400_000
    assert all(map(len, given))
    assert error.value.decoded_s == decoder.report.frames / 8_000


@pytest.mark.parametrize("tag", [0xABCD, 0x0055, 0x0161])
def test_a_coding_that_is_unknown_or_nonsense_is_an_audio_error(tag: int) -> None:
    with pytest.raises(AudioError):
        read(riff(chunk(b"fmt ", form(tag=tag)), DATA))


def test_frames_of_no_channels_are_not_counted() -> None:
    header = header_of(riff(chunk(b"fmt ", form(channels=0)), DATA))

    assert header.declared_frames is None


def test_no_format_is_damage() -> None:
    with pytest.raises(DamagedAudioError):
        read(riff(DATA))


@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
@pytest.mark.parametrize("sizes", [b"", chunk(b"ds64", bytes(14))])
def test_no_sizes_in_64_bits_are_damage(magic: bytes, sizes: bytes) -> None:
    data = riff(sizes, FORM, chunk(b"data", PCM, 0xFFFFFFFF), magic=magic)

    with pytest.raises(DamagedAudioError, match=magic.decode()):
        read(data)


def test_thousands_of_chunks_are_damage() -> None:
    with pytest.raises(DamagedAudioError, match="chunks"):
        read(riff(chunk(b"JUNK", b"") * 200_000, FORM, DATA))


@pytest.mark.parametrize(("bits", "kind"), [(32, "<f4"), (64, "<f8")])
def test_samples_that_are_none_become_zero_and_others_are_clipped(
    bits: int, kind: str
) -> None:
    floats = [0.5, np.nan, np.inf, -np.inf, 1.5, -3.0, 1e300 if bits == 64 else 1e30]
    body = np.array(floats, kind).tobytes()
    data = riff(chunk(b"fmt ", form(tag=3, bits=bits)), chunk(b"data", body))

    samples = read(data)

    # 1e300 is infinite as float32.
    last = 0.0 if bits == 64 else 1.0
    assert samples[:, 0].tolist() == [0.5, 0.0, 0.0, 0.0, 1.0, -1.0, last]
