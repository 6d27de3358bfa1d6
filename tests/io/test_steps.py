from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import anyio
import pytest

from voicepipe.errors import EmptyAudioError
from voicepipe.io.steps import SLICE_S, Steps


if TYPE_CHECKING:
    from collections.abc import Generator


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

    assert await steps.step() == [1, 2]
    with pytest.raises(EmptyAudioError):
        await steps.step()


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

    def work() -> Generator[int, None, None]:
        try:
            while True:
                time.sleep(0.001)
                yield 0
        finally:
            closed.append(threading.current_thread())

    with anyio.move_on_after(0.05):
        await Steps(work()).result()

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
        self.free = threading.Event()
        self.stops: list[float] = []

    def stop(self) -> None:
        self.stops.append(time.monotonic())
        self.free.set()

    def late(self) -> Exception:
        return TimeoutError(f"more than {self.patience_s} s")

    def work(self) -> Generator[str, None, None]:
        yield "begun"
        if not self.free.wait(20):
            raise AssertionError("nobody stopped it")
        raise OSError("stopped")


async def test_work_that_hangs_is_stopped_when_patience_ends() -> None:
    guard = Watchman(patience_s=0.2)
    begin = time.monotonic()

    with pytest.raises(TimeoutError, match=r"more than 0\.2 s"):
        await Steps(guard.work(), guard).result()

    assert len(guard.stops) == 1
    assert 0.2 <= time.monotonic() - begin < 10


async def test_work_that_hangs_is_stopped_when_it_is_cancelled() -> None:
    guard = Watchman(patience_s=60.0)
    begin = time.monotonic()

    with anyio.move_on_after(0.1) as scope:
        await Steps(guard.work(), guard).result()

    assert scope.cancelled_caught
    assert len(guard.stops) == 1
    assert time.monotonic() - begin < 10


async def test_patience_is_for_each_step_and_not_for_all() -> None:
    guard = Watchman(patience_s=0.3)

    def work() -> Generator[int, None, None]:
        for index in range(10):
            time.sleep(0.05)
            yield index

    assert await Steps(work(), guard).result() == 9
    assert guard.stops == []
