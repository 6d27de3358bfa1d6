"""
How a ledger is laid out, and how one is told from other files.

Table ``listing`` holds the list of the last run, one row for each entry, without what
could be secret of a URL. Table ``results`` holds what has become of each file that any
list of this folder has named, so that a row that was taken out of a list and put back
is not fetched again. Both ``about`` and ``provenance`` are JSON objects: what the
manifest shows.
"""

from __future__ import annotations

from voicepipe.errors import BatchError
from voicepipe.io.batch.lock import in_use
from voicepipe.io.own_database import DatabaseKind


LEDGER = DatabaseKind(
    mark=b"vpba",
    version=1,
    tables="""
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
""",
    # A commit then costs no flush. A killed process loses nothing; a power cut may take
    # the last commits, whose files are fetched once more. Each file itself is flushed
    # before it gets its name, and compared with the ledger before it is trusted.
    synchronous="NORMAL",
    name="ledger",
    title="a ledger of voicepipe",
    error=BatchError,
    in_use=in_use,
    damaged="; without it everything is fetched again",
)
