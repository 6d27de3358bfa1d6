"""
SQLite files of our own: told from other files, made whole, held by one process.

What is in them, and what is said of them, belongs to who keeps them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from voicepipe.errors import DiskFullError, VoicepipeError
from voicepipe.io.atomic import DiskErrors


if TYPE_CHECKING:
    from collections.abc import Iterator


# The header of a database file, sqlite.org/fileformat2.html section 1.3.
_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\0"
_USER_VERSION = slice(60, 64)
_APPLICATION_ID = slice(68, 72)

# What SQLite keeps beside a database.
_BESIDE = ("-wal", "-shm", "-journal")


@attrs.frozen(kw_only=True)
class DatabaseKind:
    """
    What the databases of one kind hold, how they are known, and the words for them.

    Attributes:
        mark: By which a file is known to be one: the application id in its header, four
            bytes.
        version: The version of the tables that is read and written, from 1.
        tables: SQL that makes them.
        synchronous: Whether a commit is on disk (``"FULL"``), or a power cut may take
            the last ones and nothing else (``"NORMAL"``).
        name: What one is called in errors, with no article.
        title: The same with one, telling it from what it is mistaken for.
        error: Makes an error of a message.
        in_use: Makes the error for a folder whose database somebody else has open.
        damaged: What the error for a damaged one says at its end.
    """

    mark: bytes
    version: int
    tables: str
    synchronous: Literal["NORMAL", "FULL"]
    name: str
    title: str
    error: Callable[[str], VoicepipeError]
    in_use: Callable[[Path], VoicepipeError]
    damaged: str = ""


class OwnDatabase:
    """
    A database of our own, held by this process alone; for worker threads.

    May be called from several threads at once: they take turns. A file that is not of
    the kind is left as it is: only its header is looked at, as opening a database of
    somebody else with SQLite could end in its recovery.

    Args:
        path: The file, made if there is none; its folder must exist.
        kind: What it has to be.

    Raises:
        VoicepipeError: As the kind makes it, from all methods: if the file is of
            another kind or version, is damaged, or in use.
        DiskFullError: From all methods, if there is no space left.
        OSError: If the file cannot be read or made.
    """

    def __init__(self, path: Path, kind: DatabaseKind) -> None:
        """Open the database, or make one."""
        self._path = path
        self._kind = kind
        self._turn = threading.Lock()
        with DiskErrors(path), self._translated(), contextlib.ExitStack() as stack:
            _prepare(path, kind)
            self._connection = sqlite3.connect(
                path,
                timeout=0.5,
                # No transaction begins by itself.
                isolation_level=None,
                check_same_thread=False,
            )
            stack.callback(self._connection.close)
            for statement in (
                # One process alone, which SQLite ensures too; needs no shared memory,
                # so that WAL mode works on a network's file systems
                # (sqlite.org/wal.html section 8).
                "PRAGMA locking_mode = EXCLUSIVE",
                "PRAGMA journal_mode = WAL",
                f"PRAGMA synchronous = {kind.synchronous}",
                "PRAGMA temp_store = MEMORY",
                # SQLite takes the lock only with the first access.
                "BEGIN IMMEDIATE",
                "COMMIT",
            ):
                self._connection.execute(statement).fetchall()
            stack.pop_all()

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection for one transaction, undone if the block raises."""
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
                raise DiskFullError(full, os.strerror(full), str(self._path)) from exc
            if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise self._kind.in_use(self._path.parent) from exc
            msg = f"the {self._kind.name} {self._path} failed: {exc}"
            if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                msg += self._kind.damaged
            raise self._kind.error(msg) from exc


def _prepare(path: Path, kind: DatabaseKind) -> None:
    """See that there is a database of a kind; it has its marks as soon as its name."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        _create(path, kind)
        return
    if not header.startswith(_MAGIC) or header[_APPLICATION_ID] != kind.mark:
        raise kind.error(f"{path} is not {kind.title}; it is left as it is")
    version = int.from_bytes(header[_USER_VERSION])
    if version != kind.version:
        msg = (
            f"the {kind.name} {path} has schema version {version}, this voicepipe "
            f"reads version {kind.version}; use the voicepipe that wrote it or a newer "
            "one"
        )
        raise kind.error(msg)


def _create(path: Path, kind: DatabaseKind) -> None:
    """Make an empty database that has its name only when it is whole."""
    part = path.parent / f".voicepipe-{secrets.token_hex(8)}.part"
    try:
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as made:
            made.execute("PRAGMA journal_mode = MEMORY")
            made.executescript(
                f"BEGIN; {kind.tables} "
                f"PRAGMA application_id = {int.from_bytes(kind.mark)}; "
                f"PRAGMA user_version = {kind.version}; COMMIT;"
            )
            # Stays in the file. Locked alone it needs no shared memory.
            made.execute("PRAGMA locking_mode = EXCLUSIVE")
            made.execute("PRAGMA journal_mode = WAL")
        for suffix in _BESIDE:
            # Left of one that somebody removed: SQLite would take it for this one's.
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
