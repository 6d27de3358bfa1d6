"""The law of job stores holds for the SQL store, and its check sees who breaks it."""

from __future__ import annotations

import contextlib
import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from job_sql import ask

from voicepipe.errors import LeaseLostError
from voicepipe.jobs.store import SqlJobStore
from voicepipe.testing.job_store import check_job_store
from voicepipe.testing.job_store_fake import FakeJobStore


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from voicepipe.types import Job


async def test_a_store_in_a_file_keeps_the_law(tmp_path: Path) -> None:
    numbers = itertools.count()

    def new_store() -> SqlJobStore:
        return SqlJobStore(tmp_path / f"{next(numbers)}.db")

    await check_job_store(new_store)


async def test_a_store_in_postgresql_keeps_the_law(postgres: str) -> None:
    @contextlib.asynccontextmanager
    async def empty_store() -> AsyncIterator[SqlJobStore]:
        async with SqlJobStore(postgres) as store:
            ask(postgres, "TRUNCATE jobs, kept")
            yield store

    await check_job_store(empty_store)


async def test_the_fake_keeps_the_law() -> None:
    await check_job_store(lambda: _managed(FakeJobStore()))


async def test_a_store_in_memory_keeps_the_law() -> None:
    await check_job_store(lambda: SqlJobStore(":memory:"))


class IgnoresTheAttempt(FakeJobStore):
    async def finish(self, job_id: int, /, *, attempt: int, **results: Any) -> Job:
        current = (await self.get(job_id)).attempt
        return await super().finish(job_id, attempt=current, **results)


class KeepsDeadClaims(FakeJobStore):
    """Checks the attempt, but not whether the claim is over."""

    def _held(self, job_id: int, attempt: int) -> Job:
        job = self._jobs.get(job_id)
        if job is None or job.attempt != attempt:
            raise LeaseLostError("lost", job_id=job_id, attempt=attempt)
        return job


class ForgetsLeases(FakeJobStore):
    async def claim(self, worker: str, /, **how: Any) -> Job | None:
        for job in self._jobs.values():
            self._put(attrs.evolve(job, lease_until=None))
        return await super().claim(worker, **how)


class NeverEndsLeases(FakeJobStore):
    async def claim(self, worker: str, /, *, lease_s: float, **how: Any) -> Job | None:
        return await super().claim(worker, lease_s=max(lease_s, 60.0), **how)


class LosesLateResults(FakeJobStore):
    """Refuses an attempt for its lease alone."""

    def _held(self, job_id: int, attempt: int) -> Job:
        job = super()._held(job_id, attempt)
        if job.lease_until is None or job.lease_until < datetime.now(UTC):
            raise LeaseLostError("lost", job_id=job_id, attempt=attempt)
        return job


class ClaimsTheNewest(FakeJobStore):
    async def claim(self, worker: str, /, **how: Any) -> Job | None:
        wanted = how.pop("job_id", None)
        for job in await self.list(status="processing"):
            if wanted in {None, job.id} and (
                claimed := await super().claim(worker, job_id=job.id, **how)
            ):
                return claimed
        return None


class LosesMetrics(FakeJobStore):
    async def finish(self, job_id: int, /, **results: Any) -> Job:
        return await super().finish(job_id, **results | {"metrics": None})


class RetriesAtOnce(FakeJobStore):
    async def fail(self, job_id: int, /, **how: Any) -> Job:
        job = await super().fail(job_id, **how)
        return self._change(job, retry_at=job.retry_at and datetime.now(UTC))


class CountsAttemptsAnew(FakeJobStore):
    async def queue(self, job_id: int, /) -> Job:
        return self._change(await super().queue(job_id), attempt=0)


class UsesIdsAgain(FakeJobStore):
    async def add(self, source: str, /, **how: Any) -> Job:
        self._ids = itertools.count(max(self._jobs, default=0) + 1)
        return await super().add(source, **how)


class QueuesWhatRuns(FakeJobStore):
    async def queue(self, job_id: int, /) -> Job:
        job = await self.get(job_id)
        return job if job.status == "processing" else await super().queue(job_id)


class ListsTheOldestFirst(FakeJobStore):
    async def list(self, **how: Any) -> tuple[Job, ...]:
        return tuple(reversed(await super().list(**how)))


class AddsAgain(FakeJobStore):
    async def add(self, source: str, /, *, key: str | None = None, **how: Any) -> Job:
        return self._change(await super().add(source, **how), key=key)


class CountsReleasedTries(FakeJobStore):
    async def release(self, job_id: int, /, *, attempt: int) -> Job:
        job = await super().release(job_id, attempt=attempt)
        return self._change(job, tries=job.tries + 1)


class ForgetsTries(FakeJobStore):
    async def fail(self, job_id: int, /, **how: Any) -> Job:
        return self._change(await super().fail(job_id, **how), tries=0)


class LosesProgress(FakeJobStore):
    async def extend(self, job_id: int, /, **how: Any) -> None:
        await super().extend(job_id, **how | {"progress": None})


class KeepsProgress(FakeJobStore):
    async def claim(self, worker: str, /, **how: Any) -> Job | None:
        told = {job.id: job.progress for job in self._jobs.values()}
        job = await super().claim(worker, **how)
        return job and self._change(job, progress=told[job.id])


class KeepsForAll(FakeJobStore):
    async def kept(self, job_id: int, key: str, /) -> str | None:
        found = (kept[key] for kept in self._kept.values() if key in kept)
        return next(found, None)


class KeepsForGood(FakeJobStore):
    async def finish(self, job_id: int, /, **results: Any) -> Job:
        kept = dict(self._kept.get(job_id, {}))
        job = await super().finish(job_id, **results)
        self._kept[job_id] = kept
        return job


class KeepsEdits(FakeJobStore):
    async def finish(self, job_id: int, /, **results: Any) -> Job:
        edits = (await self.get(job_id)).edits
        return self._change(await super().finish(job_id, **results), edits=edits)


class ForgetsOtherEdits(FakeJobStore):
    async def update(self, job_id: int, edits: Any, /) -> Job:
        return self._change(await super().update(job_id, edits), edits=edits)


class CancelsTwice(FakeJobStore):
    async def cancel(self, job_id: int, /, *, reason: str = "cancelled") -> Job:
        return self._free(await self.get(job_id), status="error", error=reason)


class CancelsBehindTheWorker(FakeJobStore):
    async def cancel(self, job_id: int, /, *, reason: str = "cancelled") -> Job:
        held = await self.get(job_id)
        job = await super().cancel(job_id, reason=reason)
        return self._change(job, worker=held.worker)


class PrunesWhatRuns(FakeJobStore):
    async def prune(self, *, before: datetime, limit: int = 1_000) -> tuple[Job, ...]:
        for job in await self.list(status="processing"):
            self._put(attrs.evolve(job, status="error"))
        return await super().prune(before=before, limit=limit)


class GivesEverything(FakeJobStore):
    async def list(self, **how: Any) -> tuple[Job, ...]:
        return await super().list(**how | {"results": True})


class ListsOldNews(FakeJobStore):
    async def list(self, **how: Any) -> tuple[Job, ...]:
        if since := how.get("changed_since"):
            how["changed_since"] = since - timedelta(hours=1)
        return await super().list(**how)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (IgnoresTheAttempt, "finish by attempt"),
        (KeepsDeadClaims, "which is not current"),
        (ForgetsLeases, "valid lease must not be claimed"),
        (NeverEndsLeases, "when its lease ends"),
        (LosesLateResults, "allows"),
        (ClaimsTheNewest, "oldest"),
        (LosesMetrics, "metrics"),
        (RetriesAtOnce, "retry"),
        (CountsAttemptsAnew, "attempts must go on counting"),
        (UsesIdsAgain, "must not be used again"),
        (QueuesWhatRuns, "JobStateError"),
        (ListsTheOldestFirst, "newest first"),
        (AddsAgain, "a key must give its job"),
        (CountsReleasedTries, "does not count"),
        (ForgetsTries, "is a try"),
        (LosesProgress, "keep the progress"),
        (KeepsProgress, "without progress"),
        (KeepsForAll, "each job has its own"),
        (KeepsForGood, "go when the job is done"),
        (KeepsEdits, "remove the edits"),
        (ForgetsOtherEdits, "leave the other edits"),
        (CancelsTwice, "cancel of a job in error"),
        (CancelsBehindTheWorker, "nobody holds"),
        (PrunesWhatRuns, "processing must stay"),
        (GivesEverything, "leave the results out"),
        (ListsOldNews, "what has changed"),
    ],
)
async def test_the_check_sees_a_broken_store(
    broken: type[FakeJobStore], sentence: str
) -> None:
    with pytest.raises(AssertionError, match=sentence):
        await check_job_store(lambda: _managed(broken()))


@contextlib.asynccontextmanager
async def _managed(store: FakeJobStore) -> AsyncIterator[FakeJobStore]:
    yield store
