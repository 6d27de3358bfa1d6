"""Tables of an older version become those of this one, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.jobs import schema


if TYPE_CHECKING:
    from sqlalchemy import Connection


_NEW_IN_2 = ("name", "key", "tries", "progress", "edits")


def upgrade(connection: Connection, version: int) -> None:
    """
    Bring the tables from a version to the current one.

    Args:
        connection: In a transaction that is alone on these tables.
        version: The version they have.
    """
    if version < 2:
        if connection.dialect.name == "sqlite":
            _rebuild_jobs(connection)
        else:
            _extend_jobs(connection)
        # Nobody has counted tries; a claim that is held is one, so that it can be
        # given back.
        connection.exec_driver_sql(
            "UPDATE jobs SET tries = 1 WHERE lease_until IS NOT NULL"
        )
        schema.kept_table().create(connection)
    table = schema.version_table()
    connection.execute(table.update().values(version=schema.SCHEMA_VERSION))


def _rebuild_jobs(connection: Connection) -> None:
    """Copy the rows into a table with the columns in the order they are to have."""
    jobs = schema.jobs_table()
    connection.exec_driver_sql("ALTER TABLE jobs RENAME TO jobs_1")
    connection.exec_driver_sql("DROP INDEX ix_jobs_status_id")
    jobs.create(connection)
    columns = ", ".join(c.name for c in jobs.columns if c.name not in _NEW_IN_2)
    connection.exec_driver_sql(
        f"INSERT INTO jobs ({columns}) SELECT {columns} FROM jobs_1"  # noqa: S608 - ours
    )
    # The ids of deleted jobs must not come back.
    connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = 'jobs'")
    connection.exec_driver_sql(
        "UPDATE sqlite_sequence SET name = 'jobs' WHERE name = 'jobs_1'"
    )
    connection.exec_driver_sql("DROP TABLE jobs_1")


def _extend_jobs(connection: Connection) -> None:
    """Add the columns; PostgreSQL keeps large values outside of the rows anyway."""
    import sqlalchemy as sa

    jobs = schema.jobs_table()
    for name in _NEW_IN_2:
        column = sa.schema.CreateColumn(jobs.c[name]).compile(connection)
        connection.exec_driver_sql(f"ALTER TABLE jobs ADD COLUMN {column}")
    known = {index["name"] for index in sa.inspect(connection).get_indexes("jobs")}
    for index in jobs.indexes:
        if index.name not in known:
            index.create(connection)
