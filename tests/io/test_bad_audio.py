"""Recordings that nobody would send, each read in three ways."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import pytest
from bad_audio import CASES
from bad_case import Fails
from bad_flac import FRAMES, flipped, sound
from coded_bytes import id3_tag
from make_audio import encode, signal
from open_watch import Watch
from riff_bytes import DATA, FORM, chunk, form, riff

from voicepipe import (
    AudioError,
    DecodeOptions,
    UnsupportedAudioError,
    iter_audio,
    read_audio,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bad_case import Case

    from voicepipe import Audio, AudioSource


TESTS = Path(__file__).parents[1]

MAX_S = 5.0
MAX_MIB = 512

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write all of them, each to a directory with somebody else's recording."""
    directory = tmp_path_factory.mktemp("bad")
    paths = {}
    for case in CASES:
        place = directory / case.id.partition(" ")[0]
        place.mkdir()
        (place / "victim.wav").write_bytes(riff(FORM, DATA))
        paths[case.id] = place / case.name
        paths[case.id].write_bytes(case.make())
    return paths


async def outcome(path: Path, options: DecodeOptions) -> Audio | AudioError:
    try:
        return await read_audio(path, options=options)
    except AudioError as error:
        return error


def test_every_row_is_there() -> None:
    rows = {int(case.id[:2]) for case in CASES}

    assert rows | {12} == set(range(1, 63))


@each
async def test_a_bad_recording_is_an_error_or_what_it_was(
    case: Case, files: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    for lenient in (False, True):
        found = await outcome(files[case.id], case.options(lenient=lenient))
        case.expected(lenient=lenient).check(found)

    # The decoders in C have nothing to say to whoever runs the program.
    assert capfd.readouterr() == ("", "")


@each
async def test_isolated_it_comes_to_the_same(
    case: Case, files: dict[str, Path]
) -> None:
    # Where both ways come to the same, one is enough.
    for lenient in {False, case.lenient is not None}:
        options = case.options(lenient=lenient, isolated=True)
        found = await outcome(files[case.id], options)
        case.expected(lenient=lenient).check(found)


@pytest.fixture(scope="module")
def measured(files: dict[str, Path]) -> dict[tuple[str, bool], dict[str, Any]]:
    """Read all of them in a process of its own."""
    keys = [(case, lenient) for case in CASES for lenient in (False, True)]
    wanted = [
        (str(files[case.id]), case.options(lenient=lenient)) for case, lenient in keys
    ]
    out = subprocess.run(
        [sys.executable, TESTS / "read_measured.py"],
        input=pickle.dumps(wanted),
        capture_output=True,
        check=True,
    )
    found = json.loads(out.stdout)
    return {
        (case.id, lenient): one
        for (case, lenient), one in zip(keys, found, strict=True)
    }


@each
@pytest.mark.parametrize("lenient", [False, True], ids=["strict", "lenient"])
def test_it_takes_neither_long_nor_much_memory(
    case: Case, *, lenient: bool, measured: dict[tuple[str, bool], dict[str, Any]]
) -> None:
    found = measured[case.id, lenient]
    expected = case.expected(lenient=lenient)

    if isinstance(expected, Fails):
        assert found["outcome"] == expected.error.__name__
    else:
        assert isinstance(found["outcome"], int)
    assert found["took_s"] <= MAX_S
    assert found["peak_mib"] <= MAX_MIB


@pytest.mark.parametrize("share", np.linspace(0.002, 0.998, 25).round(3).tolist())
async def test_one_bit_anywhere_in_flac_costs_what_is_told(share: float) -> None:
    options = DecodeOptions(allow_truncated=True, allow_damaged=True)

    audio = await read_audio(flipped(share), options=options)

    report = audio.report
    assert report is not None
    assert report.damaged or report.truncated
    assert audio.frames == FRAMES or report.truncated
    wrong = (audio.samples != sound()[: audio.frames]).any(axis=1)
    # The last block behind damage has no place: no numbered one follows it.
    unplaced = 4_096 if report.damaged and report.truncated else 0
    assert wrong.sum() <= report.lost_frames + unplaced


# --- a file that names others ---------------------------------------------------------


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[tuple[Path, Watch]]:
    """Somebody else's recording, and who opens it."""
    if sys.platform != "linux":
        pytest.skip("inotify tells who opens a file on Linux only")
    path = tmp_path / "victim.wav"
    path.write_bytes(riff(FORM, DATA))
    watch = Watch(path)
    yield path, watch
    watch.close()


NAMES: dict[str, Callable[[Path], str]] = {
    "relative": lambda path: path.name,
    "absolute": str,
    "above": lambda path: f"../{path.parent.name}/{path.name}",
    "url": lambda path: f"file://{path}",
}


@pytest.mark.parametrize("isolated", [False, True], ids=["direct", "isolated"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("head", ["ffconcat version 1.0\nfile ", "#EXTM3U\n"])
async def test_whatever_way_it_is_named_no_neighbour_is_opened(
    victim: tuple[Path, Watch], head: str, name: str, *, isolated: bool
) -> None:
    path, watch = victim
    bait = path.with_name("call.wav")
    bait.write_text(f"{head}{NAMES[name](path)}\n")

    with pytest.raises(UnsupportedAudioError, match="playlist"):
        await read_audio(bait, options=DecodeOptions(isolated=isolated))

    assert not watch.opened()
    path.read_bytes()
    assert watch.opened()  # or the above proves nothing


@pytest.mark.parametrize("head", ["ffconcat version 1.0\nfile ", "#EXTM3U\n"])
async def test_no_address_that_it_names_is_called(head: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/call.wav"

        with pytest.raises(UnsupportedAudioError, match="playlist"):
            await read_audio(f"{head}{url}\n".encode())

        with pytest.raises(BlockingIOError):
            server.accept()


# --- files of which most is a hole ----------------------------------------------------


def with_hole(path: Path, head: bytes, size: int, tail: bytes) -> Path:
    """Write a file of a size that takes hardly any room."""
    with path.open("wb") as file:
        file.write(head)
        file.seek(size - len(tail))
        file.write(tail)
    return path


class Hole(io.RawIOBase):
    """A file of a size, of zeros but for its ends; five gigabytes take a disk long."""

    def __init__(self, head: bytes, size: int, tail: bytes) -> None:
        self.ends = {0: head, size - len(tail): tail}
        self.size, self.at = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = offset + {0: 0, 1: self.at, 2: self.size}[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self.size - self.at)
        size = left if size < 0 else min(size, left)
        data = bytearray(size)
        for start, end in self.ends.items():
            low, high = max(start, self.at), min(start + len(end), self.at + size)
            if low < high:
                data[low - self.at : high - self.at] = end[low - start : high - start]
        self.at += size
        return bytes(data)


# 8-byte samples in 8 channels, or it would take minutes.
LONG_FORM = form(tag=3, channels=8, rate=192_000, bits=64)
LONG_HEAD = riff(
    chunk(b"fmt ", LONG_FORM), chunk(b"data", b"", 0xFFFFFFFF), size=0xFFFFFFFF
)
LONG_END = np.full(8, 0.5, "<f8").tobytes()
LONG_FRAMES = 5 * (1 << 30) // len(LONG_END)
LONG_BYTES = len(LONG_HEAD) + LONG_FRAMES * len(LONG_END)


async def check_five_gigabytes(source: AudioSource) -> None:
    """Raise unless all of it is read; libsndfile stops at four."""
    found, block = 0, None
    async for block in iter_audio(source, block_s=1.0):
        found += block.frames

    assert found == LONG_FRAMES
    assert block is not None
    assert block.samples[-1].tolist() == [0.5] * 8
    assert block.report is not None
    assert (block.report.frames, block.report.unclosed) == (LONG_FRAMES, True)


async def test_row_12_five_gigabytes_are_read_to_the_end() -> None:
    hole = Hole(LONG_HEAD, LONG_BYTES, LONG_END)
    await check_five_gigabytes(cast("BinaryIO", hole))


@pytest.mark.stress
async def test_row_12_five_gigabytes_on_disk_are_read_to_the_end(
    tmp_path: Path,
) -> None:
    path = tmp_path / "long.wav"
    await check_five_gigabytes(with_hole(path, LONG_HEAD, LONG_BYTES, LONG_END))


@pytest.mark.parametrize("kind", ["mp3-plain", "aac", "flac"])
async def test_row_55_a_tag_of_256_mebibytes_is_passed_over(
    tmp_path: Path, kind: str
) -> None:
    sound = encode(kind, signal(8_000, 1, 1.0), 8_000)
    size = (1 << 28) - 1
    path = tmp_path / "tagged"
    with_hole(path, id3_tag(b"", size), 10 + size + len(sound), sound)

    plain, tagged = await read_audio(sound), await read_audio(path)

    assert np.array_equal(tagged.samples, plain.samples)
    assert path.stat().st_blocks * 512 < 1 << 20
