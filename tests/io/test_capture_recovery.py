"""Sessions found again after a crash, from whatever is left of the journal."""

from __future__ import annotations

import os
import random
import time
import uuid
from typing import TYPE_CHECKING

import anyio
import attrs
import av
import numpy as np
import pytest
import soundfile
from capturing import (
    RATE,
    SPEC,
    after_power_cut,
    killed,
    samples_of,
    sound,
    until,
    write_all,
)
from make_audio import encode, signal

from voicepipe.io.capture.disk import Disk
from voicepipe.io.capture.index import Index, Row
from voicepipe.io.capture.journal import Journal, opened, segments
from voicepipe.io.capture.records import CHUNK, STATE, Found, Record, pack, scan
from voicepipe.io.capture.replay import Trace, read_journal
from voicepipe.io.capture.states import Saved
from voicepipe.io.capture.store import CaptureStore
from voicepipe.io.capture.values import SessionSpec
from voicepipe.io.capture.wavs import SessionWav
from voicepipe.stream.assembler.assembler import ChunkAssembler
from voicepipe.stream.sessions.session import Counters


if TYPE_CHECKING:
    from pathlib import Path

    from stress_report import Report

    from voicepipe.io.capture.values import SessionInfo


def found(folder: Path) -> dict[str, SessionInfo]:
    """Recover a folder, and give its sessions by id."""
    disk = Disk(folder, isolated=False)
    rows = disk.index.page(before=1 << 62)
    disk.close(is_empty=True)
    return {row.saved.session_id: row.saved.info(folder, row.status) for row in rows}


def ends_of_records(folder: Path) -> list[int]:
    """Give where the records of the only segment end."""
    ((_, path),) = segments(folder)
    with opened(path) as segment:
        assert segment is not None
        head, view = segment
        return [record.end for record in scan(view, head.seed)]


async def journal_of(tmp_path: Path, chunks: int = 20, size: int = 300) -> Path:
    """Leave a folder as a killed process does, whose one session has some chunks."""
    async with CaptureStore(tmp_path / "live") as store:
        connection = await store.create(SPEC)
        for number in range(chunks):
            at = number * size
            await connection.write(sound(at, at + size))
        return killed(tmp_path / "live", tmp_path / "killed")


async def test_what_was_acknowledged_is_found_again(tmp_path: Path) -> None:
    folder = await journal_of(tmp_path)

    (info,) = found(folder).values()

    assert info.status == "interrupted"
    assert (info.chunk_count, info.bytes_received) == (20, 6_000)
    assert samples_of(info) == sound(0, 6_000)
    assert not segments(folder)


async def test_recovering_again_changes_nothing(tmp_path: Path) -> None:
    folder = await journal_of(tmp_path)
    again = killed(folder, tmp_path / "again")
    first = found(folder)
    # Killed after the index was written, before the journal was removed.
    for _, path in segments(again):
        (folder / path.name).write_bytes(path.read_bytes())

    assert found(folder) == first


@pytest.mark.parametrize("cut", range(0, 349, 29))
async def test_a_torn_tail_costs_the_torn_chunk_alone(tmp_path: Path, cut: int) -> None:
    folder = await journal_of(tmp_path)
    ((_, path),) = segments(folder)
    os.truncate(path, path.stat().st_size - cut)

    (info,) = found(folder).values()

    assert info.chunk_count == (20 if cut == 0 else 19)
    assert samples_of(info) == sound(0, info.bytes_received)


async def test_a_journal_damaged_anywhere_gives_what_was_before(
    tmp_path: Path,
) -> None:
    folder = await journal_of(tmp_path)
    ends = ends_of_records(folder)
    ((_, path),) = segments(folder)
    whole = path.read_bytes()
    chance = random.Random(1)
    for number in range(40):
        copy = killed(folder, tmp_path / f"copy {number}")
        at = chance.randrange(ends[0], len(whole))
        damaged = bytearray(whole)
        damaged[at] ^= 1 << chance.randrange(8)
        (copy / path.name).write_bytes(damaged)

        (info,) = found(copy).values()

        assert info.chunk_count == sum(end <= at for end in ends[1:])
        assert samples_of(info) == sound(0, info.bytes_received)


async def test_after_a_power_cut_all_is_there_that_was_flushed(tmp_path: Path) -> None:
    """Of the WAV file nothing is: it is flushed only with the states."""
    live = tmp_path / "live"
    async with CaptureStore(live) as store:
        connection = await store.create(SPEC)
        await write_all(connection, 0, 3_000, 300)
        ((_, path),) = segments(live)
        before = connection.info.bytes_received
        flushed = path.stat().st_size
        await write_all(connection, 3_000, 6_000, 300)
        await until(lambda: store.pending_bytes == 0)
        folder = killed(live, tmp_path / "killed")
    after_power_cut(folder)
    size = path_in(folder).stat().st_size
    for number, cut in enumerate(range(flushed, size + 1, 37)):
        copy = killed(folder, tmp_path / f"copy {number}")
        os.truncate(path_in(copy), cut)
        wav = next(copy.glob("*.wav"))
        if number % 2:
            wav.unlink()
        else:
            wav.write_bytes(bytes(wav.stat().st_size))

        (info,) = found(copy).values()

        assert info.bytes_received >= before
        assert samples_of(info) == sound(0, info.bytes_received)
    assert number > 50


def path_in(folder: Path) -> Path:
    ((_, path),) = segments(folder)
    return path


async def test_the_journal_is_flushed_every_second(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        journal = store._disk.journal  # type: ignore[union-attr]
        with anyio.fail_after(60):
            # A write may end with the second.
            while not journal.is_dirty:
                await connection.write(sound(0, 3_000))
            while journal.is_dirty:
                await connection.write(b"")


async def test_with_fsync_what_is_acknowledged_is_flushed(tmp_path: Path) -> None:
    options = attrs.evolve(CaptureStore(tmp_path).options, durability="fsync")
    async with CaptureStore(tmp_path, options) as store:
        connection = await store.create(SPEC)
        for at in range(0, 3_000, 300):
            await connection.write(sound(at, at + 300))
            assert not store._disk.journal.is_dirty  # type: ignore[union-attr]
        info = await connection.close_session()
    assert samples_of(info) == sound(0, 3_000)


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a segment be followed by the next one after 64 KiB."""
    real = Journal.__init__

    def begin(journal: Journal, folder: Path, number: int) -> None:
        real(journal, folder, number, segment_bytes=1 << 16)

    monkeypatch.setattr(Journal, "__init__", begin)


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("cut_power", [False, True])
async def test_many_segments_are_followed_and_the_old_ones_removed(
    tmp_path: Path, *, cut_power: bool
) -> None:
    live = tmp_path / "live"
    async with CaptureStore(live) as store:
        quiet = await store.create(SPEC)
        await quiet.write(sound(0, 1_001, 1))
        loud = await store.create(SPEC)
        for at in range(0, 2_000_000, 10_000):
            # While states are written, too.
            await loud.write(sound(at, at + 10_000))
            await anyio.sleep(0.005)
        await until(lambda: segments(live)[0][0] > 1)
        folder = killed(live, tmp_path / "killed")
    if cut_power:
        after_power_cut(folder)

    infos = found(folder)

    assert infos[loud.session_id].chunk_count == 200
    assert samples_of(infos[loud.session_id]) == sound(0, 2_000_000)
    assert samples_of(infos[quiet.session_id]) == sound(0, 1_000, 1)


@pytest.mark.usefixtures("small_segments")
async def test_what_follows_a_segment_that_was_cut_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody looks after the segments meanwhile, however long this takes.
    monkeypatch.setattr("voicepipe.io.capture.recorder._LOOK_S", 3_600.0)
    live = tmp_path / "live"
    async with CaptureStore(live) as store:
        connection = await store.create(SPEC)
        for at in range(0, 60_000, 1_000):
            await connection.write(sound(at, at + 1_000))
        folder = killed(live, tmp_path / "killed")
        for at in range(60_000, 80_000, 1_000):
            await connection.write(sound(at, at + 1_000))
        both = killed(live, tmp_path / "both")
    paths = [path for _, path in segments(both)]
    assert len(paths) == 2
    # The first one as it was before it was whole.
    paths[0].write_bytes(path_in(folder).read_bytes())

    (info,) = found(both).values()

    assert info.bytes_received == 60_000
    assert samples_of(info) == sound(0, 60_000)


async def test_a_parked_session_is_not_taken_back_by_an_old_journal(
    tmp_path: Path,
) -> None:
    """A power cut may take from the journal that a session has ended."""
    live = tmp_path / "live"
    async with CaptureStore(live) as store:
        connection = await store.create(SPEC)
        await write_all(connection, 0, 6_000, 300)
        old = killed(live, tmp_path / "old")
        info = await connection.close_session()
    path = path_in(old)
    (live / path.name).write_bytes(path.read_bytes())

    assert found(live) == {info.session_id: info}


async def test_a_journal_of_a_session_whose_file_is_gone_is_silence_and_the_rest(
    tmp_path: Path,
) -> None:
    live = tmp_path / "live"
    async with CaptureStore(live) as store:
        connection = await store.create(SPEC)
        await write_all(connection, 0, 6_000, 300)
    async with CaptureStore(live) as store:
        connection = await store.join(connection.session_id)
        await connection.write(sound(6_000, 8_000))
        await connection.write(sound(8_000, 10_000))
        folder = killed(live, tmp_path / "killed")
    next(folder.glob("*.wav")).unlink()

    (info,) = found(folder).values()

    assert samples_of(info) == bytes(6_000) + sound(6_000, 10_000)


async def test_a_state_that_cannot_be_read_does_not_keep_the_others_off(
    tmp_path: Path,
) -> None:
    folder = await journal_of(tmp_path)
    with opened(path_in(folder)) as segment:
        assert segment is not None
        head, view = segment
        good = [
            Record(*one[:4], bytes(view[one.start : one.end]), one.flags)
            for one in scan(view, head.seed)
        ]
    bad = Saved(
        session_id=str(uuid.uuid4()),
        spec=SPEC,
        created=1,
        updated=1,
        counters=Counters(max_frames=100_000),
        snapshot=b"of another version",
    )
    journal = Journal(folder, 2)
    records = [
        Record(STATE, bad.key, 0, 0, bad.pack()),
        Record(CHUNK, bad.key, 0, 0, sound(0, 1_000)),
        Record(STATE, uuid.uuid4().bytes, 0, 0, b"nonsense"),
        *good,
    ]
    pieces = [
        part for one in records for part in (pack(one, journal.seed), one.payload)
    ]
    journal.append(pieces, sum(map(len, pieces)))
    journal.close()
    segments(folder)[0][1].unlink()

    infos = found(folder)

    assert infos.pop(bad.session_id).bytes_received == 1_000
    (other,) = infos.values()
    assert samples_of(other) == sound(0, 6_000)


@pytest.mark.parametrize("kind", ["mp3", "aac", "flac", "resampled"])
async def test_what_is_decoded_again_has_its_exact_length(
    tmp_path: Path, kind: str
) -> None:
    rate = 8_000 if kind == "resampled" else RATE
    form = "wav" if kind == "resampled" else kind
    data = encode(form, signal(rate, 1, 8.0), rate)
    spec = SessionSpec(rate=RATE, format=form)  # type: ignore[arg-type]
    live = tmp_path / "live"
    async with CaptureStore(live) as store:
        connection = await store.create(spec)
        half = len(data) // 2
        for at in range(0, half, 997):
            await connection.write(data[at : min(at + 997, half)])
        folder = killed(live, tmp_path / "killed")
    async with CaptureStore(folder) as store:
        connection = await store.join(connection.session_id, offset=half - 300)
        for at in range(half - 300, len(data), 997):
            await connection.write(data[at : at + 997])
        info = await connection.close_session()
    assembler = ChunkAssembler(rate=RATE, format=form)  # type: ignore[arg-type]
    wanted = np.concatenate([*assembler.push(data), *assembler.flush()])[:, 0]
    samples, _ = soundfile.read(info.path, dtype="int16")
    assert len(samples) == len(wanted)
    apart = np.flatnonzero(samples != wanted)
    if kind == "flac":
        assert not len(apart)
    # Restored, soxr's filter may round another way, by one step of the sixteen bits.
    far = np.flatnonzero(np.abs(samples.astype(int) - wanted) > 1)
    if len(far):
        assert far[-1] - far[0] <= 0.05 * RATE


async def test_where_a_connection_began_is_found_again(tmp_path: Path) -> None:
    """What it sends may be a new file, and not samples as before."""
    data = encode("flac", signal(RATE, 1, 1.0), RATE)
    live = tmp_path / "live"
    async with CaptureStore(live) as store:
        connection = await store.create(SPEC)
        await write_all(connection, 0, 6_000, 300)
        await connection.leave()
        again = await store.join(connection.session_id)
        for at in range(0, len(data), 1_000):
            await again.write(data[at : at + 1_000])
        folder = killed(live, tmp_path / "killed")
        wanted = await again.close_session()
    async with CaptureStore(folder) as store:
        info = await store.close_session(connection.session_id)
    assert info.duration == wanted.duration == 3_000 / RATE + 1.0
    assert samples_of(info) == samples_of(wanted)


def long_session(folder: Path, frames: int) -> str:
    """Make a parked session that is long, with a file that takes no room."""
    folder.mkdir()
    session_id = str(uuid.uuid4())
    assembler = ChunkAssembler(rate=RATE)
    assembler.push(bytes(4_096))
    counters = Counters(
        chunks=frames // 2_048,
        received=2 * frames,
        frames=frames,
        max_frames=1 << 40,
        sequence=frames // 2_048,
    )
    saved = Saved(
        session_id=session_id,
        spec=SPEC,
        created=1,
        updated=1,
        counters=counters,
        snapshot=assembler.snapshot(),
    )
    wav = SessionWav(path=folder / f"{session_id}.wav", rate=RATE, channels=1)
    wav.create()
    wav.finish(frames, (), closed=True)
    index = Index(folder)
    index.put([Row("interrupted", saved)])
    index.close()
    return session_id


LONG = (1 << 31) + 5_000
"""Frames of 16 bits that are more than 4 GiB."""


@pytest.mark.parametrize("frames", [16_000, LONG])
async def test_recovery_does_not_depend_on_the_length(
    tmp_path: Path, frames: int, stress_report: Report
) -> None:
    live = tmp_path / "live"
    session_id = long_session(live, frames)
    async with CaptureStore(live) as store:
        connection = await store.join(session_id)
        await write_all(connection, 0, 1_600_000, 4_000)
        ((_, path),) = segments(live)
        # A copy of four gigabytes would not stay sparse.
        kept = path.read_bytes()
    (live / path.name).write_bytes(kept)
    (live / "sessions.sqlite3").unlink()

    begin, worked = time.perf_counter(), time.process_time()
    (info,) = found(live).values()
    took_s, worked_s = time.perf_counter() - begin, time.process_time() - worked

    stress_report(
        f"recovery of a session of {frames / RATE / 3_600:.1f} h, 50 s of it replayed",
        f"{took_s * 1_000:.0f} ms",
    )
    assert info.duration == (frames + 800_000) / RATE
    assert info.path.stat().st_blocks * 512 < 1 << 24
    assert worked_s < 5
    with soundfile.SoundFile(info.path) as file:
        assert len(file) == frames + 800_000
        assert file.format == ("RF64" if frames == LONG else "WAV")
        file.seek(frames)
        assert file.read(800_000, dtype="int16").tobytes() == sound(0, 1_600_000)
    with av.open(str(info.path)) as container:
        stream = container.streams.audio[0]
        assert stream.duration == frames + 800_000


def test_a_session_becomes_rf64_while_it_is_written(tmp_path: Path) -> None:
    wav = SessionWav(path=tmp_path / "a.wav", rate=RATE, channels=1)
    wav.create()
    border = (1 << 31) - 40_000
    wav.append(border, [np.ones((1_000, 1), np.int16)])
    with wav.path.open("rb") as file:
        assert file.read(4) == b"RIFF"
    wav.append(border + 1_000, [np.full((60_000, 1), 2, np.int16)])
    with wav.path.open("rb") as file:
        assert file.read(4) == b"RF64"
    wav.finish(border + 61_000, [np.full((10, 1), 3, np.int16)], closed=True)

    with soundfile.SoundFile(wav.path) as sounding:
        assert len(sounding) == border + 61_010
        sounding.seek(border + 60_999)
        assert sounding.read(12, dtype="int16").tolist() == [2, *[3] * 10]


def test_a_later_state_leaves_the_chunks_that_it_does_not_cover(
    tmp_path: Path,
) -> None:
    """It was taken before the last of them, and written after it."""
    state = Saved(
        session_id=str(uuid.uuid4()),
        spec=SPEC,
        created=1,
        updated=1,
        counters=Counters(max_frames=100),
    )
    trace = Trace(state)
    for number in (0, 1, 1, 2, 4):
        trace.add(tmp_path, Found(CHUNK, state.key, number, 10 * number, 0, 0, 10))
    counters = attrs.evolve(state.counters, sequence=1, chunks=1, received=10)

    trace.renew(attrs.evolve(state, counters=counters))

    assert [found.sequence for _, found in trace.chunks] == [1, 2]
    assert trace.sequence == 3


def test_chunks_before_the_first_state_that_is_left_are_found(tmp_path: Path) -> None:
    """The segment with the state before it has been removed."""
    journal = Journal(tmp_path, 7)
    state = Saved(
        session_id=str(uuid.uuid4()),
        spec=SPEC,
        created=1,
        updated=1,
        counters=Counters(max_frames=100, sequence=2, chunks=2, received=20),
    )
    records = [
        *(
            Record(CHUNK, state.key, number, 10 * number, bytes(10))
            for number in range(4)
        ),
        Record(STATE, state.key, 2, 20, state.pack()),
        Record(CHUNK, state.key, 4, 40, bytes(10)),
    ]
    pieces: list[bytes | memoryview] = []
    for one in records:
        pieces += [pack(one, journal.seed), one.payload]
    journal.append(pieces, sum(map(len, pieces)))
    journal.close()

    trace = read_journal(tmp_path).sessions[state.key]

    assert [found.sequence for _, found in trace.chunks] == [2, 3, 4]
