from __future__ import annotations

import json
import os
import signal
import struct
import time
from typing import TYPE_CHECKING

import anyio
import psutil
import pytest
from proc_asks import alive, ask, until

from voicepipe import ChildCrashedError, ChildLimits
from voicepipe.proc.pool import ChildPool
from voicepipe.proc.wire import MAX_PAYLOAD_BYTES, MAX_TEXT_BYTES


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stress_report import Report


CALLS = "proc_calls"


@pytest.fixture
def pool() -> Iterator[ChildPool]:
    pool = ChildPool(1, ChildLimits())
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def same_pool() -> Iterator[ChildPool]:
    """Give one pool to many tests: none may spoil it for the next."""
    pool = ChildPool(1, ChildLimits())
    yield pool
    pool.close()


def message(text: object, payload_length: int = 0) -> bytes:
    encoded = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack("<IQ", len(encoded), payload_length) + encoded


def told(kind: object, said: object = "", state: object = None) -> dict[str, object]:
    return {"error": {"kind": kind, "message": said, "state": state or {}}}


NONSENSE = {
    "garbage": b"\xff" * 4_096,
    "text": b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 100,
    "a huge payload": message({"value": 1}, 1 << 60),
    "the hugest payload": message({"value": 1}, (1 << 64) - 1),
    "a payload just too long": message({"value": 1}, MAX_PAYLOAD_BYTES + 1),
    "a text just too long": struct.pack("<IQ", MAX_TEXT_BYTES + 1, 0),
    "no JSON": message(b"{'value': 1}"),
    "no UTF-8": message(b'{"value": "\xff\xfe"}'),
    "nothing": message(b""),
    "nested too deeply": message(b"[" * 500_000),
    "a number too long": message(b'{"value": ' + b"9" * 10_000 + b"}"),
    "a list": message([1]),
    "null": message(None),
    "a string": message("value"),
    "no key": message({}),
    "another key": message({"values": 1}),
    "an error of nothing": message({"error": None}),
    "an error without a name": message({"error": {"message": "", "state": {}}}),
    "an error without a state": message({"error": {"kind": "A", "message": ""}}),
    "an error with a numeric name": message(told(1)),
    "an error with a listed message": message(told("KeyError", [])),
    "a state of the wrong type": message(
        told("TruncatedAudioError", "cut", {"decoded_s": "long"})
    ),
    "a state too large": message(
        told("TruncatedAudioError", "cut", {"decoded_s": 10**4_000})
    ),
    "a state that is missing": message(told("MissingExtraError", "gone")),
    "a number of an error that is none": message(
        told("OSError", "gone", {"errno": "2", "strerror": "gone"})
    ),
    "a file name that is none": message(
        told("OSError", "gone", {"errno": 2, "strerror": "", "filename": ["a"]})
    ),
}


@pytest.mark.parametrize("said", NONSENSE.values(), ids=NONSENSE.keys())
async def test_nonsense_is_a_crash_of_the_helper(
    same_pool: ChildPool, said: bytes
) -> None:
    with pytest.raises(ChildCrashedError) as caught:
        await same_pool.call(f"{CALLS}:speak", {}, said)

    assert caught.value.returncode is None  # it was our own signal that ended it
    assert len(str(caught.value)) < 500
    assert psutil.Process().children() == []


@pytest.mark.parametrize(
    "error",
    [
        told("KeyError", "'gone'"),
        told("SystemExit", "0"),
        told("KeyboardInterrupt"),
        told("VoicepipeErrors", "no such"),
        told("annotations", "not an error"),
        told("__import__", "not an error"),
        told("_EngineError", "not public"),
        told("object", "not an error"),
        told("x" * 100_000, "long"),
    ],
)
async def test_an_unknown_error_is_a_runtime_error(
    pool: ChildPool, error: dict[str, object]
) -> None:
    with pytest.raises(RuntimeError) as caught:
        await pool.call(f"{CALLS}:speak", {}, message(error))

    assert type(caught.value) is RuntimeError
    assert len(str(caught.value)) < 200


async def test_an_error_takes_no_foreign_attributes(pool: ChildPool) -> None:
    state = {"decoded_s": 1, "__class__": "x", "args": 5, "with_traceback": 1, "a": 2}

    with pytest.raises(Exception, match=r"^cut$") as caught:
        await pool.call(
            f"{CALLS}:speak", {}, message(told("TruncatedAudioError", "cut", state))
        )

    assert type(caught.value).__name__ == "TruncatedAudioError"
    assert set(vars(caught.value)) == {"source", "decoded_s", "declared_s"}


async def test_a_message_has_an_end(pool: ChildPool) -> None:
    with pytest.raises(ValueError, match=r"^x{2000}$"):
        await pool.call(
            f"{CALLS}:speak", {}, message(told("ValueError", "x" * 1_000_000))
        )


async def test_what_is_said_without_being_asked_reaches_nobody(
    pool: ChildPool, tmp_path: Path
) -> None:
    """It would be taken for the answer to the next recording."""
    said = tmp_path / "said"
    lie = message({"value": "a lie"}).decode("latin-1")
    pid = await pool.call(f"{CALLS}:pid", {})
    await pool.call(f"{CALLS}:later", {"text": lie, "path": str(said)})
    await until(said.exists)

    assert await pool.call(f"{CALLS}:pid", {}) not in {"a lie", pid}
    with pytest.raises(ChildCrashedError):
        await pool.call(f"{CALLS}:speak", {"then_wait": False}, b"\0" * 12)


async def test_two_answers_to_one_call_end_the_helper(pool: ChildPool) -> None:
    said = message({"value": "mine"})
    pid = await pool.call(f"{CALLS}:pid", {})

    async with pool.lend() as helper:
        assert (await ask(helper, "speak", said, then_wait=False))[0] == "mine"
        await anyio.sleep(0.2)  # its own answer comes behind

    assert await pool.call(f"{CALLS}:pid", {}) != pid


@pytest.mark.parametrize("status", [0, 3])
async def test_leaving_without_an_answer_is_a_crash(
    pool: ChildPool, status: int
) -> None:
    with pytest.raises(ChildCrashedError, match=f"exit status {status}$") as caught:
        await pool.call(f"{CALLS}:leave", {"status": status})

    assert caught.value.returncode == status


async def test_a_helper_that_hangs_up_and_goes_on_is_killed(pool: ChildPool) -> None:
    pid = await pool.call(f"{CALLS}:pid", {})

    with pytest.raises(ChildCrashedError) as caught:
        await pool.call(f"{CALLS}:hang_up", {})

    assert caught.value.returncode == -signal.SIGKILL
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("new_session", [False, True])
async def test_a_line_that_was_handed_on_does_not_hold_the_caller_up(
    pool: ChildPool, *, new_session: bool
) -> None:
    """The helper is dead, and a child of its own keeps the line open."""
    begin = time.perf_counter()

    with anyio.move_on_after(0.5) as scope:
        await pool.call(f"{CALLS}:leave_a_child", {"new_session": new_session})

    assert scope.cancelled_caught
    assert time.perf_counter() - begin < 30
    assert await pool.call(f"{CALLS}:pid", {})


async def test_what_a_helper_started_is_killed_with_it(pool: ChildPool) -> None:
    async with pool.lend() as helper:
        pid, _ = await ask(helper, "pid")
        helper.send(f"{CALLS}:leave_a_child", {"new_session": False})
        await until(lambda: len(_members(pid)) == 2)
        group = _members(pid)
        helper.kill()

    assert len(group) == 2
    await until(lambda: not any(alive(member) for member in group))


def _members(group: int) -> list[int]:
    return [other for other in psutil.pids() if _group(other) == group]


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
async def test_a_signal_costs_its_call_only(
    pool: ChildPool, number: signal.Signals
) -> None:
    async with pool.lend() as helper:
        pid, _ = await ask(helper, "pid")
        helper.send(f"{CALLS}:hold_the_lock", {"seconds": 60})
        await anyio.sleep(0.05)
        os.kill(pid, number)
        with pytest.raises(ChildCrashedError) as caught:
            await anyio.to_thread.run_sync(helper.receive)

    assert caught.value.returncode == -number
    assert await pool.call(f"{CALLS}:pid", {})


async def crash_often(pool: ChildPool, count: int) -> None:
    """Crash helpers in many ways; nothing may be left."""
    await pool.call(f"{CALLS}:pid", {})
    pool.close()
    process = psutil.Process()
    files, threads = process.num_fds(), process.num_threads()
    ways: list[tuple[str, dict[str, object], bytes]] = [
        ("die", {"number": int(signal.SIGSEGV)}, b""),
        ("die", {"number": int(signal.SIGKILL)}, b""),
        ("leave", {"status": 0}, b""),
        ("speak", {}, b"\xff" * 100),
        ("speak", {}, message({"value": 1}, 1 << 60)),
    ]
    for number in range(count):
        name, arguments, payload = ways[number % len(ways)]
        with pytest.raises(ChildCrashedError):
            await pool.call(f"{CALLS}:{name}", arguments, payload)

    assert process.children() == []
    await until(lambda: process.num_fds() <= files)
    await until(lambda: process.num_threads() <= threads + 2)
    assert await pool.call(f"{CALLS}:pid", {})


async def test_crashes_leave_nothing_behind(pool: ChildPool) -> None:
    await crash_often(pool, 50)


@pytest.mark.stress
async def test_many_crashes_leave_nothing_behind(
    pool: ChildPool, stress_report: Report
) -> None:
    await crash_often(pool, 500)

    stress_report("500 crashes of a limited helper", "no process, no open file left")
