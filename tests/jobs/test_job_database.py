"""How the SQL store opens, shares, waits for and leaves its database."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from voicepipe.errors import StoreError
from voicepipe.jobs import database
from voicepipe.jobs.connect import shown, url_of
from voicepipe.jobs.store import SqlJobStore
from voicepipe.types import Segment, Transcript


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection


def ask(path: Path, *statements: str) -> list[tuple]:
    opened = sqlite3.connect(path, timeout=60.0, isolation_level=None)
    with closing(opened) as connection:
        return [connection.execute(each).fetchall() for each in statements][-1]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def has_open_log(path: Path) -> bool:
    """Tell whether a connection is open: the last one to close removes the log."""
    return path.with_name(f"{path.name}-wal").exists()


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("secure_delete", 1),
    ],
)
async def test_sqlite_is_set_to_keep_what_it_commits(
    tmp_path: Path, pragma: str, value: object
) -> None:
    async with SqlJobStore(tmp_path / "jobs.db") as store:

        def read(connection: Connection) -> object:
            return connection.exec_driver_sql(f"PRAGMA {pragma}").scalar()

        found = await store._database.in_thread(lambda: store._database.read(read))
        assert found == value


@pytest.mark.parametrize("how", ["path", "string", "url"])
async def test_a_store_is_named_by_path_or_url(tmp_path: Path, how: str) -> None:
    path = tmp_path / "my jobs.db"
    names = {"path": path, "string": str(path), "url": f"sqlite:///{path}"}
    async with SqlJobStore(names[how]) as store:
        await store.add("call.wav")
    assert ask(path, "SELECT source FROM jobs") == [("call.wav",)]


async def test_making_a_store_touches_no_file(tmp_path: Path) -> None:
    SqlJobStore(tmp_path / "jobs.db")
    assert files(tmp_path) == {}


async def test_jobs_outlive_the_store(tmp_path: Path) -> None:
    async with SqlJobStore(tmp_path / "jobs.db") as store:
        job = await store.add("call.wav")
    async with SqlJobStore(tmp_path / "jobs.db") as store:
        assert await store.get(job.id) == job


def test_one_store_serves_one_event_loop_after_another(tmp_path: Path) -> None:
    store = SqlJobStore(tmp_path / "jobs.db")
    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(store.add, "call.wav", backend=backend)
    anyio.run(store.aclose)
    assert len(anyio.run(store.list)) == 3  # a closed store opens again
    anyio.run(store.aclose)


@pytest.mark.parametrize("address", [":memory:", "jobs.db"])
def test_one_store_serves_event_loops_in_several_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqlJobStore(address)

    async def add() -> None:
        for _ in range(10):
            await store.add("call.wav")

    threads = [threading.Thread(target=anyio.run, args=(add,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(anyio.run(store.list)) == 30
    anyio.run(store.aclose)


def test_a_forgotten_store_closes_its_file_at_once(tmp_path: Path) -> None:
    store = SqlJobStore(tmp_path / "jobs.db")
    anyio.run(store.add, "call.wav")
    assert has_open_log(tmp_path / "jobs.db")
    gc.disable()  # nobody has to wait for a collection
    try:
        del store
        deadline = time.monotonic() + 60.0
        while has_open_log(tmp_path / "jobs.db"):  # the worker thread may still end
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        gc.enable()


async def test_leaving_a_store_closes_its_file_also_when_cancelled(
    tmp_path: Path,
) -> None:
    with anyio.CancelScope() as scope:
        async with SqlJobStore(tmp_path / "jobs.db") as store:
            await store.add("call.wav")
            scope.cancel()
    assert not has_open_log(tmp_path / "jobs.db")


FOREIGN = "CREATE TABLE jobs (id INTEGER PRIMARY KEY, audio_path TEXT)"


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ([FOREIGN, "INSERT INTO jobs VALUES (1, 'a.wav')"], "did not make"),
        (["CREATE VIEW jobs AS SELECT 1 AS id"], "did not make"),
        (
            [
                "CREATE TABLE voicepipe_schema (version INTEGER NOT NULL)",
                "INSERT INTO voicepipe_schema VALUES (3)",
            ],
            "schema version 3.*newer",
        ),
        (["CREATE TABLE voicepipe_schema (version INTEGER)"], "schema version None"),
    ],
)
async def test_a_database_that_is_not_ours_is_refused_and_stays_as_it_is(
    tmp_path: Path, statements: list[str], message: str
) -> None:
    path = tmp_path / "jobs.db"
    ask(path, *statements)
    before = files(tmp_path)
    store = SqlJobStore(path)
    for _ in range(2):
        with pytest.raises(StoreError, match=message) as caught:
            await store.add("call.wav")
        assert not caught.value.retryable
    with pytest.raises(StoreError, match=message):
        async with store:
            pass
    assert files(tmp_path) == before


async def test_tables_of_others_beside_ours_are_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    ask(path, "CREATE TABLE users (name TEXT)", "INSERT INTO users VALUES ('me')")
    async with SqlJobStore(path) as store:
        await store.add("call.wav")
    assert ask(path, "SELECT name FROM users") == [("me",)]


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    from sqlalchemy.exc import DatabaseError

    path = tmp_path / "notes.txt"
    path.write_text("not a database, just some notes\n" * 100)
    before = files(tmp_path)
    with pytest.raises(StoreError, match="not a database") as caught:
        await SqlJobStore(path).list()
    assert isinstance(caught.value.__cause__, DatabaseError)
    assert files(tmp_path) == before


class Lock:
    """Another process's transaction, as far as SQLite can tell."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(
            path, timeout=60.0, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("BEGIN IMMEDIATE")

    def release(self) -> None:
        self._connection.execute("ROLLBACK")
        self._connection.close()

    def release_after(self, seconds: float) -> None:
        threading.Timer(seconds, self.release).start()


async def test_a_store_that_stays_busy_says_so(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SqlJobStore(path, busy_timeout_s=0.02) as store:
        job = await store.add("call.wav")
        lock = Lock(path)
        with pytest.raises(StoreError, match="locked") as caught:
            await store.add("call.wav")
        assert caught.value.retryable
        assert await store.list() == (job,), "who only reads need not wait"
        lock.release()
        await store.add("call.wav")


async def test_a_busy_database_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "jobs.db"
    async with SqlJobStore(path, busy_timeout_s=0.1) as store:
        await store.add("call.wav")
        lock = Lock(path)

        def pauses() -> Iterator[float]:
            yield 0.01
            yield 0.01
            lock.release()  # before the third of four tries
            yield 0.01

        with monkeypatch.context() as patched:
            patched.setattr(database, "BUSY_PAUSES_S", pauses())
            await store.add("call.wav")
        assert len(await store.list()) == 2


async def test_a_new_file_that_another_is_making_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    lock = Lock(path)
    async with anyio.create_task_group() as group:
        store = SqlJobStore(path, busy_timeout_s=60.0)
        group.start_soon(store.add, "call.wav")
        # Longer than all pauses that there are in any case.
        await anyio.sleep(1.2 * sum(database.BUSY_PAUSES_S))
        lock.release()
    assert len(await store.list()) == 1
    await store.aclose()


async def test_waiting_for_the_database_does_not_stop_the_event_loop(
    tmp_path: Path, loop_lag: Callable
) -> None:
    path = tmp_path / "jobs.db"
    async with SqlJobStore(path, busy_timeout_s=60.0) as store:
        await store.add("call.wav")
        shares: list[float] = []
        # That the whole machine stands still is in no count of the system's.
        while len(shares) < 3 and min(shares, default=1.0) >= 0.5:
            lock = Lock(path)
            async with loop_lag() as lag:
                started = time.monotonic()
                lock.release_after(0.5)
                await store.add("call.wav")
                waited = time.monotonic() - started
            assert waited > 0.4
            shares.append(lag.longest_s / waited)
    assert min(shares) < 0.5


async def test_a_call_that_has_begun_gives_its_value_before_cancellation(
    tmp_path: Path,
) -> None:
    path = tmp_path / "jobs.db"
    seen = []
    async with SqlJobStore(path, busy_timeout_s=60.0) as store:
        job = await store.add("call.wav")
        lock = Lock(path)

        async def claim() -> None:
            seen.append(await store.claim("me", lease_s=60.0))
            await anyio.lowlevel.checkpoint()
            seen.append("not cancelled")

        async with anyio.create_task_group() as group:
            group.start_soon(claim)
            await anyio.wait_all_tasks_blocked()  # it waits for the database
            group.cancel_scope.cancel()
            lock.release_after(0.1)
        assert seen == [await store.get(job.id)]
        assert seen[0].attempt == 1


async def test_a_call_that_has_not_begun_can_be_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SqlJobStore(path, busy_timeout_s=60.0) as store:
        await store.add("1")
        lock = Lock(path)
        async with anyio.create_task_group() as group:
            group.start_soon(store.add, "2")
            await anyio.wait_all_tasks_blocked()
            with anyio.move_on_after(0.05) as scope:
                await store.add("3")
            lock.release()
        assert scope.cancelled_caught
        assert [job.source for job in await store.list()] == ["2", "1"]


SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://me:{SECRET}@host/jobs",
        f"postgresql+psycopg2://me:{SECRET}@host/jobs",
        f"sqlite://me:{SECRET}@host/jobs.db",
        f"postgresql://me:{SECRET}@host:port/jobs",
        f"://me:{SECRET}@host",
    ],
)
def test_a_refused_url_does_not_show_its_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|SQLite") as caught:
        SqlJobStore(url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        (
            f"postgresql+psycopg://me:{SECRET}@host:1/jobs",
            "postgresql://me@host:1/jobs",
        ),
        (f"postgres://me:{SECRET}@host/jobs", "postgresql://me@host/jobs"),
        (f"postgresql://host/jobs?password={SECRET}", "postgresql://host/jobs"),
        (f"sqlite:///jobs.db?key={SECRET}", "sqlite:///jobs.db"),
        ("sqlite:///:memory:", "sqlite://"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, safe: str) -> None:
    assert shown(url_of(url)) == safe


def test_a_store_shows_its_database() -> None:
    assert repr(SqlJobStore(":memory:")) == "SqlJobStore('sqlite://')"


async def test_an_error_of_the_database_does_not_quote_what_was_to_be_stored(
    tmp_path: Path,
) -> None:
    path = tmp_path / "jobs.db"
    segment = Segment(start=0.0, end=1.0, text=SECRET)
    transcript = Transcript(segments=(segment,), duration=1.0, model="test")
    async with SqlJobStore(path) as store:
        job = await store.add("call.wav")
        await store.claim("me", lease_s=60.0)
        ask(
            path,
            "CREATE TRIGGER t BEFORE UPDATE ON jobs"
            " BEGIN SELECT RAISE(ABORT, 'refused'); END",
        )
        with pytest.raises(StoreError, match="refused") as caught:
            await store.finish(job.id, attempt=1, transcript=transcript)
    assert isinstance(caught.value.__cause__, sqlite3.IntegrityError)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


async def test_a_finish_that_fails_half_way_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SqlJobStore(path) as store:
        await store.add("call.wav")
        claimed = await store.claim("me", lease_s=60.0)
        await store.keep(claimed.id, "step", "value", attempt=1)
        ask(
            path,
            "CREATE TRIGGER t BEFORE DELETE ON kept"
            " BEGIN SELECT RAISE(ABORT, 'refused'); END",
        )
        result = Transcript(duration=1.0, model="test")
        with pytest.raises(StoreError, match="refused"):
            await store.finish(claimed.id, attempt=1, transcript=result)
        assert await store.get(claimed.id) == claimed
        ask(path, "DROP TRIGGER t")
        done = await store.finish(claimed.id, attempt=1, transcript=result)
        assert done.status == "done"


MISSING = """
import sys
from voicepipe.errors import MissingExtraError
from voicepipe.jobs.store import SqlJobStore

assert "sqlalchemy" not in sys.modules, "importing the store must not load it"

def missing(url):
    try:
        SqlJobStore(url)
    except MissingExtraError as exc:
        return exc.package, exc.extra

sys.modules["psycopg"] = None
assert missing("postgresql://host/jobs") == ("psycopg", "sql")
for name in [name for name in sys.modules if name.startswith("sqlalchemy")]:
    del sys.modules[name]
sys.modules["sqlalchemy"] = None
assert missing(":memory:") == ("sqlalchemy", "sql")
"""


async def test_a_log_that_cannot_be_emptied_does_not_undo_a_deletion(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(action: int, name: str | None, *_: object) -> int:
        is_ours = action == sqlite3.SQLITE_PRAGMA and name == "wal_checkpoint"
        return sqlite3.SQLITE_DENY if is_ours else sqlite3.SQLITE_OK

    async with SqlJobStore(tmp_path / "jobs.db") as store:
        job = await store.add("call.wav")
        lent = store._database._engine.raw_connection()
        lent.driver_connection.set_authorizer(refuse)
        lent.close()

        assert await store.delete([job.id]) == 1

        assert await store.list() == ()
        lent = store._database._engine.raw_connection()
        lent.driver_connection.set_authorizer(None)
        lent.close()
    assert "may still be in the log" in caplog.text


def test_a_missing_package_is_named_with_its_extra() -> None:
    subprocess.run(
        [sys.executable, "-c", MISSING],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        timeout=300,
    )
