"""Work that goes on to its end when whoever wants it is cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import anyio

from voicepipe.errors import CaptureError


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup


T = TypeVar("T")


async def apart(
    group: TaskGroup,
    work: Callable[[], Awaitable[T]],
    unclaimed: Callable[[T], None] | None = None,
) -> T:
    """
    Do something in a task of its own, and wait for it.

    Args:
        group: Whose task it is; cancelling that ends the work.
        work: What to do.
        unclaimed: What to do with the result when nobody waits for it any more.

    Raises:
        Exception: What the work raised.
        CaptureError: If the group was cancelled.

    Cancellation: the work goes on. That also holds where a task is cancelled from
    outside anyio, which no shield keeps off.
    """
    result = _Result(work, unclaimed)
    group.start_soon(result.run)
    try:
        await result.done.wait()
    except BaseException:
        result.give_up()
        raise
    return result.get()


class _Result(Generic[T]):
    def __init__(
        self,
        work: Callable[[], Awaitable[T]],
        unclaimed: Callable[[T], None] | None,
    ) -> None:
        self.done = anyio.Event()
        self._work = work
        self._unclaimed = unclaimed
        self._value: list[T] = []
        self._error: Exception | None = None
        self._is_wanted = True

    async def run(self) -> None:
        try:
            value = await self._work()
        except Exception as exc:  # noqa: BLE001 - it is the caller's
            self._error = exc
        else:
            self._value.append(value)
            if not self._is_wanted:
                self.give_up()
        finally:
            self.done.set()

    def give_up(self) -> None:
        self._is_wanted = False
        if self._value and self._unclaimed is not None:
            self._unclaimed(self._value.pop())

    def get(self) -> T:
        if self._error is not None:
            raise self._error
        if not self._value:
            raise CaptureError("the store is closed")
        return self._value[0]
