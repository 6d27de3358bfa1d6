from __future__ import annotations

import anyio
import pytest

from voicepipe.tasks import task_group


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


async def test_errors_of_several_classes_stay_a_group() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await fail_together(KeyError("one"), OSError("two"))

    assert {type(error) for error in caught.value.exceptions} == {KeyError, OSError}
