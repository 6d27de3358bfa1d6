"""Disks that are full, that stall, and that are slower than what comes."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

import anyio
import pytest
from capturing import SPEC, samples_of, sound, until, write_all

from voicepipe.errors import DiskFullError
from voicepipe.io.capture.store import CaptureStore
from voicepipe.io.capture.values import CaptureOptions


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from voicepipe.io.capture.connection import CaptureConnection


MIB = 1 << 20


async def fill(connection: CaptureConnection, size: int, begin: int = 0) -> int:
    """Write chunks until there is no space; give where that was."""
    at = begin
    while True:
        try:
            ack = await connection.write(sound(at, at + size))
        except DiskFullError:
            return at
        at += size
        assert ack.bytes_received == at


def fill_up(path: Path) -> None:
    """Write a file until there is no space at all."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1_024))


async def test_a_chunk_for_which_there_is_no_space_counts_nothing(
    tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(6 * MIB)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(5 * MIB))
    async with CaptureStore(disk / "store") as store:
        large, small = await store.create(SPEC), await store.create(SPEC)
        await small.write(sound(0, 999, 1))

        at = await fill(large, 60_000)

        assert 60_000 <= at < 1_500_000
        assert large.info.bytes_received == at
        with pytest.raises(DiskFullError):
            await large.write(sound(at, at + 60_000))
        assert large.info.bytes_received == at
        # Room for a small one there still was.
        assert (await small.write(sound(999, 1_100, 1))).bytes_received == 1_100

        ballast.unlink()
        await until(lambda: store.pending_bytes == 0)
        await large.write(sound(at, at + 60_000))
        await small.write(sound(1_100, 2_000, 1))
        infos = [await one.close_session() for one in (large, small)]
    assert samples_of(infos[0]) == sound(0, at + 60_000)
    assert samples_of(infos[1]) == sound(0, 2_000, 1)


async def test_after_a_full_disk_the_same_chunk_can_be_sent_again(
    tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    """With odd sizes: half a sample that does not count is not kept either."""
    disk = small_disk(6 * MIB)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(5 * MIB))
    async with CaptureStore(disk / "store") as store:
        connection = await store.create(SPEC)
        at = await fill(connection, 3_001)
        for _ in range(5):
            with pytest.raises(DiskFullError):
                await connection.write(sound(at, at + 30_001))
        ballast.unlink()
        await until(lambda: store.pending_bytes == 0)
        await write_all(connection, at, at + 200_000, 3_001)
        info = await connection.close_session()
    assert samples_of(info) == sound(0, (at + 200_000) // 2 * 2)


async def test_a_full_disk_is_told_where_sessions_begin_and_end(
    tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(2 * MIB)
    async with CaptureStore(disk / "store") as store:
        connection = await store.create(SPEC)
        await write_all(connection, 0, 10_000, 1_000)
        ballast = disk / "ballast"
        fill_up(ballast)
        names = set((disk / "store").iterdir())
        with pytest.raises(DiskFullError):
            await store.create(SPEC)
        assert set((disk / "store").iterdir()) == names
        assert store.active == 1
        with pytest.raises(DiskFullError):
            await connection.close_session()
        assert connection.info.status == "active"

        ballast.unlink()
        info = await connection.close_session()
    assert samples_of(info) == sound(0, 10_000)


async def test_what_was_acknowledged_before_the_disk_was_full_is_found_again(
    tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(6 * MIB)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(5 * MIB))
    async with CaptureStore(disk / "store") as store:
        connection = await store.create(SPEC)
        at = await fill(connection, 20_000)
        # Its file cannot be finished now: it stays in the journal.
    ballast.unlink()
    async with CaptureStore(disk / "store") as store:
        connection = await store.join(connection.session_id, offset=at)
        await connection.write(sound(at, at + 20_000))
        info = await connection.close_session()
    assert samples_of(info) == sound(0, at + 20_000)


class Frozen:
    """A file system of its own, whose writes can be held up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_frozen = False

    def freeze(self) -> None:
        subprocess.run(["fsfreeze", "-f", str(self.path)], check=True)
        self.is_frozen = True

    def thaw(self) -> None:
        if self.is_frozen:
            subprocess.run(["fsfreeze", "-u", str(self.path)], check=True)
            self.is_frozen = False


@pytest.fixture
def freezing(tmp_path: Path) -> Iterator[Frozen]:
    """Mount a file system that can be frozen."""
    image, path = tmp_path / "image", tmp_path / "frozen"
    path.mkdir()
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    try:
        for command in (
            ["mkfs.ext4", "-q", str(image)],
            ["mount", "-o", "loop", str(image), str(path)],
        ):
            subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not mount an image: needs root, loop devices and mkfs.ext4")
    frozen = Frozen(path)
    yield frozen
    frozen.thaw()
    subprocess.run(["umount", str(path)], check=True)


async def test_a_disk_that_stalls_holds_up_its_own_store_alone(
    tmp_path: Path,
    freezing: Frozen,
    least_lag: Callable[[Callable[[], Awaitable[object]]], Awaitable[float]],
) -> None:
    done: list[int] = []

    async def write_some(connection: CaptureConnection) -> None:
        for at in range(3_000, 30_000, 3_000):
            ack = await connection.write(sound(at, at + 3_000))
            done.append(ack.bytes_received)

    async with (
        CaptureStore(freezing.path / "store") as stalled,
        CaptureStore(tmp_path / "other") as other,
    ):
        connection = await stalled.create(SPEC)
        await connection.write(sound(0, 3_000))
        beside = await other.create(SPEC)

        async def write_beside() -> None:
            at = beside.info.bytes_received
            await write_all(beside, at, at + 100_000, 1_000)
            await anyio.sleep(0.3)

        await anyio.to_thread.run_sync(freezing.freeze)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(write_some, connection)
                lag_s = await least_lag(write_beside)
                assert done == []
                # Nothing that only asks has to wait.
                assert connection.info.bytes_received == 3_000
                await anyio.to_thread.run_sync(freezing.thaw)
        finally:
            await anyio.to_thread.run_sync(freezing.thaw)
        assert done == list(range(6_000, 33_000, 3_000))
        assert lag_s < 0.3
        infos = [await one.close_session() for one in (connection, beside)]
    assert samples_of(infos[0]) == sound(0, 30_000)
    assert samples_of(infos[1]) == sound(0, 300_000)


async def test_who_writes_to_a_disk_that_stalls_can_be_cancelled(
    freezing: Frozen,
) -> None:
    async with CaptureStore(freezing.path / "store") as store:
        connection = await store.create(SPEC)
        await connection.write(sound(0, 3_000))
        await anyio.to_thread.run_sync(freezing.freeze)
        try:
            with anyio.move_on_after(0.2) as scope:
                await connection.write(sound(3_000, 6_000))
            assert scope.cancelled_caught
            assert connection.info.bytes_received == 3_000
            await connection.leave()
        finally:
            await anyio.to_thread.run_sync(freezing.thaw)
        await until(lambda: connection.info.bytes_received == 6_000)
        again = await store.join(connection.session_id, offset=3_000)
        await write_all(again, 3_000, 9_000, 1_000)
        info = await again.close_session()
    assert samples_of(info) == sound(0, 9_000)


async def test_who_takes_over_waits_for_what_is_under_way(freezing: Frozen) -> None:
    async with CaptureStore(freezing.path / "store") as store:
        first = await store.create(SPEC)
        await first.write(sound(0, 3_000))
        await anyio.to_thread.run_sync(freezing.freeze)
        joined: list[CaptureConnection] = []

        async def take_over() -> None:
            joined.append(await store.join(first.session_id, offset=6_000))

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(first.write, sound(3_000, 6_000))
                await until(lambda: store.pending_bytes == 3_000)
                group.start_soon(take_over)
                await anyio.sleep(0.2)
                assert not joined
                await anyio.to_thread.run_sync(freezing.thaw)
        finally:
            await anyio.to_thread.run_sync(freezing.thaw)
        await joined[0].write(sound(6_000, 9_000))
        info = await joined[0].close_session()
    assert samples_of(info) == sound(0, 9_000)


async def test_more_than_the_budget_waits(freezing: Frozen) -> None:
    """Of ten senders of 60 kB the first five get in."""
    options = CaptureOptions(max_pending_bytes=300_000)
    most = 0
    async with CaptureStore(freezing.path / "store", options) as store:
        connections = [await store.create(SPEC) for _ in range(10)]
        for seed, connection in enumerate(connections):
            # Known as samples: their chunks are views then.
            await connection.write(sound(0, 1_000, seed))
        await until(lambda: store.pending_bytes == 0)
        await anyio.to_thread.run_sync(freezing.freeze)
        try:
            async with anyio.create_task_group() as group:
                for seed, connection in enumerate(connections):
                    group.start_soon(write_all, connection, 1_000, 61_000, 60_000, seed)
                await until(lambda: store.pending_bytes == 300_000)
                for _ in range(20):
                    await anyio.sleep(0.01)
                    most = max(most, store.pending_bytes)
                await anyio.to_thread.run_sync(freezing.thaw)
        finally:
            await anyio.to_thread.run_sync(freezing.thaw)
        assert most == 300_000
        infos = [await one.close_session() for one in connections]
        assert store.pending_bytes == 0
    for seed, info in enumerate(infos):
        assert samples_of(info) == sound(0, 61_000, seed)


async def test_a_chunk_larger_than_the_budget_comes_through_alone(
    tmp_path: Path,
) -> None:
    options = CaptureOptions(max_pending_bytes=1_000)
    async with CaptureStore(tmp_path, options) as store:
        connections = [await store.create(SPEC) for _ in range(5)]
        async with anyio.create_task_group() as group:
            for seed, connection in enumerate(connections):
                group.start_soon(write_all, connection, 0, 300_000, 100_000, seed)
        infos = [await one.close_session() for one in connections]
    for seed, info in enumerate(infos):
        assert samples_of(info) == sound(0, 300_000, seed)
