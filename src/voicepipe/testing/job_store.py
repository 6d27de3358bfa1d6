"""The law of job stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio

from voicepipe.errors import (
    JobNotFoundError,
    JobStateError,
    LeaseLostError,
    VoicepipeError,
)
from voicepipe.testing._expect import expect
from voicepipe.types import (
    Analysis,
    Point,
    Segment,
    TalkMetrics,
    Transcript,
    Word,
)


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from voicepipe.protocols import JobStore
    from voicepipe.types import Job


LONG_S = 60.0
"""A lease, or a wait for a retry, that does not end during the check; seconds."""

SHORT_S = 0.05
"""A lease, or a wait for a retry, whose end the check waits for; seconds."""

PATIENCE_S = 2.0
"""How long after its end something may still look unfinished, seconds."""

_TRANSCRIPT = Transcript(
    segments=(
        Segment(
            id=0,
            start=0.5,
            end=1.25,
            text="grüß dich 👋",
            words=(Word(start=0.5, end=1.25, text="grüß", probability=0.1),),
            channel=1,
            speaker="Speaker01",
        ),
    ),
    duration=2.0,
    model="check",
    language="de",
)
_METRICS = TalkMetrics(
    total_conversation_duration=2.0,
    talk_time=0.75,
    speech_time=0.75,
    overlap_time=0.0,
    non_talk_time=1.25,
)
_ANALYSIS = Analysis(
    summary=(Point(text="'); DROP TABLE jobs; --", segment_ids=(0,)),),
    conversation_type="other",
    model="check",
)


async def check_job_store(
    make_store: Callable[[], AbstractAsyncContextManager[JobStore]],
) -> None:
    """
    Check a job store against the law of its protocol.

    Takes about a second beside the store's own time, most of it waiting for short
    leases to end: the store must run on the real clock.

    Args:
        make_store: Gives a store without jobs, as an asynchronous context manager that
            is left when one part of the law has been checked. Called once for each
            part. A ``SqlJobStore`` is such a context manager itself.

    Raises:
        AssertionError: If something does not hold.
        StoreError: If the store itself fails.

    Example:
        >>> from voicepipe import SqlJobStore
        >>> anyio.run(check_job_store, lambda: SqlJobStore(":memory:"))
    """
    for law in (
        _adds_and_gives,
        _lists,
        _claims_the_oldest,
        _claims_by_name,
        _claims_each_job_once,
        _ends_leases,
        _extends_leases,
        _finishes,
        _fails,
        _retries,
        _queues,
        _deletes,
    ):
        async with make_store() as store:
            try:
                await law(store)
            except (JobNotFoundError, JobStateError, LeaseLostError) as exc:
                msg = (
                    f"a store refused what the law allows: {type(exc).__name__}: {exc}"
                )
                raise AssertionError(msg) from exc


async def _adds_and_gives(store: JobStore) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    queued = await store.add("a/ü '\".wav")
    uploaded = await store.add("b", queue=False)
    expect(queued.source == "a/ü '\".wav", "add must keep the source as it is")
    expect(queued.status == "processing", "an added job must be processing")
    expect(uploaded.status == "uploaded", "a job added with queue=False is uploaded")
    expect(queued.id != uploaded.id, "jobs must have different ids")
    expect(queued.attempt == 0, "a job that was never claimed has attempt 0")
    held = (queued.worker, queued.lease_until, queued.retry_at)
    expect(held == (None, None, None), "nobody holds a new job")
    results = (queued.transcript, queued.metrics, queued.analysis, queued.error)
    expect(results == (None,) * 4, "a new job has neither results nor error")
    for time in (queued.created_at, queued.updated_at):
        expect(time.utcoffset() == timedelta(0), "times must be in UTC")
        expect(before < time < before + timedelta(seconds=60), "times must be current")
    expect(await store.get(queued.id) == queued, "get must give what add gave")
    expect(await store.get(uploaded.id) == uploaded, "get must give what add gave")
    unknown = store.get(uploaded.id + 1000)
    await _expect_error(unknown, JobNotFoundError, "get of an unknown id")


async def _lists(store: JobStore) -> None:
    expect(await store.list() == (), "an empty store lists nothing")
    jobs = [await store.add(str(i), queue=i % 2 == 0) for i in range(5)]
    newest = tuple(reversed(jobs))
    expect(await store.list() == newest, "list must give all jobs, newest first")
    expect(await store.list(limit=2) == newest[:2], "list must keep to its limit")
    rest = await store.list(before=newest[1].id, limit=2)
    expect(rest == newest[2:4], "list must go on before an id")
    odd = await store.list(status="uploaded")
    expect(odd == newest[1::2], "list must give only jobs of a status")
    last = await store.list(status="uploaded", before=odd[0].id, limit=1)
    expect(last == odd[1:], "status, before and limit must go together")
    expect(await store.list(status="done") == (), "no job is done yet")


async def _claims_the_oldest(store: JobStore) -> None:
    expect(await _claim(store) is None, "an empty store has nothing to claim")
    await store.add("uploaded", queue=False)
    expect(await _claim(store) is None, "an uploaded job must wait for queue")
    added = [await store.add(str(i)) for i in range(3)]
    for job in added:
        start = datetime.now(UTC)
        claimed = await store.claim("me", lease_s=LONG_S)
        if claimed is None:
            raise AssertionError("a processing job that nobody holds can be claimed")
        expect(claimed.attempt > 0, "a claim must raise the attempt")
        expect(claimed.attempt < 2, "a job with a valid lease must not be claimed")
        expect(claimed.id == job.id, "the oldest job must be claimed first")
        expect(claimed.worker == "me", "a claim must record the worker")
        expect(claimed.status == "processing", "a claimed job is processing")
        lasts = ((claimed.lease_until or start) - start).total_seconds()
        expect(0 < lasts < 2 * LONG_S, "a lease must end lease_s seconds from now")
        expect(await store.get(job.id) == claimed, "get must give what claim gave")
    expect(await _claim(store) is None, "a job with a valid lease must not be claimed")


async def _claims_by_name(store: JobStore) -> None:
    first, second = await store.add("1"), await store.add("2")
    uploaded = await store.add("3", queue=False)
    claimed = await _claim(store, second.id)
    expect(claimed and claimed.id == second.id, "claim must give the named job")
    expect(await _claim(store, second.id) is None, "a held job cannot be claimed")
    expect(await _claim(store, second.id + 1000) is None, "an unknown id gives None")
    claimed = await _claim(store, uploaded.id)
    expect(
        claimed and claimed.id == uploaded.id and claimed.status == "processing",
        "a named claim may take an uploaded job, which is processing then",
    )
    claimed = await _claim(store)
    expect(claimed and claimed.id == first.id, "the other job must still be there")
    await store.finish(first.id, attempt=1, transcript=_TRANSCRIPT)
    expect(await _claim(store, first.id) is None, "a done job cannot be claimed")


async def _claims_each_job_once(store: JobStore) -> None:
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


async def _ends_leases(store: JobStore) -> None:
    job = await store.add("1")
    await store.claim("slow", lease_s=SHORT_S)
    second = await _claim_soon(store, "a job must be claimable when its lease ends")
    expect(second.id == job.id, "the same job must be claimed again")
    expect(second.attempt == 2, "each claim must raise the attempt by one")
    await _expect_refused(store, second, attempt=1)
    await store.finish(job.id, attempt=2, transcript=_TRANSCRIPT)

    job = await store.add("2")
    await store.claim("slow", lease_s=SHORT_S)
    await anyio.sleep(2 * SHORT_S)
    await store.extend(job.id, attempt=1, lease_s=SHORT_S)
    await anyio.sleep(2 * SHORT_S)
    done = await store.finish(job.id, attempt=1, transcript=_TRANSCRIPT)
    expect(
        done.status == "done",
        "an attempt whose lease has ended stays current until another one begins",
    )


async def _extends_leases(store: JobStore) -> None:
    job = await store.add("1")
    await _expect_refused(store, job, attempt=0)
    claimed = await store.claim("me", lease_s=SHORT_S)
    extended = await store.extend(job.id, attempt=1, lease_s=LONG_S)
    until = (claimed and claimed.lease_until, extended.lease_until)
    expect(until[0] and until[1] and until[0] < until[1], "extend must move the end")
    expect(extended.attempt == 1, "extend must keep the attempt")
    expect(extended.worker == "me", "extend must keep the worker")
    expect(await store.get(job.id) == extended, "get must give what extend gave")
    await anyio.sleep(2 * SHORT_S)
    expect(await _claim(store) is None, "an extended lease must hold")
    await _expect_refused(store, extended, attempt=2)


async def _finishes(store: JobStore) -> None:
    job = await store.add("1")
    await _claim(store)
    done = await store.finish(
        job.id,
        attempt=1,
        transcript=_TRANSCRIPT,
        metrics=_METRICS,
        analysis=_ANALYSIS,
    )
    expect(done.status == "done", "a finished job must be done")
    expect(done.transcript == _TRANSCRIPT, "finish must keep the transcript as it is")
    expect(done.metrics == _METRICS, "finish must keep the metrics as they are")
    expect(done.analysis == _ANALYSIS, "finish must keep the analysis as it is")
    expect(done.attempt == 1, "finish must keep the attempt")
    _expect_released(done)
    expect(done.error is None, "a done job has no error")
    expect(await store.get(job.id) == done, "get must give what finish gave")
    expect(await store.list(status="done") == (done,), "list must give it as done")
    expect(await _claim(store) is None, "a done job must not be claimed")
    await _expect_refused(store, done, attempt=1)


async def _fails(store: JobStore) -> None:
    job = await store.add("1")
    await _claim(store)
    failed = await store.fail(job.id, attempt=1, error="it broke")
    expect(failed.status == "error", "a failed job must be in error")
    expect(failed.error == "it broke", "fail must keep the error")
    _expect_released(failed)
    expect(await store.get(job.id) == failed, "get must give what fail gave")
    expect(await _claim(store) is None, "a job in error must not be claimed")
    await _expect_refused(store, failed, attempt=1)


async def _retries(store: JobStore) -> None:
    job = await store.add("1")
    await _claim(store)
    later = datetime.now(UTC) + timedelta(seconds=LONG_S)
    waits = await store.fail(job.id, attempt=1, error="it broke", retry_at=later)
    expect(waits.status == "processing", "a job that waits for a retry is processing")
    expect(waits.error == "it broke", "fail must keep the error of a retry too")
    moved = abs((waits.retry_at or datetime.now(UTC)) - later)
    expect(moved < timedelta(seconds=1), "fail must keep the time of the retry")
    _expect_released(waits)
    expect(await store.get(job.id) == waits, "get must give what fail gave")
    expect(await _claim(store) is None, "a retry must wait for its time")
    expect(await _claim(store, job.id) is None, "also when it is named")
    await _expect_refused(store, waits, attempt=1)

    other = await store.add("2")
    await _claim(store, other.id)
    soon = datetime.now(UTC) + timedelta(seconds=SHORT_S)
    await store.fail(other.id, attempt=1, error="it broke", retry_at=soon)
    again = await _claim_soon(store, "a retry must be claimable when its time comes")
    expect(again.id == other.id, "only the retry whose time has come is claimable")
    expect(again.attempt == 2, "the claim of a retry is a new attempt")
    expect(again.retry_at is None, "a claimed job does not wait for a retry")


async def _queues(store: JobStore) -> None:
    uploaded = await store.add("1", queue=False)
    queued = await store.queue(uploaded.id)
    expect(queued.status == "processing", "a queued job must be processing")
    await _expect_error(store.queue(queued.id), JobStateError, "queue of a queued job")
    await _claim(store)
    held = await store.get(uploaded.id)
    await _expect_error(store.queue(held.id), JobStateError, "queue of a claimed job")
    expect(await store.get(held.id) == held, "a refused queue must change nothing")
    await store.finish(held.id, attempt=1, transcript=_TRANSCRIPT)
    await _requeue(store, held.id, attempt=1)
    await store.fail(held.id, attempt=2, error="it broke")
    queued = await _requeue(store, held.id, attempt=2)
    expect(queued.error is None, "a job that is queued again has no error")
    unknown = store.queue(held.id + 1000)
    await _expect_error(unknown, JobNotFoundError, "queue of an unknown id")


async def _requeue(store: JobStore, job_id: int, *, attempt: int) -> Job:
    queued = await store.queue(job_id)
    expect(queued.status == "processing", "a queued job must be processing")
    _expect_released(queued)
    await _expect_refused(store, queued, attempt=attempt)
    claimed = await _claim(store)
    expect(claimed and claimed.id == job_id, "a queued job must be claimable")
    expect(
        claimed and claimed.attempt == attempt + 1,
        "attempts must go on counting when a job is queued again: a late worker of an "
        "earlier run must not pass for a later one",
    )
    return queued


async def _deletes(store: JobStore) -> None:
    expect(await store.delete([]) == 0, "deleting no jobs deletes none")
    kept, claimed, last = [await store.add(str(i)) for i in range(3)]
    await _claim(store, claimed.id)
    ids = [claimed.id, last.id, last.id, last.id + 1000]
    expect(await store.delete(ids) == 2, "delete must count the jobs that there were")
    expect(await store.list() == (kept,), "delete must leave the other jobs")
    await _expect_error(store.get(last.id), JobNotFoundError, "get of a deleted job")
    await _expect_lost(store, claimed.id, attempt=1)
    expect(await store.list() == (kept,), "a late worker must not bring a job back")
    new = await store.add("new")
    expect(
        new.id not in ids,
        "an id must not be used again: a late worker of the deleted job would fit",
    )


async def _claim(store: JobStore, job_id: int | None = None) -> Job | None:
    return await store.claim("check", lease_s=LONG_S, job_id=job_id)


async def _claim_soon(store: JobStore, sentence: str) -> Job:
    """Claim what becomes claimable after ``SHORT_S``."""
    with anyio.move_on_after(SHORT_S + PATIENCE_S):
        while True:
            if job := await _claim(store):
                return job
            await anyio.sleep(SHORT_S)
    raise AssertionError(sentence)


def _expect_released(job: Job) -> None:
    held = (job.worker, job.lease_until)
    expect(held == (None, None), f"nobody holds a job that is {job.status}")


async def _expect_refused(store: JobStore, job: Job, *, attempt: int) -> None:
    """Check that an attempt that is not current can do nothing to a job."""
    await _expect_lost(store, job.id, attempt=attempt)
    expect(await store.get(job.id) == job, "a refused attempt must change nothing")


async def _expect_lost(store: JobStore, job_id: int, *, attempt: int) -> None:
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "extend": lambda: store.extend(job_id, attempt=attempt, lease_s=LONG_S),
        "finish": lambda: store.finish(job_id, attempt=attempt, transcript=_TRANSCRIPT),
        "fail": lambda: store.fail(job_id, attempt=attempt, error="late"),
    }
    for name, call in calls.items():
        what = f"{name} by attempt {attempt}, which is not current,"
        await _expect_error(call(), LeaseLostError, what)


async def _expect_error(
    call: Awaitable[object], kind: type[VoicepipeError], what: str
) -> None:
    try:
        await call
    except kind:
        return
    raise AssertionError(f"{what} must raise {kind.__name__}")
