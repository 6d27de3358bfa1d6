"""
The statements of the store, each built once: the same for SQLite and PostgreSQL.

Nearly all of what a call does is one statement that changes a row and gives it. Where
there are row locks two workers claim two jobs at once, because what another one has
locked is passed over; SQLite has none and needs none, because there a statement that
writes is alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from voicepipe.jobs.prepared import Prepared
from voicepipe.jobs.schema import LARGE, jobs_table, kept_table


if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Delete, Dialect, Insert, Select, Update

    Statement: TypeAlias = Insert | Update | Delete | Select[Any]


class Statements:
    """
    All statements that need more than their parameters to be written down.

    Parameters have names that begin with ``p_``, so that they are no column's.

    Args:
        dialect: ``"sqlite"`` or ``"postgresql"``.
        own_clock: Whether the time is a parameter, ``p_now``, rather than the
            database's own.

    Attributes:
        takes_now: The same, for those who give the parameters.
        columns: Of ``jobs``, all of them.
        small: Of ``jobs``, those that are small.
    """

    def __init__(self, dialect: str, *, own_clock: bool) -> None:
        """Build them; SQLAlchemy turns each into text once."""
        import sqlalchemy as sa

        self.takes_now = own_clock
        self._table = jobs_table()
        self._jobs = self._table.c
        self.columns: list[Any] = list(self._jobs)
        self.small: list[Any] = [c for c in self._jobs if c.name not in LARGE]
        self._now: ColumnElement[int] = (
            sa.bindparam("p_now", type_=sa.BigInteger)
            if own_clock
            else sa.literal_column(
                "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint",
                sa.BigInteger,
            )
        )
        self._id = self._jobs.id == _given("p_id")
        # A job that waits for its next claim still has the last attempt's number.
        self._held = (
            self._id
            & (self._jobs.attempt == _given("p_attempt"))
            & self._jobs.lease_until.is_not(None)
        )
        self._released: dict[str, Any] = {
            "worker": sa.null(),
            "lease_until": sa.null(),
            "retry_at": sa.null(),
            "progress": sa.null(),
            "updated_at": self._now,
        }
        self._make_reads()
        self._make_claims()
        self._make_ends()
        self._make_kept(dialect)
        self.add: Insert = self._add(dialect)
        self.prune: Statement = self._prune()
        self._dialect: Dialect | None = None
        if dialect == "sqlite":
            from sqlalchemy.dialects import sqlite

            # A parameter that is used three times is given once.
            self._dialect = sqlite.dialect(paramstyle="named")
        self._prepared: dict[Statement, Prepared] = {}

    def prepared(self, statement: Statement) -> Prepared | None:
        """Give one of these as text for the driver; ``None`` where SQLAlchemy acts."""
        if self._dialect is None:
            return None
        known = self._prepared.get(statement)
        if known is None:
            known = Prepared.of(statement, self._dialect)
            self._prepared[statement] = known
        return known

    def _make_reads(self) -> None:
        self.get: Select[Any] = self._table.select().where(self._id)
        by_key = self._jobs.key == _given("p_key")
        self.by_key: Select[Any] = self._table.select().where(by_key)
        self.locked: Select[Any] = self.get.with_for_update()

    def _make_claims(self) -> None:
        import sqlalchemy as sa

        other = self._table.alias("oldest")
        oldest = (
            sa.select(other.c.id)
            .where(self._claimable(other.c))
            .order_by(other.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        claimed: dict[str, Any] = {
            "attempt": self._jobs.attempt + _fixed(1),
            "tries": self._jobs.tries + _fixed(1),
            "worker": _given("p_worker"),
            "lease_until": self._now + _given("p_lease"),
            "retry_at": sa.null(),
            "progress": sa.null(),
            "updated_at": self._now,
        }
        claim = self._table.update().returning(*self.columns)
        # Its status stays: SQLite would write the index anew, also with the same value.
        self.claim_oldest: Update = claim.where(self._jobs.id == oldest).values(claimed)
        wanted = self._claimable(self._jobs) | (self._jobs.status == _fixed("uploaded"))
        self.claim_named: Update = claim.where(self._id, wanted).values(
            claimed | {"status": _fixed("processing")}
        )
        extended: dict[str, Any] = {
            "lease_until": self._now + _given("p_lease"),
            "updated_at": self._now,
        }
        extend = self._table.update().where(self._held)
        told = extended | {"progress": _given("p_progress")}
        self.extend: Update = extend.values(extended).returning(self._jobs.id)
        self.extend_telling: Update = extend.values(told).returning(self._jobs.id)
        self.release: Update = extend.values(
            self._released | {"tries": self._jobs.tries - _fixed(1)}
        ).returning(*self.columns)

    def _make_ends(self) -> None:
        import sqlalchemy as sa

        held = self._table.update().where(self._held)
        results = {name: _given(f"p_{name}") for name in LARGE if name != "edits"}
        done = {"status": _fixed("done"), "error": sa.null(), "edits": sa.null()}
        # What was given just now need not be read again.
        self.finish: Update = held.values(self._released | done | results).returning(
            *self.small
        )
        failed = {
            "status": _given("p_status"),
            "error": _given("p_error"),
            "retry_at": _given("p_retry_at"),
        }
        fail = held.values(self._released | failed)
        self.fail: Update = fail.returning(*self.columns)
        named = self._table.update().where(self._id).returning(*self.columns)
        cancelled = {"status": _fixed("error"), "error": _given("p_error")}
        self.cancel: Update = named.where(
            self._jobs.status.in_([_fixed("uploaded"), _fixed("processing")])
        ).values(self._released | cancelled)
        queued = {
            "status": _fixed("processing"),
            "error": sa.null(),
            "tries": _fixed(0),
        }
        at_rest = self._jobs.status != _fixed("processing")
        self.queue: Update = named.where(at_rest).values(self._released | queued)
        edited = {"edits": _given("p_edits"), "updated_at": self._now}
        self.edit: Update = named.values(edited)

    def _make_kept(self, dialect: str) -> None:
        import sqlalchemy as sa

        kept = kept_table()
        this = kept.c.job_id == _given("p_id")
        self.forget_kept: Delete = kept.delete().where(this)
        self.kept: Select[Any] = sa.select(kept.c.value).where(
            this, kept.c.key == _given("p_key")
        )
        # The lock stays until the transaction ends, so that no other attempt begins
        # between the look and the writing.
        mine = sa.select(
            self._jobs.id, _given("p_key", sa.Text), _given("p_value", sa.Text)
        )
        insert = _insert(kept, dialect).from_select(
            ["job_id", "key", "value"], mine.where(self._held).with_for_update()
        )
        self.keep: Insert = insert.on_conflict_do_update(
            index_elements=["job_id", "key"],
            set_={"value": insert.excluded.value},
        ).returning(kept.c.job_id)

    def _add(self, dialect: str) -> Insert:
        values = {
            "source": _given("p_source"),
            "name": _given("p_name"),
            "key": _given("p_key"),
            "status": _given("p_status"),
            "attempt": _fixed(0),
            "tries": _fixed(0),
            "created_at": self._now,
            "updated_at": self._now,
        }
        insert: Insert = (
            _insert(self._table, dialect)
            .values(values)
            .on_conflict_do_nothing(index_elements=["key"])
            .returning(*self.columns)
        )
        return insert

    def _prune(self) -> Statement:
        import sqlalchemy as sa

        other, third = self._table.alias("old"), self._table.alias("unchanged")
        old = (
            sa.select(other.c.id)
            .where(
                other.c.status != _fixed("processing"),
                other.c.updated_at < _given("p_before"),
                # As a set of its own: SQLite would rather go through all jobs by id.
                other.c.id.in_(
                    sa.select(third.c.id).where(third.c.updated_at < _given("p_before"))
                ),
            )
            .order_by(other.c.id)
            .limit(_given("p_limit", sa.BigInteger))
            # What somebody else is changing has changed since.
            .with_for_update(skip_locked=True)
        )
        return self._table.delete().where(self._jobs.id.in_(old)).returning(*self.small)

    def _claimable(self, jobs: Any) -> ColumnElement[bool]:
        free = jobs.lease_until.is_(None) | (jobs.lease_until <= self._now)
        due = jobs.retry_at.is_(None) | (jobs.retry_at <= self._now)
        claimable: ColumnElement[bool] = (
            (jobs.status == _fixed("processing")) & free & due
        )
        return claimable


def _given(name: str, kind: Any = None) -> Any:
    import sqlalchemy as sa

    return sa.bindparam(name, type_=kind)


def _fixed(value: str | int) -> Any:
    """Write a value into the statement itself: each parameter costs time."""
    import sqlalchemy as sa

    return sa.literal_column(repr(value))


def _insert(table: Any, dialect: str) -> Any:
    """Begin an INSERT that may meet a row that is there already."""
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)
