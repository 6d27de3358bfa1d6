"""A long recording takes no more memory than a short one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile


if TYPE_CHECKING:
    from stress_report import Report


HERE = Path(__file__).parent
SAMPLE = HERE.parent / "examples" / "data" / "sample_call.flac"


def long_call(path: Path, hours: float, *, pause_s: float = 0.0) -> Path:
    """Write the sample call again and again, with pauses."""
    call, rate = soundfile.read(SAMPLE, dtype="int16")
    samples = np.concatenate([call, np.zeros((round(pause_s * rate), 2), np.int16)])
    frames = round(hours * 3_600 * rate)
    with soundfile.SoundFile(path, "w", rate, 2, "PCM_16", format="FLAC") as file:
        while frames > 0:
            file.write(samples[:frames])
            frames -= len(samples)
    return path


def run(path: Path, engine: str) -> dict[str, Any]:
    out = subprocess.run(
        [sys.executable, str(HERE / "peak_memory.py"), str(path), engine],
        capture_output=True,
        check=True,
        text=True,
    )
    return dict(json.loads(out.stdout))


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    short = run(long_call(tmp_path / "short.flac", 0.1), "fake")
    long = run(long_call(tmp_path / "long.flac", 0.6), "fake")

    assert long["duration_s"] == 0.6 * 3_600
    assert long["segments"] > 5 * short["segments"]
    assert long["own_mib"] < 200
    assert long["own_mib"] - short["own_mib"] < 30


@pytest.mark.stress
@pytest.mark.parametrize(("engine", "pause_s"), [("fake", 0), ("pocketsphinx", 300)])
def test_six_hours_stay_under_600_mib(
    tmp_path: Path, engine: str, pause_s: int, stress_report: Report
) -> None:
    """The pauses save time: five hours of dense speech take the engine half an hour."""
    found = run(long_call(tmp_path / "long.flac", 6.0, pause_s=pause_s), engine)

    total = found["own_mib"] + found["helpers_mib"]
    stress_report(
        f"six hours, two channels, {engine}, {pause_s} s of pause after every 70 s",
        f"{found['own_mib']:.0f} MiB, helpers {found['helpers_mib']:.0f} MiB, "
        f"{found['segments']} segments, {found['took_s']:.0f} s",
    )
    assert found["duration_s"] == 6 * 3_600
    assert total < 600
