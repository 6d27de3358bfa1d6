from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicepipe.stream.live.activity import EnergyActivity
from voicepipe.stream.live.endpoint import Endpointer, SpeechBegan, SpeechEnded
from voicepipe.testing import check_stage


if TYPE_CHECKING:
    from voicepipe import Samples


RATE = 16_000
HOP = 512


def noise(seconds: float, level: float, seed: int = 0) -> Samples:
    x = np.random.default_rng(seed).normal(0, level, (round(seconds * RATE), 1))
    return np.clip(x, -1, 1).astype(np.float32)


def voiced(*parts: tuple[float, float]) -> Samples:
    """Sound of so many seconds and such a level, part by part."""
    return np.concatenate([noise(*part) for part in parts])


def scores(x: Samples) -> list[float]:
    stage = EnergyActivity(RATE)
    return np.concatenate([*stage.push(x), *stage.flush()]).tolist()


@given(cuts=st.lists(st.integers(0, 4 * RATE), max_size=10).map(sorted))
@settings(max_examples=40)
def test_any_cut_of_the_sound_gives_the_same_scores(cuts: list[int]) -> None:
    x = voiced((1.0, 0.001), (1.0, 0.1), (2.0, 0.001))

    check_stage(
        lambda: EnergyActivity(RATE),
        [[x], np.array_split(x, cuts)],
        join=lambda out: np.concatenate(out).tobytes(),
    )


@pytest.mark.parametrize("frames", [0, 1, 511, 512, 513, 16_000])
def test_there_are_as_many_scores_as_silero_gives(frames: int) -> None:
    assert len(scores(np.zeros((frames, 1), np.float32))) == frames // HOP + 1


def test_speech_from_the_very_start_is_seen() -> None:
    found = scores(voiced((0.5, 0.1), (0.5, 0.0)))

    assert min(found[:15]) > 0.9
    assert max(found[17:]) < 0.1


@pytest.mark.parametrize("level", [0.0, 0.001, 0.03, 0.2])
def test_steady_noise_is_no_speech_for_long(level: float) -> None:
    assert max(scores(noise(6.0, level))[40:]) < 0.35


def test_what_comes_later_changes_no_score() -> None:
    x = voiced((1.0, 0.001), (1.0, 0.1), (1.0, 0.001))

    assert scores(x)[:60] == scores(np.concatenate([x, noise(2.0, 0.5)]))[:60]


def test_a_voice_above_noise_is_speech() -> None:
    found = scores(voiced((2.0, 0.005), (0.5, 0.1), (1.0, 0.005)))

    assert max(found[35:62]) < 0.35
    assert min(found[63:77]) > 0.5


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="frames, 1"):
        EnergyActivity(RATE).push(np.zeros((10, 2), np.float32))
    with pytest.raises(ValueError, match="rate"):
        EnergyActivity(10)


def row(*parts: tuple[int, float]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.concatenate([np.full(n, score, np.float32) for n, score in parts])


def events(
    told: np.ndarray[tuple[int], np.dtype[np.float32]],
) -> list[SpeechBegan | SpeechEnded]:
    endpointer = Endpointer(RATE, HOP)
    return [*endpointer.push(told), *endpointer.flush()]


def test_an_utterance_has_its_pre_roll_and_ends_with_its_speech() -> None:
    told = row((20, 0.0), (20, 0.9), (40, 0.0))

    assert events(told) == [SpeechBegan(20 * HOP - 4_800), SpeechEnded(40 * HOP)]


def test_a_pause_shorter_than_the_endpoint_ends_nothing() -> None:
    told = row((20, 0.9), (18, 0.0), (20, 0.9))

    assert events(told) == [SpeechBegan(0), SpeechEnded(58 * HOP)]


def test_a_pre_roll_never_reaches_into_the_utterance_before() -> None:
    endpointer = Endpointer(RATE, HOP, endpoint_s=0.2)

    told = endpointer.push(row((20, 0.9), (7, 0.0), (20, 0.9)))

    assert told == (SpeechBegan(0), SpeechEnded(20 * HOP), SpeechBegan(20 * HOP))


def test_a_score_in_between_goes_on_and_does_not_begin() -> None:
    assert events(row((40, 0.45))) == []
    assert events(row((4, 0.6), (40, 0.45))) == [SpeechBegan(0), SpeechEnded(44 * HOP)]


def test_three_scores_are_no_speech_and_four_are() -> None:
    assert events(row((3, 0.9), (40, 0.0), (3, 0.9))) == []
    assert len(events(row((4, 0.9)))) == 2


@given(
    told=st.lists(st.sampled_from([0.0, 0.4, 0.9]), max_size=400),
    cuts=st.lists(st.integers(0, 400), max_size=6).map(sorted),
)
@settings(max_examples=60)
def test_any_cut_of_the_scores_gives_the_same_events(
    told: list[float], cuts: list[int]
) -> None:
    whole = np.array(told, np.float32)

    check_stage(
        lambda: Endpointer(RATE, HOP), [[whole], np.array_split(whole, cuts)], join=list
    )


@given(told=st.lists(st.sampled_from([0.0, 0.4, 0.9]), max_size=400))
@settings(max_examples=60)
def test_utterances_take_turns_and_never_overlap(told: list[float]) -> None:
    found = events(np.array(told, np.float32))

    kinds = [type(event) for event in found]
    assert kinds == [SpeechBegan, SpeechEnded] * (len(found) // 2)
    frames = [event.frame for event in found]
    assert frames == sorted(frames)
