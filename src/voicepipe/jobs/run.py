"""What a worker hands to the function that does a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.jobs.retry import job_name, patiently
from voicepipe.types import JobProgress


if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.protocols import JobStore, ResultCache
    from voicepipe.types import Job


class JobRun:
    """
    One try at a job: what is to be done, and where to say how far it has come.

    A worker makes one for each claim. Nothing that is told here is waited for but what
    goes through ``cache``: that is durable when the call returns.

    Args:
        store: Where the job is.
        job: The claimed job.
        changed: Called after each ``progress`` and ``heard``.

    Attributes:
        job: The job as it was claimed.
        attempt: The number of this claim; all that is written belongs to it.
        cache: Keeps results of steps for later attempts. ``put`` raises
            ``LeaseLostError`` once another attempt has begun, or the job has ended.
        latest: What ``progress`` was told last, ``None`` before.
        heard_s: What ``heard`` was told, seconds.
    """

    def __init__(
        self,
        store: JobStore,
        job: Job,
        *,
        changed: Callable[[], None] | None = None,
    ) -> None:
        """Begin with nothing done."""
        self.job: Job = job
        self.attempt: int = job.attempt
        self.cache: ResultCache = _KeptResults(store, job)
        self.latest: JobProgress | None = None
        self.heard_s: float = 0.0
        self._changed = changed

    @property
    def name(self) -> str:
        """What to call the recording in results and errors; never a path."""
        return job_name(self.job)

    def progress(self, stage: str, fraction: float) -> None:
        """
        Tell how far this try has come; the store gets to know it within a second or so.

        Args:
            stage: What is being done, at most 32 characters.
            fraction: Share of the whole job that is done, in [0, 1]; clamped.
        """
        self.latest = JobProgress(stage=stage, fraction=min(max(fraction, 0.0), 1.0))
        self._tell()

    def heard(self, duration_s: float) -> None:
        """
        Tell how much sound has been decoded so far, seconds: long calls take long.

        The time that this try may take grows with it; less than before does not count.
        """
        self.heard_s = max(self.heard_s, duration_s)
        self._tell()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed()


class _KeptResults:
    """The results that attempts at one job keep in its store."""

    def __init__(self, store: JobStore, job: Job) -> None:
        """Keep where to look."""
        self._store = store
        self._job = job

    async def get(self, key: str, /) -> str | None:
        """Give what this or an earlier attempt has kept."""
        return await patiently(lambda: self._store.kept(self._job.id, key))

    async def put(self, key: str, value: str, /) -> None:
        """
        Keep a value until the job is done.

        Raises:
            LeaseLostError: If this attempt is not the current one any more.
        """
        job = self._job
        await patiently(
            lambda: self._store.keep(job.id, key, value, attempt=job.attempt)
        )
