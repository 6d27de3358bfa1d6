from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from voicepipe.tasks import side_by_side, task_group


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


async def fail_together(*errors: Exception) -> None:
    go = anyio.Event()

    async def fail(error: Exception) -> None:
        await go.wait()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.01)
        raise error

    async with task_group() as group:
        for error in errors:
            group.start_soon(fail, error)
        await anyio.sleep(0.01)
        go.set()


async def test_a_single_error_is_raised_bare() -> None:
    with pytest.raises(KeyError, match="one"):
        await fail_together(KeyError("one"))


async def test_of_several_errors_of_one_class_one_is_raised() -> None:
    with pytest.raises(KeyError, match=r"one|two|three"):
        await fail_together(KeyError("one"), KeyError("two"), KeyError("three"))


async def test_an_error_is_bare_though_all_is_being_cancelled_from_outside() -> None:
    async def wait() -> None:
        await anyio.sleep_forever()

    async def fail() -> None:
        with anyio.CancelScope() as outer:
            async with task_group() as group:
                group.start_soon(wait)
                await anyio.sleep(0.01)
                outer.cancel()
                raise KeyError("one")

    with pytest.raises(KeyError, match="one"):
        await fail()


async def test_errors_of_several_classes_stay_a_group() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await fail_together(KeyError("one"), OSError("two"))

    assert {type(error) for error in caught.value.exceptions} == {KeyError, OSError}


class Coming:
    """Numbers that are waited for; it notes when two ask at the same time."""

    def __init__(self, count: int) -> None:
        self.left = iter(range(count))
        self.asking = 0
        self.most_asking = 0

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        self.asking += 1
        self.most_asking = max(self.most_asking, self.asking)
        try:
            await anyio.sleep(0.001)
            return next(self.left)
        except StopIteration:
            raise StopAsyncIteration from None
        finally:
            self.asking -= 1


async def generated(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await anyio.sleep(0.001)
        yield number


class Work:
    """Work that can be held up; it notes what is under way and what has ended."""

    def __init__(self) -> None:
        self.go = anyio.Event()
        self.begun: list[int] = []
        self.places: list[int] = []
        self.ended = 0
        self.most = 0

    async def __call__(self, place: int, item: int) -> tuple[int, int]:
        self.places.append(place)
        self.begun.append(item)
        self.most = max(self.most, len(self.begun) - self.ended)
        try:
            await self.go.wait()
        finally:
            self.ended += 1
        return place, item


async def twice(_: int, item: int) -> int:
    await anyio.lowlevel.checkpoint()
    return 2 * item


@pytest.mark.parametrize("workers", [1, 3, 40])
@pytest.mark.parametrize("kind", [range, Coming, generated])
async def test_each_item_is_worked_on_once_and_knows_its_place(
    kind: Callable[[int], range], workers: int
) -> None:
    work = Work()
    work.go.set()

    async with side_by_side(kind(20), work, workers) as results:
        found = [result async for result in results]

    assert sorted(found) == [(number, number) for number in range(20)]
    assert sorted(work.begun) == sorted(work.places) == list(range(20))


async def test_no_items_have_no_results() -> None:
    async with side_by_side([], twice, 3) as results:
        assert [result async for result in results] == []


@pytest.mark.parametrize("workers", [1, 4])
async def test_as_many_are_under_way_as_there_are_workers(workers: int) -> None:
    work = Work()

    async with side_by_side(range(20), work, workers) as results:
        await anyio.wait_all_tasks_blocked()
        assert len(work.begun) == workers
        work.go.set()
        assert len([result async for result in results]) == 20

    assert work.most == workers


async def test_items_are_taken_only_as_results_are() -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    async with side_by_side(endless(), twice, 4) as results:
        await anyio.wait_all_tasks_blocked()
        assert taken == 4
        for count in range(1, 4):
            await anext(results)
            await anyio.wait_all_tasks_blocked()
            # A worker whose result was taken goes on; the others hold theirs.
            assert taken == 4 + count
    assert taken == 7


async def test_only_one_worker_at_a_time_waits_for_the_next_item() -> None:
    items = Coming(30)

    async with side_by_side(items, twice, 8) as results:
        found = [result async for result in results]

    assert items.most_asking == 1
    assert sorted(found) == list(range(0, 60, 2))


async def test_a_slow_item_does_not_hold_up_what_is_there() -> None:
    """Results come while the next item is waited for."""
    items = [0, 0.001, 3_600]

    async def come() -> AsyncIterator[float]:
        for item in items:
            await anyio.sleep(item)
            yield item

    async def give(_: int, item: float) -> float:
        return item

    with anyio.fail_after(60):
        async with side_by_side(come(), give, 1) as results:
            assert [await anext(results), await anext(results)] == [0, 0.001]


def broken_at_once() -> Iterator[int]:
    raise LookupError("no such column")
    yield 0


def broken_later() -> Iterator[int]:
    yield from range(5)
    raise LookupError("no such column")


async def broken_while_waiting() -> AsyncIterator[int]:
    async for number in generated(5):
        yield number
    raise LookupError("no such column")


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("items", [broken_at_once, broken_later, broken_while_waiting])
async def test_an_error_of_the_items_is_raised_bare(
    items: Callable[[], Iterator[int]], workers: int
) -> None:
    async def use() -> None:
        async with side_by_side(items(), twice, workers) as results:
            async for _ in results:
                pass

    with pytest.raises(LookupError, match="no such column"):
        await use()


async def test_what_cannot_be_iterated_over_is_told_before_the_block() -> None:
    entered = False

    with pytest.raises(TypeError, match="not iterable"):
        async with side_by_side(5, twice, 2):  # type: ignore[arg-type]
            entered = True

    assert not entered


async def test_an_error_of_the_work_is_raised_bare_and_stops_the_others() -> None:
    waiting = Work()

    async def work(place: int, item: int) -> object:
        if item == 3:
            await anyio.wait_all_tasks_blocked()
            raise KeyError(item)
        return await waiting(place, item)

    async def use() -> None:
        async with side_by_side(range(100), work, 4) as results:
            async for _ in results:
                pytest.fail("nothing has come")

    with anyio.fail_after(60), pytest.raises(KeyError, match="3"):
        await use()

    assert sorted(waiting.begun) == [0, 1, 2]
    assert waiting.ended == 3


async def test_an_error_of_the_block_is_raised_bare_and_stops_the_work() -> None:
    work = Work()

    async def use() -> None:
        async with side_by_side(range(100), work, 4):
            await anyio.wait_all_tasks_blocked()
            raise ZeroDivisionError

    with anyio.fail_after(60), pytest.raises(ZeroDivisionError):
        await use()

    assert len(work.begun) == work.ended == 4


async def test_leaving_the_block_early_stops_what_is_under_way() -> None:
    work = Work()

    async def some(place: int, item: int) -> object:
        return item if item == 0 else await work(place, item)

    with anyio.fail_after(60):
        async with side_by_side(range(100), some, 4) as results:
            async for result in results:
                assert result == 0
                break
            await anyio.wait_all_tasks_blocked()

    assert sorted(work.begun) == [1, 2, 3, 4]
    assert work.ended == 4


async def test_leaving_the_block_stops_who_waits_for_an_item() -> None:
    with anyio.fail_after(60):
        async with side_by_side(Slow(), twice, 3) as results:
            assert await anext(results) == 14


class Slow:
    """One item, and then none for an hour."""

    def __init__(self) -> None:
        self.count = 0

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        self.count += 1
        await anyio.sleep(0 if self.count == 1 else 3_600)
        return 7


async def test_cancellation_from_outside_stops_everything() -> None:
    work = Work()

    scope = anyio.CancelScope()

    async def cancel() -> None:
        await anyio.wait_all_tasks_blocked()
        scope.cancel()

    async with anyio.create_task_group() as group:
        with scope:
            group.start_soon(cancel)
            async with side_by_side(range(100), work, 4) as results:
                async for _ in results:
                    pytest.fail("nothing has come")

    assert scope.cancelled_caught
    assert len(work.begun) == work.ended == 4


async def test_an_asynchronous_generator_is_closed_where_it_is_left() -> None:
    closed = []

    async def items() -> AsyncIterator[int]:
        try:
            for number in range(1_000):
                yield number
        finally:
            closed.append("closed")

    async def work(_: int, item: int) -> int:
        return item

    async with side_by_side(items(), work, 2) as results:
        await anext(results)

    assert closed == ["closed"]
