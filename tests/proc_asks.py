"""How the tests of ``tests/proc`` talk to a lent helper."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import psutil


if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.proc.pool import Helper


async def ask(
    helper: Helper, name: str, payload: bytes = b"", **arguments: object
) -> tuple[Any, bytes]:
    """Have a helper run a function of ``tests/proc_calls.py``."""
    return await anyio.to_thread.run_sync(
        partial(helper.exchange, f"proc_calls:{name}", arguments, payload),
        abandon_on_cancel=True,
    )


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that happens outside of the event loop."""
    with anyio.fail_after(60):
        while not true():  # noqa: ASYNC110
            await anyio.sleep(0.01)


def status_of(pid: int) -> str:
    """Give a process's state; of one that is gone, that of a zombie."""
    try:
        return str(psutil.Process(pid).status())
    except psutil.NoSuchProcess:
        return psutil.STATUS_ZOMBIE


def alive(pid: int) -> bool:
    """Tell whether a process is there and has not ended."""
    return status_of(pid) != psutil.STATUS_ZOMBIE
