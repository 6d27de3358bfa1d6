"""
What is read and written inside one transaction: rows of table ``jobs``.

Every statement is the same for SQLite and PostgreSQL. A row that is going to change is
read ``FOR UPDATE`` first; SQLite has no row locks and needs none, because there a
transaction that writes is alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voicepipe.errors import JobNotFoundError, LeaseLostError
from voicepipe.jobs.schema import jobs_table


if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row, Select


_LARGEST = 2**63 - 1
"""The largest integer a database takes: no job has a larger id."""

_IDS_PER_STATEMENT = 500
"""SQLite before 3.32 takes at most 999 values (sqlite.org/limits.html)."""


def insert(connection: Connection, values: dict[str, Any]) -> Row[Any]:
    """Add a row; give it with its id."""
    result = connection.execute(jobs_table().insert().values(values))
    key: Any = result.inserted_primary_key
    return get(connection, key[0])


def get(connection: Connection, job_id: int) -> Row[Any]:
    """
    Read a row.

    Raises:
        JobNotFoundError: If there is none.
    """
    return _found(connection.execute(_one(job_id)).first(), job_id)


def lock(connection: Connection, job_id: int) -> Row[Any]:
    """
    Read a row that nobody else changes until the transaction ends.

    Raises:
        JobNotFoundError: If there is none.
    """
    return _found(connection.execute(_one(job_id).with_for_update()).first(), job_id)


def lock_claim(connection: Connection, job_id: int, attempt: int) -> None:
    """
    Make sure that an attempt stays the current claim until the transaction ends.

    Raises:
        LeaseLostError: If it is not, also because the job was deleted.
    """
    row = connection.execute(_one(job_id).with_for_update()).first()
    # A job that waits for its next claim still has the last attempt's number.
    if row is None or row.attempt != attempt or row.lease_until is None:
        msg = f"attempt {attempt} is not the current claim of job {job_id}"
        raise LeaseLostError(msg, job_id=job_id, attempt=attempt)


def lock_claimable(
    connection: Connection, *, now: int, job_id: int | None
) -> Row[Any] | None:
    """
    Read the oldest row that can be claimed, or this one if it can.

    Args:
        connection: In a transaction.
        now: The time in microseconds.
        job_id: Only this job; it may also be ``uploaded``.
    """
    jobs = jobs_table().c
    free = jobs.lease_until.is_(None) | (jobs.lease_until <= now)
    due = jobs.retry_at.is_(None) | (jobs.retry_at <= now)
    wanted: ColumnElement[bool] = (jobs.status == "processing") & free & due
    if job_id is not None:
        named: ColumnElement[bool] = jobs.id == _storable(job_id)
        wanted = named & (wanted | (jobs.status == "uploaded"))
    oldest = jobs_table().select().where(wanted).order_by(jobs.id).limit(1)
    # Where there are row locks, two workers take two jobs at once.
    return connection.execute(oldest.with_for_update(skip_locked=True)).first()


def update(connection: Connection, job_id: int, values: dict[str, Any]) -> Row[Any]:
    """Change a row that was locked before; give it as it is then."""
    this = jobs_table().c.id == job_id
    connection.execute(jobs_table().update().where(this).values(values))
    return get(connection, job_id)


def newest(
    connection: Connection, *, status: str | None, limit: int, before: int | None
) -> Sequence[Row[Any]]:
    """Read rows by falling id; see ``JobStore.list``."""
    jobs = jobs_table().c
    wanted = jobs_table().select().order_by(jobs.id.desc()).limit(_storable(limit))
    if status is not None:
        wanted = wanted.where(jobs.status == status)
    if before is not None:
        wanted = wanted.where(jobs.id < _storable(before))
    return connection.execute(wanted).all()


def delete(connection: Connection, job_ids: Sequence[int]) -> int:
    """Delete rows; give how many there were."""
    ids = sorted({job_id for job_id in job_ids if 0 < job_id <= _LARGEST})
    count = 0
    for i in range(0, len(ids), _IDS_PER_STATEMENT):
        some = jobs_table().c.id.in_(ids[i : i + _IDS_PER_STATEMENT])
        count += connection.execute(jobs_table().delete().where(some)).rowcount
    return count


def _one(job_id: int) -> Select[Any]:
    return jobs_table().select().where(jobs_table().c.id == _storable(job_id))


def _found(row: Row[Any] | None, job_id: int) -> Row[Any]:
    if row is None:
        raise JobNotFoundError(f"there is no job {job_id}", job_id=job_id)
    return row


def _storable(number: int) -> int:
    """Give the nearest number a database takes; beyond it there are no jobs anyway."""
    return max(-_LARGEST, min(number, _LARGEST))
