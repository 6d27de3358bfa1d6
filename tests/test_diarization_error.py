from __future__ import annotations

import pytest
from diarization_error import diarization_error

from voicepipe import Turn


def turns(*rows: tuple[float, float, str]) -> list[Turn]:
    return [Turn(start=start, end=end, speaker=name) for start, end, name in rows]


def test_names_do_not_matter() -> None:
    truth = turns((0, 4, "a"), (5, 9, "b"))
    score = diarization_error(truth, turns((0, 4, "1"), (5, 9, "0")))

    assert (score.rate, score.speech) == (0.0, 8.0)


def test_each_kind_of_error_counts_its_seconds() -> None:
    truth = turns((0, 10, "a"), (10, 20, "b"))
    found = turns((1, 12, "x"), (12, 21, "y"))
    score = diarization_error(truth, found)

    assert (score.missed, score.false_alarm, score.confused) == (1.0, 1.0, 2.0)
    assert score.rate == pytest.approx(0.2)


def test_two_voices_at_once_count_twice() -> None:
    truth = turns((0, 10, "a"), (8, 12, "b"))
    score = diarization_error(truth, turns((0, 10, "x"), (10, 12, "y")))

    assert score.speech == 14.0
    assert (score.missed, score.false_alarm, score.confused) == (2.0, 0.0, 0.0)


def test_a_voice_too_many_at_once_is_a_false_alarm() -> None:
    truth = turns((0, 10, "a"))
    score = diarization_error(truth, turns((0, 10, "x"), (4, 5, "y")))

    assert (score.missed, score.false_alarm, score.confused) == (0.0, 1.0, 0.0)


def test_time_around_boundaries_of_the_reference_does_not_count() -> None:
    truth = turns((0, 10, "a"), (10, 20, "b"))
    found = turns((0.2, 10.4, "x"), (10.4, 20.2, "y"))
    score = diarization_error(truth, found, collar=0.25)

    assert score.speech == pytest.approx(19.0)
    assert score.confused == pytest.approx(0.15)
    assert score.missed == score.false_alarm == 0.0


def test_the_mapping_is_the_best_and_not_the_first() -> None:
    truth = turns((0, 6, "a"), (6, 11, "b"))
    # x shares most with a (4 s), and yet must be b, so that y can be a.
    found = turns((0, 2, "y"), (2, 6, "x"), (6, 11, "x"))
    score = diarization_error(truth, found)

    assert score.confused == 4.0


def test_a_found_speaker_stands_for_one_true_speaker_only() -> None:
    truth = turns((0, 6, "a"), (6, 10, "b"))

    assert diarization_error(truth, turns((0, 10, "x"))).rate == pytest.approx(0.4)


def test_silence_has_no_rate_but_what_was_invented() -> None:
    assert diarization_error([], []).rate == 0.0
    assert diarization_error([], turns((0, 1, "x"))).rate == float("inf")
