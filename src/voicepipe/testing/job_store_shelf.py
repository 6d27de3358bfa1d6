"""Laws of what is there: jobs, lists, edits, and what attempts keep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio

from voicepipe.errors import JobNotFoundError, JobStateError, LeaseLostError
from voicepipe.testing._expect import expect
from voicepipe.testing.job_store_asks import (
    ANALYSIS,
    METRICS,
    SHORT_S,
    TRANSCRIPT,
    claim,
    expect_error,
)


if TYPE_CHECKING:
    from voicepipe.protocols import JobStore


async def adds_and_gives(store: JobStore) -> None:
    """A job is there as it was added."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    queued = await store.add("a/ü '\".wav")
    uploaded = await store.add("b", queue=False)
    expect(queued.source == "a/ü '\".wav", "add must keep the source as it is")
    expect(queued.status == "processing", "an added job must be processing")
    expect(uploaded.status == "uploaded", "a job added with queue=False is uploaded")
    expect(queued.id != uploaded.id, "jobs must have different ids")
    expect(queued.tries == 0, "a job that was never claimed has no tries")
    expect((queued.name, queued.key) == (None, None), "nobody has named the job")
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
    await expect_error(unknown, JobNotFoundError, "get of an unknown id")


async def adds_once(store: JobStore) -> None:
    """The same key gives the same job, whatever has become of it, and only one."""
    first = await store.add("1", name="call.wav", key="a")
    expect((first.name, first.key) == ("call.wav", "a"), "add must keep name and key")
    expect(await store.add("2", key="a") == first, "a key must give its job as it is")
    other = await store.add("3", key="b" * 255, queue=False)
    expect(other.id != first.id, "another key is another job")
    await claim(store, first.id)
    done = await store.finish(first.id, attempt=1, transcript=TRANSCRIPT)
    expect(await store.add("2", key="a") == done, "a key must give its job as it is")
    without = [await store.add("4"), await store.add("4")]
    expect(without[0].id != without[1].id, "jobs without a key are different jobs")
    for key in ("", "c" * 256):
        bad = store.add("5", key=key)
        await expect_error(bad, ValueError, f"a key of {len(key)} characters")
    added: set[int] = set()

    async def add(source: str) -> None:
        added.add((await store.add(source, key="at once")).id)

    async with anyio.create_task_group() as group:
        for i in range(8):
            group.start_soon(add, str(i))
    expect(len(added) == 1, "calls with one key at the same time must add one job")
    expect(len(await store.list()) == 5, "no call may leave another job behind")
    await store.delete([first.id])
    again = await store.add("1", key="a")
    expect(again.id != first.id, "a deleted job's key is free")


async def lists(store: JobStore) -> None:
    """Lists are by falling id, and can be gone through page by page."""
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
    await expect_error(store.list(limit=0), ValueError, "a list of no jobs")


async def lists_changes(store: JobStore) -> None:
    """Who asks again and again gets what has changed, without the large parts."""
    jobs = [await store.add(str(i)) for i in range(3)]
    await anyio.sleep(SHORT_S)
    await claim(store, jobs[1].id)
    since = (await store.get(jobs[1].id)).updated_at
    news = await store.list(changed_since=since)
    expect([j.id for j in news] == [jobs[1].id], "list must give what has changed")
    done = await store.finish(
        jobs[1].id, attempt=1, transcript=TRANSCRIPT, metrics=METRICS
    )
    await store.update(jobs[1].id, {"summary": "by hand"})
    news = await store.list(changed_since=done.updated_at, results=False)
    expect([j.id for j in news] == [jobs[1].id], "list must give what has changed")
    large = (news[0].transcript, news[0].metrics, news[0].analysis, dict(news[0].edits))
    expect(large == (None, None, None, {}), "results=False must leave the results out")
    expect(news[0].source == "1", "results=False must give all the rest")
    later = news[0].updated_at + timedelta(microseconds=1)
    expect(await store.list(changed_since=later) == (), "nothing has changed since")
    naive = store.list(changed_since=later.replace(tzinfo=None))
    await expect_error(naive, ValueError, "a time without a zone")


async def keeps(store: JobStore) -> None:
    """What an attempt keeps is there for the next one, until the job is done."""
    job, other = await store.add("1"), await store.add("2")
    expect(await store.kept(job.id, "step") is None, "nothing is kept at first")
    await claim(store, job.id)
    await store.keep(job.id, "step", "grüß dich 👋", attempt=1)
    expect(await store.kept(job.id, "step") == "grüß dich 👋", "keep must keep")
    await store.keep(job.id, "step", "newer", attempt=1)
    await store.keep(job.id, "b" * 255, "", attempt=1)
    expect(await store.kept(job.id, "step") == "newer", "the newer value counts")
    expect(await store.kept(job.id, "b" * 255) == "", "an empty value is a value")
    expect(await store.kept(other.id, "step") is None, "each job has its own")
    await store.release(job.id, attempt=1)
    await claim(store, job.id)
    expect(await store.kept(job.id, "step") == "newer", "a later attempt must find it")
    late = store.keep(job.id, "step", "late", attempt=1)
    await expect_error(late, LeaseLostError, "keep by an attempt that is over")
    expect(await store.kept(job.id, "step") == "newer", "a late worker keeps nothing")
    await store.fail(job.id, attempt=2, error="it broke")
    expect(await store.kept(job.id, "step") == "newer", "it must outlive a failure")
    for key in ("", "c" * 256):
        bad = store.keep(job.id, key, "value", attempt=2)
        await expect_error(bad, ValueError, f"a key of {len(key)} characters")
    await store.queue(job.id)
    await claim(store, job.id)
    await store.finish(job.id, attempt=3, transcript=TRANSCRIPT)
    expect(await store.kept(job.id, "step") is None, "it must go when the job is done")
    await claim(store, other.id)
    await store.keep(other.id, "step", "value", attempt=1)
    await store.delete([other.id])
    expect(await store.kept(other.id, "step") is None, "it must go with its job")


async def edits(store: JobStore) -> None:
    """What a person writes stays beside the results until there are new ones."""
    job = await store.add("1")
    refused = store.update(job.id, {"summary": "mine"})
    await expect_error(refused, JobStateError, "update of a processing job")
    await claim(store)
    await store.finish(job.id, attempt=1, transcript=TRANSCRIPT, analysis=ANALYSIS)
    edited = await store.update(
        job.id, {"summary": "mine '👋", "key_points": ("a", "b")}
    )
    expect(
        dict(edited.edits) == {"summary": "mine '👋", "key_points": ("a", "b")},
        "update must keep what a person wrote",
    )
    expect(edited.analysis == ANALYSIS, "update must leave the results as they are")
    expect(await store.get(job.id) == edited, "get must give what update gave")
    edited = await store.update(job.id, {"language": None, "key_points": ()})
    expect(
        dict(edited.edits)
        == {"summary": "mine '👋", "key_points": (), "language": None},
        "update must leave the other edits",
    )
    uploaded = await store.add("2", queue=False)
    early = await store.update(uploaded.id, {"clean_transcript": "hello"})
    expect(early.status == "uploaded", "update must keep the status")
    unknown = store.update(uploaded.id + 1000, {"summary": "mine"})
    await expect_error(unknown, JobNotFoundError, "update of an unknown id")
    queued = await store.queue(job.id)
    expect(queued.edits == edited.edits, "edits must stay until there are new results")
    await claim(store, job.id)
    done = await store.finish(job.id, attempt=2, transcript=TRANSCRIPT)
    expect(dict(done.edits) == {}, "new results must remove the edits")
    expect(await store.get(job.id) == done, "get must give what finish gave")
