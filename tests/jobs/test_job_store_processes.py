"""Several processes on one file, and processes that are killed in the middle."""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import pytest

from voicepipe.jobs.store import SqlJobStore


if TYPE_CHECKING:
    from pathlib import Path


PROCESSES = 2
JOBS_EACH = 100
KILLS = 5

ADD_AND_CLAIM = """
import sys
import anyio
from voicepipe.jobs.store import SqlJobStore
from voicepipe.types import Transcript

async def main(path, jobs):
    result = Transcript(duration=1.0, model="test")
    store = SqlJobStore(path)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(jobs):
        await store.add("call.wav")
    while job := await store.claim("me", lease_s=60.0):
        print(job.id)
        await store.finish(job.id, attempt=job.attempt, transcript=result)

anyio.run(main, sys.argv[1], int(sys.argv[2]))
"""

WRITE_UNTIL_KILLED = """
import sys
import anyio
from voicepipe.jobs.store import SqlJobStore
from voicepipe.types import Transcript

async def main(path):
    result = Transcript(duration=1.0, model="test" * 1000)
    store = SqlJobStore(path)
    while True:
        job = await store.add("call.wav")
        print("processing", job.id, flush=True)
        job = await store.claim("me", lease_s=60.0, job_id=job.id)
        await store.finish(job.id, attempt=job.attempt, transcript=result)
        print("done", job.id, flush=True)

anyio.run(main, sys.argv[1])
"""

# Python 3.12 and later warn of threads at a fork; this one forks for its own ends.
FORK = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import anyio
from voicepipe.jobs.store import SqlJobStore

async def add(store, source):
    for _ in range(20):
        await store.add(source)

async def connection_of(store):
    def read(connection):
        return connection.connection.dbapi_connection
    return await store._database.in_thread(lambda: store._database.read(read))

store = SqlJobStore(sys.argv[1])
anyio.run(add, store, "before")
connection = anyio.run(connection_of, store)
child = os.fork()
anyio.run(add, store, "after")
parents = anyio.run(connection_of, store) is connection
if child:
    assert parents
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))
assert not parents, "SQLite forbids to use a connection on both sides of a fork"
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ask(path: Path, statement: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def test_processes_lose_no_job_and_claim_none_twice(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    workers = [start(ADD_AND_CLAIM, path, JOBS_EACH) for _ in range(PROCESSES)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:  # all of them open the new file at the same time
        worker.stdin.write("go\n")
        worker.stdin.flush()
    claimed: list[list[int]] = []
    for worker in workers:
        output, errors = worker.communicate(timeout=60)
        assert errors == ""
        assert worker.returncode == 0
        claimed.append([int(line) for line in output.split()])

    assert all(claimed), "each process must have had its share"
    everything = list(range(1, PROCESSES * JOBS_EACH + 1))
    assert sorted(itertools.chain(*claimed)) == everything
    rows = ask(path, "SELECT id FROM jobs WHERE status = 'done' AND attempt = 1")
    assert sorted(row[0] for row in rows) == everything


def test_a_killed_process_leaves_all_that_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    chance = random.Random(0)
    acknowledged: dict[int, str] = {}
    for _ in range(KILLS):
        writer = start(WRITE_UNTIL_KILLED, path)
        lines = [writer.stdout.readline() for _ in range(chance.randint(1, 40))]
        writer.kill()
        rest, errors = writer.communicate()
        assert errors == ""
        for line in (*lines, *rest.splitlines()):
            status, job = line.split()
            acknowledged[int(job)] = status

        assert ask(path, "PRAGMA integrity_check") == [("ok",)]
        stored = dict(ask(path, "SELECT id, status FROM jobs"))
        for job, status in acknowledged.items():
            assert stored[job] in {status, "done"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_store_works_on_both_sides_of_a_fork(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    process = start(FORK, path)
    _, errors = process.communicate(timeout=60)
    assert errors == ""
    assert process.returncode == 0
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]
    counts = ask(path, "SELECT source, count(*) FROM jobs GROUP BY source")
    assert dict(counts) == {"before": 20, "after": 40}


async def test_stores_that_open_a_new_file_at_once_make_it_once(tmp_path: Path) -> None:
    for number in range(5):
        stores = [SqlJobStore(tmp_path / f"{number}.db") for _ in range(6)]
        async with anyio.create_task_group() as group:
            for store in stores:
                group.start_soon(store.add, "call.wav")
        assert len(await stores[0].list()) == len(stores)
        for store in stores:
            await store.aclose()
