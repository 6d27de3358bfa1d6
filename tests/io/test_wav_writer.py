from __future__ import annotations

import errno
import io
import os
import time
from typing import TYPE_CHECKING, Any

import anyio
import av
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st
from make_audio import signal
from riff_bytes import PCM, SOUND

from voicepipe.errors import DiskFullError
from voicepipe.io.atomic import AtomicFile, DiskErrors
from voicepipe.io.read import read_audio
from voicepipe.io.source import SourceFile
from voicepipe.io.wav.header import NOT_CLOSED, read_header
from voicepipe.io.wav.recover import recover
from voicepipe.io.wav.writer import (
    HEADER_BYTES,
    MAX_RIFF_BYTES,
    WavWriter,
    make_header,
)


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt


GIB = 1 << 30
STEREO = signal(16_000, 2, 1.0)


def as_int16(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    return np.rint(samples * 32_768).astype(np.int16)


def by_soundfile(path: Path) -> npt.NDArray[np.int16]:
    samples, _ = sf.read(path, dtype="int16", always_2d=True)
    return np.asarray(samples)


def by_pyav(path: Path) -> int:
    with av.open(path, format="wav") as container:
        return sum(frame.samples for frame in container.decode(audio=0))


def in_memory(*pieces: bytes, channels: int = 1) -> tuple[bytes, WavWriter]:
    file = io.BytesIO()
    writer = WavWriter(file, rate=8_000, channels=channels)
    for piece in pieces:
        writer.write_pcm(piece)
    writer.close()
    return file.getvalue(), writer


class Recorder(io.FileIO):
    """
    A file that keeps what is written where.

    While it is ``broken`` it refuses new first bytes, and to be cut if it is ``stuck``.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "x+b")
        self.writes: list[tuple[int, bytes]] = []
        self.broken = False
        self.stuck = False

    def truncate(self, size: int | None = None) -> int:
        if self.broken and self.stuck:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().truncate(size)

    def write(self, data: Any) -> int:
        at = self.tell()
        if self.broken and at == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.writes.append((at, bytes(data)))
        return super().write(data)


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_what_is_written_is_read_back(channels: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sound = signal(16_000, channels, 1.0)
    writer = WavWriter(path, rate=16_000, channels=channels)
    for at in range(0, len(sound), 999):
        writer.write(sound[at : at + 999])
    writer.close()

    assert (writer.path, writer.rate, writer.frames) == (path, 16_000, 16_000)
    assert np.array_equal(by_soundfile(path), as_int16(sound))
    assert sf.info(path).samplerate == 16_000
    assert by_pyav(path) == 16_000
    audio = anyio.run(read_audio, path)
    assert np.array_equal(audio.pcm16(), as_int16(sound))
    assert audio.report is not None
    assert (audio.report.unclosed, audio.report.trailing_bytes) == (False, 0)
    assert path.stat().st_size == HEADER_BYTES + 2 * channels * 16_000


def test_a_file_without_samples_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with WavWriter(path, rate=8_000) as writer:
        writer.write(np.zeros((0, 1), np.float32))

    assert (len(by_soundfile(path)), by_pyav(path)) == (0, 0)


@pytest.mark.parametrize(
    "samples",
    [
        STEREO,
        as_int16(STEREO),
        STEREO.astype(np.float64),
        np.asfortranarray(STEREO),
        np.asfortranarray(as_int16(STEREO)),
        np.repeat(STEREO, 2, axis=1)[:, ::2],
    ],
    ids=["float32", "int16", "float64", "by column", "int16 by column", "strided"],
)
def test_samples_may_lie_in_memory_in_any_way(
    samples: npt.NDArray[Any], tmp_path: Path
) -> None:
    with WavWriter(tmp_path / "a.wav", rate=16_000, channels=2) as writer:
        writer.write(samples)

    assert np.array_equal(by_soundfile(tmp_path / "a.wav"), as_int16(STEREO))


def test_one_long_write_is_the_same_as_many(tmp_path: Path) -> None:
    sound = np.tile(STEREO, (9, 1))[: (1 << 17) + 1]  # two blocks and a frame
    with WavWriter(tmp_path / "a.wav", rate=16_000, channels=2) as writer:
        writer.write(sound)

    assert np.array_equal(by_soundfile(tmp_path / "a.wav"), as_int16(sound))


@given(data=st.data(), channels=st.integers(1, 8))
def test_bytes_may_be_cut_anywhere(data: st.DataObject, channels: int) -> None:
    row = PCM[: data.draw(st.integers(0, 400))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(row)), max_size=10)))
    pieces = [row[a:b] for a, b in zip([0, *cuts], [*cuts, len(row)], strict=True)]

    file, writer = in_memory(*pieces, channels=channels)

    assert file == in_memory(row, channels=channels)[0]
    assert writer.frames == len(row) // (2 * channels)
    assert writer.partial_bytes == len(row) % (2 * channels)
    assert file[HEADER_BYTES:] == row[: len(row) - writer.partial_bytes]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_may_come_in_any_buffer(kind: type) -> None:
    assert in_memory(kind(PCM[:101]), kind(PCM[101:]))[0][HEADER_BYTES:] == PCM


def test_a_buffer_may_be_used_again_after_a_write() -> None:
    file = io.BytesIO()
    writer = WavWriter(file, rate=8_000, channels=2)
    buffer = bytearray(b"\1\2\3")
    writer.write_pcm(buffer)
    buffer[:] = b"\4\5\6"
    writer.write_pcm(buffer)

    assert file.getvalue()[HEADER_BYTES:] == b"\1\2\3\4"


def record(path: Path) -> Recorder:
    """Write in uneven pieces, patch at every write, and go over the 4 GiB."""
    file = Recorder(path)
    writer = WavWriter(file, rate=8_000, channels=2, patch_s=0)
    for size in (4, 1, 2_000, 3, 1_000):
        writer.write_pcm(PCM[:size])
    writer._data_bytes += 4 * GIB
    writer.write_pcm(PCM[:4_000])
    writer.close()
    return file


def test_the_header_is_always_replaced_by_one_write(tmp_path: Path) -> None:
    with record(tmp_path / "a.wav") as file:
        headers = [data for at, data in file.writes if at == 0]
        others = [(at, data) for at, data in file.writes if at]

    assert len(headers) == 1 + 6 + 1
    assert {len(header) for header in headers} == {HEADER_BYTES}
    assert [header[:4] for header in headers] == [b"RIFF"] * 6 + [b"RF64"] * 2
    assert all(at >= HEADER_BYTES for at, _ in others)


def test_a_kill_at_every_instant_leaves_a_valid_file(tmp_path: Path) -> None:
    """Each write in turn is the last one, whole or half; the header is never half."""
    with Recorder(tmp_path / "all.wav") as file:
        writer = WavWriter(file, rate=8_000, channels=2, patch_s=0)
        for size in (4, 1, 2_000, 3, 1_000):
            writer.write_pcm(PCM[:size])
        writer.close()
    path = tmp_path / "a.wav"
    image = bytearray(file.writes[0][1])

    for at, data in file.writes[1:]:
        for part in {len(data) // 2, len(data)} if at else {len(data)}:
            image[at : at + part] = data[:part]
            path.write_bytes(image)
            whole = (len(image) - HEADER_BYTES) // 4
            shown = int.from_bytes(image[76:80], "little") // 4

            assert len(by_soundfile(path)) == shown
            assert shown == 0 or by_pyav(path) == shown
            if whole == 0:
                continue
            assert anyio.run(recover, path).file.frames == whole
            assert len(by_soundfile(path)) == by_pyav(path) == whole
            assert path.read_bytes()[HEADER_BYTES:] == image[HEADER_BYTES:][: 4 * whole]

    assert anyio.run(recover, path).changed is False


@pytest.mark.parametrize(
    ("patch_s", "patches"), [(0, 20), (float("inf"), 1), (0.05, 3)]
)
def test_the_header_is_patched_as_often_as_asked(
    patch_s: float, patches: int, tmp_path: Path
) -> None:
    with Recorder(tmp_path / "a.wav") as file:
        writer = WavWriter(file, rate=8_000, patch_s=patch_s)
        for index in range(20):
            if patch_s == 0.05 and index in {7, 14}:
                time.sleep(0.06)
            writer.write(SOUND[:80] / np.float32(32_768))
        headers = [data for at, data in file.writes if at == 0]

    # A machine that is busy takes longer, and then there are more.
    assert len(headers) - 1 == patches or (patch_s == 0.05 and len(headers) > patches)
    assert all(NOT_CLOSED in header for header in headers)


def test_sync_shows_all_that_was_written_and_flushes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.wav"
    flushed: list[int] = []
    real = os.fsync

    def fsync(number: int) -> None:
        flushed.append(os.fstat(number).st_ino)
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    with WavWriter(path, rate=8_000, patch_s=float("inf")) as writer:
        writer.write_pcm(PCM[:100])
        writer.write_pcm(PCM[100:])
        assert len(by_soundfile(path)) == 50
        writer.sync()

        assert by_soundfile(path).tobytes() == PCM
        assert flushed == [path.stat().st_ino, tmp_path.stat().st_ino]
        assert NOT_CLOSED in path.read_bytes()
        writer.sync()
        assert flushed[2:] == [path.stat().st_ino]
    assert len(flushed) == 3
    assert NOT_CLOSED not in path.read_bytes()

    with WavWriter(tmp_path / "b.wav", rate=8_000, fsync=True) as writer:
        writer.write_pcm(PCM)
    assert flushed[3:] == [(tmp_path / "b.wav").stat().st_ino, tmp_path.stat().st_ino]


@pytest.mark.parametrize("magic", [b"RF64", b"RIFF"])
def test_past_four_gigabytes_the_file_becomes_rf64_in_place(
    magic: bytes, tmp_path: Path
) -> None:
    """A hole stands for what is written before the last second."""
    path = tmp_path / "a.wav"
    with WavWriter(path, rate=8_000, patch_s=0) as writer:
        writer.write_pcm(PCM)
        assert path.read_bytes()[:4] == b"RIFF"
        most = (MAX_RIFF_BYTES + 8 - HEADER_BYTES) // 2 * 2
        writer._data_bytes = 4 * GIB if magic == b"RF64" else most - len(PCM)
        frames = writer.frames + 8_000
        writer.write_pcm(PCM)
        assert writer.frames == frames
        check_long(path, frames)
    check_long(path, frames)

    with path.open("rb") as file:
        assert file.read(4) == magic
    assert not anyio.run(recover, path).changed
    assert path.stat().st_blocks * 512 < 2**20


def check_long(path: Path, frames: int) -> None:
    """Check the number of frames, and the last second."""
    with sf.SoundFile(path) as file:
        assert file.frames == frames
        file.seek(-8_000, sf.SEEK_END)
        assert file.read(dtype="int16").tobytes() == PCM
    with av.open(path, format="wav") as container:
        stream = container.streams.audio[0]
        assert stream.duration == frames
        container.seek(frames - 8_000, stream=stream)
        last = [frame.to_ndarray() for frame in container.decode(stream)]
        assert np.concatenate(last, axis=1)[0, -8_000:].tobytes() == PCM
    source = SourceFile(path)
    header = read_header(source)
    source.close()
    assert header.declared_frames == frames


@pytest.mark.parametrize(("over", "magic"), [(0, b"RIFF"), (1, b"RF64")])
def test_sizes_that_readers_do_not_believe_are_not_written(
    over: int, magic: bytes
) -> None:
    data_bytes = 0xFFFF0000 - 1 - 72 + over
    header = make_header(rate=8_000, channels=1, data_bytes=data_bytes, closed=True)

    assert header[:4] == magic


def test_a_path_that_is_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"an older recording")

    with pytest.raises(FileExistsError):
        WavWriter(path, rate=8_000)

    assert path.read_bytes() == b"an older recording"


def test_an_atomic_file_appears_when_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"an older recording")

    with WavWriter(path, rate=8_000, atomic=True, patch_s=0) as writer:
        writer.write_pcm(PCM)
        assert path.read_bytes() == b"an older recording"
        (part,) = set(tmp_path.iterdir()) - {path}
        # A process killed now leaves this, and it can be recovered.
        (tmp_path / "left").write_bytes(part.read_bytes())

    assert writer.path == path
    assert by_soundfile(path).tobytes() == PCM
    assert set(tmp_path.iterdir()) == {path, tmp_path / "left"}
    assert anyio.run(recover, tmp_path / "left").file.frames == 8_000


def break_off(writer: WavWriter) -> None:
    with writer:
        writer.write_pcm(PCM[:100])
        writer.write_pcm(PCM[100:])
        raise ZeroDivisionError


def test_an_error_in_the_block_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"

    with pytest.raises(ZeroDivisionError):
        break_off(WavWriter(path, rate=8_000, patch_s=float("inf")))

    assert by_soundfile(path).tobytes() == PCM
    assert not anyio.run(recover, path).changed


def test_an_error_in_the_block_removes_an_atomic_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"an older recording")

    writer = WavWriter(path, rate=8_000, atomic=True)

    with pytest.raises(ZeroDivisionError):
        break_off(writer)

    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"an older recording"
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write_pcm(PCM)


def test_a_file_object_stays_open_and_its_owners(tmp_path: Path) -> None:
    with (tmp_path / "a.wav").open("w+b") as file:
        with WavWriter(file, rate=8_000) as writer:
            writer.write_pcm(PCM)
            # In the system's hands, not in a buffer of this process.
            assert by_soundfile(tmp_path / "a.wav").tobytes() == PCM
        assert writer.path is None
        file.seek(HEADER_BYTES)
        assert file.read() == PCM
    assert by_soundfile(tmp_path / "a.wav").tobytes() == PCM


def test_a_closed_writer_takes_nothing_more(tmp_path: Path) -> None:
    writer = WavWriter(tmp_path / "a.wav", rate=8_000)
    writer.write_pcm(PCM[:3])
    writer.close()
    writer.close()

    assert (writer.frames, writer.partial_bytes) == (1, 1)
    for use in (lambda: writer.write_pcm(b""), writer.sync):
        with pytest.raises(ValueError, match="closed"):
            use()


@pytest.mark.parametrize(
    "bad",
    [
        {"rate": 3_999},
        {"rate": 192_001},
        {"channels": 0},
        {"channels": 9},
        {"patch_s": -1.0},
        {"patch_s": float("nan")},
    ],
)
def test_arguments_out_of_range_are_refused(
    bad: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        WavWriter(tmp_path / "a.wav", **{"rate": 8_000, **bad})

    assert list(tmp_path.iterdir()) == []


def test_atomic_needs_a_path() -> None:
    with pytest.raises(ValueError, match="path"):
        WavWriter(io.BytesIO(), rate=8_000, atomic=True)


def test_samples_of_another_kind_are_refused() -> None:
    writer = WavWriter(io.BytesIO(), rate=8_000, channels=2)

    for shape in ((8,), (8, 1), (8, 2, 1)):
        with pytest.raises(ValueError, match="frames, 2"):
            writer.write(np.zeros(shape, np.float32))
    with pytest.raises(TypeError, match="int32"):
        writer.write(np.zeros((8, 2), np.int32))  # type: ignore[arg-type]
    writer.write_pcm(b"\1\2\3")
    with pytest.raises(ValueError, match="not whole"):
        writer.write(np.zeros((8, 2), np.float32))
    assert writer.frames == 0


def test_a_header_that_cannot_be_patched_takes_back_the_samples(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.wav"
    with Recorder(path) as file:
        writer = WavWriter(file, rate=8_000, channels=2, patch_s=0)
        writer.write_pcm(PCM[:4_002])
        file.broken = True
        with pytest.raises(OSError, match=r"\[Errno 5\]"):
            writer.write_pcm(PCM[4_002:])
        assert (writer.frames, writer.partial_bytes) == (1_000, 2)
        assert path.stat().st_size == HEADER_BYTES + 4_000
        file.broken = False
        writer.write_pcm(PCM[4_002:])
        writer.close()

    assert by_soundfile(path).tobytes() == PCM


def test_what_could_not_be_taken_back_is_cut_off_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with Recorder(path) as file:
        writer = WavWriter(file, rate=8_000, patch_s=0)
        file.broken = file.stuck = True
        with pytest.raises(OSError, match=r"\[Errno 5\]"):
            writer.write_pcm(PCM)
        assert path.stat().st_size == HEADER_BYTES + len(PCM)
        file.broken = False
        writer.write_pcm(PCM[:100])
        writer.close()

    assert path.read_bytes()[HEADER_BYTES:] == PCM[:100]


# The size of the small disk: the first bytes of a file take up a page, 4 KiB or more.
DISK_BYTES = 1 << 20


@pytest.fixture
def small_disk(small_disk: Callable[[int], Path]) -> Path:
    """Give a file system with room for 1 MiB."""
    return small_disk(DISK_BYTES)


def fill(disk: Path, *, leave: int = 0) -> Path:
    """Take up all space but some."""
    path = disk / "filling"
    with path.open("wb", buffering=0) as file:
        written = 1
        while written:
            try:
                written = file.write(bytes(4_096)) or 0
            except OSError:
                break
        file.truncate(file.tell() - leave)
    return path


def write_until_full(writer: WavWriter, row: bytes) -> tuple[bytes, DiskFullError]:
    done = b""
    while True:
        try:
            writer.write_pcm(row)
        except DiskFullError as exc:
            return done, exc
        done += row


@pytest.mark.parametrize("size", [640, 100_000, 3_000_001])
def test_a_full_disk_is_told_and_the_same_write_may_be_made_again(
    size: int, small_disk: Path
) -> None:
    path = small_disk / "a.wav"
    filling = fill(small_disk, leave=500_000)
    row = np.resize(SOUND, size // 2 + 1).tobytes()[:size]
    with WavWriter(path, rate=8_000, channels=2) as writer:
        done, error = write_until_full(writer, row)

        assert (error.errno, error.filename) == (errno.ENOSPC, str(path))
        assert error.retryable
        assert isinstance(error.__cause__, OSError)
        assert not isinstance(error.__cause__, DiskFullError)
        assert (writer.frames, writer.partial_bytes) == divmod(len(done), 4)
        assert path.stat().st_size == HEADER_BYTES + 4 * writer.frames
        with pytest.raises(DiskFullError):
            writer.write_pcm(row)
        if size > DISK_BYTES:
            return
        filling.unlink()
        writer.write_pcm(row)

    whole = (done + row)[: len(done + row) // 4 * 4]
    assert by_soundfile(path).tobytes() == whole
    assert by_pyav(path) == len(whole) // 4


def write_for_ever(writer: WavWriter) -> None:
    with writer:
        while True:
            writer.write(SOUND[:4_000] / np.float32(32_768))


def test_a_file_on_a_full_disk_is_valid_and_can_be_closed(small_disk: Path) -> None:
    path = small_disk / "a.wav"
    fill(small_disk, leave=100_000)
    writer = WavWriter(path, rate=8_000, patch_s=float("inf"), fsync=True)

    with pytest.raises(DiskFullError):
        write_for_ever(writer)

    frames = writer.frames
    assert frames > 40_000
    assert len(by_soundfile(path)) == by_pyav(path) == frames
    assert anyio.run(read_audio, path).frames == frames
    assert not anyio.run(recover, path).changed


def test_no_space_for_a_header_leaves_no_file(small_disk: Path) -> None:
    filling = fill(small_disk)

    for atomic in (False, True):
        with pytest.raises(DiskFullError):
            WavWriter(small_disk / "a.wav", rate=8_000, atomic=atomic)

        assert list(small_disk.iterdir()) == [filling]


def test_a_full_disk_leaves_nothing_of_an_atomic_file(small_disk: Path) -> None:
    path = small_disk / "a.wav"
    path.write_bytes(b"an older recording")

    with pytest.raises(DiskFullError) as told:
        write_for_ever(WavWriter(path, rate=8_000, atomic=True))

    assert told.value.filename == str(path)
    assert list(small_disk.iterdir()) == [path]
    assert path.read_bytes() == b"an older recording"


def test_a_full_disk_is_told_where_a_buffer_is_flushed(small_disk: Path) -> None:
    filling = fill(small_disk)

    with AtomicFile(small_disk / "a") as target:
        target.file.write(b"still in the buffer")
        with pytest.raises(DiskFullError):
            target.commit()
    # Leaving the block has tried to flush it again, and that was not told once more.
    assert list(small_disk.iterdir()) == [filling]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_and_no_quota_are_a_full_disk(code: int) -> None:
    with pytest.raises(DiskFullError) as told, DiskErrors("a.wav"):
        raise OSError(code, os.strerror(code))

    assert (told.value.errno, told.value.filename) == (code, "a.wav")
    assert told.value.strerror == os.strerror(code)


def test_a_full_disk_is_told_once() -> None:
    error = DiskFullError(errno.ENOSPC, os.strerror(errno.ENOSPC), "b.wav")
    with pytest.raises(DiskFullError) as told, DiskErrors("a.wav"):
        raise error

    assert told.value is error


def test_other_errors_of_a_disk_stay_what_they_are() -> None:
    error = OSError(errno.EIO, os.strerror(errno.EIO))
    with pytest.raises(OSError, match="5") as told, DiskErrors("a.wav"):
        raise error

    assert told.value is error
