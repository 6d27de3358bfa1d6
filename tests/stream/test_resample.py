from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from voicepipe import Resampler, Samples
from voicepipe.testing import check_stage


LENGTHS = (0, 1, 2, 31, 99, 100, 101, 997, 31_999, 32_000, 32_001, 262_145)
RATES = ((8_000, 16_000), (44_100, 16_000), (48_000, 16_000), (192_000, 4_000))


def noise(frames: int, channels: int = 1, seed: int = 0) -> Samples:
    values = np.random.default_rng(seed).uniform(-1, 1, (frames, channels))
    return values.astype(np.float32)


def run(resampler: Resampler, pieces: list[Samples]) -> Samples:
    out = [y for piece in pieces for y in resampler.push(piece)]
    out.extend(resampler.flush())
    return np.concatenate([np.zeros((0, resampler.channels_out), np.float32), *out])


@pytest.mark.parametrize("frames", LENGTHS)
@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_chunked_output_is_the_one_shot_result_bit_for_bit(
    rate_in: int, rate_out: int, frames: int
) -> None:
    x = noise(frames, 2)
    pieces = np.array_split(x, sorted([1, 2, 9, 163, 1_160, frames // 2]))

    y = run(Resampler(rate_in, rate_out, channels=2), pieces)

    expected = soxr.resample(x, rate_in, rate_out, "HQ") if frames else y
    np.testing.assert_array_equal(expected, y)
    assert abs(len(y) - frames * rate_out / rate_in) <= 1


@given(
    cuts=st.lists(st.integers(0, 5_000), max_size=12).map(sorted),
    rates=st.sampled_from([*RATES, (16_000, 16_000), (22_050, 16_000)]),
    channels=st.integers(1, 8),
    downmix=st.booleans(),
)
@settings(max_examples=60)
def test_any_cut_gives_the_same_bits(
    cuts: list[int], rates: tuple[int, int], channels: int, *, downmix: bool
) -> None:
    x = noise(5_000, channels)

    check_stage(
        lambda: Resampler(
            *rates, channels=channels, channels_out=1 if downmix else None
        ),
        [[x], np.array_split(x, cuts)],
        join=lambda out: np.concatenate(out).tobytes(),
    )


def test_a_long_push_equals_many_short_ones() -> None:
    x = noise(700_001)

    whole = run(Resampler(44_100, 16_000), [x])

    np.testing.assert_array_equal(
        run(Resampler(44_100, 16_000), np.array_split(x, 700)), whole
    )


def test_downmix_is_the_mean_of_the_channels() -> None:
    x = noise(1_000, 3)

    y = run(Resampler(16_000, 16_000, channels=3, channels_out=1), [x])

    np.testing.assert_allclose(y[:, 0], x.mean(axis=1), atol=1e-7)


def test_a_tone_keeps_its_place_and_level() -> None:
    t = np.arange(44_100) / 44_100
    x = (0.5 * np.sin(2 * np.pi * 1_000 * t)).astype(np.float32)[:, None]

    y = run(Resampler(44_100, 16_000), [x])[:, 0]

    expected = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(len(y)) / 16_000)
    assert np.abs(y - expected)[200:-200].max() < 1e-4


@pytest.mark.parametrize("rates", [(3_999, 16_000), (16_000, 192_001), (0, 16_000)])
def test_rates_out_of_range_are_refused(rates: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="rate must be"):
        Resampler(*rates)


@pytest.mark.parametrize(("channels", "out"), [(0, None), (9, None), (4, 2), (1, 2)])
def test_channels_out_of_range_are_refused(channels: int, out: int | None) -> None:
    with pytest.raises(ValueError, match="channels"):
        Resampler(8_000, 16_000, channels=channels, channels_out=out)


@pytest.mark.parametrize("shape", [(10,), (10, 1), (10, 2, 1)])
def test_samples_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="samples must be"):
        Resampler(8_000, 16_000, channels=2).push(np.zeros(shape, np.float32))
