"""Errors about stored jobs."""

from __future__ import annotations

from voicepipe.errors.base import VoicepipeError


class JobError(VoicepipeError):
    """
    Something is wrong with a stored job.

    Attributes:
        job_id: The job's id, ``None`` where no single job is meant.
    """

    def __init__(self, message: str, *, job_id: int | None = None) -> None:
        """Keep the job's id."""
        super().__init__(message)
        self.job_id: int | None = job_id


class JobNotFoundError(JobError, LookupError):
    """No job has this id."""


class JobStateError(JobError):
    """
    The job's status forbids what was asked, such as running a running job.

    Attributes:
        status: The job's status at that moment.
    """

    def __init__(
        self, message: str, *, job_id: int | None = None, status: str = ""
    ) -> None:
        """Keep the status that stood in the way."""
        super().__init__(message, job_id=job_id)
        self.status: str = status


class LeaseLostError(JobError):
    """
    The attempt is no longer the job's current one; nothing was written.

    Attributes:
        attempt: The attempt number that was refused.
    """

    def __init__(
        self, message: str, *, job_id: int | None = None, attempt: int = 0
    ) -> None:
        """Keep the refused attempt's number."""
        super().__init__(message, job_id=job_id)
        self.attempt: int = attempt


class StoreError(JobError):
    """
    The job database failed, was busy for too long, or is not ours.

    Attributes:
        retryable: Whether the same call may succeed later, as after a busy time-out.
    """

    def __init__(
        self, message: str, *, job_id: int | None = None, retryable: bool = False
    ) -> None:
        """Keep whether another try may help."""
        super().__init__(message, job_id=job_id)
        self.retryable: bool = retryable
