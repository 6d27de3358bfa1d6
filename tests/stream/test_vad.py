from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicepipe import EnergyVad, Samples, SpeechSpan, VadOptions
from voicepipe.testing import check_stage


RATE = 8_000


def bursts(
    *spans: tuple[float, float], seconds: float = 4.0, noise: float = 0.0
) -> Samples:
    """Noise that is loud inside the spans."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, round(seconds * RATE)) * noise
    for start, end in spans:
        part = slice(round(start * RATE), round(end * RATE))
        x[part] += rng.normal(0, 0.1, len(x[part]))
    return np.clip(x, -1, 1).astype(np.float32)[:, None]


def detect(
    x: Samples, rate: int = RATE, options: VadOptions | None = None
) -> list[tuple[float, float]]:
    vad = EnergyVad(rate, options=options)
    spans: tuple[SpeechSpan, ...] = (*vad.push(x), *vad.flush())
    return [(span.start / rate, span.end / rate) for span in spans]


@pytest.mark.parametrize("noise", [0.0, 0.0005, 0.005])
def test_bursts_are_found_where_they_are_at_any_noise_level(noise: float) -> None:
    x = bursts((0.5, 1.2), (2.0, 3.0), noise=noise)

    found = detect(x)

    np.testing.assert_allclose(found, [(0.5, 1.2), (2.0, 3.0)], atol=0.02)


def test_speech_from_the_first_to_the_last_frame_is_found() -> None:
    x = bursts((0.0, 0.7), (1.4, 2.0), seconds=2.0)

    np.testing.assert_allclose(detect(x), [(0.0, 0.7), (1.4, 2.0)], atol=0.02)


def test_the_level_of_the_recording_does_not_matter() -> None:
    x = bursts((0.5, 1.2), noise=0.002)

    assert detect(x) == detect(x * np.float32(0.25))


@pytest.mark.parametrize("level", [0.0, 1e-4, 0.01, 0.2])
def test_silence_and_steady_noise_are_no_speech(level: float) -> None:
    assert detect(bursts(noise=level, seconds=20.0)) == []


def test_a_click_is_no_speech_and_a_short_pause_does_not_end_it() -> None:
    x = bursts((0.5, 0.52), (1.0, 1.5), (1.65, 2.0))

    np.testing.assert_allclose(detect(x), [(1.0, 2.0)], atol=0.02)


def test_options_change_what_counts() -> None:
    x = bursts((1.0, 1.5), (1.65, 2.0))

    found = detect(x, options=VadOptions(min_silence_s=0.1))

    np.testing.assert_allclose(found, [(1.0, 1.5), (1.65, 2.0)], atol=0.02)


@given(
    cuts=st.lists(st.integers(0, 6 * RATE), max_size=30).map(sorted),
    noise=st.sampled_from([0.0, 0.003]),
)
@settings(max_examples=60)
def test_any_cut_gives_the_same_spans(cuts: list[int], noise: float) -> None:
    x = bursts((0.5, 1.2), (2.0, 3.0), (5.5, 6.0), seconds=6.0, noise=noise)

    check_stage(lambda: EnergyVad(RATE), [[x], np.array_split(x, cuts)], join=tuple)


@given(rate=st.sampled_from([4_000, 11_025, 16_000, 44_100, 48_000]))
def test_spans_are_ordered_apart_and_inside(rate: int) -> None:
    x = np.random.default_rng(rate).normal(0, 0.05, rate * 3)
    on = np.random.default_rng(1).uniform(0, 1, 30) > 0.5
    x *= on[np.arange(len(x)) * 30 // len(x)]

    spans = detect(np.clip(x, -1, 1).astype(np.float32)[:, None], rate)

    flat = [t for span in spans for t in span]
    assert flat == sorted(flat)
    assert all(start < end for start, end in spans)
    assert not flat or flat[-1] <= 3.0


@pytest.mark.parametrize("frames", [0, 1, 79, 80, 81])
def test_short_streams_are_no_trouble(frames: int) -> None:
    vad = EnergyVad(RATE)

    assert (*vad.push(np.full((frames, 1), 0.5, np.float32)), *vad.flush()) == ()


def test_two_channels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(frames, 1\)"):
        EnergyVad(RATE).push(np.zeros((10, 2), np.float32))
