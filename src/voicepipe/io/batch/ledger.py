"""What has become of each recording, on disk beside the WAV files."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple, Self

from voicepipe.io.atomic import DiskErrors
from voicepipe.io.batch.entries import PLACES
from voicepipe.io.batch.files import Written
from voicepipe.io.batch.lock import FolderLock
from voicepipe.io.batch.schema import LEDGER
from voicepipe.io.own_database import OwnDatabase


if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from voicepipe.io.batch.entries import Entry


LEDGER_NAME = ".voicepipe-batch.sqlite3"
LOCK_NAME = ".voicepipe-batch.lock"


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
        path = folder / LEDGER_NAME
        with DiskErrors(path), contextlib.ExitStack() as stack:
            stack.enter_context(FolderLock(folder / LOCK_NAME))
            self._database = OwnDatabase(path, LEDGER)
            stack.callback(self._database.close)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin_list(self) -> None:
        """Forget the list of the last run, not what became of it."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM listing")

    def results(self, keys: Sequence[str]) -> dict[str, Result]:
        """Give what is known of files, by their keys; at most a few hundred."""
        marks = ", ".join("?" * len(keys))
        query = (
            "SELECT key, filename, fingerprint, size, mtime_ns, sha256, provenance, "  # noqa: S608
            f"error_class, error FROM results WHERE key IN ({marks})"
        )
        with self._database.transaction() as connection:
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
        with self._database.transaction() as connection:
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
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE results SET mtime_ns = ? WHERE key = ?",
                [(file.mtime_ns, key) for key, file in written],
            )

    def record(self, position: int, key: str, result: Result) -> None:
        """Keep what has become of an entry."""
        size, mtime_ns, sha256 = result.written or (None, None, None)
        with self._database.transaction() as connection:
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
        with self._database.transaction() as connection:
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
        with self._database.transaction() as connection:
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
        with self._database.transaction() as connection:
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
        with self._database.transaction() as connection:
            return dict(
                connection.execute("SELECT status, count(*) FROM listing GROUP BY 1")
            )

    def causes(self) -> dict[str, int]:
        """Give the number of failed entries by cause, the most frequent first."""
        with self._database.transaction() as connection:
            return dict(
                connection.execute(
                    "SELECT coalesce(listing.error_class, results.error_class), "
                    "count(*) FROM listing LEFT JOIN results USING (key) "
                    "WHERE status = 'failed' GROUP BY 1 ORDER BY 2 DESC, 1"
                )
            )


def _written(size: int | None, mtime_ns: int, sha256: str) -> Written | None:
    return None if size is None else Written(size, mtime_ns, sha256)


def _fingerprint(connection: sqlite3.Connection, key: str | None) -> bytes:
    query = "SELECT fingerprint FROM listing WHERE key = ?"
    return bytes(connection.execute(query, (key,)).fetchone()[0])
