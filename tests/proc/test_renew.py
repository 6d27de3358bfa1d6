"""Processor time that is counted anew within one conversation."""

from __future__ import annotations

from proc_asks import ask

from voicepipe import ChildCrashedError, ChildLimits
from voicepipe.proc.pool import ChildPool


async def test_a_conversation_may_be_given_its_time_again() -> None:
    pool = ChildPool(1, ChildLimits(cpu_s=1.0))
    try:
        async with pool.lend() as helper:
            for _ in range(4):
                helper.renew()
                await ask(helper, "rounds", seconds=0.7)
    finally:
        pool.close()


async def test_without_it_the_time_is_for_all_calls() -> None:
    pool = ChildPool(1, ChildLimits(cpu_s=1.0))
    ended = 0
    async with pool.lend() as helper:
        for _ in range(4):
            try:
                await ask(helper, "rounds", seconds=0.7)
            except ChildCrashedError:
                ended += 1

    assert ended


async def test_helpers_without_limits_have_no_time_to_renew() -> None:
    pool = ChildPool(1)
    try:
        async with pool.lend() as helper:
            helper.renew()
            await ask(helper, "pid")
    finally:
        pool.close()
