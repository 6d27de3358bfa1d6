from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from voicepipe.errors import EmptyAudioError
from voicepipe.io.steps import SLICE_S, Steps


if TYPE_CHECKING:
    from collections.abc import Generator


async def cancelled(steps: Steps[Any], begun: threading.Event) -> None:
    """Cancel work a while after it has begun."""
    async with anyio.create_task_group() as group:
        group.start_soon(steps.result)
        with anyio.fail_after(60):
            while not begun.is_set():  # noqa: ASYNC110 - a thread's
                await anyio.sleep(0.005)
        await anyio.sleep(0.05)
        group.cancel_scope.cancel()


async def test_a_step_runs_in_a_worker_thread_for_a_slice_of_time() -> None:
    threads = set()

    def work() -> Generator[int, None, None]:
        for number in range(40):
            threads.add(threading.current_thread())
            time.sleep(SLICE_S / 8)
            yield number

    steps = Steps(work())
    found = []
    while items := await steps.step():
        assert len(items) < 20
        found += items

    assert found == list(range(40))
    assert threading.main_thread() not in threads


async def test_what_was_yielded_before_an_error_comes_first() -> None:
    def work() -> Generator[int, None, None]:
        yield 1
        yield 2
        raise EmptyAudioError("no more")

    steps = Steps(work())
    found: list[int] = []

    async def take() -> None:
        # One step, unless a busy machine takes too long for it.
        while True:
            found.extend(await steps.step())

    with pytest.raises(EmptyAudioError):
        await take()
    assert found == [1, 2]


async def test_the_result_is_what_came_last_and_the_work_is_closed() -> None:
    closed = []

    def work() -> Generator[str, None, None]:
        try:
            yield "first"
            yield "last"
        finally:
            closed.append(True)

    assert await Steps(work()).result() == "last"
    assert closed


async def test_cancelled_work_is_closed_where_it_last_yielded() -> None:
    closed = []
    begun = threading.Event()

    def work() -> Generator[int, None, None]:
        try:
            while True:
                begun.set()
                time.sleep(0.001)
                yield 0
        finally:
            closed.append(threading.current_thread())

    await cancelled(Steps(work()), begun)

    assert len(closed) == 1
    assert closed[0] is not threading.main_thread()


def test_closing_waits_for_a_step_that_is_under_way() -> None:
    inside, order = threading.Event(), []

    def work() -> Generator[int, None, None]:
        inside.set()
        time.sleep(0.05)
        order.append("worked")
        try:
            yield 0
        finally:
            order.append("closed")

    steps = Steps(work())
    thread = threading.Thread(target=anyio.run, args=(steps.step,))
    thread.start()
    inside.wait()
    steps.close()
    thread.join()

    assert order == ["worked", "closed"]


class Watchman:
    """Looks after work that waits for an event."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self.begun = threading.Event()
        self.free = threading.Event()
        self.stops: list[float] = []

    def stop(self) -> None:
        self.stops.append(time.monotonic())
        self.free.set()

    def late(self) -> Exception:
        return TimeoutError(f"more than {self.patience_s} s")

    def work(self) -> Generator[str, None, None]:
        self.begun.set()
        yield "begun"
        if not self.free.wait(100):
            raise AssertionError("nobody stopped it")
        raise OSError("stopped")


async def test_work_that_hangs_is_stopped_when_patience_ends() -> None:
    guard = Watchman(patience_s=0.2)
    begin = time.monotonic()

    with pytest.raises(TimeoutError, match=r"more than 0\.2 s"):
        await Steps(guard.work(), guard).result()

    assert len(guard.stops) == 1
    assert 0.2 <= time.monotonic() - begin < 50


async def test_work_that_hangs_is_stopped_when_it_is_cancelled() -> None:
    guard = Watchman(patience_s=60.0)
    begin = time.monotonic()

    await cancelled(Steps(guard.work(), guard), guard.begun)

    assert len(guard.stops) == 1
    assert time.monotonic() - begin < 50


async def test_patience_is_for_each_step_and_not_for_all() -> None:
    def work(each_s: float) -> Generator[int, None, None]:
        for index in range(10):
            time.sleep(each_s)
            yield index

    # A busy machine may run out of so little patience.
    for patience_s in (0.3, 3.0, 9.0):
        guard = Watchman(patience_s)
        with contextlib.suppress(TimeoutError):
            assert await Steps(work(patience_s / 6), guard).result() == 9
        if not guard.stops:
            break

    assert guard.stops == []
