"""Laws of ends: results, failures, retries, and jobs that go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio

from voicepipe.errors import JobNotFoundError, JobStateError
from voicepipe.testing._expect import expect
from voicepipe.testing.job_store_asks import (
    ANALYSIS,
    LONG_S,
    METRICS,
    SHORT_S,
    TRANSCRIPT,
    claim,
    claim_soon,
    expect_error,
    expect_lost,
    expect_refused,
    expect_released,
)


if TYPE_CHECKING:
    from voicepipe.protocols import JobStore
    from voicepipe.types import Job


async def finishes(store: JobStore) -> None:
    """Results are kept as they are, and the job is done."""
    job = await store.add("1")
    await claim(store)
    done = await store.finish(
        job.id,
        attempt=1,
        transcript=TRANSCRIPT,
        metrics=METRICS,
        analysis=ANALYSIS,
    )
    expect(done.status == "done", "a finished job must be done")
    expect(done.transcript == TRANSCRIPT, "finish must keep the transcript as it is")
    expect(done.metrics == METRICS, "finish must keep the metrics as they are")
    expect(done.analysis == ANALYSIS, "finish must keep the analysis as it is")
    expect(done.attempt == 1, "finish must keep the attempt")
    expect_released(done)
    expect(done.error is None, "a done job has no error")
    expect(await store.get(job.id) == done, "get must give what finish gave")
    expect(await store.list(status="done") == (done,), "list must give it as done")
    expect(await claim(store) is None, "a done job must not be claimed")
    await expect_refused(store, done, attempt=1)


async def fails(store: JobStore) -> None:
    """A failed job keeps its reason and is left alone."""
    job = await store.add("1")
    await claim(store)
    failed = await store.fail(job.id, attempt=1, error="it broke")
    expect(failed.status == "error", "a failed job must be in error")
    expect(failed.error == "it broke", "fail must keep the error")
    expect_released(failed)
    expect(await store.get(job.id) == failed, "get must give what fail gave")
    expect(await claim(store) is None, "a job in error must not be claimed")
    await expect_refused(store, failed, attempt=1)


async def retries(store: JobStore) -> None:
    """A failed job that is to be tried again waits for its time."""
    job = await store.add("1")
    await claim(store)
    later = datetime.now(UTC) + timedelta(seconds=LONG_S)
    waits = await store.fail(job.id, attempt=1, error="it broke", retry_at=later)
    expect(waits.status == "processing", "a job that waits for a retry is processing")
    expect(waits.error == "it broke", "fail must keep the error of a retry too")
    moved = abs((waits.retry_at or datetime.now(UTC)) - later)
    expect(moved < timedelta(seconds=1), "fail must keep the time of the retry")
    expect_released(waits)
    expect(await store.get(job.id) == waits, "get must give what fail gave")
    expect(await claim(store) is None, "a retry must wait for its time")
    expect(await claim(store, job.id) is None, "also when it is named")
    await expect_refused(store, waits, attempt=1)

    other = await store.add("2")
    await claim(store, other.id)
    soon = datetime.now(UTC) + timedelta(seconds=SHORT_S)
    await store.fail(other.id, attempt=1, error="it broke", retry_at=soon)
    again = await claim_soon(store, "a retry must be claimable when its time comes")
    expect(again.id == other.id, "only the retry whose time has come is claimable")
    expect(again.attempt == 2, "the claim of a retry is a new attempt")
    expect(again.retry_at is None, "a claimed job does not wait for a retry")


async def queues(store: JobStore) -> None:
    """A job that rests can be queued again; its attempts go on counting."""
    uploaded = await store.add("1", queue=False)
    queued = await store.queue(uploaded.id)
    expect(queued.status == "processing", "a queued job must be processing")
    await expect_error(store.queue(queued.id), JobStateError, "queue of a queued job")
    await claim(store)
    held = await store.get(uploaded.id)
    await expect_error(store.queue(held.id), JobStateError, "queue of a claimed job")
    expect(await store.get(held.id) == held, "a refused queue must change nothing")
    await store.finish(held.id, attempt=1, transcript=TRANSCRIPT)
    await _requeue(store, held.id, attempt=1)
    await store.fail(held.id, attempt=2, error="it broke")
    queued = await _requeue(store, held.id, attempt=2)
    expect(queued.error is None, "a job that is queued again has no error")
    unknown = store.queue(held.id + 1000)
    await expect_error(unknown, JobNotFoundError, "queue of an unknown id")


async def _requeue(store: JobStore, job_id: int, *, attempt: int) -> Job:
    queued = await store.queue(job_id)
    expect(queued.status == "processing", "a queued job must be processing")
    expect_released(queued)
    await expect_refused(store, queued, attempt=attempt)
    claimed = await claim(store)
    expect(claimed and claimed.id == job_id, "a queued job must be claimable")
    expect(
        claimed and claimed.attempt == attempt + 1,
        "attempts must go on counting when a job is queued again: a late worker of an "
        "earlier run must not pass for a later one",
    )
    return queued


async def cancels(store: JobStore) -> None:
    """A job that waits or runs can be called off; its worker hears of it."""
    waits = await store.add("1")
    uploaded = await store.add("2", queue=False)
    stopped = await store.cancel(waits.id, reason="not wanted")
    expect(stopped.status == "error", "a cancelled job must be in error")
    expect(stopped.error == "not wanted", "cancel must keep the reason")
    expect(await store.get(waits.id) == stopped, "get must give what cancel gave")
    expect(await claim(store) is None, "a cancelled job must not be claimed")
    stopped = await store.cancel(uploaded.id)
    expect(stopped.error == "cancelled", "cancel must say so without a reason")
    held = await store.queue(waits.id)
    await claim(store)
    stopped = await store.cancel(held.id)
    expect_released(stopped)
    await expect_refused(store, stopped, attempt=1)
    again = store.cancel(held.id)
    await expect_error(again, JobStateError, "cancel of a job in error")
    await store.queue(held.id)
    claimed = await claim(store)
    expect(claimed and claimed.attempt == 2, "a cancelled job may be queued again")
    done = await store.finish(held.id, attempt=2, transcript=TRANSCRIPT)
    await expect_error(store.cancel(held.id), JobStateError, "cancel of a done job")
    expect(await store.get(held.id) == done, "a refused cancel must change nothing")
    unknown = store.cancel(held.id + 1000)
    await expect_error(unknown, JobNotFoundError, "cancel of an unknown id")


async def deletes(store: JobStore) -> None:
    """A deleted job is gone for its worker too, and its id is not used again."""
    expect(await store.delete([]) == 0, "deleting no jobs deletes none")
    kept, claimed, last = [await store.add(str(i)) for i in range(3)]
    await claim(store, claimed.id)
    ids = [claimed.id, last.id, last.id, last.id + 1000]
    expect(await store.delete(ids) == 2, "delete must count the jobs that there were")
    expect(await store.list() == (kept,), "delete must leave the other jobs")
    await expect_error(store.get(last.id), JobNotFoundError, "get of a deleted job")
    await expect_lost(store, claimed.id, attempt=1)
    expect(await store.list() == (kept,), "a late worker must not bring a job back")
    new = await store.add("new")
    expect(
        new.id not in ids,
        "an id must not be used again: a late worker of the deleted job would fit",
    )


async def prunes(store: JobStore) -> None:
    """Old jobs go, with all that is known of them; those that run stay."""
    jobs = [await store.add(str(i), queue=i % 2 == 0) for i in range(6)]
    await claim(store, jobs[0].id)
    await store.keep(jobs[0].id, "step", "a secret", attempt=1)
    await store.finish(jobs[0].id, attempt=1, transcript=TRANSCRIPT)
    await store.fail((await _claimed(store)).id, attempt=1, error="it broke")
    await anyio.sleep(SHORT_S)
    now = (await store.add("new", queue=False)).updated_at
    expect(await store.prune(before=jobs[0].created_at) == (), "nothing is so old")
    some = await store.prune(before=now, limit=2)
    expect([j.id for j in some] == [jobs[0].id, jobs[1].id], "the oldest go first")
    expect(some[0].source == "0", "prune must give the jobs it deleted")
    expect(some[0].transcript is None, "prune must give jobs without their results")
    for job in some:
        await expect_error(store.get(job.id), JobNotFoundError, "get of a pruned job")
    rest = [j.id for j in await store.prune(before=now)]
    expect(rest == [jobs[i].id for i in (2, 3, 5)], "what is processing must stay")
    left = [j.source for j in await store.list()]
    expect(left == ["new", "4"], "prune must leave what has changed since")
    none = store.prune(before=now, limit=0)
    await expect_error(none, ValueError, "prune of no jobs")


async def _claimed(store: JobStore) -> Job:
    claimed = await claim(store)
    if claimed is None:
        raise AssertionError("a processing job that nobody holds can be claimed")
    return claimed
