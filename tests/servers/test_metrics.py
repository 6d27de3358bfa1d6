from __future__ import annotations

import re

import pytest

from voicepipe.servers.metrics import CONTENT_TYPE, Metrics


def lines(metrics: Metrics) -> dict[str, float]:
    text = metrics.text().decode()
    found = re.findall(r"(?m)^([^#\s]+(?:\{[^}]*\})?) (\S+)$", text)
    return {name: float(value) for name, value in found}


def test_numbers_are_there_from_the_beginning_and_grow() -> None:
    metrics = Metrics("app")
    chunks = metrics.count("chunks", "Chunks")
    refused = metrics.count_by("refusals", "Refusals", "reason", ["full", "bad"])
    before = lines(metrics)
    chunks.value += 3
    refused.add("bad")
    after = lines(metrics)

    assert before["app_chunks_total"] == 0
    assert after["app_chunks_total"] == 3
    assert before['app_refusals_total{reason="bad"}'] == 0
    assert after['app_refusals_total{reason="bad"}'] == 1
    assert after['app_refusals_total{reason="full"}'] == 0
    with pytest.raises(KeyError):
        refused.add("other")


def test_times_are_sorted_into_classes_that_hold_all_below() -> None:
    metrics = Metrics("app")
    answers = metrics.timings("answer_seconds", "Until the answer")
    for seconds in (0.0001, 0.001, 0.0011, 3.0, 60.0):
        answers.add(seconds)
    found = lines(metrics)

    assert found['app_answer_seconds_bucket{le="0.001"}'] == 2
    assert found['app_answer_seconds_bucket{le="0.0025"}'] == 3
    assert found['app_answer_seconds_bucket{le="2.5"}'] == 3
    assert found['app_answer_seconds_bucket{le="10"}'] == 4
    assert found['app_answer_seconds_bucket{le="+Inf"}'] == 5
    assert found["app_answer_seconds_count"] == 5
    assert found["app_answer_seconds_sum"] == pytest.approx(63.0022)


def test_gauges_are_looked_up_when_they_are_asked_for() -> None:
    metrics = Metrics("app")
    open_now = [2]
    metrics.gauge("sessions", "Open sessions", lambda: open_now[0])
    assert lines(metrics)["app_sessions"] == 2
    open_now[0] = 5

    assert lines(metrics)["app_sessions"] == 5


def test_two_apps_in_a_process_do_not_meet() -> None:
    one, other = Metrics("one"), Metrics("other")
    one.count("things", "Things")

    assert "one_things_total" in lines(one)
    assert "one_things_total" not in lines(other)
    assert lines(other)["process_resident_memory_bytes"] > 0
    assert CONTENT_TYPE.startswith("text/plain")
