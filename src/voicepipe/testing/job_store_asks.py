"""What the laws of job stores ask for, and the values that they store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from voicepipe.errors import LeaseLostError
from voicepipe.testing._expect import expect
from voicepipe.types import (
    Analysis,
    Point,
    Segment,
    TalkMetrics,
    Transcript,
    Word,
)


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from voicepipe.protocols import JobStore
    from voicepipe.types import Job


LONG_S = 60.0
"""A lease, or a wait for a retry, that does not end during the check; seconds."""

SHORT_S = 0.05
"""A lease, or a wait for a retry, whose end the check waits for; seconds."""

PATIENCE_S = 2.0
"""How long after its end something may still look unfinished, seconds."""

TRANSCRIPT = Transcript(
    segments=(
        Segment(
            id=0,
            start=0.5,
            end=1.25,
            text="grüß dich 👋",
            words=(Word(start=0.5, end=1.25, text="grüß", probability=0.1),),
            channel=1,
            speaker="Speaker01",
        ),
    ),
    duration=2.0,
    model="check",
    language="de",
)
METRICS = TalkMetrics(
    total_conversation_duration=2.0,
    talk_time=0.75,
    speech_time=0.75,
    overlap_time=0.0,
    non_talk_time=1.25,
)
ANALYSIS = Analysis(
    summary=(Point(text="'); DROP TABLE jobs; --", segment_ids=(0,)),),
    conversation_type="other",
    model="check",
)


async def claim(store: JobStore, job_id: int | None = None) -> Job | None:
    """Claim a job for long."""
    return await store.claim("check", lease_s=LONG_S, job_id=job_id)


async def claim_soon(store: JobStore, sentence: str) -> Job:
    """Claim what becomes claimable after ``SHORT_S``."""
    deadline = anyio.current_time() + SHORT_S + PATIENCE_S
    while True:
        # On a busy machine the patience may end between two looks: the last look is
        # one that begins after its end.
        over = anyio.current_time() >= deadline
        if job := await claim(store):
            return job
        if over:
            raise AssertionError(sentence)
        await anyio.sleep(SHORT_S)


def expect_released(job: Job) -> None:
    """Check that nobody holds a job."""
    held = (job.worker, job.lease_until, job.progress)
    expect(held == (None,) * 3, f"nobody holds a job that is {job.status}")


async def expect_refused(store: JobStore, job: Job, *, attempt: int) -> None:
    """Check that an attempt that is not current can do nothing to a job."""
    await expect_lost(store, job.id, attempt=attempt)
    expect(await store.get(job.id) == job, "a refused attempt must change nothing")


async def expect_lost(store: JobStore, job_id: int, *, attempt: int) -> None:
    """Check that an attempt that is not current is told so."""
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "extend": lambda: store.extend(job_id, attempt=attempt, lease_s=LONG_S),
        "keep": lambda: store.keep(job_id, "late", "late", attempt=attempt),
        "release": lambda: store.release(job_id, attempt=attempt),
        "finish": lambda: store.finish(job_id, attempt=attempt, transcript=TRANSCRIPT),
        "fail": lambda: store.fail(job_id, attempt=attempt, error="late"),
    }
    for name, call in calls.items():
        what = f"{name} by attempt {attempt}, which is not current,"
        await expect_error(call(), LeaseLostError, what)
    late = await store.kept(job_id, "late")
    expect(late is None, "what an attempt that is not current keeps must be refused")


async def expect_error(
    call: Awaitable[object], kind: type[Exception], what: str
) -> None:
    """Check that a call raises an error."""
    try:
        await call
    except kind:
        return
    raise AssertionError(f"{what} must raise {kind.__name__}")
