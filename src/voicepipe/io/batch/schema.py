"""
How a ledger is laid out, and how one is told from other files.

Table ``listing`` holds the list of the last run, one row for each entry, without what
could be secret of a URL. Table ``results`` holds what has become of each file that any
list of this folder has named, so that a row that was taken out of a list and put back
is not fetched again. Both ``about`` and ``provenance`` are JSON objects: what the
manifest shows.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from typing import TYPE_CHECKING

from voicepipe.errors import BatchError


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


APPLICATION_ID = int.from_bytes(b"vpba")
"""How a ledger is known to be one, in the header of the file."""

SCHEMA_VERSION = 1
"""The version this code reads and writes."""

_TABLES = f"""
BEGIN;
CREATE TABLE listing (
    position INTEGER PRIMARY KEY,
    key TEXT UNIQUE,             -- the file's name in lower case; NULL: none
    fingerprint BLOB NOT NULL,
    status TEXT NOT NULL,        -- pending, done, skipped, failed
    about TEXT NOT NULL,
    error_class TEXT,            -- what is wrong with the row itself
    error TEXT
);
CREATE INDEX listing_pending ON listing (position) WHERE status = 'pending';
CREATE TABLE results (
    key TEXT PRIMARY KEY,
    filename TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    size INTEGER,                -- of the WAV file; NULL: it failed
    mtime_ns INTEGER,
    sha256 TEXT,
    provenance TEXT NOT NULL,
    error_class TEXT,
    error TEXT
) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""

# The header of a database file, sqlite.org/fileformat2.html section 1.3.
_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\0"
_USER_VERSION = slice(60, 64)
_APPLICATION_ID = slice(68, 72)

# What SQLite keeps beside a database.
_BESIDE = ("-wal", "-shm", "-journal")


def prepare(path: Path) -> None:
    """
    See that there is a ledger, without touching what is not one.

    Only the header is looked at: opening a database of somebody else with SQLite could
    end in its recovery. A ledger has its marks there from the moment it has its name.

    Raises:
        BatchError: If the file is not a ledger, or one of another version.
        OSError: If it cannot be read or made.
        sqlite3.Error: If it cannot be made.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        _create(path)
        return
    if not (
        header.startswith(_MAGIC)
        and int.from_bytes(header[_APPLICATION_ID]) == APPLICATION_ID
    ):
        msg = f"{path} is not a ledger of voicepipe; it is left as it is"
        raise BatchError(msg)
    version = int.from_bytes(header[_USER_VERSION])
    if version != SCHEMA_VERSION:
        msg = (
            f"the ledger {path} has schema version {version}, this voicepipe reads "
            f"version {SCHEMA_VERSION}; use the voicepipe that wrote it or a newer one"
        )
        raise BatchError(msg)


def _create(path: Path) -> None:
    """Make an empty ledger that has its name only when it is whole."""
    part = path.parent / f".voicepipe-{secrets.token_hex(8)}.part"
    try:
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as made:
            made.execute("PRAGMA journal_mode = MEMORY")
            made.executescript(_TABLES)
            # Stays in the file. Locked alone it needs no shared memory.
            made.execute("PRAGMA locking_mode = EXCLUSIVE")
            made.execute("PRAGMA journal_mode = WAL")
        for rest in _beside(path):
            # Left of a ledger that somebody removed: SQLite would take it for ours.
            rest.unlink(missing_ok=True)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _beside(path: Path) -> Iterator[Path]:
    return (path.with_name(path.name + suffix) for suffix in _BESIDE)
