"""Several processes on one database, and processes that are killed in the middle."""

from __future__ import annotations

import itertools
import os
import random
from typing import TYPE_CHECKING

import anyio
import pytest
from job_sql import ask, ended_well, release_together, start

from voicepipe.jobs.store import SqlJobStore


if TYPE_CHECKING:
    from pathlib import Path

    from stress_report import Report


pytestmark = pytest.mark.timeout(900)

PROCESSES = 4
CLAIMS_EACH = 200
KILLS = 10
STRESS = 10
"""How many times as much the full counts are."""

ADD_AND_CLAIM = """
import sys
import anyio
from voicepipe.jobs.store import SqlJobStore
from voicepipe.types import Transcript

async def main(url, jobs):
    result = Transcript(duration=1.0, model="test")
    store = SqlJobStore(url)
    print("ready", flush=True)
    sys.stdin.readline()
    await store.add("call.wav")
    # Another process may have just taken it, and added one that is not to be seen yet.
    while not (job := await store.claim("me", lease_s=600.0)):
        pass
    # Whoever is slow has his share, and all are at it at the same time.
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(jobs - 1):
        await store.add("call.wav")
    while job:
        print(job.id)
        await store.finish(job.id, attempt=job.attempt, transcript=result)
        job = await store.claim("me", lease_s=600.0)
    await store.aclose()

anyio.run(main, sys.argv[1], int(sys.argv[2]))
"""

WRITE_UNTIL_KILLED = """
import sys
import anyio
from voicepipe.jobs.store import SqlJobStore
from voicepipe.types import Transcript

async def main(url):
    result = Transcript(duration=1.0, model="test" * 1000)
    store = SqlJobStore(url)
    while True:
        job = await store.add("call.wav")
        print("processing", job.id, flush=True)
        job = await store.claim("me", lease_s=600.0, job_id=job.id)
        await store.keep(job.id, "step", "value", attempt=1)
        print("kept", job.id, flush=True)
        await store.finish(job.id, attempt=1, transcript=result)
        print("done", job.id, flush=True)

anyio.run(main, sys.argv[1])
"""

ADD_WITH_ONE_KEY = """
import sys
import anyio
from voicepipe.jobs.store import SqlJobStore

async def main(url, calls):
    store = SqlJobStore(url)
    print("ready", flush=True)
    sys.stdin.readline()

    async def add(number):
        job = await store.add(f"{number}.wav", key="the same")
        print(job.id)

    async with anyio.create_task_group() as group:
        for number in range(calls):
            group.start_soon(add, number)
    await store.aclose()

anyio.run(main, sys.argv[1], int(sys.argv[2]))
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
assert not parents, "a connection must not be used on both sides of a fork"
"""


def is_whole(url: str) -> bool:
    """Tell whether SQLite finds its file in order; PostgreSQL looks by itself."""
    if url.startswith("postgresql"):
        return True
    return ask(url, "PRAGMA integrity_check") == [("ok",)]


def claim_together(url: str, each: int) -> None:
    workers = [start(ADD_AND_CLAIM, url, each) for _ in range(PROCESSES)]
    release_together(workers)  # all of them make the tables at the same time
    release_together(workers)  # each of them has a job
    claimed = [
        [int(line) for line in ended_well(worker, timeout=1_200).split()]
        for worker in workers
    ]

    assert all(claimed), "each process must have had its share"
    everything = sorted(itertools.chain(*claimed))
    assert len(everything) == PROCESSES * each, "no job may be lost, none come twice"
    rows = ask(url, "SELECT id FROM jobs WHERE status = 'done' AND attempt = 1")
    assert sorted(row[0] for row in rows) == everything
    assert ask(url, "SELECT count(*) FROM jobs") == [(len(everything),)]


def test_processes_lose_no_job_and_claim_none_twice(store_url: str) -> None:
    claim_together(store_url, CLAIMS_EACH)


@pytest.mark.stress
@pytest.mark.timeout(1_800)
def test_many_claims_lose_no_job_and_none_comes_twice(
    store_url: str, stress_report: Report
) -> None:
    claim_together(store_url, STRESS * CLAIMS_EACH)
    stress_report(
        f"{PROCESSES} processes, {STRESS * CLAIMS_EACH} claims each, "
        f"{store_url.partition(':')[0]}",
        "0 lost, 0 twice, 0 errors",
    )


def test_processes_that_add_with_one_key_add_one_job(store_url: str) -> None:
    each = 100 // PROCESSES
    processes = [start(ADD_WITH_ONE_KEY, store_url, each) for _ in range(PROCESSES)]
    release_together(processes)
    ids = [line for process in processes for line in ended_well(process).split()]
    assert len(ids) == 100
    assert len(set(ids)) == 1
    assert ask(store_url, "SELECT count(*) FROM jobs") == [(1,)]


def kill_writers(url: str, kills: int) -> int:
    chance = random.Random(0)
    acknowledged: dict[int, str] = {}
    for _ in range(kills):
        writer = start(WRITE_UNTIL_KILLED, url)
        lines = [writer.stdout.readline() for _ in range(chance.randint(1, 40))]
        writer.kill()
        rest, errors = writer.communicate()
        assert errors == ""
        for line in (*lines, *rest.splitlines()):
            status, job = line.split()
            acknowledged[int(job)] = status

        assert is_whole(url)
        # At one moment: PostgreSQL may still be doing what it was told last.
        number = "(SELECT count(*) FROM kept WHERE job_id = id)"
        rows = ask(url, f"SELECT id, status, {number} FROM jobs")
        jobs: dict[int, str] = {job: status for job, status, _ in rows}
        kept = {job for job, _, values in rows if values}
        for job, status in acknowledged.items():
            assert jobs[job] == "done" or (job in kept) >= (status == "kept"), status
            assert status != "done" or jobs[job] == "done"
        assert not {job for job in kept if jobs[job] == "done"}, "it goes with the end"
    return len(acknowledged)


def test_a_killed_process_leaves_all_that_it_acknowledged(store_url: str) -> None:
    assert kill_writers(store_url, KILLS) > KILLS


@pytest.mark.stress
@pytest.mark.timeout(1_800)
def test_many_killed_processes_leave_all_that_they_acknowledged(
    store_url: str, stress_report: Report
) -> None:
    jobs = kill_writers(store_url, STRESS * KILLS)
    stress_report(
        f"{STRESS * KILLS} SIGKILLs of a writer, {store_url.partition(':')[0]}",
        f"{jobs} acknowledged jobs, 0 lost or changed",
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_store_works_on_both_sides_of_a_fork(store_url: str) -> None:
    assert ended_well(start(FORK, store_url)) == ""
    assert is_whole(store_url)
    counts = ask(store_url, "SELECT source, count(*) FROM jobs GROUP BY source")
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


async def test_stores_that_open_a_new_database_at_once_make_it_once(
    postgres: str,
) -> None:
    stores = [SqlJobStore(postgres) for _ in range(6)]
    async with anyio.create_task_group() as group:
        for store in stores:
            group.start_soon(store.add, "call.wav")
    assert len(await stores[0].list()) == len(stores)
    for store in stores:
        await store.aclose()
