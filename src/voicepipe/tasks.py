"""Task groups whose caller sees the error itself, and much work done side by side."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from anyio.abc import TaskGroup
    from anyio.streams.memory import MemoryObjectSendStream


T = TypeVar("T")
R = TypeVar("R")


@contextlib.asynccontextmanager
async def task_group() -> AsyncIterator[TaskGroup]:
    """
    Open a task group that raises a task's error bare.

    How many tasks a function uses inside is its own affair: who calls it expects the
    documented error, not a group with the error in it. Tasks that do the same often
    fail together and for the same reason: of several errors of one class the first is
    raised. Errors of several classes stay a group.
    """
    try:
        async with anyio.create_task_group() as group:
            yield group
    except BaseExceptionGroup as errors:
        # On trio the cancellation of the tasks beside it stands in the group too.
        _, own = errors.split(anyio.get_cancelled_exc_class())
        error: BaseException = own or errors
        while (
            isinstance(error, BaseExceptionGroup)
            and len({type(one) for one in error.exceptions}) == 1
        ):
            error = error.exceptions[0]
        raise error from error.__cause__


@contextlib.asynccontextmanager
async def side_by_side(
    items: Iterable[T] | AsyncIterable[T],
    work: Callable[[int, T], Awaitable[R]],
    workers: int,
) -> AsyncIterator[AsyncIterator[R]]:
    """
    Do the same with many items, some at a time, in as much memory as those need.

    Items are taken one by one as workers become free, and a worker waits until its
    result is taken. Leaving the block cancels what is under way.

    Args:
        items: What to work on; the next one is taken on the event loop. An
            asynchronous generator is closed at the end, wherever it stands.
        work: Called with an item's place, from 0, and the item.
        workers: Items at the same time.

    Yields:
        The results as they come, not in order.

    Raises:
        Exception: What taking an item, or the work, raised.
    """
    left = _Shared(items)
    send, receive = anyio.create_memory_object_stream[R]()
    try:
        async with send, receive, task_group() as group:
            for _ in range(workers):
                group.start_soon(_work, left, work, send.clone())
            send.close()
            try:
                yield receive
            finally:
                group.cancel_scope.cancel()
    finally:
        await left.aclose()


class _Shared(Generic[T]):
    """An iterable that several tasks take from, each item once, with its place."""

    def __init__(self, items: Iterable[T] | AsyncIterable[T]) -> None:
        self._items = aiter(items) if isinstance(items, AsyncIterable) else iter(items)
        self._one_at_a_time = anyio.Lock()
        self._taken = 0

    async def take(self) -> tuple[int, T] | None:
        """Give the next item, ``None`` if there are no more."""
        try:
            if isinstance(self._items, AsyncIterator):
                async with self._one_at_a_time:
                    item = await anext(self._items)
            else:
                item = next(self._items)
        except (StopIteration, StopAsyncIteration):
            return None
        self._taken += 1
        return self._taken - 1, item

    async def aclose(self) -> None:
        """Close an asynchronous generator; nobody takes from it any more."""
        if isinstance(self._items, AsyncGenerator):
            with anyio.CancelScope(shield=True):
                await self._items.aclose()


async def _work(
    left: _Shared[T],
    work: Callable[[int, T], Awaitable[R]],
    send: MemoryObjectSendStream[R],
) -> None:
    """Work on one item after the other until there are no more."""
    async with send:
        while taken := await left.take():
            await send.send(await work(*taken))
