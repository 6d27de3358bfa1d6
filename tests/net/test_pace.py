from __future__ import annotations

from collections import Counter

import anyio

from voicepipe.net.pace import HostPace


async def test_one_host_gets_its_slots_and_no_more() -> None:
    pace = HostPace(2, None)
    at_work: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def ask(host: str) -> None:
        async with pace.slot(host):
            at_work[host] += 1
            most[host] = max(most[host], at_work[host])
            await anyio.sleep(0.01)
            at_work[host] -= 1

    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(ask, f"host{number % 2}")

    assert most == {"host0": 2, "host1": 2}


async def test_requests_to_one_host_keep_their_distance() -> None:
    pace = HostPace(8, 20.0)
    times: list[float] = []

    async def ask() -> None:
        async with pace.slot("host"):
            times.append(anyio.current_time())

    # From here, and not from the first one, which a busy machine may note too late.
    begin = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask)

    assert len(times) == 5
    for before, at in enumerate(sorted(times)):
        assert at - begin >= before * 0.05 - 0.005


async def test_another_host_does_not_wait_for_it() -> None:
    pace = HostPace(8, 0.1)

    with anyio.fail_after(60):
        for number in range(100):
            async with pace.slot(f"host{number}"):
                pass


async def test_hosts_that_nobody_asks_are_forgotten() -> None:
    for pace in (HostPace(8, None), HostPace(8, 1e9)):
        for number in range(5000):
            async with pace.slot(f"host{number}"):
                pass

        assert len(pace._hosts) <= 1024


async def test_a_cancelled_request_gives_its_slot_back() -> None:
    pace = HostPace(1, None)
    async with anyio.create_task_group() as group:
        async with pace.slot("host"):
            with anyio.move_on_after(0.01):
                async with pace.slot("host"):
                    raise AssertionError
        with anyio.fail_after(60):
            async with pace.slot("host"):
                pass
        group.cancel_scope.cancel()

    assert pace._hosts == {}
