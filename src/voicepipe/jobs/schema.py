"""
How jobs are laid out in the database: tables and their version.

Table ``jobs`` has a column for each field of ``Job``, under the field's name, the large
ones last: SQLite reads a row from its beginning. Times are whole microseconds since
1970-01-01 UTC, as exact as ``datetime`` and the same in every database; results, edits
and progress are JSON text. Table ``kept`` holds what attempts keep for later ones.
Table ``voicepipe_schema`` holds one row with the version of all this; it is also how a
database is known to be ours.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from voicepipe.errors import StoreError


if TYPE_CHECKING:
    from sqlalchemy import Connection, Table


SCHEMA_VERSION = 2
"""The version this code reads and writes; ``upgrade`` brings older ones to it."""

LONGEST_KEY = 255
"""Characters of the longest idempotency key, and of the longest key of a result."""

LARGE = ("transcript", "metrics", "analysis", "edits")
"""Columns of ``jobs`` that may hold megabytes."""


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
        sa.Column("name", sa.Text),
        sa.Column("key", sa.String(LONGEST_KEY)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("retry_at", sa.BigInteger),
        sa.Column("progress", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("transcript", sa.Text),
        sa.Column("metrics", sa.Text),
        sa.Column("analysis", sa.Text),
        sa.Column("edits", sa.Text),
        # Serves both the search for the oldest claimable job and lists by status.
        sa.Index("ix_jobs_status_id", "status", "id"),
        # Serves who asks again and again what has changed.
        sa.Index("ix_jobs_updated_at", "updated_at"),
        sa.Index("ix_jobs_key", "key", unique=True),
        # Without it SQLite gives the id of a deleted last job to the next one, and a
        # late worker's attempt would fit a job that it never saw.
        sqlite_autoincrement=True,
    )


@functools.cache
def kept_table() -> Table:
    """Describe table ``kept``; needs SQLAlchemy."""
    import sqlalchemy as sa

    job_id = jobs_table().c.id
    return sa.Table(
        "kept",
        jobs_table().metadata,
        sa.Column(
            "job_id",
            job_id.type,
            sa.ForeignKey(job_id, ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("key", sa.String(LONGEST_KEY), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )


@functools.cache
def version_table() -> Table:
    """Describe the table with the version; needs SQLAlchemy."""
    import sqlalchemy as sa

    version = sa.Column("version", sa.Integer, nullable=False)
    return sa.Table("voicepipe_schema", sa.MetaData(), version)


def stored_version(connection: Connection) -> int | None:
    """
    Give the version of our tables, ``None`` where there are none; nothing is written.

    Raises:
        StoreError: If the database holds tables of our names that are not ours, or
            ours in a version that this code does not know.
    """
    import sqlalchemy as sa

    inspector = sa.inspect(connection)
    # Before the version: in PostgreSQL each look sees what others have written by then,
    # and whoever is making them now adds the version last.
    names = (jobs_table().name, kept_table().name)
    held = [name for name in names if inspector.has_table(name)]
    if inspector.has_table(version_table().name):
        version = connection.execute(version_table().select()).scalar()
        if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
            msg = (
                f"the job database has schema version {version}, this voicepipe reads "
                f"version {SCHEMA_VERSION}; use the voicepipe that wrote it or a newer "
                "one"
            )
            raise StoreError(msg)
        return version
    if held:
        msg = (
            f"the database holds a table {held[0]!r} that voicepipe did not make; it "
            "is left as it is: choose another database"
        )
        raise StoreError(msg)
    return None


def create(connection: Connection) -> None:
    """Make the tables."""
    jobs_table().create(connection)
    kept_table().create(connection)
    version_table().create(connection)
    connection.execute(version_table().insert().values(version=SCHEMA_VERSION))
