from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import anyio
import psutil
import pytest
from proc_asks import alive, ask, status_of, until

from voicepipe import ChildCrashedError, ChildLimits
from voicepipe.proc.pool import ChildPool, Helper


if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path


CALLS = "proc_calls"


@pytest.fixture(params=[None, ChildLimits()], ids=["trusted", "limited"])
def pool(request: pytest.FixtureRequest):  # noqa: ANN201
    pool = ChildPool(1, request.param)
    yield pool
    pool.close()


async def pid_of(pool: ChildPool) -> int:
    return int(await pool.call(f"{CALLS}:pid", {}))


async def test_a_conversation_is_with_one_helper(pool: ChildPool) -> None:
    async with pool.lend() as helper:
        pids = {(await ask(helper, "pid"))[0] for _ in range(5)}

    assert len(pids) == 1
    assert pids == {await pid_of(pool)}


async def test_payloads_go_both_ways(pool: ChildPool) -> None:
    sent = os.urandom(3_000_001)

    async with pool.lend() as helper:
        value, payload = await ask(helper, "double", sent)
        nothing = await ask(helper, "double", b"")

    assert value == {"length": len(sent)}
    assert payload == sent + sent
    assert nothing == ({"length": 0}, b"")


@pytest.mark.parametrize("shape", [[0, 2], [3], [1_000, 2], [5, 4, 3]])
async def test_an_array_is_a_payload(pool: ChildPool, shape: list[int]) -> None:
    import numpy as np

    async with pool.lend() as helper:
        _, payload = await ask(helper, "array", shape=shape)

    expected = np.arange(np.prod(shape), dtype=np.float32)
    assert np.array_equal(np.frombuffer(payload, np.float32), expected)


async def test_an_array_that_is_not_contiguous_is_told(pool: ChildPool) -> None:
    async with pool.lend() as helper:
        with pytest.raises(TypeError, match="contiguous"):
            await ask(helper, "array", shape=[4, 4], strided=True)

        assert (await ask(helper, "array", shape=[2]))[0] == "array"


async def test_any_buffer_can_be_sent(pool: ChildPool) -> None:
    import numpy as np

    samples = np.ones((100, 2), np.int16)

    async with pool.lend() as helper:
        length = helper.exchange(f"{CALLS}:length_of", {}, samples)[0]

    assert length == samples.nbytes


async def test_a_call_is_at_work_before_its_answer_is_asked_for(
    pool: ChildPool, tmp_path: Path
) -> None:
    touched = tmp_path / "touched"
    async with pool.lend() as helper:
        helper.send(f"{CALLS}:touch", {"path": str(touched)})
        await until(touched.exists)
        assert helper.receive() == (None, b"")


async def test_only_one_call_is_under_way(pool: ChildPool) -> None:
    async with pool.lend() as helper:
        with pytest.raises(RuntimeError, match="nothing was asked"):
            helper.receive()
        helper.send(f"{CALLS}:pid", {})
        with pytest.raises(RuntimeError, match="not been answered"):
            helper.send(f"{CALLS}:pid", {})
        pid, _ = helper.receive()

    assert await pid_of(pool) == pid


async def test_arguments_that_json_cannot_hold_cost_nothing(pool: ChildPool) -> None:
    pid = await pid_of(pool)

    with pytest.raises(TypeError, match="not JSON serializable"):
        await pool.call(f"{CALLS}:pid", {"object": object()})

    assert await pid_of(pool) == pid


async def test_a_helper_that_was_not_asked_is_kept(pool: ChildPool) -> None:
    pid = await pid_of(pool)

    with pytest.raises(KeyError):
        async with pool.lend():
            raise KeyError

    assert await pid_of(pool) == pid


async def test_an_error_in_the_block_kills_the_helper(pool: ChildPool) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with pool.lend() as helper:
            pid, _ = await ask(helper, "pid")
            raise KeyError

    assert not alive(pid)
    assert await pid_of(pool) != pid


async def test_a_helper_that_is_fit_for_more_is_kept(pool: ChildPool) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with pool.lend() as helper:
            pid, _ = await ask(helper, "pid")
            helper.keep()
            raise KeyError

    assert await pid_of(pool) == pid


async def test_another_call_takes_back_that_it_is_fit(pool: ChildPool) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with pool.lend() as helper:
            helper.keep()
            pid, _ = await ask(helper, "pid")
            raise KeyError

    assert not alive(pid)


async def test_a_helper_that_has_not_answered_is_killed(pool: ChildPool) -> None:
    async with pool.lend() as helper:
        pid, _ = await ask(helper, "pid")
        helper.send(f"{CALLS}:sleep", {"seconds": 0})
        helper.keep()

    assert not alive(pid)
    assert await pid_of(pool) != pid


async def test_a_helper_that_dies_between_two_loans_costs_nothing(
    pool: ChildPool,
) -> None:
    pid = await pid_of(pool)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not alive(pid))

    assert await pid_of(pool) != pid


async def test_the_next_loan_waits_for_the_last(pool: ChildPool) -> None:
    async with pool.lend():
        with anyio.move_on_after(0.1) as scope:
            async with pool.lend():
                pass

    assert scope.cancelled_caught
    async with pool.lend():
        pass


async def test_killing_from_another_thread_ends_a_call(pool: ChildPool) -> None:
    ended: list[float] = []

    async with pool.lend() as helper:
        pid, _ = await ask(helper, "pid")

        def kill() -> None:
            time.sleep(0.2)
            ended.append(time.perf_counter())
            helper.kill()

        thread = threading.Thread(target=kill)
        thread.start()
        with pytest.raises(ChildCrashedError, match="was killed") as caught:
            await ask(helper, "sleep", seconds=60)
        took = time.perf_counter() - ended[0]
        thread.join()
        with pytest.raises(ChildCrashedError, match="was killed"):
            await ask(helper, "pid")

    assert took < 30
    assert caught.value.returncode == -signal.SIGKILL
    assert not psutil.pid_exists(pid)  # no zombie either
    assert await pid_of(pool) != pid


async def test_killing_from_the_event_loop_does_not_hold_it_up(
    pool: ChildPool,
    loop_lag,  # noqa: ANN001
) -> None:
    lags: list[float] = []
    # A busy machine may hold the event loop up, too, but hardly three times.
    while len(lags) < 3 and min(lags, default=1.0) >= 0.05:
        async with pool.lend() as helper:
            await ask(helper, "pid")
            helper.send(f"{CALLS}:hold_the_lock", {"seconds": 60})
            await anyio.sleep(0.05)

            async with loop_lag() as lag:
                helper.kill()
                await anyio.sleep(0.1)
        lags.append(lag.longest_s)

    assert min(lags) < 0.05


async def test_a_helper_can_be_killed_while_it_starts(pool: ChildPool) -> None:
    async def kill(helper: Helper, delay_s: float) -> None:
        await anyio.sleep(delay_s)
        helper.kill()

    for number in range(50):
        async with pool.lend() as helper, anyio.create_task_group() as group:
            group.start_soon(kill, helper, number * 0.0002)
            with pytest.raises(ChildCrashedError, match="was killed"):
                await ask(helper, "sleep", seconds=60)

    assert psutil.Process().children() == []


async def test_a_helper_that_was_killed_is_not_kept(pool: ChildPool) -> None:
    async with pool.lend() as helper:
        pid, _ = await ask(helper, "pid")
        helper.kill()

    assert not psutil.pid_exists(pid)


async def test_killing_ends_a_call_that_is_not_read(pool: ChildPool) -> None:
    """The helper is stopped, so that the line to it fills up."""
    async with pool.lend() as helper:
        pid = (await ask(helper, "pid"))[0]
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: status_of(pid) == psutil.STATUS_STOPPED)

        async with anyio.create_task_group() as group:

            async def kill() -> None:
                await anyio.sleep(0.3)
                helper.kill()

            group.start_soon(kill)
            with pytest.raises(ChildCrashedError):
                await ask(helper, "length_of", bytes(50_000_000))

    assert not alive(pid)


async def test_a_loan_that_is_over_reaches_no_helper(pool: ChildPool) -> None:
    async with pool.lend() as helper:
        pid, _ = await ask(helper, "pid")

    helper.kill()
    with pytest.raises(ChildCrashedError, match="is over"):
        helper.send(f"{CALLS}:pid", {})
    with pytest.raises(ChildCrashedError, match="is over"):
        helper.receive()

    assert await pid_of(pool) == pid


async def test_cancellation_kills_at_once(pool: ChildPool) -> None:
    begin = time.perf_counter()
    with anyio.CancelScope() as scope:
        async with pool.lend() as helper:
            pid, _ = await ask(helper, "pid")
            helper.send(f"{CALLS}:hold_the_lock", {"seconds": 60})
            scope.cancel()
            await anyio.sleep(60)

    assert time.perf_counter() - begin < 30
    assert not alive(pid)
    assert await pid_of(pool) != pid


async def steps(pool: ChildPool, pids: list[int]) -> AsyncGenerator[int, None]:
    async with pool.lend() as helper:
        pids.append((await ask(helper, "pid"))[0])
        while True:
            yield (await ask(helper, "pid"))[0]


async def test_a_generator_with_a_loan_may_be_closed_by_another_task(
    pool: ChildPool,
) -> None:
    pids: list[int] = []
    generator = steps(pool, pids)

    async def first() -> None:
        assert await anext(generator) == pids[0]

    async with anyio.create_task_group() as group:
        group.start_soon(first)
    async with anyio.create_task_group() as group:
        group.start_soon(generator.aclose)

    assert not alive(pids[0])
    with anyio.fail_after(60):  # the place in the pool is free
        assert await pid_of(pool) != pids[0]


async def test_two_loans_at_once_do_not_meet() -> None:
    pool = ChildPool(2, ChildLimits())
    answers: dict[int, set[tuple[int, bytes]]] = {}

    async def talk(number: int) -> None:
        sent = bytes([number]) * 200_000
        async with pool.lend() as helper:
            pid, _ = await ask(helper, "pid")
            answers[number] = set()
            for _ in range(20):
                _, payload = await ask(helper, "double", sent)
                answers[number].add((pid, payload[:1] + payload[-1:]))

    async with anyio.create_task_group() as group:
        group.start_soon(talk, 1)
        group.start_soon(talk, 2)

    ((one, first),) = answers[1]
    ((two, second),) = answers[2]
    assert one != two
    assert (first, second) == (b"\1\1", b"\2\2")
    pool.close()


# Python 3.12 and later warn of threads at a fork; this one forks for its own ends.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
async def test_a_forked_process_leaves_its_parents_helper_alone(
    pool: ChildPool,
) -> None:
    async with pool.lend() as helper:
        pid, _ = await ask(helper, "pid")
        forked = os.fork()
        if forked == 0:
            helper.kill()
            os._exit(0)
        os.waitpid(forked, 0)  # noqa: ASYNC222

        assert (await ask(helper, "pid"))[0] == pid


async def test_a_helper_without_work_ends_and_is_replaced() -> None:
    again = first = 0
    # A busy machine may take longer for the second call, but hardly three times.
    for idle_s in (0.3, 2.0, 10.0):
        pool = ChildPool(1, ChildLimits(idle_s=idle_s))
        first = await pool.call("proc_calls:pid", {})
        await anyio.sleep(0.1)
        again = await pool.call("proc_calls:pid", {})
        await until(lambda pid=again: status_of(pid) == psutil.STATUS_ZOMBIE)  # type: ignore[misc]
        other = await pool.call("proc_calls:pid", {})
        pool.close()

        assert other != again
        assert not psutil.pid_exists(again)
        if again == first:
            break

    assert again == first
