"""Cancelled at any moment: a chunk counts whole or not at all, and nothing is left."""

from __future__ import annotations

import asyncio  # noqa: TID251 - what it does without anyio is tested
import gc
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from capturing import SPEC, samples_of, sound, until
from make_audio import encode, signal

from voicepipe.io.capture.store import CaptureStore
from voicepipe.io.capture.values import CaptureOptions


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from voicepipe.io.capture.values import SessionInfo


# More than any call takes to come to its end.
MOST_STEPS = 40


async def cancel_after(steps: int, work: Callable[[], Awaitable[object]]) -> bool:
    """Cancel some work after so many rounds of the loop; tell whether it was."""
    ended = False

    async def run() -> None:
        nonlocal ended
        await work()
        ended = True

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    return not ended


async def cancel_natively_after(
    steps: int, work: Callable[[], Awaitable[object]]
) -> bool:
    """Cancel some work as asyncio does, which no shield keeps off."""
    task = asyncio.ensure_future(work())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


@pytest.fixture(params=["anyio", "native"])
def cancel(
    request: pytest.FixtureRequest, anyio_backend_name: str
) -> Callable[[int, Callable[[], Awaitable[object]]], Awaitable[bool]]:
    if request.param == "anyio":
        return cancel_after
    if anyio_backend_name == "trio":
        # It has no such way.
        return cancel_after
    return cancel_natively_after


@pytest.mark.parametrize("size", [999, 100_001])
async def test_a_cancelled_chunk_counts_whole_or_not_at_all(
    tmp_path: Path,
    size: int,
    cancel: Callable[[int, Callable[[], Awaitable[object]]], Awaitable[bool]],
) -> None:
    cancelled = 0
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        at = 0
        for steps in range(16):
            chunk = sound(at, at + size)
            cancelled += await cancel(steps, lambda c=chunk: connection.write(c))  # type: ignore[misc]
            # What is under way comes to its end first.
            await connection.write(b"")
            counted = connection.info.bytes_received
            assert counted in {at, at + size}
            at = counted
        assert store.pending_bytes <= at
        info = await connection.close_session()
        assert store.pending_bytes == 0
    assert cancelled
    assert samples_of(info) == sound(0, at // 2 * 2)


async def test_a_cancelled_compressed_chunk_counts_whole_or_not_at_all(
    tmp_path: Path,
    cancel: Callable[[int, Callable[[], Awaitable[object]]], Awaitable[bool]],
) -> None:
    data = encode("flac", signal(16_000, 1, 3.0), 16_000)
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        at, steps = 0, 0
        while at < len(data):
            chunk = data[at : at + 5_000]
            await cancel(steps % 16, lambda c=chunk: connection.write(c))  # type: ignore[misc]
            await connection.write(b"")
            counted = connection.info.bytes_received
            assert counted in {at, at + len(chunk)}
            at, steps = counted, steps + 1
        info = await connection.close_session()
    assert info.duration == 3.0


async def test_a_cancelled_change_is_made_whole_or_not_at_all(
    tmp_path: Path,
    cancel: Callable[[int, Callable[[], Awaitable[object]]], Awaitable[bool]],
) -> None:
    options = CaptureOptions(max_sessions=MOST_STEPS)
    async with CaptureStore(tmp_path, options) as store:
        descriptors = open_files()
        for steps in range(0, MOST_STEPS, 2):
            await cancel(steps, lambda: visit(store))
        for steps, info in enumerate(await store.list()):
            session = info.session_id
            await cancel(steps * 2, lambda s=session: visit(store, s))  # type: ignore[misc]
            connection = await store.join(session)
            # Nobody has got the connection of what was cancelled.
            await until(lambda c=connection: c.info.connections == 1)  # type: ignore[misc]
            await connection.write(sound(0, 1_000))
            await cancel(steps * 2, lambda s=session: store.close_session(s))  # type: ignore[misc]
            closed = await store.close_session(session)
            assert closed.status == "completed"
            assert samples_of(closed) == sound(0, 1_000)
            await cancel(steps * 2, lambda s=session: store.delete(s))  # type: ignore[misc]
        await until(lambda: store.active == 0)
        await until(lambda: open_files() <= descriptors)
    listed = {f"{info.session_id}.wav" for info in await all_of(tmp_path)}
    assert listed >= {path.name for path in tmp_path.glob("*.wav")}


async def visit(store: CaptureStore, session_id: str | None = None) -> None:
    """Connect, and leave again."""
    if session_id is None:
        connection = await store.create(SPEC)
    else:
        connection = await store.join(session_id, offset=0)
    await connection.leave()


def open_files() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


async def all_of(folder: Path) -> list[SessionInfo]:
    async with CaptureStore(folder) as store:
        return list(await store.list())


@pytest.mark.parametrize("steps", range(0, MOST_STEPS, 3))
async def test_opening_can_be_cancelled(
    tmp_path: Path,
    steps: int,
    cancel: Callable[[int, Callable[[], Awaitable[object]]], Awaitable[bool]],
) -> None:
    async def use() -> None:
        async with CaptureStore(tmp_path) as store:
            connection = await store.create(SPEC)
            await connection.write(sound(0, 1_000))
            await anyio.sleep(60)

    assert await cancel(steps, use)

    # The folder is free again, also where a thread had to come to its end first.
    async with CaptureStore(tmp_path) as store:
        for info in await store.list():
            assert info.status == "interrupted"
            assert info.bytes_received in {0, 1_000}
            assert (await store.close_session(info.session_id)).status == "completed"
