"""Holding a job while it is worked on."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import platform
from typing import TYPE_CHECKING

import anyio

from voicepipe.errors import JobError, JobStateError, LeaseLostError, StoreError
from voicepipe.tasks import task_group


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voicepipe.protocols import JobStore
    from voicepipe.types import Job, JobProgress


BEATS_PER_LEASE = 3
"""How often a lease is renewed within its length, at least: two renewals may fail."""

TELL_S = 0.5
"""Least seconds between two renewals, so that progress costs the store little."""

_logger = logging.getLogger(__name__)


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


class Heartbeat:
    """
    Renews a claim, again and again, and tells the job's progress with it.

    A store that is busy or away is asked again at the next beat; the attempt's number
    protects the job if its lease runs out meanwhile.

    Args:
        store: Where the job is.
        job: The claimed job.
        lease_s: Seconds that each renewal lasts.
        beat_s: Seconds between two renewals, where that is less than
            ``BEATS_PER_LEASE`` allow.
    """

    def __init__(
        self, store: JobStore, job: Job, *, lease_s: float, beat_s: float = math.inf
    ) -> None:
        """Begin with nothing told."""
        self._store = store
        self._job = job
        self._lease_s = lease_s
        self._beat_s = min(beat_s, lease_s / BEATS_PER_LEASE)
        self._latest: JobProgress | None = None
        self._told: JobProgress | None = None
        self._news = anyio.Event()

    def tell(self, progress: JobProgress | None) -> None:
        """Tell how far the job has come with the next renewal, and let that be soon."""
        self._latest = progress
        if progress != self._told:
            self.wake()

    def wake(self) -> None:
        """Renew soon, ``TELL_S`` after the last time: see whether it is still ours."""
        self._news.set()

    async def run(self) -> None:
        """
        Renew the claim until it is lost.

        Raises:
            LeaseLostError: If this attempt is not the current one any more.
            StoreError: If the store fails for good.

        Cancellation: at any time.
        """
        least_s = min(TELL_S, self._beat_s)
        while True:
            await anyio.sleep(least_s)
            with anyio.move_on_after(self._beat_s - least_s):
                await self._news.wait()
            self._news = anyio.Event()
            try:
                await self._renew()
            except StoreError as exc:
                _logger.warning(
                    "job %d: its lease was not renewed: %s", self._job.id, exc
                )
                if not exc.retryable:
                    raise

    async def _renew(self) -> None:
        progress = self._latest
        await self._store.extend(
            self._job.id,
            attempt=self._job.attempt,
            lease_s=self._lease_s,
            progress=progress,
        )
        self._told = progress


@contextlib.asynccontextmanager
async def kept_lease(
    store: JobStore, job: Job, *, lease_s: float
) -> AsyncIterator[None]:
    """
    Renew a claim for as long as the block runs.

    Raises:
        LeaseLostError: If another attempt has begun; the block is cancelled.
        StoreError: If the store fails for good; the block is cancelled.
    """
    heartbeat = Heartbeat(store, job, lease_s=lease_s)
    async with task_group() as group:
        group.start_soon(heartbeat.run)
        yield
        group.cancel_scope.cancel()


def _line(exc: Exception) -> str:
    """Say an error in one line."""
    return f"{type(exc).__name__}: {' '.join(str(exc).split())}".rstrip(": ")
