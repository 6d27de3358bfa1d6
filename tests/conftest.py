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
from hypothesis import HealthCheck, settings
from postgres import (  # noqa: F401 - fixtures
    postgres,
    postgres_folder,
    postgres_server,
    store_url,
)
from stress_report import Page
from tiny_whisper.voices import SpeechMissingError

from voicepipe.io.isolated import stop_helpers


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
    from contextlib import AbstractAsyncContextManager

    from stress_report import Report


# A busy machine is no fault of an example's.
settings.register_profile(
    "voicepipe", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("voicepipe")


def pytest_collection_finish() -> None:
    """
    Take what all tests have imported out of every later collection.

    Each would take a third of a second of whatever is measured then.
    """
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let no skipped test pass in silence where everything must run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("VOICEPIPE_NO_SKIPS") and reporter.stats.get("skipped"):
        reporter.write_line("VOICEPIPE_NO_SKIPS is set, and tests were skipped")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    """Skip a test whose fixtures hear a voice that is not installed."""
    return (yield from _voices_may_be_missing())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Skip a test that hears a voice that is not installed."""
    return (yield from _voices_may_be_missing())


def _voices_may_be_missing() -> Generator[None, object, object]:
    try:
        return (yield)
    except SpeechMissingError as exc:
        pytest.skip(str(exc))


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

    Less the time in which its thread was ready and the system ran somebody else's, and
    the longest such time of another thread here, which may have held the interpreter's
    lock meanwhile: a busy machine is not what is measured. Waiting for the lock counts.
    """

    longest_s: float = 0.0


def waits_for_a_core() -> dict[int, float]:
    """Give how long each thread has been ready without running, s (Linux only)."""
    waits = {}
    for task in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(OSError):  # threads end
            told = (task / "schedstat").read_text("ascii")
            waits[int(task.name)] = int(told.split()[1]) / 1e9
    return waits


def waited_s(before: dict[int, float], now: dict[int, float]) -> float:
    """Give what a busy machine has cost the event loop's thread, at most."""
    grown = {thread: wait - before.get(thread, wait) for thread, wait in now.items()}
    own = grown.pop(threading.get_native_id(), 0.0)
    return own + max(grown.values(), default=0.0)


@pytest.fixture
def loop_lag() -> Callable[[], AbstractAsyncContextManager[LoopLag]]:
    """Measure the event loop's longest gap inside an ``async with`` block."""

    @contextlib.asynccontextmanager
    async def measure() -> AsyncIterator[LoopLag]:
        lag = LoopLag()

        async def tick(
            *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
        ) -> None:
            last, waits = time.perf_counter(), waits_for_a_core()
            # Whoever measures goes on only now: trio starts tasks in any order.
            task_status.started()
            while True:
                await anyio.sleep(0.005)
                gap = time.perf_counter() - last - 0.005
                if gap > lag.longest_s:
                    gap -= waited_s(waits, waits_for_a_core())
                    lag.longest_s = max(lag.longest_s, gap)
                waits = waits_for_a_core()
                last = time.perf_counter()

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


@pytest.fixture
def least_lag(
    loop_lag: Callable[[], AbstractAsyncContextManager[LoopLag]],
) -> Callable[[Callable[[], Awaitable[object]]], Awaitable[float]]:
    """
    Measure some work's longest gap three times, and give the smallest, seconds.

    What holds the event loop up does so each time. That the system takes the core from
    a thread that holds the interpreter's lock happens now and then.
    """

    async def measure(work: Callable[[], Awaitable[object]]) -> float:
        lags = []
        for _ in range(3):
            async with loop_lag() as lag:
                await work()
            lags.append(lag.longest_s)
        return min(lags)

    return measure
