"""The job store against what it is built on."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from typing import TYPE_CHECKING

import anyio
from anyio.from_thread import start_blocking_portal
from case import Case

from voicepipe import SqlJobStore, Transcript


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


JOBS = 20
"""In a round: a few, so that both ways meet the same disk and the same load."""

PAIRS = 51
LEASE_S = 600.0

CLAIM = """
UPDATE jobs SET attempt = attempt + 1, worker = 'me', lease_until = :until,
    updated_at = :now
WHERE id = (
    SELECT id FROM jobs WHERE status = 'processing'
    AND (lease_until IS NULL OR lease_until <= :now) ORDER BY id LIMIT 1
)
RETURNING id, attempt
"""

FINISH = """
UPDATE jobs SET status = 'done', worker = NULL, lease_until = NULL, updated_at = :now,
    transcript = :transcript
WHERE id = :id AND attempt = :attempt
"""


@contextlib.contextmanager
def store_case(folder: Path) -> Iterator[Case]:
    """
    Claims and finishes, against a bare loop with the same durability.

    Both keep their connection from round to round. SQLite removes its log when the last
    one is closed, and to sync a log that grows takes twice as long as one that is
    overwritten: who opened the file for each round would be measured on another disk.
    """
    ours, peer = folder / "ours.db", folder / "peer.db"
    anyio.run(make_table, ours)
    with contextlib.closing(sqlite3.connect(ours)) as connection, connection:
        connection.executemany(
            "INSERT INTO jobs (source, status, attempt, created_at, updated_at)"
            " VALUES (?, 'processing', 0, 0, 0)",
            [(f"{i}.wav",) for i in range((PAIRS + 1) * JOBS)],
        )
    shutil.copy(ours, peer)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(SqlJobStore(ours)) as store,
        contextlib.closing(sqlite3.connect(peer, isolation_level=None)) as bare,
    ):
        bare.execute("PRAGMA journal_mode = WAL")
        bare.execute("PRAGMA synchronous = FULL")
        yield Case(
            name=f"`SqlJobStore`, {JOBS} times claim and finish",
            peer_name="`sqlite3`, an UPDATE in a transaction for each, WAL, FULL",
            ours=lambda: portal.call(claim_and_finish, store),
            peer=lambda: bare_sqlite(bare),
            pairs=PAIRS,
        )


async def make_table(path: Path) -> None:
    """Make a database of the store's layout."""
    async with SqlJobStore(path):
        pass


async def claim_and_finish(store: SqlJobStore) -> None:
    """Claim and finish jobs, one after the other."""
    empty = Transcript(duration=0.0, model="none")
    for _ in range(JOBS):
        job = await store.claim("me", lease_s=LEASE_S)
        if job is None:
            raise RuntimeError("there was nothing to claim")
        await store.finish(job.id, attempt=job.attempt, transcript=empty)


def bare_sqlite(connection: sqlite3.Connection) -> None:
    """Do the same to the same table, and nothing else."""
    text = Transcript(duration=0.0, model="none").to_json()
    for _ in range(JOBS):
        now = time.time_ns() // 1_000
        until = now + round(LEASE_S * 1e6)
        connection.execute("BEGIN IMMEDIATE")
        claim = connection.execute(CLAIM, {"now": now, "until": until})
        ((job_id, attempt),) = claim.fetchall()
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        done = {"now": now, "transcript": text, "id": job_id, "attempt": attempt}
        connection.execute(FINISH, done)
        connection.execute("COMMIT")
