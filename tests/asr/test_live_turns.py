from __future__ import annotations

import anyio
import anyio.abc
import pytest
from anyio.lowlevel import checkpoint

from voicepipe.asr.live.turns import Turns


class Queue:
    """Users of turns, and the order in which they had them."""

    def __init__(self, at_once: int = 1) -> None:
        self.turns = Turns(at_once)
        self.order: list[str] = []
        self.at_once = self.most = 0
        self.go_on = anyio.Event()

    async def use(self, name: str, *, urgent: bool = False) -> None:
        async with self.turns.turn(urgent=urgent):
            self.order.append(name)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            await self.go_on.wait()
            await checkpoint()
            self.at_once -= 1


async def settled() -> None:
    for _ in range(10):
        await checkpoint()


async def test_urgent_ones_come_first_and_then_each_in_order() -> None:
    queue = Queue()
    async with anyio.create_task_group() as group:
        group.start_soon(queue.use, "at work")
        await settled()
        for name in ("a", "b", "C", "d", "E"):
            group.start_soon(lambda n=name: queue.use(n, urgent=n.isupper()))
            await settled()
        queue.go_on.set()

    assert queue.order == ["at work", "C", "E", "a", "b", "d"]
    assert queue.most == 1


@pytest.mark.parametrize("at_once", [1, 2, 3])
async def test_no_more_work_at_once_than_may(at_once: int) -> None:
    queue = Queue(at_once)
    queue.go_on.set()
    async with anyio.create_task_group() as group:
        for number in range(9):
            group.start_soon(queue.use, str(number))

    assert queue.most == at_once
    assert len(queue.order) == 9


async def test_who_gives_up_is_passed_over() -> None:
    queue = Queue()
    async with anyio.create_task_group() as group, anyio.create_task_group() as other:
        group.start_soon(queue.use, "at work")
        await settled()
        other.start_soon(queue.use, "gives up")
        await settled()
        group.start_soon(queue.use, "next")
        await settled()
        other.cancel_scope.cancel()
        queue.go_on.set()

    assert queue.order == ["at work", "next"]


async def test_a_turn_that_comes_as_one_gives_up_goes_on_to_the_next() -> None:
    queue = Queue()
    holder = anyio.CancelScope()
    waiter = anyio.CancelScope()

    async def hold() -> None:
        with holder:
            await queue.use("holds")

    async def wait() -> None:
        with waiter:
            await queue.use("gives up")

    async with anyio.create_task_group() as group:
        group.start_soon(hold)
        await settled()
        group.start_soon(wait)
        await settled()
        holder.cancel()
        waiter.cancel()
        await settled()
        queue.go_on.set()
        with anyio.fail_after(60):
            await queue.use("next")

    assert queue.order[-1] == "next"


async def test_an_error_gives_the_turn_back() -> None:
    turns = Turns()
    with pytest.raises(KeyError):
        async with turns.turn(urgent=False):
            raise KeyError

    with anyio.fail_after(60):
        async with turns.turn(urgent=False):
            pass


def test_nobody_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="at_once"):
        Turns(0)
