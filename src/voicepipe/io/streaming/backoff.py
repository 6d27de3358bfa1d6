"""When a connection is tried to be made again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import anyio
import tenacity

from voicepipe.errors import StreamLostError


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


# Doubling from a tenth of a second to five seconds: a server that restarts is back
# within seconds, and audio waits meanwhile. Half of each wait is drawn, so that clients
# who were cut off together do not come back together.
_FIRST_S = 0.1
_LONGEST_S = 5.0


class Backoff:
    """
    Tries again what was lost, after longer and longer waits, for so long.

    Args:
        total_s: How long it may go without progress, seconds.
    """

    def __init__(self, total_s: float) -> None:
        """Begin without a failure."""
        self._total_s = total_s
        self._failures = 0
        self._since: float | None = None
        self._loss: StreamLostError | None = None

    def progressed(self) -> None:
        """Forget the failures: something new has been achieved."""
        self._failures = 0
        self._since = None
        self._loss = None

    def left_s(self) -> float:
        """Give how long it may still go on, seconds."""
        if self._since is None:
            return self._total_s
        return max(self._since + self._total_s - anyio.current_time(), 0.0)

    async def run(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """
        Call until it ends without a loss.

        Raises:
            StreamLostError: The last loss, but for one that came of there being no time
                left; what else is raised passes at once.
        """
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(StreamLostError),
            wait=self._wait,
            stop=self._stop,
            sleep=anyio.sleep,
            reraise=True,
        )

        async def call() -> None:
            try:
                await attempt()
            except StreamLostError as exc:
                if self._loss is not None and not self.left_s():
                    # It was cut short, and says less than the one before it.
                    raise self._loss from self._loss.__cause__
                self._loss = exc
                raise

        await retrying(call)

    def _wait(self, _: tenacity.RetryCallState) -> float:
        if self._since is None:
            self._since = anyio.current_time()
        self._failures += 1
        # No power of two beyond the longest wait: a day of failures makes no overflow.
        longest = min(_FIRST_S * 2.0 ** min(self._failures - 1, 16), _LONGEST_S)
        return random.uniform(longest / 2.0, longest)  # noqa: S311 - no secret

    def _stop(self, state: tenacity.RetryCallState) -> bool:
        return state.upcoming_sleep > self.left_s()
