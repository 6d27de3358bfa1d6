"""Two ways to do the same, timed in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import attrs


PAIRS = 5
"""How often each is timed, after a run of each that does not count."""


@attrs.frozen(kw_only=True)
class Case:
    """
    Two ways to do the same.

    Attributes:
        name: What ours is.
        peer_name: What it is compared with.
        ours: One run of ours.
        peer: One run of the peer; ``None`` where the peer is not installed.
        pairs: How often each is timed; more where a run is short.
    """

    name: str
    peer_name: str
    ours: Callable[[], object]
    peer: Callable[[], object] | None
    pairs: int = PAIRS


@attrs.frozen(kw_only=True)
class Result:
    """What came of a case; times are medians, seconds."""

    case: Case
    ours_s: float
    peer_s: float
    ratios: tuple[float, ...]

    @property
    def row(self) -> str:
        """One line of the table."""
        middle = statistics.median(self.ratios)
        spread = f"{min(self.ratios):.2f} - {max(self.ratios):.2f}"
        return (
            f"| {self.case.name} | {self.case.peer_name} | {self.ours_s:.3f} s "
            f"| {self.peer_s:.3f} s | **{middle:.2f}** | {spread} |"
        )


def measure(case: Case) -> Result | None:
    """Time both ways in turn; ``None`` without a peer."""
    if case.peer is None:
        return None
    case.ours()
    case.peer()
    pairs = [(timed(case.ours), timed(case.peer)) for _ in range(case.pairs)]
    return Result(
        case=case,
        ours_s=statistics.median(ours for ours, _ in pairs),
        peer_s=statistics.median(peer for _, peer in pairs),
        ratios=tuple(ours / peer for ours, peer in pairs),
    )


def timed(work: Callable[[], object]) -> float:
    """Give the wall time of one call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
