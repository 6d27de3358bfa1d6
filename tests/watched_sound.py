"""Sound that holds whoever reads it until nobody wants it any more."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import numpy as np


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


PATIENCE_S = 60.0


class Gate:
    """
    Holds the thread that passes it for the n-th time until the call is cancelled.

    Args:
        at: Which time.

    Attributes:
        passed: How often it was passed.
    """

    def __init__(self, at: int) -> None:
        self.passed = 0
        self._at = at
        self._reached, self._open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.passed += 1
        if self.passed == self._at:
            self._reached.set()
            assert self._open.wait(PATIENCE_S)

    async def cancelled_there(self, call: Callable[[], Awaitable[object]]) -> None:
        """Await a call, and cancel it when the gate is reached."""

        async def cancel() -> None:
            assert await anyio.to_thread.run_sync(self._reached.wait, PATIENCE_S)
            group.cancel_scope.cancel()
            self._open.set()

        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            await call()
        assert group.cancel_scope.cancelled_caught


class Watched(np.ndarray[Any, Any]):
    """An array that passes a gate whenever a part of it is taken, or of such a part."""

    gate: Gate | None = None

    def __array_finalize__(self, obj: object) -> None:
        self.gate = getattr(obj, "gate", None)

    def __getitem__(self, key: Any) -> Any:
        if self.gate is not None:
            self.gate()
        return super().__getitem__(key)


def watched(array: np.ndarray[Any, Any], gate: Gate) -> Watched:
    """Give the array with a gate before it."""
    view = array.view(Watched)
    view.gate = gate
    return view
