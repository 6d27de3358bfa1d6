"""Holding a job while it is worked on."""

from __future__ import annotations

import contextlib
import os
import platform
from typing import TYPE_CHECKING

import anyio

from voicepipe.errors import JobError, JobStateError, LeaseLostError, StoreError
from voicepipe.tasks import task_group


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voicepipe.protocols import JobStore
    from voicepipe.types import Job


BEATS_PER_LEASE = 3
"""How often a lease is renewed within its length: two renewals may fail."""


def worker_name() -> str:
    """Name this process for the store: host and process id."""
    return f"{platform.node() or 'localhost'}:{os.getpid()}"


@contextlib.asynccontextmanager
async def claimed_job(
    store: JobStore, source: str, *, lease_s: float
) -> AsyncIterator[Job]:
    """
    Add a job, claim it, and see it through whatever happens.

    Args:
        store: Where to add it.
        source: Name of the recording.
        lease_s: Seconds the claim lasts.

    Yields:
        The claimed job. An error in the block sets it to ``error`` with the error's
        text, cancellation deletes it; the block itself finishes it.

    Raises:
        JobError: If the store fails.
    """
    job: Job | None = None
    # In one piece: between the two the job would belong to nobody.
    with anyio.CancelScope(shield=True):
        added = await store.add(source, queue=False)
        job = await store.claim(worker_name(), lease_s=lease_s, job_id=added.id)
    if job is None:
        raise JobStateError("the job was taken away before it began")
    try:
        yield job
    except LeaseLostError:
        raise
    except Exception as exc:
        # The first error is the one to tell, even if the store fails as well.
        with anyio.CancelScope(shield=True), contextlib.suppress(JobError):
            await store.fail(job.id, attempt=job.attempt, error=_line(exc))
        raise
    except BaseException:
        with anyio.CancelScope(shield=True), contextlib.suppress(JobError):
            await store.delete([job.id])
        raise


@contextlib.asynccontextmanager
async def kept_lease(
    store: JobStore, job: Job, *, lease_s: float
) -> AsyncIterator[None]:
    """
    Renew a claim for as long as the block runs.

    A busy store is asked again at the next beat; the attempt number protects the job
    if the lease runs out meanwhile.

    Raises:
        LeaseLostError: If another attempt has begun; the block is cancelled.
        StoreError: If the store fails for good; the block is cancelled.
    """

    async def beat() -> None:
        while True:
            await anyio.sleep(lease_s / BEATS_PER_LEASE)
            try:
                await store.extend(job.id, attempt=job.attempt, lease_s=lease_s)
            except StoreError as exc:
                if not exc.retryable:
                    raise

    async with task_group() as group:
        group.start_soon(beat)
        yield
        group.cancel_scope.cancel()


def _line(exc: Exception) -> str:
    """Say an error in one line."""
    return f"{type(exc).__name__}: {' '.join(str(exc).split())}".rstrip(": ")
