"""A job store in memory."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from voicepipe.errors import JobNotFoundError, JobStateError, LeaseLostError
from voicepipe.jobs.values import (
    checked_edits,
    checked_key,
    checked_limit,
    lease_microseconds,
    microseconds,
)
from voicepipe.types import Job


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from voicepipe.types import (
        Analysis,
        JobEdit,
        JobField,
        JobProgress,
        JobStatus,
        TalkMetrics,
        Transcript,
    )


class FakeJobStore:
    """
    Keeps jobs in a dictionary; nothing is durable.

    Args:
        clock: What time it is, UTC; set it in tests instead of waiting.
    """

    def __init__(
        self, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Begin without jobs."""
        self._clock = clock
        self._jobs: dict[int, Job] = {}
        self._kept: dict[int, dict[str, str]] = {}
        self._ids = itertools.count(1)

    async def add(
        self,
        source: str,
        /,
        *,
        queue: bool = True,
        name: str | None = None,
        key: str | None = None,
    ) -> Job:
        """See ``JobStore.add``."""
        if key is not None:
            checked_key(key)
            for job in self._jobs.values():
                if job.key == key:
                    return job
        now = self._clock()
        return self._put(
            Job(
                id=next(self._ids),
                source=source,
                name=name,
                key=key,
                status="processing" if queue else "uploaded",
                created_at=now,
                updated_at=now,
            )
        )

    async def get(self, job_id: int, /) -> Job:
        """See ``JobStore.get``."""
        try:
            return self._jobs[job_id]
        except KeyError as exc:
            msg = f"there is no job {job_id}"
            raise JobNotFoundError(msg, job_id=job_id) from exc

    async def list(
        self,
        *,
        status: JobStatus | None = None,
        limit: int = 100,
        before: int | None = None,
        changed_since: datetime | None = None,
        results: bool = True,
    ) -> tuple[Job, ...]:
        """See ``JobStore.list``."""
        checked_limit(limit)
        if changed_since is not None:
            microseconds(changed_since)
        found = (
            job if results else _small(job)
            for _, job in sorted(self._jobs.items(), reverse=True)
            if status in {None, job.status}
            and (before is None or job.id < before)
            and (changed_since is None or job.updated_at >= changed_since)
        )
        return tuple(itertools.islice(found, limit))

    async def queue(self, job_id: int, /) -> Job:
        """See ``JobStore.queue``."""
        job = await self.get(job_id)
        if job.status == "processing":
            raise _forbidden(job)
        return self._free(job, status="processing", error=None, tries=0)

    async def update(self, job_id: int, edits: Mapping[JobField, JobEdit], /) -> Job:
        """See ``JobStore.update``."""
        checked = checked_edits(edits)
        job = await self.get(job_id)
        if job.status == "processing":
            raise _forbidden(job)
        return self._change(job, edits={**job.edits, **checked})

    async def claim(
        self, worker: str, /, *, lease_s: float, job_id: int | None = None
    ) -> Job | None:
        """See ``JobStore.claim``."""
        lease_microseconds(lease_s)
        now = self._clock()
        for _, job in sorted(self._jobs.items()):
            named = job.id == job_id
            if (job_id is None or named) and _claimable(job, now, named=named):
                return self._change(
                    job,
                    status="processing",
                    attempt=job.attempt + 1,
                    tries=job.tries + 1,
                    worker=worker,
                    lease_until=now + timedelta(seconds=lease_s),
                    retry_at=None,
                    progress=None,
                )
        return None

    async def extend(
        self,
        job_id: int,
        /,
        *,
        attempt: int,
        lease_s: float,
        progress: JobProgress | None = None,
    ) -> None:
        """See ``JobStore.extend``."""
        lease_microseconds(lease_s)
        job = self._held(job_id, attempt)
        until = self._clock() + timedelta(seconds=lease_s)
        self._change(job, lease_until=until, progress=progress or job.progress)

    async def keep(self, job_id: int, key: str, value: str, /, *, attempt: int) -> None:
        """See ``JobStore.keep``."""
        checked_key(key)
        self._held(job_id, attempt)
        self._kept.setdefault(job_id, {})[key] = value

    async def kept(self, job_id: int, key: str, /) -> str | None:
        """See ``JobStore.kept``."""
        checked_key(key)
        return self._kept.get(job_id, {}).get(key)

    async def release(self, job_id: int, /, *, attempt: int) -> Job:
        """See ``JobStore.release``."""
        job = self._held(job_id, attempt)
        return self._free(job, tries=job.tries - 1)

    async def finish(
        self,
        job_id: int,
        /,
        *,
        attempt: int,
        transcript: Transcript,
        metrics: TalkMetrics | None = None,
        analysis: Analysis | None = None,
    ) -> Job:
        """See ``JobStore.finish``."""
        job = self._held(job_id, attempt)
        self._kept.pop(job_id, None)
        return self._free(
            job,
            status="done",
            transcript=transcript,
            metrics=metrics,
            analysis=analysis,
            edits={},
            error=None,
        )

    async def fail(
        self,
        job_id: int,
        /,
        *,
        attempt: int,
        error: str,
        retry_at: datetime | None = None,
    ) -> Job:
        """See ``JobStore.fail``."""
        status = "error" if retry_at is None else "processing"
        job = self._held(job_id, attempt)
        return self._free(job, status=status, retry_at=retry_at, error=error)

    async def cancel(self, job_id: int, /, *, reason: str = "cancelled") -> Job:
        """See ``JobStore.cancel``."""
        job = await self.get(job_id)
        if job.status not in {"uploaded", "processing"}:
            raise _forbidden(job)
        return self._free(job, status="error", error=reason)

    async def delete(self, job_ids: Sequence[int], /) -> int:
        """See ``JobStore.delete``."""
        for job_id in job_ids:
            self._kept.pop(job_id, None)
        return sum(self._jobs.pop(job_id, None) is not None for job_id in job_ids)

    async def prune(self, *, before: datetime, limit: int = 1_000) -> tuple[Job, ...]:
        """See ``JobStore.prune``."""
        checked_limit(limit)
        microseconds(before)
        old = (
            _small(job)
            for _, job in sorted(self._jobs.items())
            if job.status != "processing" and job.updated_at < before
        )
        gone = tuple(itertools.islice(old, limit))
        await self.delete([job.id for job in gone])
        return gone

    def _held(self, job_id: int, attempt: int) -> Job:
        job = self._jobs.get(job_id)
        if job is None or job.worker is None or job.attempt != attempt:
            msg = f"attempt {attempt} is not the current claim of job {job_id}"
            raise LeaseLostError(msg, job_id=job_id, attempt=attempt)
        return job

    def _put(self, job: Job) -> Job:
        self._jobs[job.id] = job
        return job

    def _free(self, job: Job, **fields: Any) -> Job:
        """Change a job that from now on nobody holds."""
        free = {"worker": None, "lease_until": None, "retry_at": None, "progress": None}
        return self._change(job, **free | fields)

    def _change(self, job: Job, **fields: Any) -> Job:
        return self._put(attrs.evolve(job, updated_at=self._clock(), **fields))


def _forbidden(job: Job) -> JobStateError:
    msg = f"job {job.id} is {job.status} already"
    return JobStateError(msg, job_id=job.id, status=job.status)


def _small(job: Job) -> Job:
    return attrs.evolve(job, transcript=None, metrics=None, analysis=None, edits={})


def _claimable(job: Job, now: datetime, *, named: bool) -> bool:
    if job.status != "processing":
        return named and job.status == "uploaded"
    free = job.lease_until is None or job.lease_until <= now
    return free and (job.retry_at is None or job.retry_at <= now)
