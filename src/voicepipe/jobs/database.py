"""
The way to a SQL database: connections, transactions, threads, and its errors.

All that is known of SQLAlchemy's engine, of SQLite's and PostgreSQL's peculiarities and
of foreign exceptions is here; what a transaction does is not.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from voicepipe.errors import MissingExtraError, StoreError
from voicepipe.jobs import schema


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import ConnectionPoolEntry


T = TypeVar("T")

BUSY_PAUSES_S = (0.05, 0.2, 0.8)
"""
Longest pauses before another try when another process stood in the way, seconds.

Even with a time-out SQLite answers "busy" in some moments, as while another process's
last connection closes or recovers the file after a crash (sqlite.org/wal.html,
"Sometimes Queries Return SQLITE_BUSY In WAL Mode").
"""

_PRAGMAS = (
    # In WAL mode NORMAL may lose the last commits when the power fails.
    "PRAGMA synchronous = FULL",
    # On macOS fsync leaves data in the drive's own buffer; elsewhere no effect.
    "PRAGMA fullfsync = ON",
    "PRAGMA foreign_keys = ON",
)

_MEMORY = ":memory:"
"""SQLite's name for a database that is not in a file."""

_BEGIN = "voicepipe_begin"
"""Name of the execution option that holds the statement to begin with, or none."""

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}

_POSTGRES_CONNECTIONS = 4

_OPENING_LOCK = int.from_bytes(b"vpjobs")
"""Key of the advisory lock under which the tables are made; any number of our own."""

_POSTGRES_ROLLED_BACK = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock not available (PostgreSQL, appendix A)."""

_POSTGRES_AWAY = ("08", "53", "57P")
"""Classes of connection exceptions, lack of resources, shutdown (appendix A)."""


class Database:
    """
    One database with our tables, opened when it is first used.

    May be used from several event loops, one after the other or in several threads, and
    on both sides of a fork. A SQLite database has one connection for each process,
    because more of them only wait for each other.

    Args:
        address: A SQLAlchemy URL, ``":memory:"``, or the path of a SQLite file.
        busy_timeout_s: How long SQLite waits for another process's lock, seconds.

    Raises:
        MissingExtraError: If SQLAlchemy or the database's driver is not installed.
        ValueError: If the address is no URL of SQLite or PostgreSQL.
    """

    def __init__(
        self, address: str | os.PathLike[str], *, busy_timeout_s: float
    ) -> None:
        """Load SQLAlchemy; the database is not touched yet."""
        try:
            import sqlalchemy  # noqa: F401 - to say early and clearly what is missing
        except ImportError as exc:
            raise MissingExtraError("sqlalchemy", extra="sql") from exc
        url = _url(address)
        self._sqlite = url.get_backend_name() == "sqlite"
        self.address: str = _shown(url)
        self._engine = _engine(url, busy_timeout_s)
        # A limiter belongs to one event loop; across loops and threads the engine's
        # pool is what limits.
        self._limiter: RunVar[anyio.CapacityLimiter] = RunVar("voicepipe-database")
        self._opening = threading.Lock()
        self._is_open = False
        self._pid = os.getpid()
        self._inherited: list[object] = []
        # Python 3.13 warns of a SQLite connection that nobody has closed.
        weakref.finalize(self, _forget, self._engine, self._pid)

    async def in_thread(self, call: Callable[[], T]) -> T:
        """
        Run what reads or writes in a worker thread.

        Cancellation: while the call waits for its turn it is given up. Once begun it
        runs to its end and its value is given; the cancellation comes at the next wait.
        """
        self._leave_parent()
        return await anyio.to_thread.run_sync(call, limiter=self._turns())

    def read(self, work: Callable[[Connection], T]) -> T:
        """
        Run work in one transaction that does not write; for a worker thread.

        Raises:
            StoreError: If the database fails, or is not ours.
        """
        return self._patiently(work, "BEGIN")

    def write(self, work: Callable[[Connection], T]) -> T:
        """
        Run work in one transaction; for a worker thread.

        It may be run again after it was rolled back because the database was busy.

        Raises:
            StoreError: If the database fails, or is not ours.
        """
        # A transaction that reads first and then writes fails at once, without any
        # waiting, when another one has written in between.
        return self._patiently(work, "BEGIN IMMEDIATE")

    async def aclose(self) -> None:
        """
        Close the connections, when the calls of this event loop have ended.

        The next call opens the database again. Not cancellable, and short.
        """
        self._leave_parent()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._close, limiter=self._turns())

    def _turns(self) -> anyio.CapacityLimiter:
        limiter = self._limiter.get(None)
        if limiter is None:
            limiter = anyio.CapacityLimiter(
                1 if self._sqlite else _POSTGRES_CONNECTIONS
            )
            self._limiter.set(limiter)
        return limiter

    def _leave_parent(self) -> None:
        """After a fork, leave the connections to the parent, whose they are."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            # Not even closed: that would end the parent's locks and transactions
            # (sqlite.org/howtocorrupt.html, section 2.6).
            self._inherited.append(self._engine.pool)
            self._engine.dispose(close=False)
            self._opening = threading.Lock()
            self._is_open = False

    def _patiently(self, work: Callable[[Connection], T], begin: str) -> T:
        """Open, begin, work, commit; again for a few times where it was busy."""
        for pause in BUSY_PAUSES_S:
            try:
                with self._translated():
                    return self._once(work, begin)
            except StoreError as exc:
                if not _is_busy(exc.__cause__):
                    raise
            time.sleep(pause * random.random())  # noqa: S311 - no secret
        with self._translated():
            return self._once(work, begin)

    def _once(self, work: Callable[[Connection], T], begin: str) -> T:
        with self._opening:
            if not self._is_open:
                self._open()
                self._is_open = True
        return self._transaction(work, begin)

    def _open(self) -> None:
        try:
            # What is not ours must stay as it is, byte for byte, so look first.
            present = self._transaction(schema.is_present, "BEGIN")
            if self._sqlite:
                # Stays in the file. Where WAL cannot be had the answer is another mode,
                # which is as durable and only slower.
                self._transaction(_switch_to_wal, "")
            if not present:
                self._transaction(_create_unless_present, "BEGIN IMMEDIATE")
        except StoreError:
            self._close()
            raise

    def _transaction(self, work: Callable[[Connection], T], begin: str) -> T:
        with self._engine.connect() as connection:
            connection.execution_options(**{_BEGIN: begin})
            with connection.begin():
                return work(connection)

    def _close(self) -> None:
        self._engine.dispose()
        self._is_open = False

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn every foreign exception into a ``StoreError``."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except SQLAlchemyError as exc:
            # The first line of the driver's own words: the rest, and what SQLAlchemy
            # adds, may quote what was to be stored.
            words = str(getattr(exc, "orig", None) or exc).partition("\n")[0]
            msg = f"the job database {self.address} failed: {words}"
            retryable = _is_busy(exc) or _is_away(exc)
            raise StoreError(msg, retryable=retryable) from exc


def _url(address: str | os.PathLike[str]) -> URL:
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
        msg = f"jobs are stored in SQLite or PostgreSQL, not in {url.drivername!r}"
        raise ValueError(msg)
    if url.get_backend_name() == "sqlite" and (url.host or url.username):
        raise ValueError("a SQLite URL has three slashes before its path: sqlite:///…")
    return url.set(drivername=_DRIVERS[url.drivername])


def _shown(url: URL) -> str:
    """Write a URL without password, and without the query, which may hold one too."""
    import sqlalchemy as sa

    return sa.URL.create(
        url.get_backend_name(),
        url.username,
        host=url.host,
        port=url.port,
        database=None if url.database == _MEMORY else url.database,
    ).render_as_string()


def _engine(url: URL, busy_timeout_s: float) -> Engine:
    import sqlalchemy as sa
    from sqlalchemy import event

    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(
            url,
            # One connection that any thread may use, one at a time. For a database in
            # memory it is the database.
            poolclass=sa.QueuePool,
            pool_size=1,
            max_overflow=0,
            # No transaction begins by itself: see _begin.
            connect_args={
                "timeout": busy_timeout_s,
                "isolation_level": None,
                "check_same_thread": False,
            },
            hide_parameters=True,
        )
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        return engine
    try:
        return sa.create_engine(
            url,
            pool_size=_POSTGRES_CONNECTIONS,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,
        )
    except ImportError as exc:
        raise MissingExtraError("psycopg", extra="sql") from exc


def _prepare(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    """Set what SQLite keeps for each connection."""
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    statement = connection.get_execution_options().get(_BEGIN, "BEGIN")
    if statement:
        connection.exec_driver_sql(statement)


def _switch_to_wal(connection: Connection) -> None:
    connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar()


def _create_unless_present(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # There, unlike in SQLite, two transactions may write at the same time.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_OPENING_LOCK})")
    # Another process may have been faster since we looked.
    if not schema.is_present(connection):
        schema.create(connection)


def _forget(engine: Engine, pid: int) -> None:
    """Close what a forgotten database leaves open, unless it is the parent's."""
    if os.getpid() == pid:
        engine.dispose()


def _is_busy(exc: BaseException | None) -> bool:
    """Whether others stood in the way, so that nothing was written."""
    orig = getattr(exc, "orig", None)
    if isinstance(orig, sqlite3.Error):
        # The low byte is the primary code (sqlite.org/rescode.html).
        code = getattr(orig, "sqlite_errorcode", 0) & 0xFF
        return code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
    return getattr(orig, "sqlstate", None) in _POSTGRES_ROLLED_BACK


def _is_away(exc: SQLAlchemyError) -> bool:
    """Whether the database, or a free connection to it, could not be had."""
    from sqlalchemy.exc import DBAPIError, OperationalError
    from sqlalchemy.exc import TimeoutError as PoolTimeoutError

    if isinstance(exc, PoolTimeoutError):
        return True
    if not isinstance(exc, DBAPIError) or isinstance(exc.orig, sqlite3.Error):
        return False
    state: Any = getattr(exc.orig, "sqlstate", None)
    if state is None:
        # libpq gives no code where it did not get through to the server.
        return exc.connection_invalidated or isinstance(exc, OperationalError)
    return str(state).startswith(_POSTGRES_AWAY)
