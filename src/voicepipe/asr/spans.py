"""Stretches of time in which somebody speaks."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias


if TYPE_CHECKING:
    from collections.abc import Iterable


Spans: TypeAlias = Sequence[tuple[float, float]]
"""Where somebody speaks: first and last second of each stretch, in order, apart."""


def overlap(spans: Spans, start: float, end: float) -> float:
    """Give how many seconds of a stretch lie in spans."""
    first = bisect.bisect_right(spans, start, key=lambda span: span[1])
    total = 0.0
    for span in spans[first:]:
        if span[0] >= end:
            break
        total += max(0.0, min(end, span[1]) - max(start, span[0]))
    return total


def touches(spans: Spans, start: float, end: float) -> bool:
    """Whether a stretch, which may be empty, lies in a span anywhere."""
    first = bisect.bisect_right(spans, start, key=lambda span: span[1])
    return first < len(spans) and spans[first][0] < max(
        end, math.nextafter(start, math.inf)
    )


def widened(spans: Iterable[tuple[float, float]], by: float) -> Spans:
    """Widen spans to both sides, and join those that meet; they must be in order."""
    wide: list[tuple[float, float]] = []
    for start, end in spans:
        if wide and start - by <= wide[-1][1]:
            wide[-1] = (wide[-1][0], max(wide[-1][1], end + by))
        else:
            wide.append((start - by, end + by))
    return wide
