from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.io.samples import MAX_PADDING, to_float, to_valid, trim_end


@pytest.mark.parametrize(
    ("kind", "lowest", "middle", "highest"),
    [
        (np.uint8, 0, 128, 255),
        (np.int16, -(2**15), 0, 2**15 - 1),
        (np.int32, -(2**31), 0, 2**31 - 1),
        (np.int64, -(2**63), 0, 2**63 - 1),
    ],
)
def test_integers_become_one_at_full_scale(
    kind: type[np.integer], lowest: int, middle: int, highest: int
) -> None:
    floats = to_float(np.array([lowest, middle, highest], kind))

    assert floats.dtype == np.float32
    assert floats[:2].tolist() == [-1.0, 0.0]
    assert 0.99 < floats[2] <= 1.0


@pytest.mark.parametrize("kind", [np.float64, np.int16, np.uint8])
def test_channels_that_lie_apart_stay_apart(kind: type[np.generic]) -> None:
    apart = np.arange(12).astype(kind).reshape(2, 6).T

    floats = to_float(apart)

    assert floats.flags.f_contiguous
    assert np.array_equal(floats, to_float(np.ascontiguousarray(apart)))


def test_floats_stay_what_they_are() -> None:
    single = np.array([[0.5], [-3.0]], np.float32)

    assert to_float(single) is single
    assert to_float(single.astype(np.float64)).tolist() == [[0.5], [-3.0]]


def test_valid_samples_are_not_copied() -> None:
    samples = np.array([[-1.0], [0.3], [1.0]], np.float32)

    assert to_valid(samples) is samples
    assert to_valid(samples[:0]).shape == (0, 1)


@given(st.lists(st.integers(1, 5_000), max_size=8), st.integers(0, 12_000))
def test_padding_behind_the_end_is_dropped_and_more_is_not(
    lengths: list[int], end: int
) -> None:
    total = sum(lengths)
    whole = np.arange(total, dtype=np.float32)[:, np.newaxis]
    blocks = np.split(whole, np.cumsum(lengths)[:-1]) if lengths else []

    trimmed = list(trim_end(iter(blocks), end))

    expected = total if total - end > MAX_PADDING else min(total, end)
    given = np.concatenate([whole[:0], *trimmed])
    assert np.array_equal(given, whole[:expected])
    assert all(len(block) for block in trimmed)
