"""
Where the full counts leave their figures: ``benchmarks/STRESS.md``.

Only all of them together, in ``nox -s stress``, make a page; otherwise it stays as it
is.
"""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Protocol


PAGE = Path(__file__).parents[1] / "benchmarks" / "STRESS.md"


class Report(Protocol):
    """Takes one figure: what was tried, and what came of it."""

    def __call__(self, tried: str, outcome: str, /) -> None: ...


class Page:
    """Collects figures and writes the page at the end, if there are any."""

    def __init__(self) -> None:
        self._rows: list[str] = []

    def __call__(self, tried: str, outcome: str, /) -> None:
        self._rows.append(f"| {tried} | {outcome} |")

    def write(self) -> None:
        if not self._rows or "VOICEPIPE_STRESS_PAGE" not in os.environ:
            return
        machine = (
            f"{time.strftime('%Y-%m-%d')}, {platform.system()} {platform.machine()}, "
            f"{os.cpu_count()} cores, Python {platform.python_version()}."
        )
        head = [
            "# Stress",
            "",
            "Made by `nox -s stress`: the full kill, soak and memory counts.",
            "",
            machine,
            "",
            "| tried | outcome |",
            "| --- | --- |",
        ]
        PAGE.write_text("\n".join([*head, *self._rows, ""]), encoding="utf-8")
