"""Sound is silent where it has to be, and untouched elsewhere."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.analysis.redaction.sound import FADE_S, MARGIN_S, redact_audio
from voicepipe.analysis.redaction.spans import RedactedSpan
from voicepipe.types import Audio


RATE = 1_000


def sound(seconds: float = 10.0, channels: int = 2) -> Audio:
    noise = np.random.default_rng(0).uniform(-1, 1, (round(seconds * RATE), channels))
    return Audio(samples=noise.astype(np.float32), rate=RATE)


def span(start: float, end: float, channel: int | None = None) -> RedactedSpan:
    return RedactedSpan(
        kind="card", segment_id=0, start=start, end=end, channel=channel
    )


def test_it_is_silent_from_before_the_first_word_to_behind_the_last() -> None:
    before = sound()
    after = redact_audio(before, [span(4.0, 5.0)])
    first, last = 3_800, 5_200
    fade = round(FADE_S * RATE)

    assert (MARGIN_S, FADE_S, fade) == (0.2, 0.02, 20)
    assert not after.samples[first + fade : last - fade].any()
    assert np.array_equal(after.samples[:first], before.samples[:first])
    assert np.array_equal(after.samples[last:], before.samples[last:])
    # Half a cosine: no step, and nothing louder than it was.
    gain = (
        after.samples[first : first + fade, 0] / before.samples[first : first + fade, 0]
    )
    assert np.all(np.diff(gain) < 0)
    assert np.abs(np.diff(gain)).max() < 0.1
    assert gain[0] > 0.99
    assert gain[-1] < 0.01
    ending = after.samples[last - fade : last] / before.samples[last - fade : last]
    assert np.allclose(ending, gain[::-1, np.newaxis], atol=1e-5)
    assert (after.rate, after.start, after.frames) == (RATE, 0, before.frames)


def test_only_the_channel_can_be_silenced() -> None:
    before = sound()
    all_of_it = redact_audio(before, [span(1.0, 2.0, channel=1)])
    one = redact_audio(before, [span(1.0, 2.0, channel=1)], only_channel=True)

    assert not all_of_it.samples[1_000:2_000].any()
    assert not one.samples[1_000:2_000, 1].any()
    assert np.array_equal(one.samples[:, 0], before.samples[:, 0])
    mixed = redact_audio(before, [span(1.0, 2.0)], only_channel=True)
    assert not mixed.samples[1_000:2_000].any()


def test_nothing_comes_back_between_two_that_are_near() -> None:
    after = redact_audio(sound(), [span(6.0, 6.5), span(5.0, 5.7), span(5.2, 5.3)])

    assert not after.samples[4_820:6_680].any()
    assert after.samples[4_790:4_800].all()


def test_without_spans_it_is_the_same_sound() -> None:
    before = sound()

    assert redact_audio(before, []) is before
    assert redact_audio(before, [span(20.0, 21.0)]) is before


def test_margin_and_fade_can_be_chosen_and_are_checked() -> None:
    before = sound()
    after = redact_audio(before, [span(4.0, 5.0)], margin_s=0.0, fade_s=0.0)

    assert not after.samples[4_000:5_000].any()
    assert np.array_equal(after.samples[:4_000], before.samples[:4_000])
    for margin_s, fade_s in ((-0.1, -0.1), (0.1, 0.2), (float("nan"), 0.0)):
        with pytest.raises(ValueError, match="fade_s"):
            redact_audio(before, [span(4.0, 5.0)], margin_s=margin_s, fade_s=fade_s)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1)), max_size=5),
    st.lists(st.integers(0, 3_000), max_size=5),
)
def test_any_cut_gives_the_same_samples(
    stretches: list[tuple[float, float]], cuts: list[int]
) -> None:
    before = sound(3.0)
    spans = [span(start, start + length) for start, length in stretches]
    whole = redact_audio(before, spans)
    bounds = [0, *sorted(cuts), before.frames]
    pieces = [
        redact_audio(
            Audio(samples=before.samples[a:b], rate=RATE, start=a), spans
        ).samples
        for a, b in pairwise(bounds)
    ]

    assert np.array_equal(np.concatenate(pieces), whole.samples)
    for start, length in stretches:
        first, last = round(start * RATE), round((start + length) * RATE)
        assert not whole.samples[first:last].any()
