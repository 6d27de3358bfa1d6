"""How far a run has come: what stages report, and bars that show it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING

from voicepipe.types import Progress, StageName


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class StageClock:
    """
    Measures the stages of one run and reports their progress.

    Args:
        report: Called with each step; ``None`` reports nothing.
    """

    def __init__(self, report: Callable[[Progress], None] | None = None) -> None:
        """Begin with nothing done."""
        self._report = report
        self._fractions: dict[StageName, float] = {}
        self._at_work: Counter[StageName] = Counter()
        self._begun: dict[StageName, float] = {}
        self.elapsed: dict[StageName, float] = {}

    @contextlib.contextmanager
    def measure(self, stage: StageName) -> Iterator[None]:
        """Add the time of the block to a stage; blocks side by side count once."""
        if not self._at_work[stage]:
            self._begun[stage] = time.perf_counter()
        self._at_work[stage] += 1
        try:
            yield
        finally:
            self._at_work[stage] -= 1
            if not self._at_work[stage]:
                spent = time.perf_counter() - self._begun[stage]
                self.elapsed[stage] = self.elapsed.get(stage, 0.0) + spent

    def step(self, stage: StageName, fraction: float) -> None:
        """Report how far a stage has come; what is less than before does not count."""
        before = self._fractions.get(stage, 0.0)
        fraction = self._fractions[stage] = min(max(fraction, before), 1.0)
        if self._report is not None:
            elapsed = self.elapsed.get(stage, 0.0)
            self._report(Progress(stage=stage, fraction=fraction, elapsed=elapsed))


@contextlib.contextmanager
def progress_bars(*, description: str = "") -> Iterator[Callable[[Progress], None]]:
    """
    Show a bar for each stage, in a terminal or a notebook (``tqdm.auto``).

    Args:
        description: Put before the stages' names, such as the recording's name.

    Yields:
        What ``Pipeline.run`` takes as ``progress``.
    """
    from tqdm.auto import tqdm

    bars: dict[StageName, tqdm] = {}

    def show(event: Progress) -> None:
        if event.stage not in bars:
            bars[event.stage] = tqdm(
                desc=f"{description} {event.stage}".strip(),
                total=100.0,
                unit="%",
                bar_format="{desc:<12} {percentage:3.0f}% |{bar}| {elapsed}",
                position=len(bars),
            )
        bar = bars[event.stage]
        bar.update(100.0 * event.fraction - bar.n)

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()
