from __future__ import annotations

import contextlib
import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
import attrs
import pytest
from still_clock import Clock

from voicepipe import (
    Conversation,
    LeaseLostError,
    NotAudioError,
    SqlJobStore,
    StoreError,
    TalkMetrics,
    Transcript,
    TranscriptionError,
    VoicepipeError,
)
from voicepipe.jobs import attempt as jobs_attempt
from voicepipe.jobs import worker as jobs_worker
from voicepipe.jobs.lease import TELL_S
from voicepipe.jobs.options import WorkerOptions
from voicepipe.jobs.worker import Worker
from voicepipe.testing import FakeJobStore


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from voicepipe import Job, JobProgress, JobStore
    from voicepipe.jobs.run import JobRun


FAST = WorkerOptions(
    lease_s=0.6, beat_s=0.1, scan_s=0.05, retry_s=0.02, retry_max_s=0.1, drain_s=0.3
)

PATIENCE_S = 60.0
"""How long a test waits for what must happen, seconds."""


@pytest.fixture(autouse=True)
def a_claim_may_be_given_back_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no pause of a busy machine be longer than a claim's giving back may take."""
    for module in (jobs_attempt, jobs_worker):
        monkeypatch.setattr(module, "RELEASE_S", PATIENCE_S)


def found(text: str = "m") -> Conversation:
    metrics = TalkMetrics(
        total_conversation_duration=1.0,
        talk_time=0.0,
        speech_time=0.0,
        overlap_time=0.0,
        non_talk_time=1.0,
    )
    return Conversation(
        source="a call",
        duration=1.0,
        transcript=Transcript(duration=1.0, model=text),
        turns=(),
        metrics=metrics,
    )


async def at_once(run: JobRun) -> Conversation:
    return found(str(run.attempt))


class Slow:
    """Says when it has begun, and waits until it may end."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.stopped = anyio.Event()
        self.may_end = anyio.Event()
        self.cancelled = 0

    async def __call__(self, run: JobRun) -> Conversation:
        self.begun.set()
        try:
            await self.may_end.wait()
        except BaseException:
            self.cancelled += 1
            self.stopped.set()
            raise
        return found()


@contextlib.asynccontextmanager
async def at_work(worker: Worker) -> AsyncIterator[None]:
    """Let a worker run beside the block, and drain it at its end."""
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run)
            yield
            worker.drain()


async def until(
    store: JobStore, job_id: int, holds: Callable[[Job], bool] | None = None
) -> Job:
    """Wait until a job has ended, or something else holds of it."""
    while True:
        job = await store.get(job_id)
        if job.status in {"done", "error"} if holds is None else holds(job):
            return job
        await anyio.sleep(0.005)


class Told(FakeJobStore):
    """
    Remembers the renewals.

    Attributes:
        told: What each told of the progress.
        told_at: When, seconds.
    """

    def __init__(
        self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(clock=clock)
        self.told: list[JobProgress | None] = []
        self.told_at: list[float] = []

    async def extend(
        self,
        job_id: int,
        /,
        *,
        attempt: int,
        lease_s: float,
        progress: JobProgress | None = None,
    ) -> None:
        self.told.append(progress)
        self.told_at.append(anyio.current_time())
        await super().extend(
            job_id, attempt=attempt, lease_s=lease_s, progress=progress
        )


async def test_a_job_is_done_and_its_results_are_stored(tmp_path: Path) -> None:
    async with SqlJobStore(tmp_path / "jobs.db") as store:
        added = await store.add("call.wav")
        async with at_work(Worker(store, at_once, options=FAST, name="me")):
            done = await until(store, added.id)

        assert (done.status, done.attempt, done.tries) == ("done", 1, 1)
        assert done.transcript == found("1").transcript
        assert done.metrics == found().metrics
        assert (done.worker, done.lease_until, done.error) == (None, None, None)


async def test_a_job_is_claimed_by_name_for_as_long_as_the_lease_lasts() -> None:
    clock, slow = Clock(), Slow()
    store = FakeJobStore(clock=clock)
    await store.add("call.wav")
    async with at_work(Worker(store, slow, options=FAST, name="me")):
        await slow.begun.wait()
        job = await store.get(1)
        slow.may_end.set()

    assert job.worker == "me"
    assert job.lease_until == clock.now + timedelta(seconds=FAST.lease_s)


async def test_waking_makes_an_idle_worker_look_at_once() -> None:
    store = FakeJobStore()
    options = attrs.evolve(FAST, scan_s=3_600.0)
    worker = Worker(store, at_once, options=options)
    async with at_work(worker):
        await anyio.wait_all_tasks_blocked()
        await store.add("call.wav")
        await anyio.sleep(0.05)
        assert (await store.get(1)).attempt == 0
        worker.wake()
        assert (await until(store, 1)).status == "done"


async def test_an_idle_worker_looks_again_by_itself() -> None:
    store = FakeJobStore()
    async with at_work(Worker(store, at_once, options=FAST)):
        await anyio.sleep(0.2)
        await store.add("call.wav")
        assert (await until(store, 1)).status == "done"


async def test_as_many_jobs_at_once_as_are_allowed() -> None:
    store, full = FakeJobStore(), anyio.Event()
    now = most = 0

    async def handler(run: JobRun) -> Conversation:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 3:
            await anyio.sleep(0.05)  # a fourth would come now
            full.set()
        await full.wait()
        now -= 1
        return found()

    for i in range(9):
        await store.add(str(i))
    # Nobody takes what a busy machine holds up.
    options = attrs.evolve(FAST, at_once=3, scan_s=3_600.0, lease_s=3_600.0)
    async with at_work(Worker(store, handler, options=options)):
        for i in range(9):
            assert (await until(store, i + 1)).attempt == 1

    assert most == 3


async def test_a_lease_is_renewed_for_as_long_as_the_handler_works() -> None:
    clock, slow = Clock(), Slow()
    store = Told(clock)
    await store.add("call.wav")
    # A third of the lease is less than the beat.
    options = attrs.evolve(FAST, lease_s=1.2, beat_s=3_600.0)
    async with at_work(Worker(store, slow, options=options)):
        await slow.begun.wait()
        for renewals in range(1, 6):
            while len(store.told) < renewals:  # noqa: ASYNC110
                await anyio.sleep(0.005)
            clock.now += timedelta(seconds=0.9 * options.lease_s)
            assert await store.claim("another", lease_s=1.0) is None
        slow.may_end.set()

    assert (await store.get(1)).status == "done"
    # Each may be late on a busy machine, but not all of them.
    waits = [late - soon for soon, late in itertools.pairwise(store.told_at)]
    assert min(waits) < 0.8 * options.lease_s


def failing(*errors: Exception) -> Callable[[JobRun], Awaitable[Conversation]]:
    """Give a handler that raises these one after the other, and then succeeds."""
    left = list(errors)

    async def handler(run: JobRun) -> Conversation:
        if left:
            raise left.pop(0)
        return found()

    return handler


PASSING = TranscriptionError("the service is away", model="m", retryable=True)


@pytest.mark.parametrize(
    "error",
    [
        PASSING,
        ZeroDivisionError("a bug"),
        ConnectionResetError("reset"),
        TimeoutError(),
    ],
)
async def test_what_may_pass_is_tried_again(error: Exception) -> None:
    store = FakeJobStore()
    await store.add("call.wav")
    async with at_work(Worker(store, failing(error, error), options=FAST)):
        done = await until(store, 1)

    assert (done.status, done.attempt, done.tries, done.error) == ("done", 3, 3, None)


async def test_between_two_tries_a_job_waits_and_says_why() -> None:
    store = FakeJobStore()
    await store.add("call.wav")
    options = attrs.evolve(FAST, retry_s=100.0, retry_max_s=150.0)
    began = datetime.now(UTC)
    async with at_work(Worker(store, failing(PASSING), options=options)):
        job = await until(store, 1, lambda job: job.retry_at is not None)

    assert job.status == "processing"
    assert job.error == "TranscriptionError: the service is away"
    assert job.retry_at is not None
    assert job.retry_at >= began + timedelta(seconds=50.0)
    assert job.retry_at <= datetime.now(UTC) + timedelta(seconds=100.0)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            TranscriptionError("no such model", model="m"),
            "TranscriptionError: no such model",
        ),
        (
            NotAudioError("it is text", source="a.wav"),
            "NotAudioError: a.wav: it is text",
        ),
        (
            FileNotFoundError(2, "No such file or directory", "/srv/up/a.wav"),
            "FileNotFoundError: No such file or directory",
        ),
    ],
)
async def test_what_stays_as_it_is_ends_in_error_at_once(
    error: Exception, told: str
) -> None:
    store = FakeJobStore()
    await store.add("call.wav")
    async with at_work(Worker(store, failing(error), options=FAST)):
        job = await until(store, 1)

    assert (job.status, job.tries, job.error) == ("error", 1, told)
    assert (job.worker, job.retry_at) == (None, None)


async def test_after_so_many_tries_a_job_ends_with_its_last_error() -> None:
    store = FakeJobStore()
    await store.add("call.wav")
    last = TranscriptionError("still away", model="m", retryable=True)
    handler = failing(PASSING, PASSING, last)
    async with at_work(Worker(store, handler, options=FAST)):
        job = await until(store, 1)

    assert (job.status, job.attempt) == ("error", 3)
    assert job.error == "TranscriptionError: still away"


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (
            None,
            "gave up after 3 tries; the worker died or was stopped each time",
        ),
        (
            "TranscriptionError: away",
            (
                "gave up after 3 tries; the worker died or was stopped in the last one;"
                " before that: TranscriptionError: away"
            ),
        ),
    ],
)
async def test_a_job_that_kills_its_workers_is_not_begun_again(
    before: str | None, told: str
) -> None:
    store = FakeJobStore()
    await store.add("call.wav")
    begun: list[int] = []

    async def handler(run: JobRun) -> Conversation:
        begun.append(run.attempt)
        return found()

    if before is not None:
        await store.claim("failed", lease_s=100.0)
        await store.fail(1, attempt=1, error=before, retry_at=datetime.now(UTC))
    for _ in range(3 if before is None else 2):
        assert await store.claim("dead", lease_s=0.001)
        await anyio.sleep(0.005)
    async with at_work(Worker(store, handler, options=FAST)):
        job = await until(store, 1)

    assert (job.status, job.error, begun) == ("error", told, [])


async def test_a_job_that_was_queued_again_has_its_tries_anew() -> None:
    store = FakeJobStore()
    await store.add("call.wav")
    error = TranscriptionError("no", model="m")
    async with at_work(Worker(store, failing(error, PASSING), options=FAST)):
        await until(store, 1)
        await store.queue(1)
        done = await until(store, 1, lambda job: job.status == "done")

    assert (done.attempt, done.tries) == (3, 2)


async def test_one_that_hangs_is_stopped_and_tried_again() -> None:
    store, slow = FakeJobStore(), Slow()
    await store.add("call.wav")
    options = attrs.evolve(FAST, timeout_s=0.1, max_tries=2)
    async with at_work(Worker(store, slow, options=options)):
        job = await until(store, 1)

    assert (job.status, job.attempt, slow.cancelled) == ("error", 2, 2)
    assert job.error == "took longer than 0 s"


async def test_long_sound_may_take_long() -> None:
    store = FakeJobStore()
    await store.add("call.wav")

    async def handler(run: JobRun) -> Conversation:
        for i in range(5):
            run.heard(20.0 * (i + 1))
            run.heard(0.0)  # less than before does not count
            await anyio.sleep(0.15)
        return found()

    options = attrs.evolve(FAST, timeout_s=0.5, timeout_factor=10.0)
    async with at_work(Worker(store, handler, options=options)):
        job = await until(store, 1)

    assert (job.status, job.attempt) == ("done", 1)


@pytest.mark.parametrize("how", ["cancel", "delete"])
@pytest.mark.parametrize("wake", [False, True])
async def test_a_job_that_is_taken_away_stops_its_handler(
    how: str, caplog: pytest.LogCaptureFixture, *, wake: bool
) -> None:
    store, slow = FakeJobStore(), Slow()
    await store.add("call.wav")
    beat_s = 3_600.0 if wake else 0.1
    worker = Worker(
        store, slow, options=attrs.evolve(FAST, beat_s=beat_s, lease_s=10_000.0)
    )
    async with at_work(worker):
        await slow.begun.wait()
        if how == "cancel":
            await store.cancel(1)
        else:
            await store.delete([1])
        if wake:
            worker.wake()
        await slow.stopped.wait()
        slow.may_end.set()
        second = await store.add("another")
        worker.wake()
        assert (await until(store, second.id)).status == "done"

    assert slow.cancelled == 1
    assert "unexpectedly" not in caplog.text
    if how == "cancel":
        job = await store.get(1)
        assert (job.status, job.error, job.transcript) == ("error", "cancelled", None)
    else:
        assert len(await store.list()) == 1


@pytest.mark.parametrize("outcome", ["found", "error", "eaten"])
async def test_a_late_worker_changes_nothing(outcome: str) -> None:
    """The handler ends by itself in the moment in which the claim has gone."""
    clock = Clock()
    store = FakeJobStore(clock=clock)
    await store.add("call.wav")
    taken: list[Job] = []
    late = anyio.Event()

    async def handler(run: JobRun) -> Conversation:
        clock.now += timedelta(hours=1)
        job = await store.claim("another", lease_s=3_600.0)
        assert job is not None
        taken.append(job)
        late.set()
        if outcome == "error":
            raise ZeroDivisionError
        if outcome == "eaten":
            with contextlib.suppress(BaseException):
                await anyio.sleep_forever()
        return found()

    async with at_work(Worker(store, handler, options=FAST)):
        await late.wait()
        await anyio.sleep(0.3)

    assert [await store.get(1)] == taken


async def test_what_a_late_handler_keeps_is_refused_and_ends_it() -> None:
    clock = Clock()
    store = FakeJobStore(clock=clock)
    await store.add("call.wav")
    refused = anyio.Event()

    async def handler(run: JobRun) -> Conversation:
        await run.cache.put("a", "mine")
        clock.now += timedelta(hours=1)
        await store.claim("another", lease_s=3_600.0)
        try:
            await run.cache.put("a", "late")
        except LeaseLostError:
            refused.set()
            raise
        return found()

    async with at_work(Worker(store, handler, options=FAST)):
        await refused.wait()

    assert (await store.get(1)).attempt == 2
    assert await store.kept(1, "a") == "mine"


async def test_a_later_attempt_finds_what_an_earlier_one_has_kept() -> None:
    store = FakeJobStore()
    await store.add("call.wav")
    seen: list[str | None] = []

    async def handler(run: JobRun) -> Conversation:
        seen.append(await run.cache.get("dear"))
        await run.cache.put("dear", f"of attempt {run.attempt}")
        if run.attempt == 1:
            raise ConnectionResetError
        return found()

    async with at_work(Worker(store, handler, options=FAST)):
        await until(store, 1)

    assert seen == [None, "of attempt 1"]
    assert await store.kept(1, "dear") is None


async def test_what_was_told_before_waits_for_the_beat() -> None:
    store = Told()
    await store.add("call.wav")

    async def handler(run: JobRun) -> Conversation:
        for _ in range(180):
            run.progress("transcribe", 0.5)
            run.heard(1.0)
            await anyio.sleep(0.01)
        return found()

    options = attrs.evolve(FAST, lease_s=60.0, beat_s=20.0)
    async with at_work(Worker(store, handler, options=options)):
        await until(store, 1)

    assert len(store.told) == 1


async def test_progress_is_told_soon_but_not_each_step() -> None:
    store = Told()
    await store.add("call.wav")

    async def handler(run: JobRun) -> Conversation:
        nonlocal took_s
        began = anyio.current_time()
        for i in range(200):
            run.progress("transcribe", i / 100)  # beyond the end is the end
            await anyio.sleep(0.005)
        await until(store, 1, lambda job: job.progress == run.latest)
        took_s = anyio.current_time() - began
        return found()

    took_s = 0.0

    # Without news it would not be told within the test's time.
    options = attrs.evolve(FAST, lease_s=10_000.0, beat_s=3_600.0)
    async with at_work(Worker(store, handler, options=options)):
        await until(store, 1)

    fractions = [p.fraction for p in store.told if p is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert 1 <= len(store.told) <= took_s / TELL_S + 1


async def test_a_drained_worker_ends_its_jobs_and_takes_no_more() -> None:
    store, slow = FakeJobStore(), Slow()
    await store.add("call.wav")
    await store.add("another")
    worker = Worker(store, slow, options=attrs.evolve(FAST, drain_s=3_600.0))
    async with at_work(worker):
        await slow.begun.wait()
        assert worker.job_ids == (1,)
        worker.drain()
        await anyio.sleep(0.1)
        slow.may_end.set()

    first, second = await store.get(1), await store.get(2)
    assert (first.status, second.status, second.attempt) == ("done", "processing", 0)
    assert worker.job_ids == ()
    await worker.run()
    assert (await store.get(2)).attempt == 0


async def test_what_takes_too_long_to_drain_is_given_back_uncounted() -> None:
    store, slow = FakeJobStore(), Slow()
    await store.add("call.wav")
    async with at_work(Worker(store, slow, options=FAST)):
        await slow.begun.wait()

    job = await store.get(1)
    assert (job.status, job.worker, job.attempt, job.tries) == (
        "processing",
        None,
        1,
        0,
    )
    assert slow.cancelled == 1


async def test_what_fails_while_draining_does_not_count() -> None:
    """A signal for all processes of a group also ends the helpers of an engine."""
    store = FakeJobStore()
    await store.add("call.wav")

    async def handler(run: JobRun) -> Conversation:
        worker.drain()
        raise PASSING

    worker = Worker(store, handler, options=attrs.evolve(FAST, max_tries=1))
    async with at_work(worker):
        job = await until(store, 1, lambda job: job.attempt > 0 and job.worker is None)

    assert (job.status, job.tries, job.error, job.retry_at) == (
        "processing",
        0,
        None,
        None,
    )


class SlowRelease(FakeJobStore):
    """Takes its time to take a claim back."""

    async def release(self, job_id: int, /, *, attempt: int) -> Job:
        await anyio.sleep(0.1)
        return await super().release(job_id, attempt=attempt)


async def test_the_claim_is_given_back_before_a_handler_has_stopped() -> None:
    """Another worker may begin while a thread of this one is still computing."""
    store = SlowRelease()
    await store.add("call.wav")
    free: list[Job] = []

    async def handler(run: JobRun) -> Conversation:
        try:
            await anyio.sleep_forever()
        finally:
            free.append(store._jobs[1])
        return found()

    async with at_work(Worker(store, handler, options=FAST)):
        await until(store, 1, lambda job: job.attempt > 0)

    assert [(job.worker, job.tries) for job in free] == [(None, 0)]


async def test_cancelled_one_job_does_not_wait_for_another_to_stop() -> None:
    store, slow = FakeJobStore(), Slow()
    await store.add("call.wav")
    await store.add("another")

    async def handler(run: JobRun) -> Conversation:
        if run.job.id == 1:
            return await slow(run)
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await until(store, 1, lambda job: job.worker is None)
        return found()

    worker = Worker(store, handler, options=attrs.evolve(FAST, at_once=2))
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run)
            await slow.begun.wait()
            await until(store, 2, lambda job: job.attempt > 0)
            group.cancel_scope.cancel()

    assert [job.worker for job in await store.list()] == [None, None]


async def test_cancelled_a_worker_gives_its_jobs_back_at_once() -> None:
    store, slow = FakeJobStore(), Slow()
    for i in range(3):
        await store.add(str(i))
    options = attrs.evolve(FAST, at_once=2, lease_s=3_600.0)
    worker = Worker(store, slow, options=options)
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run)
            await slow.begun.wait()
            group.cancel_scope.cancel()

    jobs = await store.list()
    assert [job.worker for job in jobs] == [None] * 3
    assert [job.tries for job in jobs] == [0] * 3
    assert worker.job_ids == ()


class SlowClaim(FakeJobStore):
    """Says that it claims, and takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = anyio.Event()

    async def claim(
        self, worker: str, /, *, lease_s: float, job_id: int | None = None
    ) -> Job | None:
        job = await super().claim(worker, lease_s=lease_s, job_id=job_id)
        self.begun.set()
        await anyio.sleep(0.1)
        return job


@pytest.mark.parametrize("how", ["cancel", "drain"])
async def test_a_claim_that_is_just_being_made_is_not_lost(how: str) -> None:
    store = SlowClaim()
    await store.add("call.wav")
    options = attrs.evolve(FAST, lease_s=3_600.0, drain_s=0.0)
    worker = Worker(store, Slow(), options=options)
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run)
            await store.begun.wait()
            if how == "cancel":
                group.cancel_scope.cancel()
            else:
                worker.drain()

    job = await store.get(1)
    assert (job.attempt, job.worker, job.tries) == (1, None, 0)


class Away(FakeJobStore):
    """Is away, or broken, a number of times in one of its calls."""

    def __init__(self, call: str, times: int, *, retryable: bool = True) -> None:
        super().__init__()
        self.left = times
        self._call = call
        self._retryable = retryable

    def __getattribute__(self, name: str) -> object:
        if name != "_call" and name == self._call and self.left:

            async def fail(*args: object, **kwargs: object) -> None:
                self.left -= 1
                raise StoreError("no answer", retryable=self._retryable)

            return fail
        return super().__getattribute__(name)


@pytest.mark.parametrize("call", ["claim", "extend", "finish", "kept", "keep"])
async def test_a_store_that_is_away_is_waited_for(call: str) -> None:
    store = Away(call, 3)
    await store.add("call.wav")

    async def handler(run: JobRun) -> Conversation:
        await run.cache.put("a", "b")
        assert await run.cache.get("a") == "b"
        while call == "extend" and store.left:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        return found()

    async with at_work(Worker(store, handler, options=FAST)):
        done = await until(store, 1)

    assert (done.status, done.attempt, store.left) == ("done", 1, 0)


async def test_a_store_that_is_broken_ends_the_worker() -> None:
    store = Away("claim", 1, retryable=False)

    with pytest.raises(StoreError, match="no answer"):
        await Worker(store, at_once, options=FAST).run()


async def test_a_store_that_breaks_under_a_job_stops_the_job_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, slow = Away("extend", 1, retryable=False), Slow()
    await store.add("call.wav")
    async with at_work(Worker(store, slow, options=FAST)):
        await slow.stopped.wait()
        slow.may_end.set()
        done = await until(store, 1)

    assert (done.status, done.attempt) == ("done", 2)
    assert "its lease was not renewed: no answer" in caplog.text
    assert "unexpectedly" not in caplog.text


async def test_a_store_that_is_away_does_not_keep_a_worker_from_draining() -> None:
    store = Away("claim", 1_000_000)
    worker = Worker(store, at_once, options=FAST)
    async with at_work(worker):
        await anyio.sleep(0.1)


async def test_one_after_another_crashes_and_the_worker_goes_on() -> None:
    store = FakeJobStore()
    for i in range(6):
        await store.add(str(i))

    async def handler(run: JobRun) -> Conversation:
        if run.job.id % 2:
            raise ExceptionGroup("many", [ValueError("1"), OSError("2")])
        return found()

    options = attrs.evolve(FAST, max_tries=1)
    async with at_work(Worker(store, handler, options=options)):
        for i in range(6):
            await until(store, i + 1)

    assert [job.status for job in await store.list()] == ["done", "error"] * 3


@pytest.mark.parametrize("what", ["nothing", "no number"])
async def test_results_that_cannot_be_stored_end_the_job(
    what: str, tmp_path: Path
) -> None:
    async def handler(run: JobRun) -> Conversation:
        if what == "nothing":
            return None  # type: ignore[return-value]
        bad = attrs.evolve(found().metrics, talk_time=float("nan"))
        return attrs.evolve(found(), metrics=bad)

    async with SqlJobStore(tmp_path / "jobs.db") as store:
        await store.add("call.wav")
        options = attrs.evolve(FAST, max_tries=2)
        async with at_work(Worker(store, handler, options=options)):
            job = await until(store, 1)

    told = "TypeError" if what == "nothing" else "ValueError"
    assert (job.status, job.attempt) == ("error", 2)
    assert str(job.error).startswith(told)


async def test_a_worker_runs_once_at_a_time() -> None:
    worker = Worker(FakeJobStore(), at_once, options=FAST)
    async with at_work(worker):
        await anyio.sleep(0.05)
        with pytest.raises(RuntimeError, match="running already"):
            await worker.run()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (VoicepipeError("a\n\x1b[31mb\t c"), "VoicepipeError: a [31mb c"),
        (
            VoicepipeError("/srv/up/7/call.wav: bad; see /etc/voice/pipe.toml"),
            "VoicepipeError: my call.wav: bad; see pipe.toml",
        ),
        (
            VoicepipeError("https://host:8000/a/b.wav: refused"),
            "VoicepipeError: https://host:8000/a/b.wav: refused",
        ),
        (
            VoicepipeError(r"no model at C:\Users\ann\model"),
            "VoicepipeError: no model at model",
        ),
        (VoicepipeError("n/a and 3/4/5"), "VoicepipeError: n/a and 3/4/5"),
        (
            RuntimeError("postgresql://me:secret@db/x"),
            "RuntimeError: an unexpected error; the worker's log tells more",
        ),
        (VoicepipeError("x" * 1_000), "VoicepipeError: " + "x" * 483 + "…"),
    ],
)
async def test_a_reason_is_one_line_without_folders_and_secrets(
    error: Exception, told: str
) -> None:
    store = FakeJobStore()
    await store.add("/srv/up/7/call.wav", name="my call.wav")
    options = attrs.evolve(FAST, max_tries=1)
    async with at_work(Worker(store, failing(error), options=options)):
        job = await until(store, 1)

    assert job.error == told


@pytest.mark.parametrize(
    "wrong",
    [
        {"at_once": 0},
        {"lease_s": 0.0},
        {"max_tries": 0},
        {"scan_s": -1.0},
        {"timeout_s": 0.0},
        {"drain_s": -1.0},
        {"lease_s": float("nan")},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WorkerOptions(**wrong)  # type: ignore[arg-type]


async def test_several_workers_in_one_process_do_each_job_once(store_url: str) -> None:
    begun: list[int] = []

    async def handler(run: JobRun) -> Conversation:
        begun.append(run.job.id)
        await anyio.sleep(0.01)
        return found()

    async with SqlJobStore(store_url) as store:
        ids = [(await store.add(str(i))).id for i in range(20)]
        options = attrs.evolve(FAST, at_once=2, lease_s=3_600.0)
        async with contextlib.AsyncExitStack() as stack:
            for i in range(3):
                worker = Worker(store, handler, options=options, name=str(i))
                await stack.enter_async_context(at_work(worker))
            done = [await until(store, job_id) for job_id in ids]

    assert sorted(begun) == ids
    assert {(job.status, job.attempt) for job in done} == {("done", 1)}
