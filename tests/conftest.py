"""Shared by all tests: both event loops, and two guards against blocking them."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import pytest
from stress_report import Page

from voicepipe.io.isolated import stop_helpers


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from stress_report import Report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let no skipped test pass in silence where everything must run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("VOICEPIPE_NO_SKIPS") and reporter.stats.get("skipped"):
        reporter.write_line("VOICEPIPE_NO_SKIPS is set, and tests were skipped")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"debug": False}), id="asyncio"),
        pytest.param(("trio", {}), id="trio"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Run each asynchronous test on both event loops."""
    return request.param


@pytest.fixture(scope="module", autouse=True)
def no_decoder_is_kept() -> Iterator[None]:
    """Stop the decoders that one file's tests have used: others count processes."""
    yield
    stop_helpers()


@pytest.fixture(scope="session")
def stress_report() -> Iterator[Report]:
    """Take figures for ``benchmarks/STRESS.md``, written when all tests have run."""
    page = Page()
    yield page
    page.write()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount a file system with room for so many bytes."""
    mounted = []

    def mount(size: int) -> Path:
        disk = tmp_path / "disk"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("may not mount a small disk: needs root, or unshare -Urm")
        mounted.append(disk)
        return disk

    yield mount
    for disk in mounted:
        subprocess.run(["umount", str(disk)], check=True)


class LoopLag:
    """
    The longest time in which the event loop did not come round.

    Less the time in which its thread was ready and the system ran somebody else's: a
    busy machine is not what is measured. Waiting for the interpreter's lock counts.
    """

    longest_s: float = 0.0


def waited_for_a_core_s() -> float:
    """Give how long this thread has been ready without running (Linux only)."""
    try:
        path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
        return int(Path(path).read_text("ascii").split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0


@pytest.fixture
def loop_lag() -> Callable[[], AbstractAsyncContextManager[LoopLag]]:
    """Measure the event loop's longest gap inside an ``async with`` block."""

    @contextlib.asynccontextmanager
    async def measure() -> AsyncIterator[LoopLag]:
        lag = LoopLag()

        async def tick(
            *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
        ) -> None:
            def now() -> float:
                return time.perf_counter() - waited_for_a_core_s()

            last = now()
            # Whoever measures goes on only now: trio starts tasks in any order.
            task_status.started()
            while True:
                await anyio.sleep(0.005)
                lag.longest_s = max(lag.longest_s, now() - last - 0.005)
                last = now()

        # The test runner's own million objects are not what is measured: a full
        # collection that walks them takes 100 ms.
        gc.collect()
        gc.freeze()
        try:
            async with anyio.create_task_group() as group:
                await group.start(tick)
                try:
                    yield lag
                finally:
                    group.cancel_scope.cancel()
        finally:
            gc.unfreeze()

    return measure
