from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from voicepipe import ChildCrashedError, TruncatedAudioError
from voicepipe.proc.pool import ChildPool


CALLS = "proc_calls"  # tests/proc_calls.py: what the helpers are asked to do


@pytest.fixture
def pool() -> ChildPool:
    return ChildPool(2)


@pytest.fixture(autouse=True)
def _closed(pool: ChildPool):  # noqa: ANN202
    yield
    pool.close()


async def test_a_call_gives_the_value_and_takes_the_payload(pool: ChildPool) -> None:
    value = await pool.call(f"{CALLS}:measure", {"unit": "B"}, b"x" * 5_000_000)

    assert value == {"bytes": 5_000_000, "unit": "B"}


async def test_a_helper_is_kept(pool: ChildPool) -> None:
    pids = {await pool.call(f"{CALLS}:pid", {}) for _ in range(5)}

    assert len(pids) == 1
    assert pids != {os.getpid()}


async def test_calls_run_side_by_side_up_to_the_size(pool: ChildPool) -> None:
    spans: list[tuple[float, float]] = []

    async def call() -> None:
        spans.append(tuple(await pool.call(f"{CALLS}:sleep", {"seconds": 0.3})))

    # The first time, the second helper may be ready when the first has done it all.
    for _ in range(4):
        spans.clear()
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(call)

        edges = sorted([(s, 1) for s, _ in spans] + [(e, -1) for _, e in spans])
        running = [sum(step for _, step in edges[: i + 1]) for i in range(len(edges))]
        assert max(running) <= 2
        if max(running) == 2:
            break

    assert max(running) == 2


async def test_an_error_of_ours_comes_back_as_itself(pool: ChildPool) -> None:
    with pytest.raises(TruncatedAudioError, match=r"^a\.wav: cut$") as caught:
        await pool.call(f"{CALLS}:truncated", {})

    assert caught.value.decoded_s == 1.5
    assert caught.value.source == "a.wav"


async def test_another_error_comes_back_by_name(pool: ChildPool) -> None:
    with pytest.raises(RuntimeError, match="KeyError: 'gone'"):
        await pool.call(f"{CALLS}:key_error", {})

    assert await pool.call(f"{CALLS}:pid", {})


@pytest.mark.parametrize("function", ["nowhere:nothing", f"{CALLS}:nothing", "json"])
async def test_an_unknown_function_is_an_error(pool: ChildPool, function: str) -> None:
    with pytest.raises(RuntimeError):
        await pool.call(function, {})


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_a_dying_helper_costs_its_call_only(
    pool: ChildPool, number: signal.Signals
) -> None:
    with pytest.raises(ChildCrashedError) as caught:
        await pool.call(f"{CALLS}:die", {"number": int(number)})

    assert caught.value.returncode == -number
    assert caught.value.retryable
    assert await pool.call(f"{CALLS}:pid", {})


async def test_cancellation_kills_the_helper_at_once(pool: ChildPool) -> None:
    pid = await pool.call(f"{CALLS}:pid", {})

    begin = time.perf_counter()
    with anyio.move_on_after(0.2) as scope:
        await pool.call(f"{CALLS}:sleep", {"seconds": 30})

    assert scope.cancelled_caught
    assert time.perf_counter() - begin < 20
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert await pool.call(f"{CALLS}:pid", {}) != pid


async def test_printing_does_not_disturb_the_conversation(pool: ChildPool) -> None:
    assert await pool.call(f"{CALLS}:chatter", {}) == "done"


async def test_a_helper_inherits_no_secrets(
    pool: ChildPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "hunter2")

    names = await pool.call(f"{CALLS}:environment", {})

    assert "PATH" in names
    assert "GEMINI_API_KEY" not in names


async def test_the_loop_is_free_meanwhile(pool: ChildPool, loop_lag) -> None:  # noqa: ANN001
    await pool.call(f"{CALLS}:pid", {})

    lags: list[float] = []
    # A busy machine may hold the event loop up, too, but hardly three times.
    while len(lags) < 3 and min(lags, default=1.0) >= 0.05:
        async with loop_lag() as lag:
            await pool.call(f"{CALLS}:hold_the_lock", {"seconds": 0.5})
        lags.append(lag.longest_s)

    assert min(lags) < 0.05


def test_one_pool_serves_several_event_loops() -> None:
    pool = ChildPool(1)

    async def pid() -> int:
        return int(await pool.call(f"{CALLS}:pid", {}))

    pids = [anyio.run(pid, backend=name) for name in ("asyncio", "trio", "asyncio")]

    assert len(set(pids)) == 1
    pool.close()


def test_close_stops_the_helpers_and_the_pool_works_again() -> None:
    pool = ChildPool(1)

    async def pid() -> int:
        return int(await pool.call(f"{CALLS}:pid", {}))

    first = anyio.run(pid)
    pool.close()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert anyio.run(pid) != first
    pool.close()


UNGUARDED = """
import anyio, os, sys
from voicepipe.proc.pool import ChildPool
print("main runs", flush=True)
async def main():
    pool = ChildPool(1)
    print(await pool.call("proc_calls:pid", {}), flush=True)
    if len(sys.argv) > 1:
        os.kill(os.getpid(), 9)
anyio.run(main)
"""


@pytest.mark.parametrize("killed", [False, True])
def test_a_script_without_a_main_guard_works_and_leaves_no_helper(
    tmp_path: Path, *, killed: bool
) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)

    done = subprocess.run(
        [sys.executable, str(script), *(["kill"] if killed else [])],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        timeout=100,
    )

    lines = done.stdout.splitlines()
    assert lines[0] == "main runs"
    assert len(lines) == 2
    assert done.returncode == (-signal.SIGKILL if killed else 0), done.stderr
    deadline = time.monotonic() + 60
    while Path(f"/proc/{lines[1]}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{lines[1]}").exists()


# Python 3.12 and later warn of threads at a fork; this one forks for its own ends.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_starts_its_own_helper() -> None:
    pool = ChildPool(1)

    async def pid() -> int:
        return int(await pool.call(f"{CALLS}:pid", {}))

    mine = anyio.run(pid)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(anyio.run(pid)).encode())
        pool.close()
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    theirs = int(os.read(reader, 100))
    os.close(reader)

    assert theirs != mine
    assert anyio.run(pid) == mine
    pool.close()


def test_a_pool_needs_at_least_one_helper() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ChildPool(0)
