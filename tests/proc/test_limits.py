from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from pathlib import Path

import anyio
import pytest
from proc_asks import ask

from voicepipe import ChildCrashedError, ChildLimits
from voicepipe.proc.pool import ChildPool, Helper


CALLS = "proc_calls"
MIB = 1 << 20
GIB = 1 << 30


@pytest.fixture
def pool():  # noqa: ANN201
    pool = ChildPool(2, ChildLimits(cpu_s=1.0))
    yield pool
    pool.close()


async def test_too_much_memory_is_an_error_and_the_helper_goes_on(
    pool: ChildPool,
) -> None:
    pid = await pool.call(f"{CALLS}:pid", {})

    with pytest.raises(MemoryError):
        await pool.call(f"{CALLS}:allocate", {"size": 2 * GIB})

    await pool.call(f"{CALLS}:allocate", {"size": 500 * MIB})
    assert await pool.call(f"{CALLS}:pid", {}) == pid


async def test_a_payload_without_room_is_an_error_and_the_helper_goes_on(
    pool: ChildPool,
) -> None:
    """Two recordings of more than the memory; both lines stay in step."""
    pid = await pool.call(f"{CALLS}:pid", {})

    for _ in range(2):
        with pytest.raises(MemoryError):
            await pool.call(f"{CALLS}:length_of", {}, bytes(GIB))

    assert await pool.call(f"{CALLS}:length_of", {}, bytes(64 * MIB)) == 64 * MIB
    assert await pool.call(f"{CALLS}:pid", {}) == pid


async def test_too_many_open_files_are_an_error(pool: ChildPool) -> None:
    with pytest.raises(OSError, match="Too many open files") as caught:
        await pool.call(f"{CALLS}:open_files", {"count": 100})

    assert caught.value.errno == errno.EMFILE
    await pool.call(f"{CALLS}:open_files", {"count": 40})


@pytest.mark.parametrize("there", [False, True])
async def test_no_file_can_be_made_to_grow(
    pool: ChildPool, tmp_path: Path, *, there: bool
) -> None:
    path = tmp_path / "file"
    if there:
        path.write_bytes(b"before")

    with pytest.raises(OSError, match="too large") as caught:
        await pool.call(f"{CALLS}:write_file", {"path": str(path)})

    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == (b"before" if there else b"")


async def test_too_much_computing_ends_the_helper(pool: ChildPool) -> None:
    with pytest.raises(ChildCrashedError) as caught:
        await pool.call(f"{CALLS}:rounds", {"seconds": 60})

    assert caught.value.returncode == -signal.SIGXCPU
    assert await pool.call(f"{CALLS}:pid", {})


async def test_each_loan_has_its_own_processor_time(pool: ChildPool) -> None:
    pid = await pool.call(f"{CALLS}:pid", {})

    for _ in range(4):
        await pool.call(f"{CALLS}:rounds", {"seconds": 0.7})

    assert await pool.call(f"{CALLS}:pid", {}) == pid


async def test_the_calls_of_one_loan_share_its_processor_time(pool: ChildPool) -> None:
    async def talk(helper: Helper) -> None:
        for _ in range(10):
            await ask(helper, "rounds", seconds=0.4)

    async with pool.lend() as helper:
        with pytest.raises(ChildCrashedError) as caught:
            await talk(helper)

    assert caught.value.returncode == -signal.SIGXCPU


async def test_processor_time_without_end_is_no_limit() -> None:
    pool = ChildPool(1, ChildLimits(cpu_s=float("inf")))

    assert await pool.call(f"{CALLS}:pid", {})
    pool.close()


@pytest.mark.parametrize(
    "name", ["RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_NOFILE"]
)
async def test_a_limit_cannot_be_taken_back(pool: ChildPool, name: str) -> None:
    """Root could, for it is root that these tests run as; a helper is root no more."""
    before = await pool.call(f"{CALLS}:limits", {})

    with pytest.raises(ValueError, match="not allowed to raise"):
        await pool.call(f"{CALLS}:raise_limit", {"name": name})

    assert before[name][0] == before[name][1]
    assert await pool.call(f"{CALLS}:limits", {}) == before


async def test_the_limits_are_those_asked_for() -> None:
    limits = ChildLimits(memory_bytes=600 * MIB, open_files=32, cpu_s=30.0)
    pool = ChildPool(1, limits)

    found = await pool.call(f"{CALLS}:limits", {})

    assert found["RLIMIT_AS"] == [600 * MIB] * 2
    assert found["RLIMIT_NOFILE"] == [32] * 2
    assert found["RLIMIT_CORE"] == [0, 0]
    assert found["RLIMIT_FSIZE"] == [0, 0]
    assert 30 <= found["RLIMIT_CPU"][0] <= 32
    assert found["RLIMIT_CPU"][1] == resource.RLIM_INFINITY
    pool.close()


async def test_a_trusted_helper_has_the_limits_of_its_caller() -> None:
    pool = ChildPool(1)
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]

    assert await pool.call(f"{CALLS}:limits", {}) == {
        name: list(resource.getrlimit(getattr(resource, name))) for name in names
    }
    pool.close()


LOWER = """
import anyio, resource, signal
signal.signal(signal.SIGXCPU, signal.SIG_IGN)
from voicepipe import ChildCrashedError, ChildLimits
from voicepipe.proc.pool import ChildPool
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
resource.setrlimit(resource.RLIMIT_CPU, (50, 50))
async def main():
    found = await ChildPool(1, ChildLimits()).call("proc_calls:limits", {})
    assert found["RLIMIT_NOFILE"] == [40, 40], found
    assert found["RLIMIT_CPU"] == [50, 50], found
    found = await ChildPool(1, ChildLimits(cpu_s=1)).call("proc_calls:limits", {})
    assert found["RLIMIT_CPU"][0] < 50, found
    try:
        await ChildPool(1, ChildLimits(cpu_s=1)).call(
            "proc_calls:rounds", {"seconds": 5}
        )
    except ChildCrashedError as exc:
        assert exc.returncode == -signal.SIGXCPU
    else:
        raise AssertionError("its caller ignores the signal, and so did the helper")
anyio.run(main)
"""


async def test_a_lower_limit_of_the_caller_stays() -> None:
    """Anyio runs the program, and raises if it fails."""
    await anyio.run_process(
        [sys.executable, "-c", LOWER],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stderr=None,
    )


async def test_a_helper_is_cut_off_from_root_and_terminal(pool: ChildPool) -> None:
    status = await pool.call(f"{CALLS}:status", {})

    assert status["NoNewPrivs"] == "1"
    for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert int(status[name], 16) & ~0b110 == 0
    pid = await pool.call(f"{CALLS}:pid", {})
    assert os.getsid(pid) == pid
    assert await pool.call(f"{CALLS}:dumpable", {}) == 0
    assert Path(f"/proc/{pid}/fd/2").readlink() == Path(os.devnull)


async def test_a_limited_helper_inherits_no_secrets(
    pool: ChildPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "hunter2")
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)  # noqa: FBT003

    names = await pool.call(f"{CALLS}:environment", {})
    pid = await pool.call(f"{CALLS}:pid", {})

    assert "PATH" in names
    assert "GEMINI_API_KEY" not in names
    assert not Path(f"/proc/{pid}/fd/{reader}").exists() or "pipe" not in str(
        Path(f"/proc/{pid}/fd/{reader}").readlink()
    )
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("memory_mib", [600, 1024])
async def test_what_decoding_needs_fits(memory_mib: int) -> None:
    pool = ChildPool(1, ChildLimits(memory_bytes=memory_mib * MIB))

    assert await pool.call(f"{CALLS}:libraries", {}) < 300 * MIB
    pool.close()


@pytest.mark.parametrize(
    "limits",
    [{"memory_bytes": 500 * MIB}, {"cpu_s": 0.5}, {"open_files": 8}, {"stall_s": 0.0}],
)
def test_limits_that_nothing_could_live_with_are_refused(
    limits: dict[str, float],
) -> None:
    with pytest.raises(ValueError, match="must be"):
        ChildLimits(**limits)  # type: ignore[arg-type]
