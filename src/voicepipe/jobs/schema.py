"""
How jobs are laid out in the database: tables, their version, and times.

Table ``jobs`` has a column for each field of ``Job``, under the field's name. Times are
whole microseconds since 1970-01-01 UTC, as exact as ``datetime`` and the same in every
database; results are JSON text. Table ``voicepipe_schema`` holds one row with the
version of all this; it is also how a database is known to be ours.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from voicepipe.errors import StoreError
from voicepipe.types import Analysis, Job, TalkMetrics, Transcript


if TYPE_CHECKING:
    from sqlalchemy import Connection, Row, Table


SCHEMA_VERSION = 1
"""The version this code reads and writes."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@functools.cache
def jobs_table() -> Table:
    """Describe table ``jobs``; needs SQLAlchemy."""
    import sqlalchemy as sa

    return sa.Table(
        "jobs",
        sa.MetaData(),
        # SQLite numbers rows by itself only in a column of exactly the type INTEGER.
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True
        ),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("retry_at", sa.BigInteger),
        sa.Column("transcript", sa.Text),
        sa.Column("metrics", sa.Text),
        sa.Column("analysis", sa.Text),
        sa.Column("error", sa.Text),
        # Serves both the search for the oldest claimable job and lists by status.
        sa.Index("ix_jobs_status_id", "status", "id"),
        # Without it SQLite gives the id of a deleted last job to the next one, and a
        # late worker's attempt would fit a job that it never saw.
        sqlite_autoincrement=True,
    )


@functools.cache
def _version_table() -> Table:
    import sqlalchemy as sa

    version = sa.Column("version", sa.Integer, nullable=False)
    return sa.Table("voicepipe_schema", sa.MetaData(), version)


def is_present(connection: Connection) -> bool:
    """
    Tell whether the database holds our tables; nothing is written.

    Raises:
        StoreError: If it holds a table ``jobs`` that is not ours, or our tables in
            another version.
    """
    import sqlalchemy as sa

    inspector = sa.inspect(connection)
    if inspector.has_table(_version_table().name):
        version = connection.execute(_version_table().select()).scalar()
        if version != SCHEMA_VERSION:
            msg = (
                f"the job database has schema version {version}, this voicepipe reads "
                f"version {SCHEMA_VERSION}; use the voicepipe that wrote it or a newer "
                "one"
            )
            raise StoreError(msg)
        return True
    if inspector.has_table(jobs_table().name):
        msg = (
            "the database holds a table 'jobs' that voicepipe did not make; it is left "
            "as it is: choose another database"
        )
        raise StoreError(msg)
    return False


def create(connection: Connection) -> None:
    """Make the tables."""
    jobs_table().create(connection)
    _version_table().create(connection)
    connection.execute(_version_table().insert().values(version=SCHEMA_VERSION))


def microseconds(time: datetime) -> int:
    """
    Give a time as it is stored.

    Raises:
        ValueError: If it has no time zone.
    """
    if time.utcoffset() is None:
        msg = f"a time needs a time zone, such as datetime.now(UTC): {time}"
        raise ValueError(msg)
    return (time.astimezone(UTC) - _EPOCH) // _MICROSECOND


def to_job(row: Row[Any]) -> Job:
    """
    Make a job of a row of ``jobs``.

    Raises:
        StoreError: If its results are not what voicepipe wrote.
    """
    fields = row._asdict()
    for name in ("created_at", "updated_at", "lease_until", "retry_at"):
        fields[name] = _time(fields[name])
    try:
        fields["transcript"] = _value(Transcript, fields["transcript"])
        fields["metrics"] = _value(TalkMetrics, fields["metrics"])
        fields["analysis"] = _value(Analysis, fields["analysis"])
    except ValueError as exc:
        msg = f"the stored results of job {row.id} cannot be read"
        raise StoreError(msg, job_id=row.id) from exc
    return Job(**fields)


def to_text(value: Transcript | TalkMetrics | Analysis | None) -> str | None:
    """
    Give a result as it is stored.

    Raises:
        ValueError: If it holds a number that is not finite.
    """
    return None if value is None else value.to_json()


V_co = TypeVar("V_co", covariant=True)


class _Readable(Protocol[V_co]):
    """A kind of value that reads itself from JSON."""

    def from_json(self, text: str) -> V_co: ...


def _value(kind: _Readable[V_co], text: str | None) -> V_co | None:
    return None if text is None else kind.from_json(text)


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + microseconds * _MICROSECOND
