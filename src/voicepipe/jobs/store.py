"""Jobs in a SQL database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from voicepipe.jobs.database import Database
from voicepipe.jobs.rows import Rows, Wanted
from voicepipe.jobs.statements import Statements
from voicepipe.jobs.values import (
    checked_edits,
    checked_key,
    checked_limit,
    checked_text,
    lease_microseconds,
    microseconds,
    progress_to_text,
    shown_text,
    to_job,
    to_jobs,
    to_text,
    utc_now,
)


if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Connection

    from voicepipe.types import (
        Analysis,
        Job,
        JobEdit,
        JobField,
        JobProgress,
        JobStatus,
        TalkMetrics,
        Transcript,
    )


T = TypeVar("T")


class SqlJobStore:
    """
    A ``JobStore`` in SQLite or PostgreSQL: durable, shared by any number of processes.

    The database is opened, and its tables made or brought up to date, when it is first
    used. ``async with`` opens it at once and closes it at the end; without it, call
    ``aclose`` or leave that to the garbage collector. A closed store opens again when
    it is used again, and one store serves any number of event loops, one after another
    or in several threads.

    A call that waits for its turn can be cancelled. Once begun it runs to its end in a
    worker thread and gives its value, so that no claim is lost; the cancellation comes
    at the next wait.

    What ``JobStore`` leaves open: the oldest job is the one with the smallest id. A
    claim is current until another one begins, the job ends or is deleted: a worker
    whose lease ran out unnoticed may still finish. The results and the attempt of a
    job that is queued again stay, the results until new ones replace them; so does what
    was kept, until the job is done. A claim keeps the error of the attempt before;
    finishing clears it.

    Args:
        url: A SQLAlchemy URL such as ``sqlite:///jobs.db`` or
            ``postgresql://user@host/jobs`` (through psycopg 3), or the path of a SQLite
            file. ``":memory:"`` is a database that ends when the store is closed.
        clock: What time it is, with a time zone; called in worker threads. By default
            this machine's clock for SQLite, and the server's for PostgreSQL, so that
            the clocks of the machines that share it need not agree.
        busy_timeout_s: How long a call waits for another one's transaction, seconds;
            it is tried four times at least.

    Raises:
        MissingExtraError: If SQLAlchemy or the database's driver is not installed.
        ValueError: If the URL is none, or not of SQLite or PostgreSQL.

    Every call raises ``StoreError`` if the database fails, is busy for too long
    (``retryable``), was made by a newer voicepipe, or holds a table ``jobs`` that is
    not ours and is left untouched. Texts with a NUL are refused, in errors replaced.

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
        clock: Callable[[], datetime] | None = None,
        busy_timeout_s: float = 5.0,
    ) -> None:
        """Load SQLAlchemy; the database is not touched yet."""
        self._database = Database(url, busy_timeout_s=busy_timeout_s)
        dialect = self._database.dialect
        self._clock = clock or utc_now
        own_clock = clock is not None or dialect == "sqlite"
        self._statements = Statements(dialect, own_clock=own_clock)

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

    async def add(
        self,
        source: str,
        /,
        *,
        queue: bool = True,
        name: str | None = None,
        key: str | None = None,
    ) -> Job:
        """
        Add a job, or give the one that was added with the same key.

        Raises:
            ValueError: If the key is empty or longer than 255 characters.
        """
        status = "processing" if queue else "uploaded"
        named = None if name is None else checked_text(name)
        values = {"p_source": checked_text(source), "p_name": named}
        values |= {"p_key": None if key is None else checked_key(key)}
        return await self._change(lambda rows: rows.add(values | {"p_status": status}))

    async def get(self, job_id: int, /) -> Job:
        """
        Give one job.

        Raises:
            JobNotFoundError: If there is none with this id.
        """
        return await self._read(lambda rows: rows.get(job_id), to_job)

    async def list(
        self,
        *,
        status: JobStatus | None = None,
        limit: int = 100,
        before: int | None = None,
        changed_since: datetime | None = None,
        results: bool = True,
    ) -> tuple[Job, ...]:
        """
        Give jobs, newest first.

        On PostgreSQL a change becomes visible when its transaction ends, a little after
        the time it bears: who asks again and again for what has changed goes back a few
        seconds each time.

        Raises:
            ValueError: If the limit is less than 1, or the time has no time zone.
        """
        wanted = Wanted(
            status=status,
            limit=checked_limit(limit),
            before=before,
            changed_since=None
            if changed_since is None
            else microseconds(changed_since),
            results=results,
        )
        return await self._read(lambda rows: rows.newest(wanted), to_jobs)

    async def queue(self, job_id: int, /) -> Job:
        """
        Make a job claimable that is ``uploaded``, ``done`` or ``error``.

        Raises:
            JobNotFoundError: If there is none with this id.
            JobStateError: If it is ``processing`` already.
        """
        return await self._change(lambda rows: rows.queue(job_id))

    async def update(self, job_id: int, edits: Mapping[JobField, JobEdit], /) -> Job:
        """
        Put what a person wrote in the place of results; other edits stay.

        Raises:
            JobNotFoundError: If there is none with this id.
            JobStateError: If it is ``processing``.
            ValueError: If there is no such field.
            TypeError: If a value is not of its field's kind.
        """
        checked = checked_edits(edits)
        return await self._change(lambda rows: rows.edit(job_id, checked), alone=False)

    async def claim(
        self, worker: str, /, *, lease_s: float, job_id: int | None = None
    ) -> Job | None:
        """
        Claim the oldest claimable job, or this one; ``None`` where there is none.

        Raises:
            ValueError: If the lease is not positive, or longer than 1e9 s.
        """
        lease = lease_microseconds(lease_s)
        name = checked_text(worker)
        work = self._in_rows(
            lambda rows: rows.claim(worker=name, lease=lease, job_id=job_id)
        )

        def call() -> Job | None:
            row = self._database.write_alone(work)
            return None if row is None else to_job(row)

        return await self._database.in_thread(call)

    async def extend(
        self,
        job_id: int,
        /,
        *,
        attempt: int,
        lease_s: float,
        progress: JobProgress | None = None,
    ) -> None:
        """
        Let the claim last for so many seconds from now, and tell how far it has come.

        Raises:
            LeaseLostError: If this attempt is not the current claim.
            ValueError: If the lease is not positive, or longer than 1e9 s.
        """
        news = {"lease": lease_microseconds(lease_s)}
        told = progress_to_text(progress)
        await self._do(lambda rows: rows.extend(job_id, attempt, progress=told, **news))

    async def keep(self, job_id: int, key: str, value: str, /, *, attempt: int) -> None:
        """
        Keep a result of a step for later attempts, until the job is ``done``.

        Raises:
            LeaseLostError: If this attempt is not the current claim.
            ValueError: If the key is not of 1 to 255 characters.
        """
        checked_key(key)
        checked_text(value)
        await self._do(lambda rows: rows.keep(job_id, attempt, key=key, value=value))

    async def kept(self, job_id: int, key: str, /) -> str | None:
        """Give what an attempt has kept, ``None`` where there is nothing."""
        checked_key(key)
        return await self._read(lambda rows: rows.kept(job_id, key), lambda text: text)

    async def release(self, job_id: int, /, *, attempt: int) -> Job:
        """
        Give a claim back: the job can be claimed at once, and the try does not count.

        Raises:
            LeaseLostError: If this attempt is not the current claim.
        """
        return await self._change(lambda rows: rows.release(job_id, attempt))

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
        Store the results and set the job ``done``; edits and what was kept go.

        Raises:
            LeaseLostError: If this attempt is not the current claim.
            ValueError: If the results hold a number that is not finite.
        """
        results: dict[str, Any] = {"transcript": transcript}
        results |= {"metrics": metrics, "analysis": analysis}

        def call() -> Job:
            # Before the transaction, so that other processes do not wait for it.
            texts = {f"p_{name}": to_text(value) for name, value in results.items()}
            work = self._in_rows(lambda rows: rows.finish(job_id, attempt, texts))
            return attrs.evolve(to_job(self._database.write(work)), **results)

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
            LeaseLostError: If this attempt is not the current claim.
            ValueError: If ``retry_at`` has no time zone.
        """
        outcome: dict[str, Any] = {"p_status": "error", "p_retry_at": None}
        if retry_at is not None:
            outcome = {"p_status": "processing", "p_retry_at": microseconds(retry_at)}
        outcome["p_error"] = shown_text(error)
        return await self._change(lambda rows: rows.fail(job_id, attempt, outcome))

    async def cancel(self, job_id: int, /, *, reason: str = "cancelled") -> Job:
        """
        Set a job that is ``uploaded`` or ``processing`` to ``error`` with a reason.

        Raises:
            JobNotFoundError: If there is none with this id.
            JobStateError: If it is ``done`` or ``error`` already.
        """
        return await self._change(lambda rows: rows.cancel(job_id, shown_text(reason)))

    async def delete(self, job_ids: Sequence[int], /) -> int:
        """
        Delete jobs and all that is stored about them; give how many there were.

        One transaction: all of them go, or none. SQLite overwrites what was there.
        Workers that still hold such a job get ``LeaseLostError`` when they next write.
        """

        def call() -> int:
            work = self._in_rows(lambda rows: rows.delete(job_ids))
            if count := self._database.write(work):
                self._database.forget()
            return count

        return await self._database.in_thread(call)

    async def prune(self, *, before: datetime, limit: int = 1_000) -> tuple[Job, ...]:
        """
        Delete jobs that are not ``processing`` and have not changed since a time.

        Raises:
            ValueError: If the limit is less than 1, or the time has no time zone.
        """
        old = microseconds(before)
        most = checked_limit(limit)

        def call() -> tuple[Job, ...]:
            work = self._in_rows(lambda rows: rows.prune(before=old, limit=most))
            if gone := self._database.write(work):
                self._database.forget()
            return to_jobs(gone)

        return await self._database.in_thread(call)

    async def _read(self, work: Callable[[Rows], Any], give: Callable[[Any], T]) -> T:
        found = self._in_rows(work)
        # What was read becomes values after the transaction.
        return await self._database.in_thread(lambda: give(self._database.read(found)))

    async def _change(
        self, work: Callable[[Rows], dict[str, Any]], *, alone: bool = True
    ) -> Job:
        write = self._database.write_alone if alone else self._database.write
        changed = self._in_rows(work)
        return await self._database.in_thread(lambda: to_job(write(changed)))

    async def _do(self, work: Callable[[Rows], None]) -> None:
        done = self._in_rows(work)
        await self._database.in_thread(lambda: self._database.write_alone(done))

    def _in_rows(self, work: Callable[[Rows], T]) -> Callable[[Connection], T]:
        return lambda connection: work(Rows(connection, self._statements, self._now))

    def _now(self) -> int:
        return microseconds(self._clock())
