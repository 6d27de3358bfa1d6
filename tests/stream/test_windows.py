from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicepipe import Samples, SilenceCutter
from voicepipe.testing import check_stage


RATE = 1_000


def speech(seconds: float, *pauses: tuple[float, float], channels: int = 1) -> Samples:
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * RATE), channels))
    for start, end in pauses:
        x[round(start * RATE) : round(end * RATE)] = 0.0
    return x.astype(np.float32)


def cut(x: Samples, **lengths: float) -> list[Samples]:
    cutter = SilenceCutter(RATE, **lengths)
    return [*cutter.push(x), *cutter.flush()]


def test_windows_end_inside_the_pauses() -> None:
    x = speech(25.0, (7.0, 7.6), (15.2, 15.7))

    windows = cut(x, max_s=10.0, min_s=5.0)

    ends = np.cumsum([len(w) for w in windows]) / RATE
    assert 7.0 <= ends[0] <= 7.6
    assert 15.2 <= ends[1] <= 15.7


def test_a_place_counts_as_quiet_only_when_every_channel_is() -> None:
    x = speech(12.0, (6.0, 6.6), (8.0, 8.6), channels=2)
    x[round(6.0 * RATE) : round(6.6 * RATE), 1] = 0.3

    end = len(cut(x, max_s=10.0, min_s=5.0)[0]) / RATE

    assert 8.0 <= end <= 8.6


@given(
    seconds=st.floats(0, 45),
    cuts=st.lists(st.integers(0, 45 * RATE), max_size=10).map(sorted),
)
@settings(max_examples=60)
def test_any_cut_of_the_input_gives_the_same_windows(
    seconds: float, cuts: list[int]
) -> None:
    x = speech(seconds, (7.0, 7.6))

    check_stage(
        lambda: SilenceCutter(RATE, max_s=10.0, min_s=5.0),
        [[x], np.array_split(x, cuts)],
        join=lambda out: [window.tobytes() for window in out],
    )


@given(seconds=st.floats(0, 45))
@settings(max_examples=30)
def test_windows_are_bounded_and_make_up_the_whole(seconds: float) -> None:
    x = speech(seconds)

    windows = cut(x, max_s=10.0, min_s=5.0)

    assert all(5.0 * RATE <= len(w) <= 10.0 * RATE for w in windows[:-1])
    assert np.concatenate([*windows, x[:0]]).tobytes() == x.tobytes()


@pytest.mark.parametrize("lengths", [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_lengths_out_of_order_are_refused(lengths: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="min_s <= max_s"):
        SilenceCutter(RATE, min_s=lengths[0], max_s=lengths[1])
