"""How an index of sessions is laid out, and how one is told from other files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.errors import CaptureError
from voicepipe.io.own_database import DatabaseKind


if TYPE_CHECKING:
    from pathlib import Path


def _in_use(folder: Path) -> CaptureError:
    return CaptureError(f"another process uses {folder}")


INDEX = DatabaseKind(
    mark=b"vpcs",
    version=1,
    tables="""
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
""",
    # A commit is on disk: the journal forgets a session then.
    synchronous="FULL",
    name="index",
    title="an index of sessions",
    error=CaptureError,
    in_use=_in_use,
)
