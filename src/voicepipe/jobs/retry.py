"""What of a failure is told, whether to try again, and when."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import anyio
import tenacity

from voicepipe.errors import StoreError, VoicepipeError


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from voicepipe.jobs.options import WorkerOptions
    from voicepipe.types import Job


T = TypeVar("T")

MAX_REASON = 500
"""Most characters of a reason."""

# Waits for a store that is busy or away: doubling up to five seconds, and up to a tenth
# of a second more, so that those who were turned away together do not come together.
_FIRST_S = 0.05
_LONGEST_S = 5.0
_JITTER_S = 0.1

# An absolute path of at least two names, on POSIX and on Windows; in a URL what stands
# before its slashes keeps it from being one.
_PATH = re.compile(
    r"(?<![\w:/.~-])(?:/(?:[^\s/'\",;:()]+/)+|[A-Za-z]:\\(?:[^\s\\'\",;:()]+\\)*)"
)


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """
    Ask a store until it answers: one that is busy or away is waited for.

    Raises:
        Exception: What the call raised, but for a ``StoreError`` that is retryable.

    Cancellation: at any time.
    """

    async def attempt() -> T:
        # Asked for a coroutine function, tenacity does not take any awaitable.
        return await call()

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_is_away),
        wait=tenacity.wait_exponential_jitter(_FIRST_S, _LONGEST_S, jitter=_JITTER_S),
        sleep=anyio.sleep,
        reraise=True,
    )
    return await retrying(attempt)


def _is_away(error: BaseException) -> bool:
    return isinstance(error, StoreError) and error.retryable


def may_retry(error: Exception) -> bool:
    """
    Tell whether another try may help.

    Our own errors say so themselves. Of all others, those about a file that is not
    there or may not be read stay as they are; what else there is may be chance.
    """
    if isinstance(error, VoicepipeError):
        return error.retryable
    lasting = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
    return not isinstance(error, (*lasting, PermissionError))


def retry_at(error: Exception, job: Job, options: WorkerOptions) -> datetime | None:
    """
    Give the time of the next try, ``None`` if there is to be none.

    A service that says how long to wait (``retry_after``) is obeyed up to the longest
    wait of the options.
    """
    if not may_retry(error) or job.tries >= options.max_tries:
        return None
    wait = min(options.retry_s * 2.0 ** min(job.tries - 1, 60), options.retry_max_s)
    wait *= random.uniform(0.5, 1.0)  # noqa: S311 - no secret
    asked = getattr(error, "retry_after", None)
    if isinstance(asked, int | float):
        wait = max(wait, min(float(asked), options.retry_max_s))
    return datetime.now(UTC) + timedelta(seconds=wait)


def reason(error: Exception, job: Job) -> str:
    """
    Say an error in one line that anybody may read.

    Messages of our own errors hold no secrets; of any other error nobody knows, and
    only its kind is told. The folders of paths are left out.
    """
    kind = type(error).__name__
    if isinstance(error, VoicepipeError):
        told = str(error)
    elif isinstance(error, OSError) and error.strerror:
        told = error.strerror
    else:
        told = "an unexpected error; the worker's log tells more"
    if "/" in job.source or "\\" in job.source:
        told = told.replace(job.source, job_name(job))
    told = _PATH.sub("", " ".join(told.split()))
    told = "".join(c for c in told if c.isprintable())
    line = f"{kind}: {told}".rstrip(": ")
    return line if len(line) <= MAX_REASON else f"{line[: MAX_REASON - 1]}…"


def given_up(job: Job, options: WorkerOptions) -> str:
    """Say why a job is not begun again whose workers have all gone without a word."""
    line = f"gave up after {options.max_tries} tries; the worker died or was stopped "
    if job.error is None:
        return f"{line}each time"
    return f"{line}in the last one; before that: {job.error}"[:MAX_REASON]


def job_name(job: Job) -> str:
    """Give what to call a job's recording: its name, else its file's, never a path."""
    return job.name or re.split(r"[/\\]", job.source)[-1] or "audio"
