"""Chunks that nobody waits for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeAlias

import anyio
import numpy as np
import pytest
import soundfile
from capturing import RATE, SPEC, samples_of, sound, until

from voicepipe.errors import CaptureError, ChunkTooLargeError, DiskFullError
from voicepipe.io.capture import journal
from voicepipe.io.capture.store import CaptureStore
from voicepipe.io.capture.values import CaptureOptions, ChunkAck, SessionSpec


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from voicepipe.io.capture.connection import CaptureConnection


Told: TypeAlias = list[tuple[ChunkAck | None, Exception | None]]


def into(told: Told) -> Callable[[ChunkAck | None, Exception | None], None]:
    """Keep what is told."""
    return lambda ack, error: told.append((ack, error))


async def submit(connection: CaptureConnection, data: bytes) -> ChunkAck:
    """Submit a chunk, and wait until it is told of."""
    told: Told = []
    assert connection.submit(data, into(told))
    await until(lambda: bool(told))
    ((ack, error),) = told
    assert error is None
    assert ack is not None
    return ack


async def test_chunks_submitted_and_written_make_one_file(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        for at in range(0, 40_000, 8_000):
            ack = await submit(connection, sound(at, at + 4_000))
            assert ack.bytes_received == at + 4_000
            ack = await connection.write(sound(at + 4_000, at + 8_000))
            assert ack.bytes_received == at + 8_000
        assert ack.chunk_count == 10
        info = await connection.close_session()
    assert samples_of(info) == sound(0, 40_000)


async def test_it_is_safe_before_it_is_told(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        told: Told = []
        assert connection.submit(sound(0, 1_000), into(told))
        # Nothing can be in the journal yet: its thread has not run.
        assert not told
        assert connection.info.bytes_received == 0
        await until(lambda: bool(told))
        assert connection.info.bytes_received == 1_000


async def test_while_a_chunk_is_under_way_there_is_no_room_for_another(
    tmp_path: Path,
) -> None:
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        told: Told = []
        assert connection.submit(sound(0, 1_000), into(told))
        refused: Told = []
        assert not connection.submit(sound(1_000, 2_000), into(refused))
        # Written, it waits for its turn.
        ack = await connection.write(sound(1_000, 2_000))
        assert ack.bytes_received == 2_000
        assert len(told) == 1
        assert not refused
        info = await connection.close_session()
    assert samples_of(info) == sound(0, 2_000)


async def test_what_the_session_has_already_is_told_at_once(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        await connection.write(sound(0, 3_000))
        again = await store.join(connection.session_id, offset=0)
        told: Told = []
        assert again.submit(sound(0, 3_000), into(told))
        assert [ack.bytes_received for ack, _ in told if ack is not None] == [3_000]
        await submit(again, sound(3_000, 4_000))
        info = await again.close_session()
    assert samples_of(info) == sound(0, 4_000)


async def test_what_may_not_be_is_refused_at_once(tmp_path: Path) -> None:
    options = CaptureOptions(max_chunk_bytes=5_000)
    async with CaptureStore(tmp_path, options) as store:
        connection = await store.create(SPEC)
        told: Told = []
        with pytest.raises(ChunkTooLargeError):
            connection.submit(sound(0, 5_002), into(told))
        await submit(connection, sound(0, 5_000))
        await connection.leave()
        with pytest.raises(CaptureError):
            connection.submit(sound(5_000, 6_000), into(told))
        assert not told


@pytest.mark.parametrize("because", ["it is too long", "the file fails"])
async def test_no_chunk_is_refused_before_the_one_before_it_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, because: str
) -> None:
    async with CaptureStore(tmp_path, CaptureOptions(max_chunk_bytes=5_000)) as store:
        connection = await store.create(SPEC)
        path = store.path(connection.session_id)
        if because == "the file fails":
            path.unlink()
            path.mkdir()
        await connection.write(sound(0, 1_000))
        said: list[object] = []
        go_on = threading.Event()
        real = journal.write_all

        def write_later(fd: int, pieces: Sequence[bytes | memoryview]) -> int:
            assert go_on.wait(60)
            return real(fd, pieces)

        async def write(size: int) -> None:
            with pytest.raises((ChunkTooLargeError, IsADirectoryError)) as caught:
                await connection.write(sound(2_000, 2_000 + size))
            said.append(caught.type)

        monkeypatch.setattr(journal, "write_all", write_later)
        try:
            assert connection.submit(
                sound(1_000, 2_000), lambda ack, _: said.append(ack and ack.chunk_count)
            )
            tail = connection._live.tail
            if because == "the file fails":
                await until(lambda: tail.error is not None)
            async with anyio.create_task_group() as group:
                group.start_soon(write, 1_000 if tail.error else 6_000)
                await anyio.wait_all_tasks_blocked()
                assert not said
                go_on.set()
        finally:
            go_on.set()
        assert said == [2, IsADirectoryError if tail.error else ChunkTooLargeError]
        if because == "the file fails":
            path.rmdir()
        await until(lambda: store.pending_bytes == 0)
        info = await connection.close_session()
    assert samples_of(info) == sound(0, 2_000)


async def attempt(
    connection: CaptureConnection, at: int
) -> tuple[ChunkAck | None, Exception | None]:
    """Submit 60,000 bytes as soon as there is room for them, and give what is told."""
    told: Told = []
    chunk = sound(at, at + 60_000)
    await until(lambda: connection.submit(chunk, into(told)))
    await until(lambda: bool(told))
    return told[0]


async def test_a_full_disk_is_told(
    tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(6 << 20)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(5 << 20))
    async with CaptureStore(disk / "store") as store:
        connection = await store.create(SPEC)
        at, error = 0, None
        while error is None:
            ack, error = await attempt(connection, at)
            assert (ack is None) == (error is not None)
            at += 60_000 if error is None else 0
        assert isinstance(error, DiskFullError)
        assert connection.info.bytes_received == at
        ballast.unlink()
        await until(lambda: store.pending_bytes == 0)
        await submit(connection, sound(at, at + 60_000))
        info = await connection.close_session()
    assert samples_of(info) == sound(0, at + 60_000)


async def test_who_fails_when_told_takes_nobody_along(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(ack: ChunkAck | None, error: Exception | None) -> None:
        raise RuntimeError("mine alone")

    async with CaptureStore(tmp_path) as store:
        first, second = await store.create(SPEC), await store.create(SPEC)
        told: Told = []
        assert first.submit(sound(0, 1_000), fail)
        assert second.submit(sound(0, 1_000), into(told))
        await until(lambda: bool(told))
        ack = await submit(first, sound(1_000, 2_000))
        assert ack.bytes_received == 2_000
    assert "mine alone" in caplog.text


async def test_a_chunk_that_fills_the_session_completes_it(tmp_path: Path) -> None:
    # Being active counts as well, and that may take longer.
    options = CaptureOptions(max_duration_s=1.0, clock=lambda: 0.0)
    async with CaptureStore(tmp_path, options) as store:
        connection = await store.create(SPEC)
        ack = await submit(connection, sound(0, 2 * RATE + 1_000))
        assert ack.completed
        with anyio.fail_after(60):
            assert await connection.wait_ended() == "full"
        assert connection.info.status == "completed"
        assert samples_of(connection.info) == sound(0, 2 * RATE)


async def test_a_connection_with_a_chunk_under_way_is_not_idle(tmp_path: Path) -> None:
    now = [0.0]
    options = CaptureOptions(idle_s=10.0, clock=lambda: now[0])
    async with CaptureStore(tmp_path, options) as store:
        connection = await store.create(SPEC)
        now[0] = 9.0
        await submit(connection, sound(0, 1_000))
        now[0] = 18.0
        await submit(connection, sound(1_000, 2_000))
        assert connection.end_reason is None
        now[0] = 29.0
        with anyio.fail_after(60):
            assert await connection.wait_ended() == "idle"


async def test_sound_that_is_decoded_or_converted_is_told_too(tmp_path: Path) -> None:
    spec = SessionSpec(rate=RATE // 2)
    source = tmp_path / "source.wav"
    samples = np.frombuffer(sound(0, 64_000), np.int16)
    soundfile.write(source, samples, RATE)
    async with CaptureStore(tmp_path / "store") as store:
        connection = await store.create(spec)
        ack = await submit(connection, source.read_bytes())
        assert ack.duration_s > 1.4
        info = await connection.close_session()
    assert info.duration == 2.0
