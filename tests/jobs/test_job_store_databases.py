"""What both databases do alike, and what each of them has to be told."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from job_sql import ask

from voicepipe.errors import LeaseLostError, StoreError
from voicepipe.jobs import connect, schema
from voicepipe.jobs.store import SqlJobStore
from voicepipe.types import JobProgress, Segment, Transcript


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from postgres import Server
    from sqlalchemy import Connection, Engine


SECRET = "canary-4111-1111-1111-1111"


def spoken(text: str) -> Transcript:
    segment = Segment(start=0.0, end=1.0, text=text)
    return Transcript(segments=(segment,), duration=1.0, model="test")


async def done(store: SqlJobStore, text: str, source: str = "call.wav") -> int:
    """Add a job and finish it; something is kept on the way."""
    job = await store.add(source)
    await store.claim("me", lease_s=60.0, job_id=job.id)
    await store.keep(job.id, "step", f"kept {text}", attempt=1)
    await store.finish(job.id, attempt=1, transcript=spoken(text))
    return job.id


async def test_a_list_without_results_does_not_read_them(store_url: str) -> None:
    async with SqlJobStore(store_url) as store:
        job_id = await done(store, "hello")
        ask(store_url, "UPDATE jobs SET transcript = 'broken', edits = 'broken'")
        with pytest.raises(StoreError, match="cannot be read"):
            await store.list()
        (job,) = await store.list(results=False)
        assert (job.id, job.status, job.transcript) == (job_id, "done", None)
        far = datetime.now(UTC) + timedelta(days=1)
        assert [job.id for job in await store.prune(before=far)] == [job_id]


async def test_what_a_finished_job_kept_is_gone_from_its_table(store_url: str) -> None:
    async with SqlJobStore(store_url) as store:
        job = await store.add("call.wav")
        await store.claim("me", lease_s=60.0)
        await store.keep(job.id, "step", SECRET, attempt=1)
        assert ask(store_url, "SELECT value FROM kept") == [(SECRET,)]
        await store.finish(job.id, attempt=1, transcript=spoken("hello"))
        assert ask(store_url, "SELECT count(*) FROM kept") == [(0,)]


@pytest.mark.parametrize("how", ["delete", "prune"])
async def test_deleted_data_is_in_no_table(store_url: str, how: str) -> None:
    async with SqlJobStore(store_url) as store:
        job = await store.add("call.wav")
        await store.claim("me", lease_s=60.0)
        await store.keep(job.id, "step", SECRET, attempt=1)
        await store.fail(job.id, attempt=1, error="broke")
        if how == "delete":
            assert await store.delete([job.id]) == 1
        else:
            far = datetime.now(UTC) + timedelta(days=1)
            assert len(await store.prune(before=far)) == 1
        assert ask(store_url, "SELECT count(*) FROM kept") == [(0,)]
        assert ask(store_url, "SELECT count(*) FROM jobs") == [(0,)]


@pytest.mark.parametrize("how", ["delete", "prune"])
async def test_deleted_data_is_in_no_file_of_sqlite(tmp_path: Path, how: str) -> None:
    async with SqlJobStore(tmp_path / "jobs.db") as store:
        # More than a page, so that some of it lies in pages of its own.
        job_id = await done(store, SECRET * 1_000, source=SECRET)
        await store.update(job_id, {"summary": SECRET})
        assert holding(tmp_path, SECRET)
        if how == "delete":
            await store.delete([job_id])
        else:
            await store.prune(before=datetime.now(UTC) + timedelta(days=1))
        assert holding(tmp_path, SECRET) == []


def holding(folder: Path, text: str) -> list[str]:
    return [p.name for p in folder.iterdir() if text.encode() in p.read_bytes()]


async def test_deleting_a_held_job_is_told_to_its_worker(store_url: str) -> None:
    async with SqlJobStore(store_url) as store:
        job = await store.add("call.wav")
        await store.claim("me", lease_s=60.0)
        await store.keep(job.id, "step", "value", attempt=1)
        assert await store.delete([job.id]) == 1
        with pytest.raises(LeaseLostError):
            await store.keep(job.id, "step", "late", attempt=1)
        with pytest.raises(LeaseLostError):
            await store.finish(job.id, attempt=1, transcript=spoken("late"))
        assert ask(store_url, "SELECT count(*) FROM kept") == [(0,)]


async def test_texts_that_no_database_takes_are_refused_alike(store_url: str) -> None:
    async with SqlJobStore(store_url) as store:
        for bad in ("a\0b", "a\udcffb"):
            for call in (
                lambda bad=bad: store.add(bad),
                lambda bad=bad: store.add("x", name=bad),
                lambda bad=bad: store.add("x", key=bad),
                lambda bad=bad: store.claim(bad, lease_s=1.0),
            ):
                with pytest.raises(ValueError, match=r"NUL|surrogates"):
                    await call()
        assert await store.list() == ()
        # An error comes from anywhere, and its job must end whatever it says.
        job = await store.add("call.wav")
        await store.claim("me", lease_s=60.0)
        failed = await store.fail(job.id, attempt=1, error="a\0b\udcffc")
        assert failed.error == "a\ufffdb?c"
        await store.queue(job.id)
        stopped = await store.cancel(job.id, reason="a\0b")
        assert stopped.error == "a\ufffdb"
        odd = await store.update(job.id, {"summary": "a\0b\udcffc"})
        assert odd.edits["summary"] == "a\0b\udcffc"


async def test_edits_that_are_none_are_refused(store_url: str) -> None:
    async with SqlJobStore(store_url) as store:
        job_id = await done(store, "hello")
        with pytest.raises(ValueError, match="no field 'status'"):
            await store.update(job_id, {"status": "done"})
        for bad in ({"summary": ("a",)}, {"key_points": "a"}, {"key_points": (1,)}):
            with pytest.raises(TypeError, match="no value for"):
                await store.update(job_id, bad)
        assert dict((await store.get(job_id)).edits) == {}


async def test_many_calls_of_one_process_at_once(store_url: str) -> None:
    async with SqlJobStore(store_url) as store:
        async with anyio.create_task_group() as group:
            for number in range(40):
                group.start_soon(done, store, "hello", str(number))
        jobs = await store.list(status="done")
        assert sorted(int(job.source) for job in jobs) == list(range(40))


FREQUENT = {
    "claim": lambda store, now: store.claim("me", lease_s=1.0),
    "add": lambda store, now: store.add("call.wav", key="a"),
    "news": lambda store, now: store.list(changed_since=now),
    "status": lambda store, now: store.list(status="done"),
    "kept": lambda store, now: store.kept(1, "step"),
    "finish": lambda store, now: store.finish(2, attempt=1, transcript=spoken("a")),
    "prune": lambda store, now: store.prune(before=now),
}


@pytest.mark.parametrize("call", FREQUENT)
async def test_frequent_calls_do_not_go_through_all_jobs(
    tmp_path: Path, call: str
) -> None:
    seen: list[str] = []

    def trace(connection: Any) -> None:
        connection.connection.dbapi_connection.set_trace_callback(seen.append)

    async with SqlJobStore(tmp_path / "jobs.db") as store:
        await done(store, "hello")
        await store.add("call.wav")
        await store.claim("me", lease_s=60.0)
        await store.add("call.wav")
        await store._database.in_thread(lambda: store._database.read(trace))
        await FREQUENT[call](store, datetime.now(UTC))
    steps = []
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        for text in seen:
            if text.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
                plan = connection.execute(f"EXPLAIN QUERY PLAN {text}")
                steps += [row[-1] for row in plan]
    assert [step for step in steps if "INDEX" in step or "PRIMARY KEY" in step]
    assert [step for step in steps if step.startswith("SCAN")] == []


@contextlib.contextmanager
def postgres_lock(url: str, job_id: int) -> Iterator[None]:
    """Hold a row as another process's transaction does."""
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute("SELECT 1 FROM jobs WHERE id = %s FOR UPDATE", [job_id])
        yield
        connection.rollback()


async def test_a_row_that_stays_locked_is_told_as_busy(postgres: str) -> None:
    async with SqlJobStore(postgres, busy_timeout_s=0.05) as store:
        job, other = await store.add("1"), await store.add("2")
        with postgres_lock(postgres, job.id):
            with pytest.raises(StoreError, match="lock timeout") as caught:
                await store.cancel(job.id)
            assert caught.value.retryable
            assert await store.get(job.id) == job, "who only reads need not wait"
            claimed = await store.claim("me", lease_s=60.0)
            assert claimed is not None
            assert claimed.id == other.id, "a claim passes over what is locked"
        assert (await store.cancel(job.id)).status == "error"


async def test_a_row_does_not_stay_locked_by_a_process_that_stands_still(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SqlJobStore(postgres)
    job = await other.add("call.wav")
    monkeypatch.setattr(connect, "IDLE_TRANSACTION_S", 0.2)
    stopped = SqlJobStore(postgres)
    locked = threading.Event()
    goes_on = threading.Event()
    begun: list[Connection] = []

    def write(connection: Connection) -> None:
        if begun:
            # However slow the second try is, that is not what is looked at.
            forever = "SET LOCAL idle_in_transaction_session_timeout = 0"
            connection.exec_driver_sql(forever)
        lock = "SELECT 1 FROM jobs FOR UPDATE"
        connection.exec_driver_sql(lock)
        begun.append(connection)
        locked.set()
        goes_on.wait()
        connection.exec_driver_sql(lock)

    async def stand_still() -> None:
        await stopped._database.in_thread(lambda: stopped._database.write(write))

    async with stopped, other, anyio.create_task_group() as tasks:
        tasks.start_soon(stand_still)
        await anyio.to_thread.run_sync(locked.wait)
        try:
            with anyio.fail_after(60.0):
                while await other.claim("other", lease_s=60.0) is None:  # noqa: ASYNC110
                    await anyio.sleep(0.02)
        finally:
            goes_on.set()
        assert (await other.get(job.id)).worker == "other"
    assert len(begun) == 2, "what was rolled back was done again"


async def test_connections_that_the_server_ends_are_made_anew(
    postgres: str, postgres_server: Server
) -> None:
    async with SqlJobStore(postgres) as store:
        job = await store.add("call.wav")
        end = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        assert ask(postgres, end)[0][0] >= 1
        deadline = time.monotonic() + 60.0
        while ask(postgres, end)[0][0]:  # they are told to end, and then end
            assert time.monotonic() < deadline
            await anyio.sleep(0.01)
        assert await store.get(job.id) == job


async def test_a_server_that_is_not_there_may_be_asked_again(tmp_path: Path) -> None:
    store = SqlJobStore(f"postgresql://me@/jobs?host={tmp_path}")
    with pytest.raises(StoreError) as caught:
        await store.list()
    assert caught.value.retryable
    await store.aclose()


FAST_CLOCK = """
CREATE FUNCTION public.statement_timestamp() RETURNS timestamptz
LANGUAGE sql STABLE AS $$ SELECT pg_catalog.now() + interval '1 day' $$
"""


async def test_the_servers_clock_counts_where_none_is_given(postgres: str) -> None:
    ask(postgres, FAST_CLOCK)
    url = f"{postgres}&options=-csearch_path%3Dpublic%2Cpg_catalog"
    async with SqlJobStore(url) as store:
        job = await store.add("call.wav")
        ahead = job.created_at - datetime.now(UTC)
        assert timedelta(hours=23) < ahead < timedelta(hours=25)
        claimed = await store.claim("me", lease_s=60.0)
        assert claimed is not None
        assert claimed.lease_until == claimed.updated_at + timedelta(seconds=60)
        told = JobProgress(stage="decode", fraction=0.5)
        await store.extend(job.id, attempt=1, lease_s=60.0, progress=told)
        assert await store.claim("other", lease_s=60.0) is None
    now = datetime(2026, 1, 1, tzinfo=UTC)
    async with SqlJobStore(url, clock=lambda: now) as store:
        assert (await store.add("call.wav")).created_at == now


async def test_postgresql_is_told_to_keep_what_it_commits(postgres: str) -> None:
    name = postgres.partition("@/")[2].partition("?")[0]
    ask(postgres, f"ALTER DATABASE {name} SET synchronous_commit = off")
    async with SqlJobStore(postgres) as store:

        def read(connection: object) -> object:
            return connection.exec_driver_sql("SHOW synchronous_commit").scalar()

        found = await store._database.in_thread(lambda: store._database.read(read))
        assert found == "on"


def test_tables_that_another_is_just_making_are_known_as_ours(
    postgres_server: Server,
) -> None:
    import sqlalchemy as sa

    seen = 0
    for moment in range(1, 10):
        with postgres_server.new_database() as database:
            url = database.replace("postgresql://", "postgresql+psycopg://")
            looks = sa.create_engine(url, poolclass=sa.NullPool)
            makes = sa.create_engine(url, poolclass=sa.NullPool)
            count = 0

            def look(*_: object, moment: int = moment, makes: Engine = makes) -> None:
                nonlocal count
                count += 1
                if count == moment:
                    with makes.begin() as connection:
                        schema.create(connection)

            with looks.connect() as connection:
                sa.event.listen(looks, "before_cursor_execute", look)
                version = schema.stored_version(connection)
            assert version in {None, schema.SCHEMA_VERSION}
            seen += version is not None
    assert 1 <= seen < 9


async def fill(store: SqlJobStore, job_id: int, kept: list[str]) -> None:
    """Keep values until there is no room; each is noted when it is acknowledged."""
    for number in range(1_000):
        await store.keep(job_id, str(number), "x" * 5_000, attempt=1)
        kept.append(str(number))


def enlarge(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)


async def test_a_full_disk_is_told_and_loses_nothing(
    small_disk: Callable[[int], Path],
) -> None:
    disk = small_disk(400 * 1024)
    kept: list[str] = []
    async with SqlJobStore(disk / "jobs.db") as store:
        job = await store.add("call.wav")
        await store.claim("me", lease_s=60.0)
        with pytest.raises(StoreError, match="full") as caught:
            await fill(store, job.id, kept)
        assert caught.value.retryable
        assert kept
        for key in kept:
            assert await store.kept(job.id, key) == "x" * 5_000
        assert await store.kept(job.id, str(len(kept))) is None
        enlarge(disk)
        finished = await store.finish(job.id, attempt=1, transcript=spoken("hello"))
        assert finished.status == "done"
