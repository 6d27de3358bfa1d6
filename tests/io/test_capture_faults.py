"""A journal that cannot be flushed or cut, files that go, and who is held up then."""

from __future__ import annotations

import errno
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import anyio
import pytest
from capturing import SPEC, killed, samples_of, sound, until

from voicepipe.errors import DiskFullError, UnsupportedAudioError
from voicepipe.io.capture import journal as journals
from voicepipe.io.capture import keeper
from voicepipe.io.capture.journal import Journal, opened, segments
from voicepipe.io.capture.records import CHUNK, STATE, Found, Record, pack, scan
from voicepipe.io.capture.store import CaptureStore
from voicepipe.io.capture.values import CaptureOptions


if TYPE_CHECKING:
    from pathlib import Path


FSYNC = CaptureOptions(durability="fsync")


class Faults:
    """What a disk says, from now on, to the journal that is to be flushed or cut."""

    flush: int | None = None
    cut: int | None = None


def fail(code: int | None) -> None:
    if code is not None:
        raise OSError(code, os.strerror(code))


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    made = Faults()
    flush, cut = journals.flush, os.ftruncate

    def flush_or_fail(fd: int) -> None:
        fail(made.flush)
        flush(fd)

    def cut_or_fail(fd: int, size: int) -> None:
        fail(made.cut)
        cut(fd, size)

    monkeypatch.setattr(journals, "flush", flush_or_fail)
    monkeypatch.setattr(os, "ftruncate", cut_or_fail)
    return made


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a segment be followed by the next one after 16 KiB."""
    real = Journal.__init__

    def begin(journal: Journal, folder: Path, number: int) -> None:
        real(journal, folder, number, segment_bytes=1 << 14)

    monkeypatch.setattr(Journal, "__init__", begin)
    monkeypatch.setattr(keeper, "_SHARE_BYTES", 0)


def records(folder: Path) -> list[Found]:
    """Give all that is in a journal."""
    found: list[Found] = []
    for _, path in segments(folder):
        with opened(path) as segment:
            assert segment is not None
            head, view = segment
            found.extend(scan(view, head.seed))
    return found


def numbers(folder: Path) -> list[int]:
    """Give the numbers of the chunks that are in a journal."""
    return [found.sequence for found in records(folder) if found.kind == CHUNK]


def append(journal: Journal, number: int, size: int = 10) -> bool:
    """Append a chunk, and tell whether it is on disk."""
    record = Record(CHUNK, bytes(16), number, 0, bytes(size))
    pieces = [pack(record, journal.seed), record.payload]
    return journal.append(pieces, sum(map(len, pieces)), durable=True) is None


async def samples_after_a_crash(folder: Path, session_id: str) -> bytes:
    async with CaptureStore(folder) as store:
        return samples_of(await store.info(session_id))


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("size", [2_000, 100_000])
async def test_what_could_not_be_flushed_is_not_in_the_journal(
    tmp_path: Path, faults: Faults, code: int, size: int
) -> None:
    """It was refused: what comes in its place is what was acknowledged."""
    live = tmp_path / "live"
    async with CaptureStore(live, FSYNC) as store:
        connection = await store.create(SPEC)
        await connection.write(sound(0, 1_000))
        faults.flush = code
        with pytest.raises(OSError, match=os.strerror(code)) as caught:
            await connection.write(sound(500_000, 500_000 + size))
        faults.flush = None
        assert caught.value.errno == code
        assert isinstance(caught.value, DiskFullError) == (code == errno.ENOSPC)
        before = killed(live, tmp_path / "before")

        ack = await connection.write(sound(1_000, 3_000))
        assert ack.bytes_received == 3_000
        after = killed(live, tmp_path / "after")
        info = await connection.close_session()

    assert samples_of(info) == sound(0, 3_000)
    session_id = info.session_id
    assert await samples_after_a_crash(before, session_id) == sound(0, 1_000)
    assert await samples_after_a_crash(after, session_id) == sound(0, 3_000)


@pytest.mark.usefixtures("small_segments")
async def test_what_was_acknowledged_between_failed_flushes_is_found_again(
    tmp_path: Path, faults: Faults
) -> None:
    live = tmp_path / "live"
    chance = random.Random(1)
    kept: dict[int, list[bytes]] = {0: [], 1: []}
    async with CaptureStore(live, FSYNC) as store:
        connections = [await store.create(SPEC) for _ in kept]
        for number in range(120):
            data = sound(8_000 * number, 8_000 * number + chance.randrange(1, 8_000))
            faults.flush = chance.choice([None, errno.EIO])
            which = chance.randrange(2)
            try:
                await connections[which].write(data)
                kept[which].append(data)
            except OSError:
                assert faults.flush
        faults.flush = None
        folder = killed(live, tmp_path / "killed")
        infos = [await connection.close_session() for connection in connections]

    for which, info in enumerate(infos):
        wanted = b"".join(kept[which])
        wanted = wanted[: len(wanted) // 2 * 2]
        assert 20 < len(kept[which]) < 50
        assert samples_of(info) == wanted
        assert await samples_after_a_crash(folder, info.session_id) == wanted


def test_a_segment_is_followed_only_when_it_is_on_disk(
    tmp_path: Path, faults: Faults
) -> None:
    journal = Journal(tmp_path, 1, segment_bytes=1_000)
    assert append(journal, 1, 2_000)
    faults.flush = errno.EIO
    assert not append(journal, 2)
    assert journal.number == 1
    faults.flush = None
    assert append(journal, 3)
    assert journal.number == 2
    journal.close()
    assert numbers(tmp_path) == [1, 3]


def test_nothing_follows_on_what_could_not_be_cut_off(
    tmp_path: Path, faults: Faults
) -> None:
    journal = Journal(tmp_path, 1)
    assert append(journal, 1)
    faults.flush = faults.cut = errno.EIO
    assert not append(journal, 2)
    faults.flush = None
    assert not append(journal, 3)
    faults.cut = None
    assert append(journal, 4)
    journal.close()
    assert numbers(tmp_path) == [1, 4]


async def test_what_was_refused_and_not_cut_off_is_not_read_again(
    tmp_path: Path, faults: Faults
) -> None:
    """Of an odd length: half a sample of it would go in front of what follows."""
    async with CaptureStore(tmp_path, FSYNC) as store:
        connection = await store.create(SPEC)
        await connection.write(sound(0, 1_000))
        faults.flush = faults.cut = errno.EIO
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            await connection.write(sound(1_000, 2_001))
        faults.flush = faults.cut = None
        await connection.write(sound(1_000, 4_000))
        info = await connection.close_session()
    assert samples_of(info) == sound(0, 4_000)


def test_a_flush_that_fails_in_another_thread_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system tells it once: the next flush succeeds, and nothing is on disk."""
    journal = Journal(tmp_path, 1)
    (path,) = tmp_path.iterdir()
    begun, go_on = threading.Event(), threading.Event()
    real = journals.flush

    def flush_once(fd: int) -> None:
        monkeypatch.setattr(journals, "flush", real)
        begun.set()
        assert go_on.wait(60)
        fail(errno.EIO)

    monkeypatch.setattr(journals, "flush", flush_once)
    with ThreadPoolExecutor(2) as threads:
        other = threads.submit(journal.sync)
        assert begun.wait(60)
        size = path.stat().st_size
        mine = threads.submit(append, journal, 1)
        while path.stat().st_size == size and not mine.done():
            pass
        go_on.set()
        assert isinstance(other.exception(60), OSError)
        assert not mine.result(60)
    assert append(journal, 2)
    journal.close()
    assert numbers(tmp_path) == [2]


def test_a_segment_that_is_read_is_not_cut(tmp_path: Path, faults: Faults) -> None:
    """A process that reads what is mapped, and was cut off, is killed."""
    journal = Journal(tmp_path, 1)
    assert append(journal, 1)
    ((_, path),) = segments(tmp_path)
    faults.flush = errno.EIO
    with ThreadPoolExecutor(1) as threads:
        with journal.steady, opened(path):
            mine = threads.submit(append, journal, 2, 100_000)
            while path.stat().st_size < 100_000:
                assert not mine.done()
            with pytest.raises(TimeoutError):
                mine.result(0.2)
            assert numbers(tmp_path) == [1, 2]
        assert not mine.result(60)
    journal.close()
    assert numbers(tmp_path) == [1]


class Clock:
    """A time that goes on when it is told to."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.usefixtures("small_segments")
async def test_a_session_that_cannot_be_finished_holds_up_no_other(
    tmp_path: Path,
) -> None:
    clock = Clock()
    options = CaptureOptions(idle_s=30, max_duration_s=100, clock=clock)
    async with CaptureStore(tmp_path, options) as store:
        old = await store.create(SPEC)
        clock.now += 25
        await old.write(sound(0, 1_000))
        bad = await store.create(SPEC)
        await bad.leave()
        path = store.path(bad.session_id)
        path.unlink()
        path.mkdir()
        for _ in range(2):
            clock.now += 25
            await old.write(sound(0, 1_000))
        good = await store.create(SPEC)
        clock.now += 25

        with anyio.fail_after(60):
            assert await old.wait_ended() == "full"
        assert bad.info.status == "active"
        for at in range(0, 300_000, 10_000):
            await good.write(sound(at, at + 10_000))
        key = good._live.key
        # Its first one was written when it began.
        await until(
            lambda: (
                sum(
                    found.kind == STATE and found.session == key
                    for found in records(tmp_path)
                )
                > 1
            )
        )
        path.rmdir()
        await until(lambda: bad.info.status == "interrupted")
        await until(lambda: segments(tmp_path)[0][0] > 1)


async def test_a_file_that_was_removed_is_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with CaptureStore(tmp_path) as store:
        first, second = await store.create(SPEC), await store.create(SPEC)
        for connection in (first, second):
            await connection.write(sound(0, 2_000))
        await until(lambda: store.pending_bytes == 0)
        for connection in (first, second):
            connection.info.path.unlink()
        await first.write(sound(2_000, 4_000))
        infos = [await one.close_session() for one in (first, second)]
    assert samples_of(infos[0]) == bytes(2_000) + sound(2_000, 4_000)
    assert samples_of(infos[1]) == bytes(2_000)
    assert caplog.text.count("was removed") == 2


@pytest.mark.usefixtures("small_segments")
async def test_a_file_that_was_removed_does_not_keep_the_journal(
    tmp_path: Path,
) -> None:
    async with CaptureStore(tmp_path) as store:
        good, quiet = await store.create(SPEC), await store.create(SPEC)
        quiet.info.path.unlink()
        for at in range(0, 300_000, 10_000):
            await good.write(sound(at, at + 10_000))
        await until(lambda: segments(tmp_path)[0][0] > 1)
        # Who looks at it later may have deleted the session.
        assert not quiet.info.path.exists()


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("accepted", [0, 1_001, 1_021])
@pytest.mark.parametrize("size", [2_000, 100_000])
async def test_a_session_whose_chunk_was_refused_does_not_keep_the_journal(
    tmp_path: Path, accepted: int, size: int
) -> None:
    """Refused on the event loop, where its connection had begun, and in a thread."""
    live = tmp_path / "live"
    async with CaptureStore(live) as store:
        good, other = await store.create(SPEC), await store.create(SPEC)
        # So few bytes of a second connection are held back: they may be a header.
        for at in range(0, accepted, 1_001):
            await other.write(sound(at, min(at + 1_001, accepted), 1))
            await other.leave()
            other = await store.join(other.session_id)
        with pytest.raises(UnsupportedAudioError):
            await other.write(b"\0\0\0\x18ftypM4A " + bytes(size))
        for at in range(0, 300_000, 10_000):
            await good.write(sound(at, at + 10_000))
        await until(lambda: segments(live)[0][0] > 1)

        folder = killed(live, tmp_path / "killed")
        await other.write(sound(accepted, 4_000, 1))
        info = await other.close_session()
    assert samples_of(info) == sound(0, 4_000, 1)
    half = accepted // 2 * 2
    assert await samples_after_a_crash(folder, info.session_id) == sound(0, half, 1)
