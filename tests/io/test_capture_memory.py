"""A long session takes no more memory than a short one, and one that waits little."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from stress_report import Report


MEASURE = Path(__file__).parents[1] / "capture_measured.py"


def measured(folder: Path, what: str, number: float) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, str(MEASURE), str(folder), what, str(number)],
        check=True,
        capture_output=True,
    )
    return dict(json.loads(done.stdout))


def test_memory_does_not_grow_in_two_hours_of_scaled_time(
    tmp_path: Path, stress_report: Report
) -> None:
    found = measured(tmp_path, "long", 2.0)

    stress_report(
        "a session of two hours in scaled time",
        f"memory {found['first_kib'] / 1_024:.1f} MiB at first, "
        f"{found['last_kib'] / 1_024:.1f} at the end; "
        f"slope {found['kib_per_hour']:.0f} KiB per hour",
    )
    # It has 115 MB of samples.
    assert found["last_kib"] - found["first_kib"] < 16_384


def test_a_session_that_waits_takes_little_memory(
    tmp_path: Path, stress_report: Report
) -> None:
    found = measured(tmp_path, "many", 300)

    stress_report(
        "sessions that are active and wait", f"{found['kib_per_session']:.1f} KiB each"
    )
    assert found["kib_per_session"] < 64
