from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import av
import imageio_ffmpeg
import numpy as np
import pytest
import soundfile as sf
import wav_killed
from make_audio import encode
from make_audio import signal as tone
from riff_bytes import DATA, FORM, PCM, chunk, form, rf64, riff

from voicepipe.errors import (
    AudioError,
    DamagedAudioError,
    EmptyAudioError,
    NotAudioError,
    TruncatedAudioError,
    UnsupportedAudioError,
)
from voicepipe.io.read import read_audio
from voicepipe.io.source import SourceFile
from voicepipe.io.wav import recover as recovery
from voicepipe.io.wav.header import read_header
from voicepipe.io.wav.recover import recover
from voicepipe.io.wav.writer import HEADER_BYTES, make_header


if TYPE_CHECKING:
    import numpy.typing as npt
    from stress_report import Report


CHILD = Path(wav_killed.__file__)
GIB = 1 << 30


def by_soundfile(path: Path) -> npt.NDArray[np.int16]:
    samples, _ = sf.read(path, dtype="int16", always_2d=True)
    return np.asarray(samples)


def by_pyav(path: Path) -> int:
    with av.open(path, format="wav") as container:
        return sum(frame.samples for frame in container.decode(audio=0))


class Killed:
    """One writer that was killed: what it had reported, and what it left."""

    def __init__(self, path: Path, seed: int) -> None:
        chance = random.Random(seed)
        self.path = path
        self.channels = chance.choice([1, 2, 3])
        pause_s = chance.choice([0.0, 0.0005, 0.005])
        child = subprocess.Popen(
            [sys.executable, CHILD, path, f"{self.channels}", f"{seed}", f"{pause_s}"],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        first = os.read(child.stdout.fileno(), 16)
        try:
            child.communicate(timeout=chance.uniform(0, 0.4))
        except subprocess.TimeoutExpired:
            child.kill()
        rest, _ = child.communicate()
        assert child.returncode == -signal.SIGKILL
        told = first + rest
        self.reports = list(
            struct.iter_unpack("<Qd", told[: len(told) // 16 * 16]),
        )

    @property
    def told_bytes(self) -> int:
        return int(self.reports[-1][0])

    def check(self) -> tuple[int, int]:
        """Check what is left, before and after ``recover``; give gain and loss."""
        frame = 2 * self.channels
        # The last but one write, or one before it, would have patched the header if
        # this much had not been in it.
        sure = max(
            (int(b) for b, at in self.reports if at <= self.reports[-2:][0][1] - 0.1),
            default=0,
        )
        before = by_soundfile(self.path)
        assert by_pyav(self.path) == len(before)
        assert len(before) >= sure // frame
        size = self.path.stat().st_size

        found = anyio.run(recover, self.path)

        after = by_soundfile(self.path)
        assert by_pyav(self.path) == len(after) == found.file.frames
        assert anyio.run(read_audio, self.path).frames == len(after)
        assert after.tobytes() == wav_killed.sound(0, len(after) * self.channels)
        assert len(after) == (size - HEADER_BYTES) // frame
        assert found.gained == len(after) - len(before)
        lost = max(0, self.told_bytes - len(after) * frame)
        return found.gained, lost


def kill(directory: Path, times: int) -> list[tuple[int, int]]:
    return [Killed(directory / f"{seed}.wav", seed).check() for seed in range(times)]


def test_a_kill_at_any_time_costs_no_byte_that_was_written(tmp_path: Path) -> None:
    figures = kill(tmp_path, 10)

    assert [lost for _, lost in figures] == [0] * 10
    assert any(gained for gained, _ in figures)


@pytest.mark.stress
def test_a_hundred_kills_cost_no_byte_that_was_written(
    tmp_path: Path, stress_report: Report
) -> None:
    figures = kill(tmp_path, 100)

    lost = sum(lost for _, lost in figures)
    stress_report(
        "WavWriter killed 100 times while writing, then recover",
        f"{lost} bytes lost, 100 of 100 open in soundfile and PyAV before and after, "
        f"{sum(gained for gained, _ in figures)} frames brought back",
    )
    assert lost == 0


# What other programs leave: every sample is there, the sizes are not.
UNCLOSED = {
    "killed libsndfile": riff(FORM, chunk(b"data", PCM, 0), size=8),
    "sizes 0 and 0": riff(FORM, chunk(b"data", PCM, 0), size=0),
    "sizes 36 and 0": riff(FORM, chunk(b"data", PCM, 0), size=36),
    "FFmpeg's pipe": riff(FORM, chunk(b"data", PCM, 0xFFFFFFFF), size=0xFFFFFFFF),
    "SoX's pipe": riff(FORM, chunk(b"data", PCM, 0x7FFFF000), size=0x7FFFF024),
    "arecord's pipe": riff(FORM, chunk(b"data", PCM, 0x80000000), size=0x80000024),
    "a long chunk before": riff(
        chunk(b"LIST", bytes(100_000)), FORM, chunk(b"data", PCM, 0), size=0
    ),
    "room for ds64 before": riff(
        chunk(b"JUNK", bytes(28)), FORM, chunk(b"data", PCM, 0), size=0
    ),
    "only the size of the whole": riff(FORM, DATA, size=0),
    "too large a size of the whole": riff(FORM, DATA, size=0xFFFFFFFF),
    "rf64 without sizes": rf64(0),
    "rf64 of -1": rf64(2**64 - 1),
    "bw64 of 2**63-1": rf64(2**63 - 1, magic=b"BW64"),
    "our first patch": make_header(rate=8_000, channels=1, data_bytes=0, closed=False)
    + PCM,
    "our last patch": make_header(
        rate=8_000, channels=1, data_bytes=len(PCM), closed=False
    )
    + PCM,
}


@pytest.mark.parametrize("data", UNCLOSED.values(), ids=UNCLOSED)
async def test_every_reader_finds_all_frames_of_a_file_that_was_not_closed(
    data: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)

    found = await recover(path)

    assert (found.changed, found.file.frames, found.file.rate) == (True, 8_000, 8_000)
    assert by_pyav(path) == 8_000
    if not data.startswith(b"BW64"):  # which libsndfile does not know
        assert by_soundfile(path).tobytes() == PCM
    audio = await read_audio(path)
    assert (audio.frames, audio.report.unclosed) == (8_000, False)  # type: ignore[union-attr]
    # Nothing but the header has changed, and all of it is right now.
    after = path.read_bytes()
    assert (len(after), after[-len(PCM) :]) == (len(data), PCM)
    assert after[:4] == data[:4]
    again = await recover(path)
    assert (again.changed, again.gained) == (False, 0)
    assert path.read_bytes() == after


@pytest.mark.parametrize("data", UNCLOSED.values(), ids=UNCLOSED)
async def test_a_recovery_that_was_killed_is_taken_up_again(
    data: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    patches = recovery._find(path).patches()
    await recover(path)
    whole = path.read_bytes()

    for count in range(1, len(patches)):
        left = bytearray(data)
        for at, new in patches[:count]:
            left[at : at + len(new)] = new
        path.write_bytes(left)

        await recover(path)
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("data", "gained"),
    [
        (UNCLOSED["killed libsndfile"], 8_000),
        (UNCLOSED["our first patch"], 8_000),
        (UNCLOSED["our last patch"], 0),
        (
            make_header(rate=8_000, channels=1, data_bytes=12_000, closed=False) + PCM,
            2_000,
        ),
        (riff(FORM, DATA, size=0), 0),
        (riff(FORM, DATA)[: 44 + 12_000], 0),
    ],
)
async def test_what_has_been_gained_is_what_the_header_did_not_tell(
    data: bytes, gained: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)

    assert (await recover(path)).gained == gained


def our_rf64(frames: int) -> bytes:
    """Make a short file of the layout that ours have past 4 GiB."""
    sizes = struct.pack("<QQQI", 72 + len(PCM), len(PCM), frames, 0)
    data = chunk(b"data", PCM, 0xFFFFFFFF)
    return riff(chunk(b"ds64", sizes), FORM, data, magic=b"RF64", size=0xFFFFFFFF)


HEALTHY = {
    "plain": riff(FORM, DATA),
    "one frame": riff(FORM, chunk(b"data", b"\1\2")),
    "chunk before": riff(chunk(b"JUNK", bytes(28)), FORM, DATA),
    "chunk behind": riff(FORM, DATA, chunk(b"LIST", b"INFO")),
    "bytes behind": riff(FORM, DATA) + b"what else was in the buffer",
    "a size that counts all": riff(FORM, DATA, size=44 + len(PCM)),
    "odd number of bytes": riff(FORM, chunk(b"data", PCM + b"\1") + b"\0"),
    "odd and not padded": riff(FORM, chunk(b"data", PCM + b"\1")),
    "ours": make_header(rate=8_000, channels=1, data_bytes=len(PCM), closed=True) + PCM,
    "ours and bytes behind": make_header(
        rate=8_000, channels=1, data_bytes=len(PCM), closed=True
    )
    + PCM
    + bytes(1_000),
    "ours past 4 GiB and bytes behind": our_rf64(8_000) + bytes(1_000),
    "without a number of frames": our_rf64(0),
}


@pytest.mark.parametrize("data", HEALTHY.values(), ids=HEALTHY)
async def test_a_healthy_file_stays_as_it_is(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    path.chmod(0o400)
    before = path.stat().st_mtime_ns

    found = await recover(path)

    frames = 1 if len(data) < 80 else 8_000
    assert (found.changed, found.gained, found.file.frames) == (False, 0, frames)
    assert found.file.path == path
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (data, before)


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize(
    "subtype",
    ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"],
)
async def test_what_libsndfile_has_closed_stays_as_it_is(
    container: str, subtype: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    sound = tone(8_000, 2, 0.5)[:3_999]
    sf.write(path, sound, 8_000, format=container, subtype=subtype)
    data = path.read_bytes()

    assert not (await recover(path)).changed
    assert path.read_bytes() == data


KILLED_LIBSNDFILE = """
import os, signal, sys
import numpy as np
import soundfile as sf

path, container, subtype = sys.argv[1:]
file = sf.SoundFile(path, "w", 8_000, 2, subtype, format=container)
file.write(np.full((20_000, 2), 0.5))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAVEX", "ULAW"), ("RF64", "PCM_16")],
)
def test_what_libsndfile_leaves_when_it_is_killed_is_recovered(
    container: str, subtype: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    subprocess.run(
        [sys.executable, "-c", KILLED_LIBSNDFILE, path, container, subtype], check=False
    )

    assert anyio.run(recover, path).changed
    assert len(by_soundfile(path)) == by_pyav(path) == 20_000


def test_what_ffmpeg_has_written_to_a_pipe_is_recovered(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    program = imageio_ffmpeg.get_ffmpeg_exe()
    made = subprocess.run(
        [
            program,
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "sine=duration=2",
            "-f",
            "wav",
            "-",
        ],
        capture_output=True,
        check=True,
    )
    path.write_bytes(made.stdout)
    assert struct.unpack("<I", made.stdout[4:8])[0] == 0xFFFFFFFF

    assert anyio.run(recover, path).changed
    assert len(by_soundfile(path)) == by_pyav(path) == 88_200


@pytest.mark.parametrize("extra", [b"\1", b"\1\2\3"])
@pytest.mark.parametrize(
    "header",
    [
        riff(chunk(b"fmt ", form(channels=2)), chunk(b"data", b"", 0), size=0),
        # A patch came after the last whole frame.
        make_header(rate=8_000, channels=2, data_bytes=len(PCM), closed=False),
    ],
)
async def test_a_last_frame_that_is_not_whole_is_cut_off(
    header: bytes, extra: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(header + PCM + extra)

    found = await recover(path)

    assert (found.changed, found.file.frames, found.file.channels) == (True, 4_000, 2)
    data = path.read_bytes()
    assert len(data) == len(header) + len(PCM)
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    assert by_soundfile(path).tobytes() == PCM
    assert not (await recover(path)).changed


async def test_a_cut_file_promises_no_more_than_it_has(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(FORM, DATA)[: 44 + 12_001])
    with pytest.raises(TruncatedAudioError):
        await read_audio(path)

    assert (await recover(path)).file.duration == 0.75
    assert (await read_audio(path)).duration == 0.75
    assert path.read_bytes() == riff(FORM, chunk(b"data", PCM[:12_000]))


async def test_a_table_of_other_sizes_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sizes = struct.pack("<QQQI4sQ", 2**64 - 8, 0, 0, 1, b"big1", 5 << 30)
    data = chunk(b"data", PCM, 0xFFFFFFFF)
    path.write_bytes(riff(chunk(b"ds64", sizes), FORM, data, magic=b"RF64"))

    assert (await recover(path)).changed
    assert path.read_bytes()[44:60] == sizes[24:]
    assert by_soundfile(path).tobytes() == PCM


async def test_tags_in_front_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    tag = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
    path.write_bytes(tag + UNCLOSED["sizes 0 and 0"] + b"\1")

    assert (await recover(path)).changed
    assert path.read_bytes() == tag + riff(FORM, DATA)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", EmptyAudioError),
        (
            make_header(rate=8_000, channels=1, data_bytes=0, closed=False),
            EmptyAudioError,
        ),
        (riff(FORM, chunk(b"data", b"\1", 0), size=0), EmptyAudioError),
        (riff(FORM, chunk(b"data", b"")), EmptyAudioError),
        (b"<html>no sound here</html>", NotAudioError),
        (encode("flac", tone(8_000, 1, 0.1), 8_000), UnsupportedAudioError),
        (riff(chunk(b"fmt ", form(tag=0x55)), DATA), UnsupportedAudioError),
        (riff(chunk(b"fmt ", form(bits=17)), DATA), UnsupportedAudioError),
        (riff(chunk(b"fmt ", form(channels=0)), DATA), UnsupportedAudioError),
        (riff(chunk(b"fmt ", form(rate=0)), DATA), UnsupportedAudioError),
        (UNCLOSED["sizes 0 and 0"][:30], TruncatedAudioError),
        (riff(chunk(b"LIST", b"INFO"), DATA), DamagedAudioError),
    ],
)
async def test_what_cannot_be_recovered_is_told_and_stays(
    data: bytes, error: type[AudioError], tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)

    with pytest.raises(error) as told:
        await recover(path)

    assert type(told.value) is error
    assert told.value.source == str(path)
    assert path.read_bytes() == data


async def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await recover(tmp_path / "a.wav")


def long_file(path: Path, header: bytes, data_bytes: int) -> None:
    """Write a header, a hole, and a second of sound at the end."""
    with path.open("wb") as file:
        file.write(header)
        file.seek(len(header) + data_bytes - len(PCM))
        file.write(PCM)


def last_second(path: Path) -> bytes:
    with sf.SoundFile(path) as file:
        file.seek(-8_000, sf.SEEK_END)
        return file.read(dtype="int16").tobytes()


ROOM = chunk(b"JUNK", bytes(28))


@pytest.mark.parametrize(
    "header",
    [
        make_header(rate=8_000, channels=1, data_bytes=0, closed=False),
        make_header(rate=8_000, channels=1, data_bytes=4 * GIB - 2**20, closed=False),
        make_header(rate=8_000, channels=1, data_bytes=4 * GIB, closed=False),
        riff(ROOM, FORM, chunk(b"data", b"", 0), size=0),
        riff(ROOM, FORM, chunk(b"data", b"", 0xFFFFFFFF), size=0xFFFFFFFF),
        rf64(2**64 - 1)[: -len(PCM)],
    ],
    ids=["ours, new", "ours, RIFF", "ours, RF64", "zeros", "FFmpeg's pipe", "RF64"],
)
async def test_more_than_four_gigabytes_are_recovered_in_place(
    header: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    frames = 2 * GIB + 8_000
    long_file(path, header, 2 * frames)

    found = await recover(path)

    assert (found.changed, found.file.frames) == (True, frames)
    assert sf.info(path).frames == frames
    assert last_second(path) == PCM
    with av.open(path, format="wav") as container:
        assert container.streams.audio[0].duration == frames
    source = SourceFile(path)
    assert read_header(source).declared_frames == frames
    source.close()
    # Found by its length alone: nothing has been read or written in between.
    assert path.stat().st_blocks * 512 < 2**20
    with path.open("rb") as file:
        assert struct.unpack("<36xQ", file.read(44)) == (frames,)
    assert not (await recover(path)).changed


async def test_a_long_recovery_that_was_killed_is_taken_up_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.wav"
    header = riff(ROOM, FORM, chunk(b"data", b"", 0), size=0)
    frames = 2 * GIB + 8_000
    long_file(path, header, 2 * frames)
    patches = recovery._find(path).patches()
    assert len(patches) == 3

    for count in range(1, 3):
        with path.open("r+b") as file:
            file.write(header)
            for at, new in patches[:count]:
                file.seek(at)
                file.write(new)
        await recover(path)
        assert sf.info(path).frames == frames


@pytest.mark.parametrize("before", [b"", chunk(b"JUNK", bytes(26))])
async def test_four_gigabytes_without_room_for_their_size_are_refused(
    before: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    header = riff(before, FORM, chunk(b"data", b"", 0), size=0)
    long_file(path, header, 4 * GIB)

    with pytest.raises(UnsupportedAudioError, match="4 GiB"):
        await recover(path)

    with path.open("rb") as file:
        assert file.read(len(header)) == header
