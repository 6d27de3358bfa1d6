"""Workers in processes of their own: killed, stopped, drained, on both databases."""

from __future__ import annotations

import contextlib
import random
import re
import statistics
import time
from collections import Counter
from typing import TYPE_CHECKING

import anyio
import numpy as np
import pytest
from job_sql import ask
from paid_service import PaidService, paid_service
from working import PATIENCE_S, WorkingProcess

from voicepipe import Audio, SqlJobStore, write_wav


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stress_report import Report

    from voicepipe import Job


RATE = 8_000

FAST = {"lease_s": 1.0, "beat_s": 0.25, "scan_s": 0.2, "retry_s": 0.05}

SLACK_S = 15.0
"""What a busy machine may add to any wait of these tests, seconds."""

pytestmark = pytest.mark.timeout(900)

ONCE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
"""Of what the worker does, whatever the database."""


@pytest.fixture
def service() -> Iterator[PaidService]:
    with paid_service() as service:
        yield service


@pytest.fixture
def start(
    store_url: str, service: PaidService
) -> Iterator[Callable[..., WorkingProcess]]:
    """Start workers, every other one on trio; they end with the test."""
    with contextlib.ExitStack() as stack:
        started = 0

        def start(**options: float) -> WorkingProcess:
            nonlocal started
            started += 1
            process = WorkingProcess(
                store_url,
                service.url,
                name=f"worker {started}",
                backend="trio" if started % 2 else "asyncio",
                options=FAST | options,
            )
            return stack.enter_context(process)

        yield start


def call(folder: Path, *, seed: int, seconds: float = 30.0) -> str:
    """Write a call unlike any other; give its path."""
    x = np.random.default_rng(seed).uniform(-0.4, 0.4, round(seconds * RATE))
    path = folder / f"call{seed}.wav"
    anyio.run(write_wav, path, Audio(samples=x, rate=RATE))
    return str(path)


def add(url: str, source: str) -> int:
    async def main() -> int:
        async with SqlJobStore(url) as store:
            return (await store.add(source)).id

    return anyio.run(main)


def get(url: str, job_id: int) -> Job:
    async def main() -> Job:
        async with SqlJobStore(url) as store:
            return await store.get(job_id)

    return anyio.run(main)


def until(url: str, job_id: int, *statuses: str) -> Job:
    """Wait until a job has ended."""

    async def main() -> Job:
        async with SqlJobStore(url) as store:
            with anyio.fail_after(PATIENCE_S):
                while True:
                    job = await store.get(job_id)
                    if job.status in (statuses or ("done", "error")):
                        return job
                    await anyio.sleep(0.02)
        raise AssertionError("not reached")

    return anyio.run(main)


def kept_values(url: str) -> str:
    """Give all that is kept for later attempts, as one text."""
    return "\n".join(value for _, value in kept(url))


def kept(url: str) -> list[tuple[int, str]]:
    """Give what is kept, each with the number of its job's attempt in that moment."""
    of_jobs = "SELECT attempt, value FROM kept JOIN jobs ON jobs.id = kept.job_id"
    return [(attempt, value) for attempt, value in ask(url, of_jobs)]


def until_stored(url: str) -> None:
    """Wait until the result of a paid call is stored."""
    deadline = time.monotonic() + PATIENCE_S
    while not said_in(kept_values(url)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def stop_between_writes(worker: WorkingProcess, url: str) -> None:
    """
    Stop a worker in a moment in which it holds no lock of the database.

    In the midst of a write it would hold up whoever waits for the same lock: on SQLite
    everybody, for as long as it is stopped.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        worker.stop()
        if not is_locked(url):
            return
        worker.resume()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_locked(url: str) -> bool:
    """Whether somebody holds a lock that a write would wait for."""
    import sqlalchemy as sa
    from sqlalchemy.exc import OperationalError

    sqlite = url.startswith("sqlite")
    engine = sa.create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"),
        poolclass=sa.NullPool,
        connect_args={"timeout": 0.5} if sqlite else {},
    )
    try:
        with engine.connect() as connection:
            if sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.exec_driver_sql("SELECT id FROM jobs FOR UPDATE NOWAIT")
            connection.rollback()
    except OperationalError:
        return True
    return False


def said_in(text: str) -> set[str]:
    """Give the keys of the paid calls whose results a text has."""
    return set(re.findall(r"said ([0-9a-f]{64})", text))


class Campaign:
    """Kills workers that are at work, one after the other, and keeps the books."""

    def __init__(
        self,
        url: str,
        folder: Path,
        service: PaidService,
        start: Callable[..., WorkingProcess],
    ) -> None:
        self._url = url
        self._folder = folder
        self._service = service
        self._start = lambda: start(max_tries=1_000)
        self._random = random.Random(url)
        self._workers = [self._start() for _ in range(3)]
        self._all = [*self._workers]
        self._jobs: list[int] = []
        self._stored: list[tuple[str, int, int]] = []
        self._orphans: list[tuple[int, int, float]] = []
        self.kills = 0

    def kill(self, times: int) -> None:
        """Kill so many, and more where too few of them held a job."""
        deadline = time.monotonic() + 30 * times + PATIENCE_S
        while self.kills < times or len(self._orphans) < 0.6 * times:
            assert time.monotonic() < deadline, (self.kills, self._orphans)
            self._feed()
            if victim := self._at_work():
                time.sleep(self._random.uniform(0.0, 0.6))
                victim.kill()
                self._note(victim)
                self.kills += 1
                self._workers.remove(victim)
                self._workers.append(self._start())
                self._all.append(self._workers[-1])
            time.sleep(0.01)

    def _feed(self) -> None:
        """See to it that two jobs are to be done, fewer than there are workers."""
        open_jobs = [i for i in self._jobs if get(self._url, i).status == "processing"]
        for _ in range(2 - len(open_jobs)):
            path = call(self._folder, seed=len(self._jobs))
            self._jobs.append(add(self._url, path))

    def _at_work(self) -> WorkingProcess | None:
        """Give one that has begun a job since it was asked last."""
        busy = [w for w in self._workers if any("begin" in line for line in w.hears())]
        return self._random.choice(busy) if busy else None

    def _note(self, victim: WorkingProcess) -> None:
        """Write down what it held, and what has been paid for and stored by now."""
        now = time.time()
        for job_id in self._jobs:
            job = get(self._url, job_id)
            if job.worker == victim.name:
                self._orphans.append((job_id, job.attempt, now))
        for attempt, value in kept(self._url):
            for key in said_in(value):
                calls = self._service.paid(key, since=attempt)
                self._stored.append((key, attempt, calls))

    def end(self) -> None:
        """Let the others finish, and drain them."""
        for job_id in self._jobs:
            until(self._url, job_id)
        for worker in self._workers:
            assert worker.drain() == 0

    def check(self) -> tuple[int, int, float]:
        """Give jobs done, kills that hit one, and the longest wait for a new worker."""
        for job_id in self._jobs:
            job = get(self._url, job_id)
            assert (job.status, job.error) == ("done", None)
            assert job.transcript is not None
            said = [segment.text for segment in job.transcript.segments]
            assert len(said) == len(set(said)) >= 7
            assert job.analysis is not None
        told = Counter(
            line for worker in self._all for line in worker.lines if "is done" in line
        )
        assert not told or max(told.values()) == 1
        # A late attempt, which has not heard yet that it is over, may pay once more.
        for key, attempt, calls in self._stored:
            assert self._service.paid(key, since=attempt) == calls
        begun = {}
        for line in (line for worker in self._all for line in worker.lines):
            if line.startswith("begin "):
                _, job_id, attempt, at = line.split()
                begun[int(job_id), int(attempt)] = float(at)
        # Who was killed between its claim and its first word has begun nothing.
        waits = [
            begun[i, attempt + 1] - at
            for i, attempt, at in self._orphans
            if (i, attempt + 1) in begun
        ]
        allowed_s = FAST["lease_s"] + 1.25 * FAST["scan_s"]
        assert statistics.median(waits) < allowed_s + SLACK_S
        # Some are longer on a busy machine: all workers may be just starting.
        assert max(waits) < allowed_s + 5 * SLACK_S
        return len(self._jobs), len(waits), max(waits)


def campaign(
    url: str,
    folder: Path,
    service: PaidService,
    start: Callable[..., WorkingProcess],
    kills: int,
) -> tuple[int, int, float]:
    # So that most kills find a job under way.
    service.takes_s = 0.2
    killing = Campaign(url, folder, service, start)
    killing.kill(kills)
    killing.end()
    jobs, hits, longest_s = killing.check()
    assert hits >= kills / 3
    return jobs, hits, longest_s


def test_jobs_outlive_their_workers(
    store_url: str,
    tmp_path: Path,
    service: PaidService,
    start: Callable[..., WorkingProcess],
) -> None:
    campaign(store_url, tmp_path, service, start, 10)


@pytest.mark.stress
@pytest.mark.timeout(3_600)
def test_jobs_outlive_a_hundred_workers(
    store_url: str,
    tmp_path: Path,
    service: PaidService,
    start: Callable[..., WorkingProcess],
    stress_report: Report,
) -> None:
    jobs, hits, longest_s = campaign(store_url, tmp_path, service, start, 100)
    stress_report(
        f"100 workers killed with SIGKILL, on {store_url.partition(':')[0]}",
        f"{jobs} jobs, each done once; {hits} kills hit one under way; no call paid "
        f"again after its result was stored; at most {longest_s:.1f} s until another "
        f"worker went on (lease {FAST['lease_s']} s, scan {FAST['scan_s']} s)",
    )


def test_a_worker_that_was_stopped_past_its_lease_changes_nothing(
    store_url: str,
    tmp_path: Path,
    service: PaidService,
    start: Callable[..., WorkingProcess],
) -> None:
    service.hold_after(1)
    job_id = add(store_url, call(tmp_path, seed=0))
    late = start()
    late.wait_for(f"begin {job_id} 1")
    until_stored(store_url)
    stop_between_writes(late, store_url)
    service.go_on()
    stored = said_in(kept_values(store_url))
    calls = service.calls

    other = start()
    other.wait_for(f"begin {job_id} 2")
    done = until(store_url, job_id)
    other.wait_for(f"job {job_id} is done")
    late.resume()
    late.wait_for(f"job {job_id} is left")

    assert done.status == "done"
    assert get(store_url, job_id) == done
    assert {key: service.calls[key] for key in stored} == {k: calls[k] for k in stored}
    assert kept_values(store_url) == ""
    assert late.drain() == 0
    assert get(store_url, job_id) == done
    assert kept_values(store_url) == ""
    assert f"job {job_id} is done" not in late.lines


@ONCE
def test_a_worker_that_is_told_to_stop_ends_its_job_first(
    store_url: str,
    tmp_path: Path,
    service: PaidService,
    start: Callable[..., WorkingProcess],
) -> None:
    service.hold_after(1)
    first = add(store_url, call(tmp_path, seed=0))
    second = add(store_url, call(tmp_path, seed=1))
    worker = start(drain_s=PATIENCE_S)
    worker.wait_for(f"begin {first} 1")

    worker.tell_to_drain()
    service.go_on()
    assert worker.ended() == 0

    assert worker.lines[-1] == "drained"
    assert get(store_url, first).status == "done"
    waiting = get(store_url, second)
    assert (waiting.status, waiting.attempt) == ("processing", 0)


@ONCE
def test_what_does_not_end_in_time_goes_on_elsewhere_at_once(
    store_url: str,
    tmp_path: Path,
    service: PaidService,
    start: Callable[..., WorkingProcess],
) -> None:
    service.hold_after(1)
    job_id = add(store_url, call(tmp_path, seed=0))
    # A lease that would keep the job for an hour, were it not given back.
    worker = start(drain_s=0.5, lease_s=3_600.0, beat_s=0.25)
    worker.wait_for(f"begin {job_id} 1")
    until_stored(store_url)

    assert worker.drain() == 0

    service.go_on()
    given_back = get(store_url, job_id)
    assert (given_back.status, given_back.worker) == ("processing", None)
    assert (given_back.attempt, given_back.tries) == (1, 0)
    stored = said_in(kept_values(store_url))
    calls = service.calls
    start().wait_for(f"begin {job_id} 2")
    assert until(store_url, job_id).status == "done"
    assert {key: service.calls[key] for key in stored} == {k: calls[k] for k in stored}


@ONCE
def test_a_job_that_kills_its_worker_ends_in_error(
    store_url: str, start: Callable[..., WorkingProcess]
) -> None:
    job_id = add(store_url, "poison")
    for attempt in range(1, 4):
        worker = start()
        worker.wait_for(f"begin {job_id} {attempt}")
        assert worker.process.wait(PATIENCE_S) == -9
    start()

    job = until(store_url, job_id)

    assert (job.status, job.attempt) == ("error", 4)
    assert job.error == (
        "gave up after 3 tries; the worker died or was stopped each time"
    )
