"""What all requests share: the jobs, their files, and who works on them."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import logging
import time
from typing import TYPE_CHECKING, Self

import anyio
import anyio.to_thread
from events import Changes
from settings import SETTINGS
from stopping import stop_heard, wait_for
from uploads import Uploads
from work import Engines, keep_working, make_worker

from voicepipe import JobNotFoundError, SqlJobStore, StoreError
from voicepipe.servers.metrics import Metrics


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from voicepipe import Job, Worker


_logger = logging.getLogger("jobs_backend")

metrics = Metrics("voicepipe_jobs")

_SWEEP_EVERY_S = 3_600.0
_OLD_PART_S = 86_400.0
_DAY_S = 86_400.0
_PAGE = 1_000
_LOOK_S = 2.0


class Backend:
    """
    The jobs, their files, and who works on them.

    Args:
        store: Where the jobs are.
        engines: What works on them; ``None`` where this process does not.
        worker: Who works on them here; ``None`` likewise.

    Attributes:
        store: Where the jobs are.
        uploads: Where their recordings are.
        changes: Who wants to know what happens to them.
        engines: What works on them.
        decoding: Lets two recordings be drawn at a time.
        stopping: Whether the server has been told to stop.
    """

    def __init__(
        self, store: SqlJobStore, engines: Engines | None, worker: Worker | None
    ) -> None:
        """Begin with nobody listening."""
        self.store: SqlJobStore = store
        self.uploads: Uploads = Uploads(SETTINGS.uploads)
        self.changes: Changes = Changes(store)
        self.engines: Engines | None = engines
        self.decoding: anyio.CapacityLimiter = anyio.CapacityLimiter(2)
        self.stopping: bool = False
        self._worker = worker
        self._loading = anyio.CancelScope()
        self._counted = (-1e9, 0)

    @property
    def working(self) -> int:
        """How many jobs are worked on in this process."""
        return 0 if self._worker is None else len(self._worker.job_ids)

    def wake(self) -> None:
        """Have the worker look for jobs, and whether its own have been cancelled."""
        if self._worker is not None:
            self._worker.wake()

    async def head(self, job_id: int) -> Job:
        """
        Give a job without its results.

        Raises:
            JobNotFoundError: If there is none.
        """
        found = await self.store.list(limit=1, before=job_id + 1, results=False)
        if not found or found[0].id != job_id:
            raise JobNotFoundError("there is no such job", job_id=job_id)
        return found[0]

    async def processing(self) -> int:
        """Give how many jobs wait or are worked on, 1,000 at most; a second old."""
        at, count = self._counted
        if time.monotonic() - at > 1.0:
            found = await self.store.list(
                status="processing", limit=_PAGE, results=False
            )
            count = len(found)
            self._counted = (time.monotonic(), count)
        return count

    async def ended(self, job_id: int) -> Job | None:
        """
        Wait until a job is done or has failed.

        Returns:
            The job; ``None`` if the server stops first.

        Raises:
            JobNotFoundError: If it is deleted.
        """
        with self.changes.listen(job_id) as listener:
            while not listener.ended:
                job = await self.head(job_id)
                if job.status != "processing":
                    return await self.store.get(job_id)
                await listener.wait(_LOOK_S)
        return None

    async def delete(self, job_ids: Sequence[int], sources: Sequence[str]) -> int:
        """
        Delete jobs, and then their files.

        Args:
            job_ids: Which.
            sources: What is deleted with them.

        Cancellation: it is waited for. What a kill leaves is swept later.
        """
        in_thread = anyio.to_thread.run_sync
        count = 0
        with anyio.CancelScope(shield=True):
            await in_thread(self.uploads.set_aside, sources)
            count = await self.store.delete(job_ids)
            self.changes.deleted(job_ids)
            self.wake()
            await in_thread(self.uploads.delete, sources)
        return count

    async def all_jobs(self) -> AsyncIterator[Sequence[Job]]:
        """Give all jobs that there are now, without results, in pages."""
        before: int | None = None
        while True:
            page = await self.store.list(limit=_PAGE, before=before, results=False)
            if page:
                yield page
                before = page[-1].id
            if len(page) < _PAGE:
                return

    async def keep_clean(self, retention_days: float) -> None:
        """Remove what is old, and what was left by a crash; now and every hour."""
        while True:
            try:
                await self._sweep()
                if retention_days > 0:
                    await self._forget(retention_days)
            except (StoreError, OSError):
                _logger.exception("not all that is old could be removed")
            await anyio.sleep(_SWEEP_EVERY_S)

    async def _sweep(self) -> None:
        run = anyio.to_thread.run_sync
        parts = await run(self.uploads.old_parts, _OLD_PART_S)
        if parts:
            gone = await run(self.uploads.adopt, parts, await self._sources())
            _logger.info("removed %d unfinished uploads", gone)

    async def _forget(self, days: float) -> None:
        """Remove jobs that have not changed for so many days, and their files."""
        before = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
        while old := await self.store.prune(before=before, limit=_PAGE):
            sources = [job.source for job in old]
            await anyio.to_thread.run_sync(self.uploads.delete, sources)
            self.changes.deleted(job.id for job in old)
            _logger.info("deleted %d jobs older than %g days", len(old), days)
        # Of jobs that were deleted without their files.
        delete = functools.partial(
            self.uploads.delete_older, days * _DAY_S, await self._sources()
        )
        await anyio.to_thread.run_sync(delete)

    async def _sources(self) -> set[str]:
        return {job.source async for page in self.all_jobs() for job in page}

    def stop(self) -> None:
        """Let go of everybody who waits, and give the jobs under way their time."""
        self.stopping = True
        self.changes.end()
        if self._worker is not None:
            self._worker.drain()
        self._loading.cancel()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        """
        Open the database and the engines, and begin to work.

        Raises:
            VoicepipeError: If one of them is not to be had.
        """
        async with contextlib.AsyncExitStack() as stack:
            store = await stack.enter_async_context(SqlJobStore(SETTINGS.database))
            engines = worker = None
            if SETTINGS.workers:
                engines = await stack.enter_async_context(Engines.open())
                worker = make_worker(store, engines, SETTINGS.workers)
            backend = cls(store, engines, worker)
            heard = stack.enter_context(stop_heard())
            group = await stack.enter_async_context(anyio.create_task_group())
            working = anyio.Event()
            group.start_soon(backend._work, working)
            group.start_soon(backend.changes.watch)
            group.start_soon(backend.keep_clean, SETTINGS.server.retention_days)
            group.start_soon(backend._stop_when, heard)
            try:
                yield backend
            finally:
                backend.stop()
                with anyio.CancelScope(shield=True):
                    await working.wait()
                group.cancel_scope.cancel()

    async def _work(self, ended: anyio.Event) -> None:
        try:
            if self._worker is not None and self.engines is not None:
                await keep_working(self._worker, self.engines, self._loading)
        finally:
            ended.set()

    async def _stop_when(self, heard: Callable[[], bool]) -> None:
        await wait_for(heard)
        _logger.info("told to stop")
        self.stop()
