"""Whatever happens in whatever order, the SQL store does what a dictionary does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio.from_thread
import hypothesis.strategies as st
import job_sql
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from voicepipe.errors import JobError
from voicepipe.jobs.store import SqlJobStore
from voicepipe.testing.job_store_fake import FakeJobStore
from voicepipe.types import JobProgress, Transcript


if TYPE_CHECKING:
    from voicepipe.types import Job


class Clock:
    """A clock that goes only when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2025, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class JobStoreMachine(RuleBasedStateMachine):
    """Does everything to both stores and compares what they say."""

    url = ":memory:"

    jobs = Bundle("jobs")
    claims = Bundle("claims")
    seconds = st.sampled_from([0.5, 1.0, 2.5])
    names = st.sampled_from(["a", "b"])
    texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.attempts: dict[int, int] = {}
        self._open_portal = anyio.from_thread.start_blocking_portal()
        self.portal = self._open_portal.__enter__()
        self.stores = (
            SqlJobStore(self.url, clock=self.clock),
            FakeJobStore(clock=self.clock),
        )

    def teardown(self) -> None:
        self.portal.call(self.stores[0].aclose)
        self._open_portal.__exit__(None, None, None)

    def both(self, name: str, /, *args: object, **kwargs: object) -> Any:
        """Call both; give the value or the kind of error, which must be the same."""
        sql, fake = (
            self.portal.call(_outcome, store, name, args, kwargs)
            for store in self.stores
        )
        assert sql == fake
        return sql

    @initialize(target=jobs)
    def begin(self) -> int:
        return self.both("add", "first").id

    @rule(
        target=jobs,
        queue=st.booleans(),
        name=st.none() | texts,
        key=st.none() | names,
    )
    def add(self, *, queue: bool, name: str | None, key: str | None) -> int:
        return self.both("add", "call.wav", queue=queue, name=name, key=key).id

    @rule(job=jobs)
    def queue(self, job: int) -> None:
        self.both("queue", job)

    @rule(target=claims, lease_s=seconds, job=st.none() | jobs)
    def claim(self, lease_s: float, job: int | None) -> object:
        claimed: Job | None = self.both("claim", "w", lease_s=lease_s, job_id=job)
        if claimed is None:
            return multiple()
        assert claimed.attempt == self.attempts.get(claimed.id, 0) + 1
        self.attempts[claimed.id] = claimed.attempt
        return claimed.id, claimed.attempt

    @rule(claim=claims, lease_s=seconds)
    def extend(self, claim: tuple[int, int], lease_s: float) -> None:
        job, attempt = claim
        self.both("extend", job, attempt=attempt, lease_s=lease_s)

    @rule(claim=claims, stage=names, fraction=st.floats(0.0, 1.0))
    def tell(self, claim: tuple[int, int], stage: str, fraction: float) -> None:
        job, attempt = claim
        told = JobProgress(stage=stage, fraction=fraction)
        self.both("extend", job, attempt=attempt, lease_s=1.0, progress=told)

    @rule(claim=claims, key=names, value=texts)
    def keep(self, claim: tuple[int, int], key: str, value: str) -> None:
        job, attempt = claim
        self.both("keep", job, key, value, attempt=attempt)

    @rule(job=jobs, key=names)
    def kept(self, job: int, key: str) -> None:
        self.both("kept", job, key)

    @rule(claim=claims)
    def release(self, claim: tuple[int, int]) -> None:
        job, attempt = claim
        self.both("release", job, attempt=attempt)

    @rule(claim=claims, text=texts)
    def finish(self, claim: tuple[int, int], text: str) -> None:
        job, attempt = claim
        transcript = Transcript(duration=1.0, model=text)
        self.both("finish", job, attempt=attempt, transcript=transcript)

    @rule(claim=claims, wait=st.none() | seconds)
    def fail(self, claim: tuple[int, int], wait: float | None) -> None:
        job, attempt = claim
        retry_at = wait and self.clock.now + timedelta(seconds=wait)
        self.both("fail", job, attempt=attempt, error="broke", retry_at=retry_at)

    @rule(job=jobs, reason=texts)
    def cancel(self, job: int, reason: str) -> None:
        self.both("cancel", job, reason=reason)

    @rule(
        job=jobs,
        edits=st.fixed_dictionaries(
            {},
            optional={
                "summary": st.none() | texts,
                "key_points": st.none() | st.lists(texts, max_size=2).map(tuple),
            },
        ),
    )
    def update(self, job: int, edits: dict) -> None:
        self.both("update", job, edits)

    @rule(seconds=seconds, limit=st.integers(1, 2))
    def prune(self, seconds: float, limit: int) -> None:
        before = self.clock.now - timedelta(seconds=seconds)
        self.both("prune", before=before, limit=limit)

    @rule(
        status=st.sampled_from([None, "uploaded", "processing", "done", "error"]),
        limit=st.integers(1, 3),
        before=st.none() | jobs,
        seconds=st.none() | seconds,
        results=st.booleans(),
    )
    def ask(
        self,
        *,
        status: str | None,
        limit: int,
        before: int | None,
        seconds: float | None,
        results: bool,
    ) -> None:
        since = seconds and self.clock.now - timedelta(seconds=seconds)
        self.both(
            "list",
            status=status,
            limit=limit,
            before=before,
            changed_since=since,
            results=results,
        )

    @rule(job=jobs, attempt=st.integers(0, 3))
    def guess_an_attempt(self, job: int, attempt: int) -> None:
        self.both("extend", job, attempt=attempt, lease_s=1.0)

    @rule(job=consumes(jobs))
    def delete(self, job: int) -> None:
        self.both("delete", [job, job, 10**6])

    @rule(seconds=seconds)
    def wait(self, seconds: float) -> None:
        self.clock.now += timedelta(seconds=seconds)

    @invariant()
    def both_hold_the_same(self) -> None:
        self.both("list")


async def _outcome(store: object, name: str, args: tuple, kwargs: dict) -> object:
    try:
        return await getattr(store, name)(*args, **kwargs)
    except JobError as exc:
        return type(exc)


TestJobStoreMachine = JobStoreMachine.TestCase
TestJobStoreMachine.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_postgresql_does_what_a_dictionary_does(postgres: str) -> None:
    class Machine(JobStoreMachine):
        url = postgres

        def teardown(self) -> None:
            super().teardown()
            job_sql.ask(postgres, "TRUNCATE jobs, kept RESTART IDENTITY")

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=10,
            stateful_step_count=30,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
