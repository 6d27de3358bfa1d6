"""Hearing that the server is to stop, before its requests have ended."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

import anyio


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


_STOPS = (signal.SIGTERM, signal.SIGINT)
_LOOK_S = 0.1


@contextlib.contextmanager
def stop_heard() -> Iterator[Callable[[], bool]]:
    """
    Listen to the signals beside the server.

    A server lets requests finish before it tells the app to stop; a stream of events
    would never finish, and work would get no time.

    Yields:
        A function that tells whether a signal has come.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came = threading.Event()
    before: dict[int, Any] = {number: signal.getsignal(number) for number in _STOPS}

    def hear(number: int, frame: FrameType | None) -> None:
        came.set()
        if callable(before[number]):
            before[number](number, frame)

    for number in _STOPS:
        if callable(before[number]):
            signal.signal(number, hear)
    try:
        yield came.is_set
    finally:
        for number in _STOPS:
            # A server that has put its own back meanwhile keeps them.
            if signal.getsignal(number) is hear:
                signal.signal(number, before[number])


async def wait_for(heard: Callable[[], bool]) -> None:
    """Wait until it has."""
    while not heard():  # noqa: ASYNC110 - signal handlers set no events
        await anyio.sleep(_LOOK_S)
