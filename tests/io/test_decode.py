from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile as sf
import soxr
from make_audio import EIGHT, ENCODERS, encode, signal

from voicepipe.errors import (
    AudioError,
    DamagedAudioError,
    EmptyAudioError,
    NotAudioError,
    TruncatedAudioError,
    UnsupportedAudioError,
)
from voicepipe.io.decode import open_audio
from voicepipe.io.options import DecodeOptions
from voicepipe.io.read import read_audio


if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt


TESTS = Path(__file__).parents[1]

RATES = [44_100, 8_000]

BY_SOUNDFILE = {"mp3", "mp3-plain", "wav", "ogg", "opus", "flac"}
"""What libsndfile reads: by mpg123, libvorbis, libopus, libFLAC or itself."""

CAN_BE_CUT = {"m4a": "m4a-faststart"}
"""A cut M4A has a beginning to give only if its index stands in front."""


def independent(path: Path, kind: str) -> tuple[npt.NDArray[np.float32], int]:
    """Decode with another program than PyAV."""
    if kind in BY_SOUNDFILE:
        return sf.read(path, dtype="float32", always_2d=True)
    opus = kind.startswith("webm")
    out = subprocess.run(
        [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"),
            *(["-c:a", "libopus"] if opus else []),
            *("-i", path, "-f", "f32le", "-"),
        ],
        capture_output=True,
        check=True,
    ).stdout
    kind_rate = path.name.rpartition("-")[2]
    rate = 48_000 if opus else int(kind_rate)
    channels = 1 if kind_rate == "8000" else 2
    return np.frombuffer(out, "<f4").reshape(-1, channels), rate


def dbfs(samples: npt.NDArray[np.float32]) -> float:
    return 20 * float(np.log10(np.abs(samples).max() + 1e-12))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("kind", EIGHT)
async def test_all_kinds_decode_as_other_decoders_do(
    recording: Callable[..., Path], kind: str, rate: int
) -> None:
    path = recording(kind, rate)
    samples, own_rate = independent(path, kind)
    mono = samples.mean(axis=1, dtype=np.float64).astype(np.float32)
    expected = soxr.resample(mono, own_rate, 16_000, quality="HQ")

    audio = await read_audio(path, rate=16_000, channels=1)

    # To the frame, for each kind: both sides trim what the container says.
    assert audio.frames == len(expected)
    assert dbfs(audio.samples[:, 0] - expected) < -90


# 8 s of sound, and the encoders' padding where the container cannot tell it.
TRUE_LENGTH = [kind for kind in EIGHT if kind != "aac"]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("kind", [*TRUE_LENGTH, "m4a-faststart", "webm-live"])
def test_padding_is_trimmed_to_the_frame(
    recording: Callable[..., Path], kind: str, rate: int
) -> None:
    with open_audio(recording(kind, rate)) as reader:
        frames = sum(map(len, reader.blocks()))

    assert frames == 8 * reader.rate


@pytest.mark.parametrize(
    ("kind", "delay"), [("aac", 1_024), ("m4a-fragmented", 1_024), ("mp3-plain", 1_105)]
)
def test_what_no_container_tells_is_kept(
    recording: Callable[..., Path], kind: str, delay: int
) -> None:
    with open_audio(recording(kind)) as reader:
        samples = np.concatenate(list(reader.blocks()))

    assert 0 <= len(samples) - 8 * 44_100 - delay < 2_048
    tail = samples[delay : delay + 8 * 44_100]
    assert dbfs((tail - signal(44_100, 2))[4_410:-4_410]) < -15


@pytest.mark.parametrize("kind", EIGHT)
def test_every_kind_is_told_and_consumed(
    recording: Callable[..., Path], kind: str
) -> None:
    containers = {"opus": "ogg", "m4a": "mp4"}
    with open_audio(recording(kind)) as reader:
        shares = [reader.fraction]
        for block in reader.blocks():
            assert block.dtype == np.float32
            assert block.shape[1] == reader.channels == 2
            assert 0 < len(block) < 4 * reader.rate
            assert np.abs(block).max() <= 1.0
            shares.append(reader.fraction)
        shares.append(reader.fraction)

    assert reader.container == containers.get(kind, kind)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert 0.2 < shares[len(shares) // 2] < 0.8


@pytest.mark.parametrize("kind", EIGHT)
async def test_paths_bytes_and_file_objects_are_alike(
    recording: Callable[..., Path], kind: str
) -> None:
    path = recording(kind)
    by_path = await read_audio(path)
    with path.open("rb") as file:
        file.seek(99)
        by_file = await read_audio(file)
        assert not file.closed
    with path.open("rb", buffering=0) as file:
        by_raw_file = await read_audio(file)

    for other in (await read_audio(path.read_bytes()), by_file, by_raw_file):
        assert other.rate == by_path.rate
        assert np.array_equal(other.samples, by_path.samples)


@pytest.mark.parametrize("kind", EIGHT)
async def test_the_name_does_not_matter(
    recording: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    wrong = tmp_path / ("call.wav" if kind == "mp3" else "call.mp3")
    wrong.write_bytes(recording(kind).read_bytes())

    audio = await read_audio(str(wrong))

    assert audio.duration == pytest.approx(8.0, abs=0.06)


def test_a_tag_with_a_large_picture_is_passed_over(
    recording: Callable[..., Path],
) -> None:
    size = 300_000
    digits = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    # Full of what looks like frames.
    tag = b"ID3\x04\x00\x00" + digits + b"\xff\xfb\x90\x00" * (size // 4)
    for kind in ("mp3", "aac", "flac"):
        data = recording(kind).read_bytes()
        with open_audio(data) as plain, open_audio(tag + data) as tagged:
            assert tagged.container == plain.container == kind
            expected = np.concatenate(list(plain.blocks()))
            assert np.array_equal(np.concatenate(list(tagged.blocks())), expected)


def test_garbage_before_the_first_frame_is_passed_over(
    recording: Callable[..., Path],
) -> None:
    data = recording("mp3").read_bytes()
    with open_audio(b"\x00garbage" * 600 + data[data.index(b"\xff\xfb") :]) as reader:
        assert sum(map(len, reader.blocks())) == 8 * 44_100


# --- what is refused ------------------------------------------------------------------


async def test_html_named_mp3_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "call.mp3"
    path.write_text("<!doctype html><title>404</title>")

    with pytest.raises(NotAudioError, match="HTML") as error:
        await read_audio(path)

    assert error.value.source == str(path)


async def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await read_audio(tmp_path / "none.wav")
    with pytest.raises(IsADirectoryError):
        await read_audio(tmp_path)


@pytest.mark.parametrize("data", [b"", b"ID3\x04\x00\x00\x00\x00\x00\x00"])
async def test_no_bytes_are_empty(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "empty.mp3"
    path.write_bytes(data)

    with pytest.raises(EmptyAudioError):
        await read_audio(path)


async def test_a_file_that_ends_inside_its_tag_is_truncated() -> None:
    with pytest.raises(TruncatedAudioError):
        await read_audio(b"ID3\x04\x00\x00\x00\x00\x10\x00" + bytes(100))


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
async def test_headers_without_sound_are_empty(kind: str) -> None:
    with pytest.raises(EmptyAudioError):
        await read_audio(encode(kind, signal(8_000, 1, 0.0), 8_000))


async def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    import av

    path = tmp_path / "film.mp4"
    with av.open(path, "w") as film:
        stream = film.add_stream("mpeg4", rate=10, width=16, height=16)
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            picture = np.zeros((16, 16, 3), np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        film.mux(stream.encode(None))

    with pytest.raises(UnsupportedAudioError) as error:
        await read_audio(path)

    assert error.value.got == "no audio stream"


async def test_a_recording_that_changes_its_format_is_refused() -> None:
    first = encode("mp3-plain", signal(44_100, 2, 2.0), 44_100)
    second = encode("mp3-plain", signal(8_000, 1, 2.0), 8_000)

    with pytest.raises(UnsupportedAudioError) as error:
        await read_audio(first + second)

    assert "44100 Hz, 2 channels" in error.value.got


@pytest.mark.parametrize("kind", ["opus", "ogg"])
async def test_streams_behind_one_another_are_all_read(kind: str) -> None:
    data = encode(kind, signal(48_000, 1, 1.0), 48_000)

    audio = await read_audio(data * 2)

    assert audio.duration == pytest.approx(2.0, abs=0.01)


async def test_streams_of_different_formats_behind_one_another_are_refused() -> None:
    first = encode("ogg", signal(44_100, 2, 20.0), 44_100)
    second = encode("ogg", signal(8_000, 1, 1.0), 8_000)

    with pytest.raises(UnsupportedAudioError):
        await read_audio(first + second)


ID3V1 = b"TAG" + bytes(125)
APE = struct.pack("<8sIIII8x", b"APETAGEX", 2_000, 32 + 50, 1, 0xA0000000) + (
    bytes(50) + struct.pack("<8sIIII8x", b"APETAGEX", 2_000, 82, 1, 0x80000000)
)


@pytest.mark.parametrize("kind", ["mp3", "mp3-plain", "aac", "flac", "ogg"])
@pytest.mark.parametrize("tag", [ID3V1, APE, APE + ID3V1, bytes(900)])
async def test_tags_behind_the_sound_do_not_matter(
    recording: Callable[..., Path], kind: str, tag: bytes
) -> None:
    data = recording(kind).read_bytes()
    whole = await read_audio(data)

    tagged = await read_audio(data + tag)

    # Behind zeros FFmpeg does not look for the padding that a Xing tag declares.
    assert 0 <= tagged.frames - whole.frames < 1_152
    assert np.array_equal(tagged.samples[: whole.frames], whole.samples)


@pytest.mark.parametrize("kind", EIGHT)
async def test_the_longest_duration_is_counted_while_decoding(
    recording: Callable[..., Path], kind: str
) -> None:
    path = recording(kind)

    await read_audio(path, options=DecodeOptions(max_duration_s=8.1))
    with pytest.raises(UnsupportedAudioError) as error:
        await read_audio(path, options=DecodeOptions(max_duration_s=7.5))

    assert "7.5 s" in error.value.got
    assert "max_duration_s" in error.value.wanted


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_longest_duration_is_positive(seconds: float) -> None:
    with pytest.raises(ValueError, match="max_duration_s"):
        DecodeOptions(max_duration_s=seconds)


def test_a_file_object_must_be_binary_and_seek() -> None:
    read, write = os.pipe()
    os.close(write)
    with os.fdopen(read, "rb") as pipe, pytest.raises(ValueError, match="seek"):
        open_audio(pipe)
    with pytest.raises(TypeError, match="binary"):
        open_audio(io.StringIO("text"))  # type: ignore[arg-type]


class Failing(io.BytesIO):
    """A file on a disk that breaks."""

    def __init__(self, data: bytes, *, whole: int) -> None:
        super().__init__(data)
        self.whole = whole

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > self.whole:
            raise OSError(5, "the disk broke")
        return super().read(size)


@pytest.mark.parametrize("kind", EIGHT)
def test_an_error_of_the_disk_is_passed_on(
    recording: Callable[..., Path], kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = recording(kind).read_bytes()
    with (
        pytest.raises(OSError, match="the disk broke"),
        open_audio(Failing(data, whole=len(data) // 2)) as reader,
    ):
        list(reader.blocks())

    assert capfd.readouterr() == ("", "")


# --- truncated ------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    "kind", [*EIGHT, "m4a-faststart", "m4a-fragmented", "mp3-plain", "webm-live"]
)
async def test_a_cut_file_is_truncated(
    recording: Callable[..., Path],
    kind: str,
    rate: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    data = recording(kind, rate).read_bytes()
    # One byte less where the cut would lie between two frames, and not show.
    cuts = [data[: len(data) * 6 // 10 - less] for less in (0, 1)]

    errors = []
    for cut in cuts:
        try:
            await read_audio(cut)
        except AudioError as error:
            errors.append(error)

    assert errors
    assert {type(error) for error in errors} == {TruncatedAudioError}
    for error in errors:
        assert isinstance(error, TruncatedAudioError)
        if kind == "m4a":  # its index stands at the end
            assert error.decoded_s == 0.0
        else:
            assert 3.5 < error.decoded_s < 5.5
        if kind in {"wav", "flac", "m4a-faststart"}:
            assert error.declared_s == 8.0
    assert capfd.readouterr() == ("", "")


async def test_an_index_that_goes_beyond_the_end_is_truncated(
    recording: Callable[..., Path],
) -> None:
    data = recording("m4a-faststart").read_bytes()
    at = data.index(b"mdat") - 4
    # "To the end of the file": the box itself is never too short.
    endless = data[:at] + bytes(4) + data[at + 4 :]

    assert (await read_audio(endless)).frames == 8 * 44_100
    with pytest.raises(TruncatedAudioError):
        await read_audio(endless[: len(data) * 6 // 10])


@pytest.mark.parametrize("kind", EIGHT)
async def test_what_is_there_of_a_cut_file_can_be_had(
    recording: Callable[..., Path], kind: str
) -> None:
    data = recording(CAN_BE_CUT.get(kind, kind)).read_bytes()
    whole = await read_audio(data)

    part = await read_audio(
        data[: len(data) * 6 // 10], options=DecodeOptions(allow_truncated=True)
    )

    assert 3.5 < part.duration < 5.5
    # The last frame may have been decoded without its end.
    good = part.frames - 2_304
    assert np.array_equal(part.samples[:good], whole.samples[:good])


async def test_a_cut_file_without_sound_stays_an_error(
    recording: Callable[..., Path],
) -> None:
    data = recording("m4a").read_bytes()

    with pytest.raises(TruncatedAudioError):
        await read_audio(
            data[: len(data) // 2], options=DecodeOptions(allow_truncated=True)
        )


# --- damaged --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["mp3", "mp3-plain", "aac", "ogg", "opus", "flac", "m4a-faststart"]
)
async def test_a_hole_is_damage_where_it_is(
    recording: Callable[..., Path], kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = recording(kind).read_bytes()
    middle = len(data) // 2
    # In place of the hole, for M4A, whose index goes by position.
    filler = bytes(range(1, 251)) * 8 if kind.startswith("m4a") else b""

    with pytest.raises(DamagedAudioError) as error:
        await read_audio(data[:middle] + filler + data[middle + 2_000 :])

    assert 2.5 < error.value.at_s < 4.5
    assert capfd.readouterr() == ("", "")


def test_the_sound_before_the_damage_is_given(recording: Callable[..., Path]) -> None:
    data = recording("flac").read_bytes()
    middle = len(data) // 2
    with open_audio(data) as reader:
        whole = np.concatenate(list(reader.blocks()))

    blocks = []
    with (
        pytest.raises(DamagedAudioError) as error,
        open_audio(data[:middle] + data[middle + 50 :]) as reader,
    ):
        blocks.extend(reader.blocks())

    given = np.concatenate(blocks)
    assert len(given) == round(error.value.at_s * 44_100) > 3 * 44_100
    assert np.array_equal(given, whole[: len(given)])


def flac_total(data: bytes, total: int) -> bytes:
    """Overwrite the 36 bits of STREAMINFO that hold the number of frames."""
    fields = int.from_bytes(data[18:26], "big") >> 36 << 36 | total
    return data[:18] + fields.to_bytes(8, "big") + data[26:]


@pytest.mark.parametrize("total", [0, 1, (1 << 36) - 1])
async def test_a_flac_file_is_decoded_whatever_it_declares(
    recording: Callable[..., Path], total: int
) -> None:
    data = flac_total(recording("flac").read_bytes(), total)

    assert (await read_audio(data)).duration == 8.0


async def test_a_cut_flac_file_of_unknown_length_is_truncated(
    recording: Callable[..., Path],
) -> None:
    data = flac_total(recording("flac").read_bytes(), 0)

    with pytest.raises(TruncatedAudioError) as error:
        await read_audio(data[: len(data) // 2])

    assert error.value.declared_s is None


ZEROS = """
import sys
from voicepipe.io.decode import open_audio
from voicepipe.io.options import DecodeOptions

sys.path.append(sys.argv[2])
from own_peak import peak_bytes

options = DecodeOptions(allow_truncated=True)
with open_audio(sys.argv[1], options=options) as reader:
    frames = sum(map(len, reader.blocks()))
print(frames, peak_bytes())
"""


@pytest.mark.parametrize("kind", ["mp3-plain", "aac", "ogg", "flac"])
def test_megabytes_of_zeros_behind_the_sound_cost_little(
    recording: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "set-aside"
    data = recording(kind).read_bytes()
    path.write_bytes(data)
    os.truncate(path, len(data) + (200 << 20))

    out = subprocess.run(
        [sys.executable, "-c", ZEROS, path, TESTS],
        capture_output=True,
        check=True,
        text=True,
    )

    frames, peak = map(int, out.stdout.split())
    assert frames >= 8 * 44_100
    assert peak < 200 << 20


def test_every_encoder_of_the_tests_is_read(recording: Callable[..., Path]) -> None:
    for kind in ENCODERS:
        with open_audio(recording(kind)) as reader:
            assert reader.rate in {44_100, 48_000}
