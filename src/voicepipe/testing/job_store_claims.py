"""Laws of claims: who gets which job, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio

from voicepipe.errors import LeaseLostError
from voicepipe.testing._expect import expect
from voicepipe.testing.job_store_asks import (
    LONG_S,
    SHORT_S,
    TRANSCRIPT,
    claim,
    claim_soon,
    expect_error,
    expect_refused,
    expect_released,
)
from voicepipe.types import JobProgress


if TYPE_CHECKING:
    from voicepipe.protocols import JobStore


async def claims_the_oldest(store: JobStore) -> None:
    """The oldest job is claimed first, and by one worker at a time."""
    expect(await claim(store) is None, "an empty store has nothing to claim")
    await store.add("uploaded", queue=False)
    expect(await claim(store) is None, "an uploaded job must wait for queue")
    added = [await store.add(str(i)) for i in range(3)]
    for job in added:
        start = datetime.now(UTC)
        claimed = await store.claim("me", lease_s=LONG_S)
        if claimed is None:
            raise AssertionError("a processing job that nobody holds can be claimed")
        expect(claimed.attempt > 0, "a claim must raise the attempt")
        expect(claimed.attempt < 2, "a job with a valid lease must not be claimed")
        expect(claimed.id == job.id, "the oldest job must be claimed first")
        expect(claimed.tries == 1, "each claim counts as a try")
        expect(claimed.worker == "me", "a claim must record the worker")
        expect(claimed.status == "processing", "a claimed job is processing")
        lasts = ((claimed.lease_until or start) - start).total_seconds()
        expect(0 < lasts < 2 * LONG_S, "a lease must end lease_s seconds from now")
        expect(await store.get(job.id) == claimed, "get must give what claim gave")
    expect(await claim(store) is None, "a job with a valid lease must not be claimed")


async def claims_by_name(store: JobStore) -> None:
    """A named job is claimed or nothing, also one that was not queued."""
    first, second = await store.add("1"), await store.add("2")
    uploaded = await store.add("3", queue=False)
    claimed = await claim(store, second.id)
    expect(claimed and claimed.id == second.id, "claim must give the named job")
    expect(await claim(store, second.id) is None, "a held job cannot be claimed")
    expect(await claim(store, second.id + 1000) is None, "an unknown id gives None")
    claimed = await claim(store, uploaded.id)
    expect(
        claimed and claimed.id == uploaded.id and claimed.status == "processing",
        "a named claim may take an uploaded job, which is processing then",
    )
    claimed = await claim(store)
    expect(claimed and claimed.id == first.id, "the other job must still be there")
    await store.finish(first.id, attempt=1, transcript=TRANSCRIPT)
    expect(await claim(store, first.id) is None, "a done job cannot be claimed")


async def claims_each_job_once(store: JobStore) -> None:
    """Workers that ask at the same time share the jobs."""
    jobs = [await store.add(str(i)) for i in range(12)]
    claimed: list[int] = []

    async def work(name: str) -> None:
        while job := await store.claim(name, lease_s=LONG_S):
            claimed.append(job.id)

    async with anyio.create_task_group() as group:
        for i in range(4):
            group.start_soon(work, str(i))
    expect(len(set(claimed)) == len(claimed), "a job must go to one worker at a time")
    expect(len(claimed) == len(jobs), "no job may be left while workers ask")


async def ends_leases(store: JobStore) -> None:
    """A claim can be taken over when its lease has ended, and only then is it lost."""
    job = await store.add("1")
    await store.claim("slow", lease_s=SHORT_S)
    second = await claim_soon(store, "a job must be claimable when its lease ends")
    expect(second.id == job.id, "the same job must be claimed again")
    expect(second.attempt == 2, "each claim must raise the attempt by one")
    await expect_refused(store, second, attempt=1)
    await store.finish(job.id, attempt=2, transcript=TRANSCRIPT)

    job = await store.add("2")
    await store.claim("slow", lease_s=SHORT_S)
    await anyio.sleep(2 * SHORT_S)
    await store.extend(job.id, attempt=1, lease_s=SHORT_S)
    await anyio.sleep(2 * SHORT_S)
    done = await store.finish(job.id, attempt=1, transcript=TRANSCRIPT)
    expect(
        done.status == "done",
        "an attempt whose lease has ended stays current until another one begins",
    )


async def extends_leases(store: JobStore) -> None:
    """A heartbeat moves the end of a lease."""
    job = await store.add("1")
    await expect_refused(store, job, attempt=0)
    claimed = await store.claim("me", lease_s=SHORT_S)
    await store.extend(job.id, attempt=1, lease_s=LONG_S)
    extended = await store.get(job.id)
    until = (claimed and claimed.lease_until, extended.lease_until)
    expect(until[0] and until[1] and until[0] < until[1], "extend must move the end")
    expect(extended.attempt == 1, "extend must keep the attempt")
    expect(extended.worker == "me", "extend must keep the worker")
    expect(extended.tries == 1, "extend is no new try")
    await anyio.sleep(2 * SHORT_S)
    expect(await claim(store) is None, "an extended lease must hold")
    await expect_refused(store, extended, attempt=2)


async def tells_progress(store: JobStore) -> None:
    """What a worker tells with its heartbeat can be read until the claim ends."""
    job = await store.add("1")
    claimed = await claim(store)
    expect(claimed and claimed.progress is None, "a new claim has no progress")
    told = JobProgress(stage="transcribe", fraction=0.25)
    await store.extend(job.id, attempt=1, lease_s=LONG_S, progress=told)
    expect((await store.get(job.id)).progress == told, "extend must keep the progress")
    listed = await store.list(results=False)
    expect([j.progress for j in listed] == [told], "list must give the progress")
    await store.extend(job.id, attempt=1, lease_s=SHORT_S)
    expect((await store.get(job.id)).progress == told, "without news the old one stays")
    again = await claim_soon(store, "a job must be claimable when its lease ends")
    expect(again.progress is None, "a new claim begins without progress")
    late = store.extend(job.id, attempt=1, lease_s=LONG_S, progress=told)
    await expect_error(late, LeaseLostError, "extend by an attempt that is over")
    expect((await store.get(job.id)).progress is None, "a late worker tells nothing")


async def releases(store: JobStore) -> None:
    """A claim that is given back costs no try, and the job goes on at once."""
    job = await store.add("1")
    await claim(store)
    told = JobProgress(stage="transcribe", fraction=0.25)
    await store.extend(job.id, attempt=1, lease_s=LONG_S, progress=told)
    free = await store.release(job.id, attempt=1)
    expect(free.status == "processing", "a released job is processing")
    expect(free.tries == 0, "a claim that was given back does not count as a try")
    expect(free.attempt == 1, "release must keep the attempt")
    expect_released(free)
    expect(await store.get(job.id) == free, "get must give what release gave")
    await expect_refused(store, free, attempt=1)
    again = await claim(store)
    expect(again and again.attempt == 2, "a released job must be claimable at once")
    expect(again and again.tries == 1, "each claim counts as a try")


async def counts_tries(store: JobStore) -> None:
    """Claims that ended badly count until somebody queues the job anew."""
    job = await store.add("1")
    now = datetime.now(UTC)
    await claim(store)
    waits = await store.fail(job.id, attempt=1, error="it broke", retry_at=now)
    expect(waits.tries == 1, "a failed attempt is a try")
    await store.claim("dies", lease_s=SHORT_S)
    again = await claim_soon(store, "a job must be claimable when its lease ends")
    expect(again.tries == 3, "a claim whose worker died is a try")
    await store.fail(job.id, attempt=3, error="it broke")
    queued = await store.queue(job.id)
    expect(queued.tries == 0, "tries must be counted anew when a job is queued")
    expect(queued.attempt == 3, "attempts must go on counting")
