"""What has become of each recording, on disk beside the WAV files."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
from typing import TYPE_CHECKING, NamedTuple, Self

from voicepipe.errors import BatchError, DiskFullError
from voicepipe.io.atomic import DiskErrors
from voicepipe.io.batch import schema
from voicepipe.io.batch.entries import PLACES
from voicepipe.io.batch.files import Written
from voicepipe.io.batch.lock import FolderLock, in_use


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from voicepipe.io.batch.entries import Entry


LEDGER_NAME = ".voicepipe-batch.sqlite3"
LOCK_NAME = ".voicepipe-batch.lock"

_PRAGMAS = (
    # One process alone, which SQLite ensures too; needs no shared memory, so that WAL
    # mode works on a network's file systems (sqlite.org/wal.html section 8).
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = WAL",
    # A commit then costs no flush. A killed process loses nothing; a power cut may take
    # the last commits, whose files are fetched once more. Each file itself is flushed
    # before it gets its name, and compared with the ledger before it is trusted.
    "PRAGMA synchronous = NORMAL",
    "PRAGMA temp_store = MEMORY",
)


class Result(NamedTuple):
    """
    What has become of one file.

    Attributes:
        filename: The file's name, under which it was asked for.
        fingerprint: Of what was asked for.
        written: The file; ``None`` if it could not be had.
        provenance: What the manifest shows of it, as JSON.
        cause: Name of the error's class, ``None`` without an error.
        error: What it says.
    """

    filename: str
    fingerprint: bytes
    written: Written | None
    provenance: str = "{}"
    cause: str | None = None
    error: str | None = None


class Listed(NamedTuple):
    """One entry of the list, and what has become of it."""

    position: int
    status: str
    about: str
    filename: str | None
    written: Written | None
    provenance: str | None
    cause: str | None
    error: str | None


class Ledger:
    """
    The ledger of one folder, held by this process alone; for worker threads.

    May be called from several threads at once: they take turns.

    Args:
        folder: Where the WAV files are; must exist.

    Raises:
        BatchError: If somebody else is at work in the folder (retryable), or the file
            is not a ledger, or is damaged.
        DiskFullError: From all methods, if there is no space left.
        OSError: If the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        """Open the ledger, or make one."""
        self.path: Path = folder / LEDGER_NAME
        self._turn = threading.Lock()
        with DiskErrors(self.path), contextlib.ExitStack() as stack:
            stack.enter_context(FolderLock(folder / LOCK_NAME))
            with self._translated():
                schema.prepare(self.path)
                connection = sqlite3.connect(
                    self.path,
                    timeout=0.5,
                    # No transaction begins by itself.
                    isolation_level=None,
                    check_same_thread=False,
                )
                stack.callback(connection.close)
                for pragma in _PRAGMAS:
                    connection.execute(pragma).fetchall()
                # SQLite takes the lock only with the first access.
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("COMMIT")
            self._connection = connection
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._turn:
            self._stack.close()

    def begin_list(self) -> None:
        """Forget the list of the last run, not what became of it."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM listing")

    def results(self, keys: Sequence[str]) -> dict[str, Result]:
        """Give what is known of files, by their keys; at most a few hundred."""
        marks = ", ".join("?" * len(keys))
        query = (
            "SELECT key, filename, fingerprint, size, mtime_ns, sha256, provenance, "  # noqa: S608
            f"error_class, error FROM results WHERE key IN ({marks})"
        )
        with self._transaction() as connection:
            rows = connection.execute(query, keys).fetchall()
        return {
            key: Result(name, fingerprint, _written(*written), *rest)
            for key, name, fingerprint, *written, provenance, cause, error in rows
            for rest in [(provenance, cause, error)]
        }

    def enlist(self, entries: Iterable[tuple[Entry, str]]) -> list[bytes | None]:
        """
        Add entries to the list, each with its status.

        Returns:
            For each ``None``, or, where its file's name is taken by an earlier entry,
            that one's fingerprint: it was not added.
        """
        taken: list[bytes | None] = []
        with self._transaction() as connection:
            for entry, status in entries:
                added = connection.execute(
                    "INSERT INTO listing VALUES (?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (key) DO NOTHING",
                    (
                        entry.position,
                        entry.key,
                        entry.fingerprint,
                        status,
                        entry.about,
                        entry.cause or None,
                        entry.error or None,
                    ),
                ).rowcount
                taken.append(None if added else _fingerprint(connection, entry.key))
        return taken

    def touch(self, written: Iterable[tuple[str, Written]]) -> None:
        """Keep the new times of files whose content is what it was."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE results SET mtime_ns = ? WHERE key = ?",
                [(file.mtime_ns, key) for key, file in written],
            )

    def record(self, position: int, key: str, result: Result) -> None:
        """Keep what has become of an entry."""
        size, mtime_ns, sha256 = result.written or (None, None, None)
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    key,
                    result.filename,
                    result.fingerprint,
                    size,
                    mtime_ns,
                    sha256,
                    result.provenance,
                    result.cause,
                    result.error,
                ),
            )
            connection.execute(
                "UPDATE listing SET status = ? WHERE position = ?",
                ("failed" if result.written is None else "done", position),
            )

    def pending(self, after: int, most: int) -> list[tuple[int, bytes]]:
        """Give position and fingerprint of the next entries that are to be done."""
        with self._transaction() as connection:
            return connection.execute(
                "SELECT position, fingerprint FROM listing "
                "WHERE status = 'pending' AND position > ? ORDER BY position LIMIT ?",
                (after, most),
            ).fetchall()

    def first_rows(self, rows: int) -> tuple[int, int]:
        """
        Find the first rows that are to be done.

        Returns:
            The position of the last of their entries, and the number of these.
        """
        position, count, seen = -1, 0, 0
        with self._transaction() as connection:
            for (found,) in connection.execute(
                "SELECT position FROM listing WHERE status = 'pending' ORDER BY 1"
            ):
                seen += found // PLACES != position // PLACES
                if seen > rows:
                    break
                position, count = found, count + 1
        return position, count

    def listed(self, after: int, most: int) -> list[Listed]:
        """Give the next entries of the list with what has become of them."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT position, status, about, filename, size, mtime_ns, sha256, "
                "provenance, coalesce(listing.error_class, results.error_class), "
                "coalesce(listing.error, results.error) "
                "FROM listing LEFT JOIN results ON results.key = listing.key "
                "AND listing.status <> 'pending' "
                "WHERE position > ? ORDER BY position LIMIT ?",
                (after, most),
            ).fetchall()
        return [
            Listed(at, status, about, name, _written(*written), *rest)
            for at, status, about, name, *written, provenance, cause, error in rows
            for rest in [(provenance, cause, error)]
        ]

    def counts(self) -> dict[str, int]:
        """Give the number of entries with each status."""
        with self._transaction() as connection:
            return dict(
                connection.execute("SELECT status, count(*) FROM listing GROUP BY 1")
            )

    def causes(self) -> dict[str, int]:
        """Give the number of failed entries by cause, the most frequent first."""
        with self._transaction() as connection:
            return dict(
                connection.execute(
                    "SELECT coalesce(listing.error_class, results.error_class), "
                    "count(*) FROM listing LEFT JOIN results USING (key) "
                    "WHERE status = 'failed' GROUP BY 1 ORDER BY 2 DESC, 1"
                )
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._turn, self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn SQLite's exceptions into ours."""
        try:
            yield
        except sqlite3.Error as exc:
            # The low byte is the primary code (sqlite.org/rescode.html).
            code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_FULL:
                full = errno.ENOSPC
                raise DiskFullError(full, os.strerror(full), str(self.path)) from exc
            if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise in_use(self.path.parent) from exc
            msg = f"the ledger {self.path} failed: {exc}"
            if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                msg += "; without it everything is fetched again"
            raise BatchError(msg) from exc


def _written(size: int | None, mtime_ns: int, sha256: str) -> Written | None:
    return None if size is None else Written(size, mtime_ns, sha256)


def _fingerprint(connection: sqlite3.Connection, key: str | None) -> bytes:
    query = "SELECT fingerprint FROM listing WHERE key = ?"
    return bytes(connection.execute(query, (key,)).fetchone()[0])
