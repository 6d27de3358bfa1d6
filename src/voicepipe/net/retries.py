"""When to try again, and after which wait."""

from __future__ import annotations

import email.utils
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import anyio
import tenacity

from voicepipe.errors import FetchError, HttpStatusError


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


T = TypeVar("T")

# Doubling from half a second to half a minute, and up to half a second more, so that
# those who failed together do not come back together.
_FIRST_S = 0.5
_LONGEST_S = 30.0
_JITTER_S = 0.5


class Patience:
    """
    Decides after each failure whether there is another attempt, and when.

    A server's ``Retry-After`` is obeyed. Where the wait would pass the deadline the
    error comes at once: nobody waits for an attempt that cannot be.

    Args:
        attempts: Failures in a row without any progress, after which it is over.
        deadline: When all must be over, by the event loop's clock.
        not_ready_s: How long a 404 is waited for, seconds from the first one.
    """

    def __init__(
        self, *, attempts: int, deadline: float, not_ready_s: float = 0.0
    ) -> None:
        """Begin without a failure."""
        self._attempts = attempts
        self._deadline = deadline
        self._not_ready_s = not_ready_s
        self._not_ready_until: float | None = None
        self._failures = 0

    def progressed(self) -> None:
        """Forget the failures: something new has come."""
        self._failures = 0

    async def run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """
        Call until it succeeds.

        Raises:
            FetchError: The last failure.
        """
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(self._may_retry),
            wait=self._wait,
            stop=self._stop,
            sleep=anyio.sleep,
            reraise=True,
        )

        async def call() -> T:
            # Asked for a coroutine function, tenacity does not take any awaitable.
            return await attempt()

        return await retrying(call)

    def _may_retry(self, error: BaseException) -> bool:
        # Not a full disk, say: what may help there is not another request.
        if not isinstance(error, FetchError):
            return False
        return error.retryable or self._is_not_ready(error)

    def _is_not_ready(self, error: BaseException) -> bool:
        return (
            self._not_ready_s > 0
            and isinstance(error, HttpStatusError)
            and error.status == 404
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        self._failures += 1
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(error, "retry_after", None)
        if asked:
            return float(asked)
        backoff = min(_FIRST_S * 2.0 ** (self._failures - 1), _LONGEST_S)
        return backoff + random.uniform(0.0, _JITTER_S)  # noqa: S311 - no secret

    def _stop(self, state: tenacity.RetryCallState) -> bool:
        next_at = anyio.current_time() + state.upcoming_sleep
        error = state.outcome.exception() if state.outcome else None
        if error is not None and self._is_not_ready(error):
            if self._not_ready_until is None:
                self._not_ready_until = anyio.current_time() + self._not_ready_s
            return next_at > min(self._not_ready_until, self._deadline)
        return self._failures >= self._attempts or next_at > self._deadline


def retry_after_s(value: str | None, date: str | None = None) -> float | None:
    """
    Read a ``Retry-After`` header (RFC 9110 10.2.3).

    Args:
        value: Seconds, or a date.
        date: The same answer's ``Date`` header: the server's own clock.

    Returns:
        Seconds to wait, at least 0; ``None`` where it says nothing that makes sense.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return float(value[:12])
    until = _http_date(value)
    if until is None:
        return None
    now = _http_date(date) or datetime.now(UTC)
    return max((until - now).total_seconds(), 0.0)


def _http_date(value: str | None) -> datetime | None:
    try:
        parsed = email.utils.parsedate_to_datetime(value or "")
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
