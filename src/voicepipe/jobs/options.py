"""How a worker works."""

from __future__ import annotations

import attrs


_positive = attrs.validators.gt(0.0)
_at_least_one = attrs.validators.ge(1)
_not_negative = attrs.validators.ge(0.0)


@attrs.frozen(kw_only=True)
class WorkerOptions:
    """
    How a worker takes jobs, holds them, and gives them up.

    Attributes:
        at_once: Jobs worked on at the same time, at least 1.
        lease_s: Seconds that a claim lasts unless renewed: how long after the death of
            its worker a job waits for another one. Longer than the event loop is ever
            blocked, and than the store is ever away.
        beat_s: Seconds between two renewals, at most a third of the lease. Also how
            soon a worker hears that its job was cancelled or deleted.
        scan_s: Seconds after which an idle worker looks again for jobs, a quarter more
            or less by chance, so that many do not come together.
        max_tries: How often a job is begun, at least 1, before it ends in ``error``.
        retry_s: Seconds until a job that failed may be claimed again. Doubled with each
            further try, and up to a half less by chance.
        retry_max_s: Longest of these waits, seconds.
        drain_s: Seconds that jobs under way get to finish once the worker drains.
        timeout_s: Seconds that any try may take.
        timeout_factor: Seconds that it may take for each second of sound decoded so
            far, where that is more.
    """

    at_once: int = attrs.field(default=1, validator=_at_least_one)
    lease_s: float = attrs.field(default=30.0, validator=_positive)
    beat_s: float = attrs.field(default=5.0, validator=_positive)
    scan_s: float = attrs.field(default=5.0, validator=_positive)
    max_tries: int = attrs.field(default=3, validator=_at_least_one)
    retry_s: float = attrs.field(default=10.0, validator=_not_negative)
    retry_max_s: float = attrs.field(default=600.0, validator=_not_negative)
    drain_s: float = attrs.field(default=8.0, validator=_not_negative)
    timeout_s: float = attrs.field(default=600.0, validator=_positive)
    timeout_factor: float = attrs.field(default=4.0, validator=_positive)

    def allowed_s(self, heard_s: float) -> float:
        """Give the seconds that a try may take that has decoded so much sound."""
        return max(self.timeout_s, self.timeout_factor * heard_s)
