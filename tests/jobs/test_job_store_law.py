"""The law of job stores holds for the SQL store, and its check sees who breaks it."""

from __future__ import annotations

import contextlib
import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from voicepipe.errors import LeaseLostError
from voicepipe.jobs.store import SqlJobStore
from voicepipe.testing.fakes import FakeJobStore
from voicepipe.testing.job_store import check_job_store


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from voicepipe.types import Job


async def test_a_store_in_a_file_keeps_the_law(tmp_path: Path) -> None:
    numbers = itertools.count()

    def new_store() -> SqlJobStore:
        return SqlJobStore(tmp_path / f"{next(numbers)}.db")

    await check_job_store(new_store)


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
            self._keep(attrs.evolve(job, lease_until=None))
        return await super().claim(worker, **how)


class NeverEndsLeases(FakeJobStore):
    def __init__(self) -> None:
        start = datetime.now(UTC)
        super().__init__(clock=lambda: start)


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
    async def add(self, source: str, /, *, queue: bool = True) -> Job:
        self._ids = itertools.count(max(self._jobs, default=0) + 1)
        return await super().add(source, queue=queue)


class QueuesWhatRuns(FakeJobStore):
    async def queue(self, job_id: int, /) -> Job:
        job = await self.get(job_id)
        return job if job.status == "processing" else await super().queue(job_id)


class ListsTheOldestFirst(FakeJobStore):
    async def list(self, **how: Any) -> tuple[Job, ...]:
        return tuple(reversed(await super().list(**how)))


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
