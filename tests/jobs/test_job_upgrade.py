"""A database of an older voicepipe becomes one of this, and no job is lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from job_sql import ask

from voicepipe.errors import StoreError
from voicepipe.jobs.schema import LARGE, SCHEMA_VERSION
from voicepipe.jobs.store import SqlJobStore
from voicepipe.types import Transcript


OLD = (Path(__file__).parent / "schema_1.sql").read_text("utf-8")
"""What version 1 wrote in SQLite: six jobs, and a seventh that was deleted."""

OLD_POSTGRES = """
CREATE TABLE jobs (
    id BIGSERIAL NOT NULL,
    source TEXT NOT NULL,
    status VARCHAR(16) NOT NULL,
    attempt INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    worker TEXT,
    lease_until BIGINT,
    retry_at BIGINT,
    transcript TEXT,
    metrics TEXT,
    analysis TEXT,
    error TEXT,
    PRIMARY KEY (id)
);
CREATE INDEX ix_jobs_status_id ON jobs (status, id);
CREATE TABLE voicepipe_schema (version INTEGER NOT NULL);
SELECT setval('jobs_id_seq', 7);
"""

CREATED = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LATER = CREATED + timedelta(seconds=1)
NOW = CREATED + timedelta(seconds=2)


def make_old(url: str) -> None:
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(OLD)
        return
    rows = [line for line in OLD.splitlines() if line.startswith("INSERT")]
    rows = [line for line in rows if "sqlite_sequence" not in line]
    ask(url, *OLD_POSTGRES.strip().rstrip(";").split(";\n"), *rows)


@pytest.fixture
def old_url(store_url: str) -> str:
    make_old(store_url)
    return store_url


async def test_old_jobs_are_all_there_and_go_on(old_url: str) -> None:
    async with SqlJobStore(old_url, clock=lambda: NOW) as store:
        jobs = {job.id: job for job in await store.list()}
        assert sorted(jobs) == [1, 2, 3, 4, 5, 6]
        assert [jobs[i].source for i in jobs] == [f"call{i}.wav" for i in jobs]
        statuses = ["processing", "uploaded", "done", "error", "processing"]
        assert [jobs[i].status for i in range(1, 6)] == statuses
        assert {job.created_at for job in jobs.values()} == {CREATED}
        assert jobs[1].worker == "a:1"
        assert jobs[1].lease_until == LATER + timedelta(seconds=30)
        assert [jobs[i].tries for i in range(1, 7)] == [1, 0, 0, 0, 0, 0]
        assert [jobs[i].attempt for i in range(1, 7)] == [1, 0, 1, 1, 1, 0]
        assert jobs[3].transcript is not None
        assert jobs[3].transcript.segments[0].text == "grüß dich 👋"
        assert jobs[3].metrics is not None
        assert jobs[3].analysis is not None
        assert jobs[4].error == "it broke"
        assert jobs[5].retry_at == LATER + timedelta(seconds=60)
        assert {(j.name, j.key, j.progress) for j in jobs.values()} == {(None,) * 3}
        assert all(not job.edits for job in jobs.values())

        # Its worker may have been told to stop, and asks the new store.
        assert (await store.release(1, attempt=1)).tries == 0
        claimed = await store.claim("me", lease_s=60.0)
        assert claimed is not None
        assert (claimed.id, claimed.attempt, claimed.tries) == (1, 2, 1)
        await store.keep(1, "step", "value", attempt=2)
        result = Transcript(duration=1.0, model="new")
        assert (await store.finish(1, attempt=2, transcript=result)).status == "done"
        await store.update(3, {"summary": "mine"})
        added = await store.add("new.wav", name="new", key="new")
        assert added.id > 7, "the id of a deleted job must not come back"
        assert await store.add("new.wav", key="new") == added


async def test_an_upgraded_database_is_laid_out_like_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    make_old(f"sqlite:///{path}")
    for name in ("old.db", "new.db"):
        async with SqlJobStore(tmp_path / name) as store:
            await store.add("call.wav")
    layout = (
        "SELECT name, sql FROM sqlite_schema"
        " WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    )
    old, new = (ask(f"sqlite:///{tmp_path / n}", layout) for n in ("old.db", "new.db"))
    assert old == new
    columns = ask(f"sqlite:///{path}", "SELECT name FROM pragma_table_info('jobs')")
    last = [name for (name,) in columns[-len(LARGE) :]]
    assert last == list(LARGE), "what is large comes last, so that it need not be read"


async def test_stores_that_open_an_old_database_at_once_upgrade_it_once(
    old_url: str,
) -> None:
    stores = [SqlJobStore(old_url) for _ in range(5)]
    async with anyio.create_task_group() as group:
        for store in stores:
            group.start_soon(store.list)
    for store in stores:
        assert len(await store.list()) == 6
        await store.aclose()
    versions = ask(old_url, "SELECT version FROM voicepipe_schema")
    assert versions == [(SCHEMA_VERSION,)]


async def test_an_upgrade_that_fails_changes_nothing(old_url: str) -> None:
    clash = "CREATE TABLE kept (somebody TEXT)"
    ask(old_url, clash)
    before = ask(old_url, "SELECT * FROM jobs ORDER BY id")
    store = SqlJobStore(old_url)
    with pytest.raises(StoreError, match="already exists"):
        await store.list()
    await store.aclose()
    assert ask(old_url, "SELECT * FROM jobs ORDER BY id") == before
    assert ask(old_url, "SELECT version FROM voicepipe_schema") == [(1,)]
    ask(old_url, "DROP TABLE kept")
    assert len(await store.list()) == 6
    await store.aclose()


async def test_a_newer_database_is_refused(store_url: str) -> None:
    async with SqlJobStore(store_url) as store:
        await store.add("call.wav")
    ask(store_url, "UPDATE voicepipe_schema SET version = 3")
    with pytest.raises(StoreError, match=r"schema version 3.*newer") as caught:
        await SqlJobStore(store_url).list()
    assert not caught.value.retryable
    assert ask(store_url, "SELECT version FROM voicepipe_schema") == [(3,)]


@pytest.mark.parametrize("table", ["jobs", "kept"])
async def test_tables_of_others_are_left_alone(store_url: str, table: str) -> None:
    ask(store_url, f"CREATE TABLE {table} (mine INTEGER)")
    with pytest.raises(StoreError, match="did not make"):
        await SqlJobStore(store_url).list()
    ask(store_url, f"INSERT INTO {table} VALUES (1)")
    assert ask(store_url, f"SELECT * FROM {table}") == [(1,)]
