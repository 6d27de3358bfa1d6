"""How an index of sessions is laid out, and how one is told from other files."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from typing import TYPE_CHECKING

from voicepipe.errors import CaptureError


if TYPE_CHECKING:
    from pathlib import Path


APPLICATION_ID = int.from_bytes(b"vpcs")
"""How an index is known to be one, in the header of the file."""

SCHEMA_VERSION = 1
"""The version this code reads and writes."""

_TABLES = f"""
BEGIN;
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    created INTEGER NOT NULL UNIQUE,  -- microseconds of Unix time
    updated INTEGER NOT NULL,
    status TEXT NOT NULL,             -- interrupted, completed
    user_id TEXT NOT NULL,
    rate INTEGER NOT NULL,
    channels INTEGER NOT NULL,
    format TEXT NOT NULL,
    chunks INTEGER NOT NULL,
    received INTEGER NOT NULL,        -- bytes
    frames INTEGER NOT NULL,
    max_frames INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    active_s REAL NOT NULL,
    dropped INTEGER NOT NULL,         -- bytes
    snapshot BLOB NOT NULL            -- of what reads the stream
);
CREATE INDEX sessions_by_user ON sessions (user_id, created);
CREATE INDEX sessions_by_status ON sessions (status, created);
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
    See that there is an index, without touching what is not one.

    Only the header is looked at: opening a database of somebody else with SQLite could
    end in its recovery. An index has its marks there from the moment it has its name.

    Raises:
        CaptureError: If the file is not an index, or one of another version.
        OSError: If it cannot be read or made.
        sqlite3.Error: If it cannot be made.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        _create(path)
        return
    found = int.from_bytes(header[_APPLICATION_ID])
    if not header.startswith(_MAGIC) or found != APPLICATION_ID:
        msg = f"{path} is not an index of sessions; it is left as it is"
        raise CaptureError(msg)
    version = int.from_bytes(header[_USER_VERSION])
    if version != SCHEMA_VERSION:
        msg = (
            f"the index {path} has schema version {version}, this voicepipe reads "
            f"version {SCHEMA_VERSION}; use the voicepipe that wrote it or a newer one"
        )
        raise CaptureError(msg)


def _create(path: Path) -> None:
    """Make an empty index that has its name only when it is whole."""
    part = path.parent / f".voicepipe-{secrets.token_hex(8)}.part"
    try:
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as made:
            made.execute("PRAGMA journal_mode = MEMORY")
            made.executescript(_TABLES)
            # Stays in the file. Locked alone it needs no shared memory.
            made.execute("PRAGMA locking_mode = EXCLUSIVE")
            made.execute("PRAGMA journal_mode = WAL")
        for suffix in _BESIDE:
            # Left of an index that somebody removed: SQLite would take it for ours.
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
