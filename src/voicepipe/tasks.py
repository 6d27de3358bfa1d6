"""A task group whose caller sees the error itself."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import anyio


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import TaskGroup


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
        error: BaseException = errors
        while (
            isinstance(error, BaseExceptionGroup)
            and len({type(one) for one in error.exceptions}) == 1
        ):
            error = error.exceptions[0]
        raise error from error.__cause__
