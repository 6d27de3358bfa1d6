"""
Addresses of databases, and connections that keep what they are told to keep.

What SQLite and PostgreSQL must be told for each connection is here; what is done with
one is ``database``'s.
"""

from __future__ import annotations

import enum
import logging
import os
from typing import TYPE_CHECKING, Any

from voicepipe.errors import MissingExtraError


if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.pool import ConnectionPoolEntry


POSTGRES_CONNECTIONS = 4
"""Most connections that one process has to a PostgreSQL server."""


class Begin(enum.Enum):
    """How a transaction begins; the values are SQLite's statements."""

    READ = "BEGIN"
    WRITE = "BEGIN IMMEDIATE"
    """
    A transaction that reads first and then writes fails at once, without any waiting,
    when another one has written in between.
    """
    ALONE = ""
    """Each statement is a transaction of its own."""


_LOGGING_NAME = "voicepipe"
"""What the log of SQLAlchemy calls our engines."""

_PRAGMAS = (
    # In WAL mode NORMAL may lose the last commits when the power fails.
    "PRAGMA synchronous = FULL",
    # On macOS fsync leaves data in the drive's own buffer; elsewhere no effect.
    "PRAGMA fullfsync = ON",
    "PRAGMA foreign_keys = ON",
    # What was deleted is overwritten, also what was kept for a job that is done.
    "PRAGMA secure_delete = ON",
)

_MEMORY = ":memory:"
"""SQLite's name for a database that is not in a file."""

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    # As hosted databases give it.
    "postgres": "postgresql+psycopg",
}

IDLE_TRANSACTION_S = 30.0
"""
How long a PostgreSQL server waits for the next statement of a transaction, seconds.

Between two of ours there is no waiting. One whose process was stopped, or whose machine
has gone, keeps its rows locked, and a claim passes locked rows by.
"""

_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    # Milliseconds that what was sent may stay without an answer of the network.
    "tcp_user_timeout": 60_000,
}
"""
How soon a server that has gone away is noticed, seconds; what the URL says counts.

Without them libpq waits for as long as the system does, hours where a machine
disappears (postgresql.org/docs/current/libpq-connect.html, section 34.1.2).
"""


def url_of(address: str | os.PathLike[str]) -> URL:
    """
    Read an address: a SQLAlchemy URL, ``":memory:"``, or the path of a SQLite file.

    Raises:
        ValueError: If it is no URL of SQLite or PostgreSQL.
    """
    import sqlalchemy as sa
    from sqlalchemy.exc import ArgumentError

    if not isinstance(address, str) or "://" not in address:
        return sa.URL.create("sqlite+pysqlite", database=os.fspath(address))
    url: URL | None
    try:
        url = sa.make_url(address)
    except (ArgumentError, ValueError):
        # Not chained to ours below: it may quote the address with its password.
        url = None
    if url is None:
        raise ValueError("this is no database URL; use one like sqlite:///jobs.db")
    if url.drivername not in _DRIVERS:
        told = "SQLite or PostgreSQL, through pysqlite or psycopg 3"
        msg = f"jobs are stored in {told}, not in {url.drivername!r}"
        raise ValueError(msg)
    if url.get_backend_name() == "sqlite" and (url.host or url.username):
        raise ValueError("a SQLite URL has three slashes before its path: sqlite:///…")
    return url.set(drivername=_DRIVERS[url.drivername])


def shown(url: URL) -> str:
    """Write a URL without password, and without the query, which may hold one too."""
    import sqlalchemy as sa

    return sa.URL.create(
        url.get_backend_name(),
        url.username,
        host=url.host,
        port=url.port,
        database=None if url.database == _MEMORY else url.database,
    ).render_as_string()


def engines_for(url: URL, busy_timeout_s: float) -> Mapping[Begin, Engine]:
    """
    Make what gives connections for each kind of transaction, from one pool.

    None is made yet.

    Args:
        url: What ``url_of`` gives.
        busy_timeout_s: How long a statement waits for another transaction, seconds.

    Raises:
        MissingExtraError: If the database's driver is not installed.
    """
    # Whoever lets SQLAlchemy tell everything would have whole rows in the log, and in
    # them what was said: ``hide_parameters`` is for what is sent only.
    log = logging.getLogger(f"sqlalchemy.engine.Engine.{_LOGGING_NAME}")
    if log.level == logging.NOTSET:
        log.setLevel(logging.WARNING)
    if url.get_backend_name() == "sqlite":
        engine = _sqlite(url, busy_timeout_s)
        return dict.fromkeys(Begin, engine)
    engine = _postgres(url, busy_timeout_s)
    alone = engine.execution_options(isolation_level="AUTOCOMMIT")
    return {
        Begin.READ: engine,
        Begin.WRITE: engine,
        Begin.ALONE: alone,
    }


def begin_sqlite(connection: Connection, begin: Begin) -> None:
    """
    Begin a transaction of SQLite.

    By a call, not by an event of SQLAlchemy's: with a listener to any of its events an
    engine takes half as long again for every statement.
    """
    if begin.value:
        # Past SQLAlchemy, which takes longer for it than SQLite.
        connection.connection.cursor().execute(begin.value)


def _sqlite(url: URL, busy_timeout_s: float) -> Engine:
    import sqlalchemy as sa
    from sqlalchemy import event

    engine = sa.create_engine(
        url,
        # One connection that any thread may use, one at a time. For a database in
        # memory it is the database.
        poolclass=sa.QueuePool,
        pool_size=1,
        max_overflow=0,
        logging_name=_LOGGING_NAME,
        # A parameter that is used three times is given once.
        paramstyle="named",
        # Every transaction has ended when a connection is given back.
        pool_reset_on_return=None,
        # No transaction begins by itself: see begin_sqlite.
        connect_args={
            "timeout": busy_timeout_s,
            "isolation_level": None,
            "check_same_thread": False,
        },
        hide_parameters=True,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    """Set what SQLite keeps for each connection."""
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _postgres(url: URL, busy_timeout_s: float) -> Engine:
    import sqlalchemy as sa
    from sqlalchemy import event

    try:
        engine = sa.create_engine(
            url,
            pool_size=POSTGRES_CONNECTIONS,
            max_overflow=0,
            pool_pre_ping=True,
            logging_name=_LOGGING_NAME,
            connect_args={k: v for k, v in _PATIENCE.items() if k not in url.query},
            hide_parameters=True,
        )
    except ImportError as exc:
        raise MissingExtraError("psycopg", extra="sql") from exc
    times = {
        "lock_timeout": busy_timeout_s,
        "idle_in_transaction_session_timeout": IDLE_TRANSACTION_S,
    }

    def prepare(connection: Any, _: ConnectionPoolEntry) -> None:
        """Set what PostgreSQL keeps for each connection."""
        with connection.cursor() as cursor:
            for name, seconds in times.items():
                value = f"{max(1, round(seconds * 1_000))}ms"
                cursor.execute("SELECT set_config(%s, %s, false)", [name, value])
            # What a server says is done must be so. Stricter settings stay.
            cursor.execute(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
            )
        connection.commit()

    event.listen(engine, "connect", prepare)
    return engine
