from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile as sf

from voicepipe.errors import (
    AudioError,
    DamagedAudioError,
    EmptyAudioError,
    TruncatedAudioError,
    UnsupportedAudioError,
)
from voicepipe.io.decode import open_audio
from voicepipe.io.options import DecodeOptions
from voicepipe.io.wav import writer as wav
from voicepipe.io.wav.writer import WavWriter


if TYPE_CHECKING:
    import numpy.typing as npt


SOUND = (np.random.default_rng(0).standard_normal(8_000) * 0.2).astype(np.float32)
PCM = (SOUND * 32_768).astype("<i2").tobytes()


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return struct.pack("<4sI", name, len(body) if size is None else size) + body


def form(
    *,
    tag: int = 1,
    channels: int = 1,
    rate: int = 8_000,
    bits: int = 16,
    align: int | None = None,
) -> bytes:
    align = channels * bits // 8 if align is None else align
    return struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits)


def riff(*chunks: bytes, magic: bytes = b"RIFF", size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return struct.pack("<4sI", magic, len(body) if size is None else size) + body


def read(data: bytes, *, allow_truncated: bool = False) -> npt.NDArray[np.float32]:
    options = DecodeOptions(allow_truncated=allow_truncated)
    with open_audio(data, options=options) as reader:
        return np.concatenate(list(reader.blocks()))


FORM = chunk(b"fmt ", form())
DATA = chunk(b"data", PCM)


def ds64(data_bytes: int) -> bytes:
    return chunk(b"ds64", struct.pack("<QQQI", 0, data_bytes, 0, 0))


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
    "rf64 without ds64": riff(FORM, chunk(b"data", PCM, 0xFFFFFFFF), magic=b"RF64"),
    "rf64 of 2**63-1": riff(
        ds64(2**63 - 1), FORM, chunk(b"data", PCM, 0xFFFFFFFF), magic=b"RF64"
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


@pytest.mark.parametrize("tag", [0xABCD, 0x0055, 0x0161])
def test_a_coding_that_is_unknown_or_nonsense_is_an_audio_error(tag: int) -> None:
    with pytest.raises(AudioError):
        read(riff(chunk(b"fmt ", form(tag=tag)), DATA))


def test_no_format_is_damage() -> None:
    with pytest.raises(DamagedAudioError):
        read(riff(DATA))


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


def test_what_is_written_is_read_back_by_libsndfile() -> None:
    file = io.BytesIO()
    writer = WavWriter(file, rate=16_000, channels=2)
    sound = np.stack([SOUND, -SOUND], axis=1)
    for at in range(0, len(sound), 999):
        writer.write(sound[at : at + 999])
    writer.finish()
    file.seek(0)

    samples, rate = sf.read(file, dtype="int16")

    assert (rate, writer.frames) == (16_000, 8_000)
    assert np.array_equal(samples, np.rint(sound * 32_768))
    assert file.getvalue()[:4] == b"RIFF"
    assert len(file.getvalue()) == 44 + 4 * 8_000


class Sink(io.BytesIO):
    """Takes gigabytes and keeps none of them."""

    def write(self, data: object) -> int:
        return len(data)  # type: ignore[arg-type]


def test_more_than_four_gigabytes_are_refused() -> None:
    writer = WavWriter(Sink(), rate=192_000, channels=8)
    writer.frames = wav.MAX_DATA_BYTES // 16 - 5
    writer.write(np.zeros((5, 8), np.float32))

    with pytest.raises(UnsupportedAudioError, match="4 GiB"):
        writer.write(np.zeros((1, 8), np.float32))
