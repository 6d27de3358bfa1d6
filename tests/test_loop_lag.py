"""The measure of the event loop's gaps sees what blocks it, and only that."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    Measure = Callable[[], AbstractAsyncContextManager[Any]]


async def test_a_thread_that_holds_the_lock_is_seen(loop_lag: Measure) -> None:
    lags: list[float] = []
    # What a busy machine cost is taken away, also where it cost nothing here.
    while len(lags) < 3 and max(lags, default=0.0) <= 0.15:
        async with loop_lag() as lag:
            await anyio.to_thread.run_sync(ctypes.PyDLL(None).usleep, 600_000)
        lags.append(lag.longest_s)

    assert max(lags) > 0.15


async def test_a_coroutine_that_blocks_is_seen(loop_lag: Measure) -> None:
    async with loop_lag() as lag:
        ctypes.CDLL(None).usleep(600_000)
        await anyio.sleep(0.01)

    assert lag.longest_s > 0.15


async def test_a_busy_machine_is_not_what_is_measured(loop_lag: Measure) -> None:
    burners = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(8)
    ]
    lags: list[float] = []
    try:
        # That the whole machine stands still is in no count of the system's.
        while len(lags) < 3 and min(lags, default=1.0) >= 0.15:
            async with loop_lag() as lag:
                await anyio.sleep(2.0)
            lags.append(lag.longest_s)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()

    assert min(lags) < 0.15


async def test_what_blocks_each_time_is_seen_in_the_least_of_several(
    least_lag: Callable[..., Awaitable[float]],
) -> None:
    async def block() -> None:
        ctypes.CDLL(None).usleep(200_000)
        await anyio.sleep(0.01)

    assert await least_lag(block) > 0.15


async def test_what_blocks_once_is_not(
    least_lag: Callable[..., Awaitable[float]],
) -> None:
    runs = []

    async def block_once() -> None:
        runs.append(1)
        if len(runs) == 1:
            ctypes.CDLL(None).usleep(200_000)
        await anyio.sleep(0.01)

    assert await least_lag(block_once) < 0.05
    assert len(runs) == 3
