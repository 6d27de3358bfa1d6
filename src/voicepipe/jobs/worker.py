"""Takes jobs from a store and has them done."""

from __future__ import annotations

import logging
import math
import random
from typing import TYPE_CHECKING

import anyio

from voicepipe.errors import StoreError
from voicepipe.jobs.attempt import RELEASE_S, Attempt
from voicepipe.jobs.lease import worker_name
from voicepipe.jobs.options import WorkerOptions
from voicepipe.jobs.retry import patiently
from voicepipe.tasks import task_group


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from voicepipe.jobs.run import JobRun
    from voicepipe.protocols import JobStore
    from voicepipe.types import Conversation, Job


_logger = logging.getLogger(__name__)


class Worker:
    """
    Takes jobs from a store, has each done, and writes down what came of it.

    A job is held by a lease that is renewed while it is worked on. Should the worker
    die, the job waits until its lease has run out and goes to another worker: in the
    same process, in another one, or on another machine, where the store is one that
    they share. Each try has a number, and a store refuses what a late one writes.

    An error that may pass is tried again, each time later, up to a number of tries;
    any other ends the job in ``error`` with one line that says why. Errors of a
    handler never stop the worker. A store that is busy or away is waited for.

    The handler runs on the event loop, beside the task that renews the lease: what
    computes for long belongs into a worker thread, as ``Pipeline.work`` has it.

    Args:
        store: Where the jobs are.
        handler: Does one job, such as ``Pipeline.work``; what it raises decides on
            another try: a ``VoicepipeError`` by its ``retryable``, whatever else is
            tried again. It is cancelled when the job is cancelled or deleted, goes to
            another worker, or takes too long. To tell people why a job failed, raise a
            ``VoicepipeError``; of other errors only the kind is told.
        options: How to take jobs, hold them and give them up.
        name: What to call this worker in the store; host and process id by default.

    Example:
        >>> worker = Worker(store, pipeline.work)  # doctest: +SKIP
        >>> await worker.run()  # doctest: +SKIP
    """

    def __init__(
        self,
        store: JobStore,
        handler: Callable[[JobRun], Awaitable[Conversation]],
        *,
        options: WorkerOptions | None = None,
        name: str | None = None,
    ) -> None:
        """Begin nothing yet."""
        self._store = store
        self._handler = handler
        self._options = options or WorkerOptions()
        self._name = name or worker_name()
        self._attempts: set[Attempt] = set()
        self._running = False
        self._draining = False
        self._changed: anyio.Event | None = None
        self._drained: anyio.Event | None = None
        self._claiming: anyio.CancelScope | None = None

    @property
    def job_ids(self) -> tuple[int, ...]:
        """Ids of the jobs that are being worked on."""
        return tuple(sorted(attempt.job.id for attempt in self._attempts))

    async def run(self) -> None:
        """
        Work until ``drain`` was called and the jobs under way have ended.

        Raises:
            StoreError: If the store fails for good.
            RuntimeError: If this worker is running already.

        Cancellation: handlers are cancelled and their jobs given back at once; the
        try does not count.
        """
        if self._running:
            raise RuntimeError("this worker is running already")
        self._running = True
        drained = self._drained = anyio.Event()
        if self._draining:
            drained.set()
        try:
            async with task_group() as group:
                group.start_soon(self._watch_drain, drained)
                async with task_group() as attempts:
                    while attempt := await self._next(drained):
                        attempts.start_soon(self._work, attempt)
                group.cancel_scope.cancel()
        finally:
            self._running = False
            await self._release_all()

    def drain(self) -> None:
        """
        Take no more jobs; give those under way their time, then stop them.

        ``run`` ends afterwards, and returns at once if it is called again. To be called
        from the event loop, such as by a task that waits for SIGTERM.
        """
        self._draining = True
        for attempt in self._attempts:
            attempt.draining = True
        if self._drained is not None:
            self._drained.set()
        if self._claiming is not None:
            self._claiming.cancel()  # it may be waiting for a store that is away
        self._note()

    def wake(self) -> None:
        """
        Look for jobs now, and whether those under way have been cancelled.

        To be called from the event loop, by who has just added or cancelled a job.
        """
        for attempt in self._attempts:
            attempt.beat()
        self._note()

    async def _next(self, drained: anyio.Event) -> Attempt | None:
        """Claim the next job, as soon as there is one; ``None`` when draining."""
        while not drained.is_set():
            # Before the claim, so that what changes meanwhile is not missed.
            changed = self._changed = anyio.Event()
            wait_s = math.inf
            if len(self._attempts) < self._options.at_once:
                with anyio.CancelScope() as self._claiming:
                    attempt = await patiently(self._claim)
                    if attempt is not None and not drained.is_set():
                        return attempt
                if drained.is_set():
                    break
                wait_s = self._options.scan_s * random.uniform(0.75, 1.25)  # noqa: S311
            with anyio.move_on_after(wait_s):
                await changed.wait()
        return None

    async def _claim(self) -> Attempt | None:
        job: Job | None = None
        try:
            # A claim that was made and not heard of would hold the job for nobody.
            with anyio.CancelScope(shield=True):
                job = await self._store.claim(self._name, lease_s=self._options.lease_s)
        except StoreError as exc:
            _logger.warning("no job could be claimed: %s", exc)
            raise
        if job is None:
            return None
        attempt = Attempt(self._store, job, self._handler, self._options)
        self._attempts.add(attempt)
        return attempt

    async def _work(self, attempt: Attempt) -> None:
        job = attempt.job
        _logger.info("job %d begins, try %d", job.id, job.tries)
        try:
            await attempt.run()
        except Exception:
            _logger.exception("job %d is left: its store failed unexpectedly", job.id)
        # Not in a `finally`: of those that are cancelled, also before they have begun,
        # `run` looks whether the claim was given back.
        self._attempts.discard(attempt)
        self._note()

    async def _watch_drain(self, drained: anyio.Event) -> None:
        """Stop the jobs under way when their time is over."""
        await drained.wait()
        await anyio.sleep(self._options.drain_s)
        async with task_group() as group:
            for attempt in self._attempts:
                group.start_soon(attempt.stop)

    async def _release_all(self) -> None:
        """Give back what is still held, after ``run`` was cancelled."""
        with anyio.move_on_after(2 * RELEASE_S, shield=True):
            async with task_group() as group:
                for attempt in self._attempts:
                    group.start_soon(attempt.release)
        self._attempts.clear()

    def _note(self) -> None:
        if self._changed is not None:
            self._changed.set()
