"""Jobs in a SQL database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from voicepipe.errors import JobStateError
from voicepipe.jobs import rows
from voicepipe.jobs.database import Database
from voicepipe.jobs.schema import microseconds, to_job, to_text


if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Connection, Row

    from voicepipe.types import Analysis, Job, JobStatus, TalkMetrics, Transcript


_LONGEST_LEASE_S = 1e9
"""About 30 years, so that no claim ends beyond the last day of ``datetime``."""


class SqlJobStore:
    """
    A ``JobStore`` in a SQLite file: durable, and shared by any number of processes.

    The file is opened, and its tables made, when it is first used. ``async with`` opens
    it at once and closes it at the end; without it, call ``aclose`` or leave that to
    the garbage collector. A closed store opens again when it is used again, and
    one store serves any number of event loops, one after another or in several threads.

    A call that waits for its turn can be cancelled. Once begun it runs to its end in a
    worker thread and gives its value, so that no claim is lost; the cancellation comes
    at the next wait.

    What ``JobStore`` leaves open: the oldest job is the one with the smallest id, and
    ids are never used again. A claim is current until another one begins, the job ends
    or is deleted: a worker whose lease ran out unnoticed may still finish. The results
    and the attempt of a job that is queued again stay, the results until new ones
    replace them. A claim keeps the error of the attempt before; finishing clears it.

    Args:
        url: A SQLAlchemy URL such as ``sqlite:///jobs.db``, or the path of the file.
            ``":memory:"`` is a database that ends when the store is closed. URLs of
            PostgreSQL (through psycopg 3) run the same statements.
        clock: What time it is, with a time zone; called in worker threads. The clocks
            of all processes that share a store must agree to well within a lease.
        busy_timeout_s: How long SQLite waits for another process's transaction,
            seconds; the call is tried four times in all.

    Raises:
        MissingExtraError: If SQLAlchemy or the database's driver is not installed.
        ValueError: If the URL is none, or not of SQLite or PostgreSQL.

    Every call raises ``StoreError`` if the database fails, is busy for too long
    (``retryable``), was made by a newer voicepipe, or holds a table ``jobs`` that is
    not ours; that one is left untouched.

    Example:
        >>> import anyio
        >>> async def main():
        ...     async with SqlJobStore(":memory:") as store:
        ...         await store.add("call.wav")
        ...         job = await store.claim("me", lease_s=30.0)
        ...         return job.source, job.attempt
        >>> anyio.run(main)
        ('call.wav', 1)
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        /,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        busy_timeout_s: float = 5.0,
    ) -> None:
        """Load SQLAlchemy; the database is not touched yet."""
        self._database = Database(url, busy_timeout_s=busy_timeout_s)
        self._clock = clock

    def __repr__(self) -> str:
        return f"SqlJobStore({self._database.address!r})"

    async def __aenter__(self) -> Self:
        await self._database.in_thread(lambda: self._database.read(lambda _: None))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; waits for calls that have begun, not cancellable."""
        await self._database.aclose()

    async def add(self, source: str, /, *, queue: bool = True) -> Job:
        """Add a job: ready to be claimed, or only ``uploaded``."""

        def work(connection: Connection) -> Row[Any]:
            now = self._now()
            values = {
                "source": source,
                "status": "processing" if queue else "uploaded",
                "attempt": 0,
                "created_at": now,
                "updated_at": now,
            }
            return rows.insert(connection, values)

        return await self._write(work)

    async def get(self, job_id: int, /) -> Job:
        """
        Give one job.

        Raises:
            JobNotFoundError: If there is none with this id.
        """

        def call() -> Job:
            return to_job(self._database.read(lambda c: rows.get(c, job_id)))

        return await self._database.in_thread(call)

    async def list(
        self,
        *,
        status: JobStatus | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> tuple[Job, ...]:
        """
        Give jobs, newest first.

        Args:
            status: Only jobs of this status.
            limit: Most jobs to give; at least 1.
            before: Only jobs with a smaller id: the last one of the page before.

        Raises:
            ValueError: If the limit is less than 1.
        """
        if limit < 1:
            msg = f"limit must be at least 1, not {limit}"
            raise ValueError(msg)

        def work(connection: Connection) -> Sequence[Row[Any]]:
            return rows.newest(connection, status=status, limit=limit, before=before)

        def call() -> tuple[Job, ...]:
            return tuple(to_job(row) for row in self._database.read(work))

        return await self._database.in_thread(call)

    async def queue(self, job_id: int, /) -> Job:
        """
        Make a job claimable that is ``uploaded``, ``done`` or ``error``.

        Raises:
            JobNotFoundError: If there is none with this id.
            JobStateError: If it is ``processing`` already.
        """

        def work(connection: Connection) -> Row[Any]:
            row = rows.lock(connection, job_id)
            if row.status == "processing":
                msg = f"job {job_id} is processing already"
                raise JobStateError(msg, job_id=job_id, status=row.status)
            values = self._released() | {"status": "processing", "error": None}
            return rows.update(connection, job_id, values)

        return await self._write(work)

    async def claim(
        self, worker: str, /, *, lease_s: float, job_id: int | None = None
    ) -> Job | None:
        """
        Claim the oldest claimable job, or this one; ``None`` where there is none.

        Args:
            worker: Name to record as the holder.
            lease_s: Seconds until the claim expires unless extended; positive.
            job_id: Claim this job or nothing. Named like this it may also be
                ``uploaded``, so that who adds a job can claim it before any worker.

        Raises:
            ValueError: If the lease is not positive, or longer than 1e9 s.
        """
        lease = _lease(lease_s)

        def work(connection: Connection) -> Row[Any] | None:
            now = self._now()
            row = rows.lock_claimable(connection, now=now, job_id=job_id)
            if row is None:
                return None
            values = {
                "status": "processing",
                "attempt": row.attempt + 1,
                "worker": worker,
                "lease_until": now + lease,
                "retry_at": None,
                "updated_at": now,
            }
            return rows.update(connection, row.id, values)

        def call() -> Job | None:
            row = self._database.write(work)
            return None if row is None else to_job(row)

        return await self._database.in_thread(call)

    async def extend(self, job_id: int, /, *, attempt: int, lease_s: float) -> Job:
        """
        Let the claim last for so many seconds from now.

        Raises:
            LeaseLostError: If this attempt is not the current claim, also because the
                job was deleted.
            ValueError: If the lease is not positive, or longer than 1e9 s.
        """
        lease = _lease(lease_s)

        def work(connection: Connection) -> Row[Any]:
            rows.lock_claim(connection, job_id, attempt)
            now = self._now()
            values = {"lease_until": now + lease, "updated_at": now}
            return rows.update(connection, job_id, values)

        return await self._write(work)

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
        """
        Store the results and set the job ``done``; earlier results are replaced.

        Raises:
            LeaseLostError: If this attempt is not the current claim, also because the
                job was deleted.
            ValueError: If the results hold a number that is not finite.
        """

        def call() -> Job:
            # Before the transaction, so that other processes do not wait for it.
            results = {
                "transcript": to_text(transcript),
                "metrics": to_text(metrics),
                "analysis": to_text(analysis),
            }

            def work(connection: Connection) -> Row[Any]:
                rows.lock_claim(connection, job_id, attempt)
                values = self._released() | {"status": "done", "error": None} | results
                return rows.update(connection, job_id, values)

            return to_job(self._database.write(work))

        return await self._database.in_thread(call)

    async def fail(
        self,
        job_id: int,
        /,
        *,
        attempt: int,
        error: str,
        retry_at: datetime | None = None,
    ) -> Job:
        """
        Set the job to ``error``; with ``retry_at`` leave it claimable from then on.

        Raises:
            LeaseLostError: If this attempt is not the current claim, also because the
                job was deleted.
            ValueError: If ``retry_at`` has no time zone.
        """
        outcome: dict[str, Any] = {"status": "error", "error": error}
        if retry_at is not None:
            outcome |= {"status": "processing", "retry_at": microseconds(retry_at)}

        def work(connection: Connection) -> Row[Any]:
            rows.lock_claim(connection, job_id, attempt)
            values = self._released() | outcome
            return rows.update(connection, job_id, values)

        return await self._write(work)

    async def delete(self, job_ids: Sequence[int], /) -> int:
        """
        Delete jobs and all that is stored about them; give how many there were.

        One transaction: all of them go, or none. Workers that still hold such a job get
        ``LeaseLostError`` when they next write.
        """

        def call() -> int:
            return self._database.write(lambda c: rows.delete(c, job_ids))

        return await self._database.in_thread(call)

    async def _write(self, work: Callable[[Connection], Row[Any]]) -> Job:
        # The row becomes a job after the commit, when nobody waits for it.
        return await self._database.in_thread(
            lambda: to_job(self._database.write(work))
        )

    def _now(self) -> int:
        return microseconds(self._clock())

    def _released(self) -> dict[str, Any]:
        """Give the values of a job that from now on nobody holds."""
        return {
            "worker": None,
            "lease_until": None,
            "retry_at": None,
            "updated_at": self._now(),
        }


def _lease(lease_s: float) -> int:
    """Give a lease in microseconds."""
    if not 0.0 < lease_s <= _LONGEST_LEASE_S:
        msg = f"lease_s must be in (0, {_LONGEST_LEASE_S:.0f}], not {lease_s}"
        raise ValueError(msg)
    return timedelta(seconds=lease_s) // timedelta(microseconds=1)
