"""A clock for stores of jobs that stands still, so that no lease runs out by itself."""

from __future__ import annotations

from datetime import UTC, datetime


class Clock:
    """Says what time it is, and goes only when it is told to."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now
