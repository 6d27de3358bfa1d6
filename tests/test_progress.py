from __future__ import annotations

import io
import sys
import time

import pytest

from voicepipe import Progress, progress_bars
from voicepipe.progress import StageClock


def test_fractions_never_fall_and_never_pass_one() -> None:
    events: list[Progress] = []
    clock = StageClock(events.append)

    for fraction in (0.2, 0.1, 0.7, 1.3):
        clock.step("decode", fraction)

    assert [e.fraction for e in events] == [0.2, 0.2, 0.7, 1.0]


def test_time_is_measured_for_each_stage_also_when_it_fails() -> None:
    clock = StageClock()

    with clock.measure("decode"):
        pass
    first = clock.elapsed["decode"]
    with pytest.raises(KeyError), clock.measure("decode"):
        raise KeyError

    assert clock.elapsed["decode"] > first
    assert set(clock.elapsed) == {"decode"}


def test_work_side_by_side_counts_once() -> None:
    clock = StageClock()

    begin = time.perf_counter()
    with clock.measure("transcribe"):
        with clock.measure("transcribe"):
            time.sleep(0.1)
        with clock.measure("transcribe"):
            time.sleep(0.1)
    wall = time.perf_counter() - begin

    assert 0.2 <= clock.elapsed["transcribe"] <= wall


def test_bars_show_each_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)

    with progress_bars(description="call.wav") as show:
        show(Progress(stage="decode", fraction=0.5, elapsed=0.1))
        show(Progress(stage="transcribe", fraction=0.25, elapsed=0.1))
        show(Progress(stage="decode", fraction=1.0, elapsed=0.2))

    text = screen.getvalue()
    assert "call.wav decode" in text
    assert "100%" in text
    assert " 25%" in text
