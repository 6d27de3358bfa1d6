"""The measure of the event loop's gaps sees what blocks it, and only that."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread


if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    Measure = Callable[[], AbstractAsyncContextManager[Any]]


async def test_a_thread_that_holds_the_lock_is_seen(loop_lag: Measure) -> None:
    async with loop_lag() as lag:
        await anyio.to_thread.run_sync(ctypes.PyDLL(None).usleep, 200_000)

    assert lag.longest_s > 0.15


async def test_a_coroutine_that_blocks_is_seen(loop_lag: Measure) -> None:
    async with loop_lag() as lag:
        ctypes.CDLL(None).usleep(200_000)
        await anyio.sleep(0.01)

    assert lag.longest_s > 0.15


async def test_a_busy_machine_is_not_what_is_measured(loop_lag: Measure) -> None:
    burners = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(8)
    ]
    try:
        async with loop_lag() as lag:
            await anyio.sleep(2.0)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()

    assert lag.longest_s < 0.05
