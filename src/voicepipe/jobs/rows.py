"""What each call of the store does inside one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from voicepipe.errors import (
    JobNotFoundError,
    JobStateError,
    LeaseLostError,
    StoreError,
)
from voicepipe.jobs.schema import jobs_table
from voicepipe.jobs.values import edits_of, edits_to_text
from voicepipe.types import JobStatus


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, Select

    from voicepipe.jobs.statements import Statement, Statements
    from voicepipe.types import JobEdit, JobField


_LARGEST = 2**63 - 1
"""The largest integer a database takes: no job has a larger id."""

_TRIES = 10
"""How often a job with a key is looked for and added."""

_IDS_PER_STATEMENT = 500
"""SQLite before 3.32 takes at most 999 values (sqlite.org/limits.html)."""


@attrs.frozen(kw_only=True)
class Wanted:
    """
    Which jobs to list.

    Attributes:
        status: Only of this status.
        limit: Most jobs.
        before: Only with a smaller id.
        changed_since: Only changed then or later, in microseconds.
        results: Whether to read the large columns too.
    """

    status: JobStatus | None
    limit: int
    before: int | None
    changed_since: int | None
    results: bool


class Rows:
    """
    The jobs as one transaction sees them.

    Args:
        connection: In a transaction.
        statements: For its database.
        clock: Gives the time in microseconds, for statements that take it.
    """

    def __init__(
        self, connection: Connection, statements: Statements, clock: Callable[[], int]
    ) -> None:
        """Keep them; nothing is read yet."""
        self._connection = connection
        self._statements = statements
        self._clock = clock

    def add(self, values: dict[str, Any]) -> dict[str, Any]:
        """Add a row, or give the one that has its key; see ``JobStore.add``."""
        key = values["p_key"]
        # What stood in the way may be deleted before it is read.
        for _ in range(_TRIES):
            if key is not None:
                found = self._one(self._statements.by_key, {"p_key": key})
                if found is not None:
                    return found
            added = self._changed(self._statements.add, **values)
            if added is not None:
                return added
        raise StoreError("jobs with this key come and go", retryable=True)

    def get(self, job_id: int) -> dict[str, Any]:
        """
        Read a row.

        Raises:
            JobNotFoundError: If there is none.
        """
        return _found(self._one(self._statements.get, _id(job_id)), job_id)

    def newest(self, wanted: Wanted) -> Sequence[dict[str, Any]]:
        """Read rows by falling id; see ``JobStore.list``."""
        import sqlalchemy as sa

        statements = self._statements
        jobs = jobs_table().c
        columns = statements.columns if wanted.results else statements.small
        select: Select[Any] = sa.select()
        select = select.add_columns(*columns)
        select = select.order_by(jobs.id.desc()).limit(_storable(wanted.limit))
        if wanted.status is not None:
            select = select.where(jobs.status == wanted.status)
        if wanted.before is not None:
            select = select.where(jobs.id < _storable(wanted.before))
        if wanted.changed_since is not None:
            other = jobs_table().alias("changed").c
            changed = sa.select(other.id).where(
                other.updated_at >= wanted.changed_since
            )
            # As a set of its own: SQLite would rather go through all jobs by id.
            select = select.where(jobs.id.in_(changed))
        return [row._asdict() for row in self._connection.execute(select)]

    def claim(
        self, *, worker: str, lease: int, job_id: int | None
    ) -> dict[str, Any] | None:
        """Claim the oldest row that can be claimed, or this one if it can."""
        given: dict[str, Any] = {"p_worker": worker, "p_lease": lease}
        if job_id is None:
            return self._changed(self._statements.claim_oldest, **given)
        return self._changed(self._statements.claim_named, **given, **_id(job_id))

    def extend(
        self, job_id: int, attempt: int, *, lease: int, progress: str | None
    ) -> None:
        """Move the end of a claim; see ``JobStore.extend``."""
        given: dict[str, Any] = {"p_lease": lease}
        statement = self._statements.extend
        if progress is not None:
            statement = self._statements.extend_telling
            given["p_progress"] = progress
        given |= _id(job_id) | {"p_attempt": _storable(attempt)} | self._time()
        if not self._all(statement, given):
            raise _lost(job_id, attempt)

    def keep(self, job_id: int, attempt: int, *, key: str, value: str) -> None:
        """Keep a result; see ``JobStore.keep``."""
        given = _id(job_id) | {"p_attempt": _storable(attempt)}
        given |= {"p_key": key, "p_value": value}
        if not self._all(self._statements.keep, given):
            raise _lost(job_id, attempt)

    def kept(self, job_id: int, key: str) -> str | None:
        """Read what was kept."""
        given = _id(job_id) | {"p_key": key}
        found = self._one(self._statements.kept, given)
        return None if found is None else found["value"]

    def release(self, job_id: int, attempt: int) -> dict[str, Any]:
        """Give a claim back; see ``JobStore.release``."""
        return self._held(self._statements.release, job_id, attempt)

    def finish(
        self, job_id: int, attempt: int, results: dict[str, Any]
    ) -> dict[str, Any]:
        """Set a claimed row ``done``; give its small columns."""
        row = self._held(self._statements.finish, job_id, attempt, **results)
        self._all(self._statements.forget_kept, _id(job_id))
        return row

    def fail(
        self, job_id: int, attempt: int, outcome: dict[str, Any]
    ) -> dict[str, Any]:
        """Set a claimed row to ``error``; see ``JobStore.fail``."""
        return self._held(self._statements.fail, job_id, attempt, **outcome)

    def cancel(self, job_id: int, reason: str) -> dict[str, Any]:
        """Set a row to ``error``; see ``JobStore.cancel``."""
        cancel = self._statements.cancel
        row = self._changed(cancel, **_id(job_id), p_error=reason)
        return self._allowed(row, job_id)

    def queue(self, job_id: int) -> dict[str, Any]:
        """Make a row claimable; see ``JobStore.queue``."""
        return self._allowed(
            self._changed(self._statements.queue, **_id(job_id)), job_id
        )

    def edit(self, job_id: int, edits: Mapping[JobField, JobEdit]) -> dict[str, Any]:
        """Add edits to those that are there; see ``JobStore.update``."""
        row = _found(self._one(self._statements.locked, _id(job_id)), job_id)
        if row["status"] == "processing":
            return self._allowed(None, job_id)
        text = edits_to_text(edits_of(row["edits"]) | dict(edits))
        changed = self._changed(self._statements.edit, **_id(job_id), p_edits=text)
        return _found(changed, job_id)

    def delete(self, job_ids: Sequence[int]) -> int:
        """Delete rows, and what was kept for them; give how many there were."""
        ids = sorted({job_id for job_id in job_ids if 0 < job_id <= _LARGEST})
        count = 0
        for i in range(0, len(ids), _IDS_PER_STATEMENT):
            some = jobs_table().c.id.in_(ids[i : i + _IDS_PER_STATEMENT])
            count += self._connection.execute(
                jobs_table().delete().where(some)
            ).rowcount
        return count

    def prune(self, *, before: int, limit: int) -> Sequence[dict[str, Any]]:
        """Delete old rows; give their small columns, the oldest first."""
        given = {"p_before": before, "p_limit": _storable(limit)}
        gone = self._all(self._statements.prune, given)
        return sorted(gone, key=lambda row: int(row["id"]))

    def _held(
        self, statement: Statement, job_id: int, attempt: int, **given: Any
    ) -> dict[str, Any]:
        """Change a row, if this attempt is its current claim."""
        claim = _id(job_id) | {"p_attempt": _storable(attempt)}
        row = self._changed(statement, **claim, **given)
        if row is None:
            raise _lost(job_id, attempt)
        return row

    def _changed(self, statement: Statement, **given: Any) -> dict[str, Any] | None:
        return self._one(statement, given | self._time())

    def _one(
        self, statement: Statement, given: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Carry out a statement that gives one row or none."""
        found = self._all(statement, given)
        return found[0] if found else None

    def _all(self, statement: Statement, given: dict[str, Any]) -> list[dict[str, Any]]:
        """Carry out a statement, and give its rows if it gives any."""
        prepared = self._statements.prepared(statement)
        if prepared is not None:
            driver: Any = self._connection.connection.dbapi_connection
            return prepared.rows(driver, given)
        result = self._connection.execute(statement, given)
        return [row._asdict() for row in result] if result.returns_rows else []

    def _time(self) -> dict[str, int]:
        return {"p_now": self._clock()} if self._statements.takes_now else {}

    def _allowed(self, row: dict[str, Any] | None, job_id: int) -> dict[str, Any]:
        """Give a row that was changed; say why there is none."""
        if row is None:
            status = self.get(job_id)["status"]
            msg = f"job {job_id} is {status} already"
            raise JobStateError(msg, job_id=job_id, status=status)
        return row


def _found(row: dict[str, Any] | None, job_id: int) -> dict[str, Any]:
    if row is None:
        raise JobNotFoundError(f"there is no job {job_id}", job_id=job_id)
    return row


def _lost(job_id: int, attempt: int) -> LeaseLostError:
    msg = f"attempt {attempt} is not the current claim of job {job_id}"
    return LeaseLostError(msg, job_id=job_id, attempt=attempt)


def _id(job_id: int) -> dict[str, Any]:
    return {"p_id": _storable(job_id)}


def _storable(number: int) -> int:
    """Give the nearest number a database takes; beyond it there are no jobs anyway."""
    return max(-_LARGEST, min(number, _LARGEST))
