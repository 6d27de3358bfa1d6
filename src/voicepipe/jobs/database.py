"""
The way to a SQL database: opening, transactions, threads, and its errors.

All that is known of foreign exceptions is here; what a transaction does is not.
"""

from __future__ import annotations

import contextlib
import logging
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
from voicepipe.jobs.connect import (
    POSTGRES_CONNECTIONS,
    Begin,
    begin_sqlite,
    engines_for,
    shown,
    url_of,
)
from voicepipe.jobs.upgrade import upgrade


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine


T = TypeVar("T")

_logger = logging.getLogger(__name__)

BUSY_PAUSES_S = (0.05, 0.2, 0.8)
"""
Longest pauses before another try when another process stood in the way, seconds.

Even with a time-out SQLite answers "busy" in some moments, as while another process's
last connection closes or recovers the file after a crash (sqlite.org/wal.html,
"Sometimes Queries Return SQLITE_BUSY In WAL Mode").
"""

_OLDEST_SQLITE = (3, 35, 0)
"""The first that gives the rows it has changed (sqlite.org/lang_returning.html)."""

_OPENING_LOCK = int.from_bytes(b"vpjobs")
"""Key of the advisory lock under which the tables are made; any number of our own."""

_POSTGRES_ROLLED_BACK = frozenset({"25P03", "40001", "40P01", "55P03"})
"""
Idle in a transaction, serialization failure, deadlock, lock not available.

Nothing was written (PostgreSQL, appendix A, "Error Codes").
"""

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
        busy_timeout_s: How long one try waits for another process's lock, seconds, and
            for how long there is another try at least.

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
        url = url_of(address)
        self.dialect: str = url.get_backend_name()
        self._sqlite = self.dialect == "sqlite"
        self.address: str = shown(url)
        self._busy_timeout_s = busy_timeout_s
        self._engines = engines_for(url, busy_timeout_s)
        # They share one pool of connections.
        self._engine = self._engines[Begin.READ]
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
        Run work that reads with one statement; for a worker thread.

        Raises:
            StoreError: If the database fails, or is not ours.
        """
        return self._patiently(work, Begin.ALONE)

    def write(self, work: Callable[[Connection], T]) -> T:
        """
        Run work in one transaction; for a worker thread.

        It may be run again after it was rolled back because the database was busy.

        Raises:
            StoreError: If the database fails, or is not ours.
        """
        return self._patiently(work, Begin.WRITE)

    def write_alone(self, work: Callable[[Connection], T]) -> T:
        """
        Run work of one statement, or of several that need not hold together.

        Faster than ``write`` by the beginning and the end of a transaction.

        Raises:
            StoreError: If the database fails, or is not ours.
        """
        return self._patiently(work, Begin.ALONE)

    def forget(self) -> None:
        """
        Overwrite also the copies of deleted rows in SQLite's log; for a worker thread.

        As far as the other processes let it: what they are reading stays until later.
        The rows are gone whatever comes of this, so a failure is no more than logged.
        """
        if not self._sqlite:
            return
        try:
            self._patiently(_empty_log, Begin.ALONE)
        except StoreError as exc:
            _logger.warning("what was deleted may still be in the log: %s", exc)

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
            limiter = anyio.CapacityLimiter(1 if self._sqlite else POSTGRES_CONNECTIONS)
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

    def _patiently(self, work: Callable[[Connection], T], begin: Begin) -> T:
        """Open, begin, work, commit; again for a few times where it was busy."""
        for pause in self._pauses():
            try:
                with self._translated():
                    return self._once(work, begin)
            except StoreError as exc:
                if not _is_busy(exc.__cause__):
                    raise
            time.sleep(pause * random.random())  # noqa: S311 - no secret
        with self._translated():
            return self._once(work, begin)

    def _pauses(self) -> Iterator[float]:
        """
        Give the longest pauses between tries, seconds.

        Where SQLite does not wait for who stands in the way, these do: it turns away at
        once who makes a new file while another process is making it.
        """
        deadline = time.monotonic() + self._busy_timeout_s
        yield from BUSY_PAUSES_S
        while time.monotonic() < deadline:
            yield BUSY_PAUSES_S[-1]

    def _once(self, work: Callable[[Connection], T], begin: Begin) -> T:
        with self._opening:
            if not self._is_open:
                self._open()
                self._is_open = True
        return self._transaction(work, begin)

    def _open(self) -> None:
        try:
            # What is not ours must stay as it is, byte for byte, so look first.
            version = self._transaction(schema.stored_version, Begin.READ)
            if self._sqlite:
                _check_sqlite()
                # Stays in the file. Where WAL cannot be had the answer is another mode,
                # which is as durable and only slower.
                self._transaction(_switch_to_wal, Begin.ALONE)
            if version != schema.SCHEMA_VERSION:
                self._transaction(_bring_up, Begin.WRITE)
        except StoreError:
            self._close()
            raise

    def _transaction(self, work: Callable[[Connection], T], begin: Begin) -> T:
        with self._engines[begin].begin() as connection:
            if self._sqlite:
                begin_sqlite(connection, begin)
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
        except (SQLAlchemyError, sqlite3.Error) as exc:
            # The first line of the driver's own words: the rest, and what SQLAlchemy
            # adds, may quote what was to be stored.
            words = str(getattr(exc, "orig", None) or exc).partition("\n")[0]
            msg = f"the job database {self.address} failed: {words}"
            retryable = _is_busy(exc) or _is_away(exc)
            raise StoreError(msg, retryable=retryable) from exc


def _check_sqlite() -> None:
    """Refuse a SQLite that cannot give the rows it has changed."""
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        oldest = ".".join(map(str, _OLDEST_SQLITE))
        msg = f"SQLite {oldest} is needed, this Python has {sqlite3.sqlite_version}"
        raise StoreError(msg)


def _switch_to_wal(connection: Connection) -> None:
    connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar()


def _empty_log(connection: Connection) -> None:
    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()


def _bring_up(connection: Connection) -> None:
    """Make the tables, or bring older ones to this version."""
    if connection.dialect.name == "postgresql":
        # There, unlike in SQLite, two transactions may write at the same time.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_OPENING_LOCK})")
    # Another process may have been faster since we looked.
    version = schema.stored_version(connection)
    if version is None:
        schema.create(connection)
    elif version != schema.SCHEMA_VERSION:
        upgrade(connection, version)


def _forget(engine: Engine, pid: int) -> None:
    """Close what a forgotten database leaves open, unless it is the parent's."""
    if os.getpid() == pid:
        engine.dispose()


def _is_busy(exc: BaseException | None) -> bool:
    """Whether others stood in the way, so that nothing was written."""
    orig = getattr(exc, "orig", exc)
    if isinstance(orig, sqlite3.Error):
        return _primary_code(orig) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
    return getattr(orig, "sqlstate", None) in _POSTGRES_ROLLED_BACK


def _is_away(exc: Exception) -> bool:
    """Whether the database, a connection to it, or room in it could not be had."""
    from sqlalchemy.exc import DBAPIError, OperationalError
    from sqlalchemy.exc import TimeoutError as PoolTimeoutError

    if isinstance(exc, PoolTimeoutError):
        return True
    orig = getattr(exc, "orig", exc)
    if isinstance(orig, sqlite3.Error):
        return _primary_code(orig) == sqlite3.SQLITE_FULL
    if not isinstance(exc, DBAPIError):
        return False
    state: Any = getattr(orig, "sqlstate", None)
    if state is None:
        # libpq gives no code where it did not get through to the server.
        return exc.connection_invalidated or isinstance(exc, OperationalError)
    return str(state).startswith(_POSTGRES_AWAY)


def _primary_code(exc: sqlite3.Error) -> int:
    """Give the low byte of SQLite's code (sqlite.org/rescode.html)."""
    code: int = getattr(exc, "sqlite_errorcode", 0)
    return code & 0xFF
