"""One claim on a job, from its beginning to its end."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import anyio

from voicepipe.errors import JobError, LeaseLostError, StoreError, VoicepipeError
from voicepipe.jobs.lease import Heartbeat
from voicepipe.jobs.retry import given_up, may_retry, patiently, reason, retry_at
from voicepipe.jobs.run import JobRun


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from voicepipe.jobs.options import WorkerOptions
    from voicepipe.protocols import JobStore
    from voicepipe.types import Conversation, Job


RELEASE_S = 1.0
"""Seconds that giving a claim back may take; afterwards its lease just runs out."""

_logger = logging.getLogger(__name__)


class Attempt:
    """
    Works on a claimed job, and sees to it that its claim ends as it must.

    ``done`` if the handler gave a conversation; ``error``, or claimable again later, if
    it raised or took too long; claimable at once if the attempt was stopped; and not a
    thing written if the claim was lost.

    Args:
        store: Where the job is.
        job: The claimed job.
        handler: Does the job.
        options: How long things may take.

    Attributes:
        job: The claimed job.
        draining: Whether the worker is about to end. What fails now and may be tried
            again is given back: as often as not its helper processes were told to stop
            in the same moment.
    """

    def __init__(
        self,
        store: JobStore,
        job: Job,
        handler: Callable[[JobRun], Awaitable[Conversation]],
        options: WorkerOptions,
    ) -> None:
        """Begin nothing yet."""
        self.job: Job = job
        self.draining: bool = False
        self._store = store
        self._handler = handler
        self._options = options
        self._run = JobRun(store, job, changed=self._note)
        self._heartbeat = Heartbeat(
            store, job, lease_s=options.lease_s, beat_s=options.beat_s
        )
        self._work = anyio.CancelScope()
        self._end: anyio.CancelScope | None = None
        self._end_by = math.inf
        self._begun_at = math.inf
        self._ending = False
        self._released = False
        self._lost: JobError | None = None

    async def run(self) -> None:
        """
        Do the job; whatever comes of it is told to the store, and nothing is raised.

        Cancellation: stops the handler, and gives the claim back.
        """
        try:
            if self.job.tries > self._options.max_tries:
                await self._write(lambda: self._fail(given_up(self.job, self._options)))
            else:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._hold)
                    await self._work_and_end()
                    group.cancel_scope.cancel()
        except anyio.get_cancelled_exc_class():
            await self.release()
            raise

    def beat(self) -> None:
        """Renew the claim now: see whether it is still ours."""
        self._heartbeat.wake()

    async def stop(self) -> None:
        """
        Give the claim back and stop the handler; ``run`` ends as soon as that has.

        The claim goes first: a handler may not stop before its thread comes back, and
        meanwhile another worker can begin. What is just being written may be finished.
        """
        if self._ending:
            self._end_by = anyio.current_time() + RELEASE_S
            if self._end is not None:
                self._end.deadline = self._end_by
        else:
            await self.release()
        self._work.cancel()

    async def release(self) -> None:
        """
        Give the claim back, as far as that is possible in a short time.

        Cancellation: it is waited for, ``RELEASE_S`` at most.
        """
        if self._released or self._lost is not None:
            return
        self._released = True
        job = self.job
        with anyio.move_on_after(RELEASE_S, shield=True):
            try:
                await patiently(
                    lambda: self._store.release(job.id, attempt=job.attempt)
                )
            except JobError as exc:
                # It ended meanwhile, or its lease will run out: nothing more to do.
                _logger.info("job %d was not given back: %s", job.id, exc)

    async def _work_and_end(self) -> None:
        """Let the handler work, and write down what came of it."""
        self._begun_at = anyio.current_time()
        self._note()
        found: Conversation | None = None
        error: Exception | None = None
        try:
            with self._work:
                found = await self._handler(self._run)
        except Exception as exc:  # noqa: BLE001 - a worker outlives its jobs' errors
            error = exc
        if self._released or self._lost is not None:
            return
        if isinstance(error, LeaseLostError):
            self._lose(error)
            return
        if self.draining and error is not None and may_retry(error):
            await self.release()
            return
        if found is not None:
            done = found
            error = await self._write(lambda: self._finish(done))
            if error is None:
                return
        elif error is None and not self._work.cancel_called:
            error = TypeError("the handler gave no conversation")
        await self._write(lambda: self._fail_for(error))

    async def _write(self, write: Callable[[], Awaitable[object]]) -> Exception | None:
        """
        Write how the attempt ended, as soon as the store takes it.

        Returns:
            Why the store does not take it, such as results that are no JSON; ``None``
            where it has, or where the claim was lost.
        """
        self._ending = True
        try:
            with anyio.CancelScope(deadline=self._end_by) as self._end:
                await patiently(write)
        except LeaseLostError as exc:
            self._lose(exc)
        except Exception as exc:
            _logger.exception("job %d: what came of it was not stored", self.job.id)
            return exc
        return None

    async def _finish(self, found: Conversation) -> None:
        await self._store.finish(
            self.job.id,
            attempt=self.job.attempt,
            transcript=found.transcript,
            metrics=found.metrics,
            analysis=found.analysis,
        )
        _logger.info("job %d is done", self.job.id)

    async def _fail_for(self, error: Exception | None) -> None:
        """Let the job fail for an error, or for having taken too long."""
        job, options = self.job, self._options
        if error is None:
            error = TimeoutError()
            told = f"took longer than {options.allowed_s(self._run.heard_s):.0f} s"
        else:
            told = reason(error, job)
        at = retry_at(error, job, options)
        _logger.warning(
            "job %d %s: %s",
            job.id,
            "ends in error" if at is None else "is tried again later",
            told,
            # Of our own errors and the system's the line is enough.
            exc_info=None if isinstance(error, VoicepipeError | OSError) else error,
        )
        await self._fail(told, at)

    async def _fail(self, error: str, at: datetime | None = None) -> None:
        job = self.job
        await self._store.fail(job.id, attempt=job.attempt, error=error, retry_at=at)

    def _note(self) -> None:
        """Take note of what the handler has told."""
        allowed = self._options.allowed_s(self._run.heard_s)
        self._work.deadline = self._begun_at + allowed
        self._heartbeat.tell(self._run.latest)

    async def _hold(self) -> None:
        """Renew the claim until it is lost."""
        try:
            await self._heartbeat.run()
        except (LeaseLostError, StoreError) as exc:
            self._lose(exc)

    def _lose(self, error: JobError) -> None:
        """Stop: the job is not ours any more, and nothing more is written to it."""
        if self._lost is None and not self._released:
            _logger.info("job %d is left: %s", self.job.id, error)
        self._lost = error
        self._work.cancel()
