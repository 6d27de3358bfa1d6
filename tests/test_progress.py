from __future__ import annotations

import io
import sys
import time

import pytest

from voicepipe import Progress, progress_bars
from voicepipe.io.download.bar import download_progress_bar
from voicepipe.io.download.values import DownloadProgress
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


def screen_of(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def come(received: int, size: int | None) -> DownloadProgress:
    return DownloadProgress(url="https://x/a", received=received, size=size)


def last_line(screen: io.StringIO) -> str:
    return screen.getvalue().rstrip("\n").split("\r")[-1]


def test_a_bar_shows_how_much_of_a_download_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = screen_of(monkeypatch)
    with download_progress_bar(description="call.mp3") as show:
        show(come(1 << 20, 4 << 20))
        time.sleep(0.11)
        show(come(2 << 20, 4 << 20))
        shown = last_line(screen)
        show(come(4 << 20, 4 << 20))

    assert shown.startswith("call.mp3:")
    assert " 50%" in shown
    assert "2.00M/4.00M" in shown
    assert "B/s" in shown
    # The last step comes too soon after the one before to be drawn by itself.
    assert "100%" in last_line(screen)
    assert "4.00M/4.00M" in last_line(screen)


def test_a_bar_goes_back_where_a_download_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = screen_of(monkeypatch)
    with download_progress_bar() as show:
        show(come(3_072, 4_096))
        show(come(1_024, 2_048))

    assert last_line(screen).startswith(" 50%")
    assert "1.00k/2.00k" in last_line(screen)


def test_a_bar_of_a_download_without_a_size_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = screen_of(monkeypatch)
    with download_progress_bar(description="a") as show:
        show(come(1_024, None))
        show(come(3_072, None))

    assert "a: 3.00kB [" in last_line(screen)
    assert "%" not in screen.getvalue()


def test_a_bar_is_closed_when_a_download_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = screen_of(monkeypatch)

    def fail() -> None:
        with download_progress_bar() as show:
            show(come(1_024, 2_048))
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert " 50%" in last_line(screen)
    assert screen.getvalue().endswith("\n")
