"""What the SQL store does with jobs beyond the law of job stores."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from voicepipe.errors import JobNotFoundError, LeaseLostError, StoreError
from voicepipe.jobs.store import SqlJobStore
from voicepipe.types import TalkMetrics, Transcript


if TYPE_CHECKING:
    from pathlib import Path


TRANSCRIPT = Transcript(duration=1.0, model="test")


def ask(path: Path, *statements: str) -> list[tuple]:
    opened = sqlite3.connect(path, timeout=60.0, isolation_level=None)
    with closing(opened) as connection:
        return [connection.execute(each).fetchall() for each in statements][-1]


async def test_a_stale_attempt_changes_no_byte_of_the_row(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SqlJobStore(path) as store:
        job = await store.add("call.wav")
        for _ in range(2):
            await store.claim("me", lease_s=1e-6)
        before = ask(path, "SELECT * FROM jobs")
        with pytest.raises(LeaseLostError) as caught:
            await store.finish(job.id, attempt=1, transcript=TRANSCRIPT)
        assert (caught.value.job_id, caught.value.attempt) == (job.id, 1)
        assert ask(path, "SELECT * FROM jobs") == before


async def test_leases_and_waits_end_to_the_microsecond() -> None:
    now = datetime(2025, 1, 1, tzinfo=UTC)
    second, tick = timedelta(seconds=1), timedelta(microseconds=1)
    async with SqlJobStore(":memory:", clock=lambda: now) as store:
        job = await store.add("call.wav")
        claimed = await store.claim("me", lease_s=1.0)
        assert claimed is not None
        assert claimed.lease_until == now + second
        now += second - tick
        assert await store.claim("me", lease_s=1.0) is None
        now += tick
        assert await store.claim("me", lease_s=1.0) is not None
        failed = await store.fail(job.id, attempt=2, error="", retry_at=now + second)
        assert failed.retry_at == now + second
        now += second - tick
        assert await store.claim("me", lease_s=1.0) is None
        now += tick
        assert await store.claim("me", lease_s=1.0) is not None


async def test_times_of_any_zone_are_given_in_utc() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    now = datetime(2025, 1, 1, 5, 30, 0, 1, tzinfo=zone)
    async with SqlJobStore(":memory:", clock=lambda: now) as store:
        job = await store.add("call.wav")
    assert job.created_at == now
    assert job.created_at.utcoffset() == timedelta(0)


async def test_results_stay_until_a_new_run_replaces_them() -> None:
    async with SqlJobStore(":memory:") as store:
        job = await store.add("call.wav")
        await store.claim("me", lease_s=60.0)
        metrics = TalkMetrics(
            total_conversation_duration=1.0,
            talk_time=0.0,
            speech_time=0.0,
            overlap_time=0.0,
            non_talk_time=1.0,
        )
        done = await store.finish(
            job.id, attempt=1, transcript=TRANSCRIPT, metrics=metrics
        )
        queued = await store.queue(job.id)
        assert (queued.transcript, queued.metrics) == (done.transcript, done.metrics)
        await store.claim("me", lease_s=60.0)
        again = await store.finish(job.id, attempt=2, transcript=TRANSCRIPT)
        assert again.metrics is None


async def test_a_claim_keeps_the_last_error_until_the_job_is_done() -> None:
    async with SqlJobStore(":memory:") as store:
        job = await store.add("call.wav")
        await store.claim("me", lease_s=60.0)
        now = datetime.now(UTC)
        await store.fail(job.id, attempt=1, error="it broke", retry_at=now)
        claimed = await store.claim("me", lease_s=60.0)
        assert claimed is not None
        assert claimed.error == "it broke"
        done = await store.finish(job.id, attempt=2, transcript=TRANSCRIPT)
        assert done.error is None


async def test_results_that_are_no_json_change_nothing() -> None:
    async with SqlJobStore(":memory:") as store:
        await store.add("call.wav")
        job = await store.claim("me", lease_s=60.0)
        assert job is not None
        broken = Transcript(duration=float("inf"), model="test")
        with pytest.raises(ValueError, match="JSON"):
            await store.finish(job.id, attempt=1, transcript=broken)
        assert await store.get(job.id) == job


async def test_results_that_were_changed_by_hand_are_told_with_their_job(
    tmp_path: Path,
) -> None:
    path = tmp_path / "jobs.db"
    async with SqlJobStore(path) as store:
        job = await store.add("call.wav")
        ask(path, "UPDATE jobs SET transcript = '{}'")
        with pytest.raises(StoreError, match="cannot be read") as caught:
            await store.get(job.id)
        assert caught.value.job_id == job.id


@pytest.mark.parametrize("number", [0, -1, 2**63, -(2**63), 10**30])
async def test_numbers_that_no_database_takes_are_ids_of_no_job(number: int) -> None:
    async with SqlJobStore(":memory:") as store:
        job = await store.add("call.wav")
        with pytest.raises(JobNotFoundError):
            await store.get(number)
        with pytest.raises(JobNotFoundError):
            await store.queue(number)
        with pytest.raises(LeaseLostError):
            await store.extend(number, attempt=1, lease_s=1.0)
        with pytest.raises(LeaseLostError):
            await store.extend(job.id, attempt=number - 1, lease_s=1.0)
        assert await store.claim("me", lease_s=1.0, job_id=number) is None
        assert await store.delete([number]) == 0
        assert await store.list(before=number) == ((job,) if number > 1 else ())
        assert await store.list(limit=max(number, 1)) == (job,)


async def test_misuse_is_told_before_anything_is_written() -> None:
    async with SqlJobStore(":memory:") as store:
        job = await store.add("call.wav")
        for lease_s in (0.0, -1.0, float("nan"), float("inf")):
            with pytest.raises(ValueError, match="lease_s"):
                await store.claim("me", lease_s=lease_s)
        with pytest.raises(ValueError, match="limit"):
            await store.list(limit=0)
        await store.claim("me", lease_s=60.0)
        for lease_s in (0.0, 1e10):
            with pytest.raises(ValueError, match="lease_s"):
                await store.extend(job.id, attempt=1, lease_s=lease_s)
        naive = datetime(2030, 1, 1)  # noqa: DTZ001 - that is the misuse
        with pytest.raises(ValueError, match="time zone"):
            await store.fail(job.id, attempt=1, error="broke", retry_at=naive)
        assert (await store.get(job.id)).status == "processing"


async def test_more_jobs_are_deleted_than_fit_into_one_statement(
    tmp_path: Path,
) -> None:
    path = tmp_path / "jobs.db"
    async with SqlJobStore(path) as store:
        await store.add("call.wav")
        ask(
            path,
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n LIMIT 1299)"
            " INSERT INTO jobs (id, source, status, attempt, created_at, updated_at)"
            " SELECT i, 'x', 'uploaded', 0, 0, 0 FROM n",
        )
        assert await store.delete(range(2, 2000)) == 1299
        assert [job.id for job in await store.list()] == [1]


async def test_a_claim_among_many_jobs_reads_only_the_index(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SqlJobStore(path):
        pass
    plan = ask(
        path,
        "EXPLAIN QUERY PLAN SELECT * FROM jobs WHERE status = 'processing'"
        " AND (lease_until IS NULL OR lease_until <= 1) ORDER BY id LIMIT 1",
    )
    assert [row[-1] for row in plan] == [
        "SEARCH jobs USING INDEX ix_jobs_status_id (status=?)"
    ]
