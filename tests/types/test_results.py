from __future__ import annotations

import pytest

from voicepipe import (
    Analysis,
    Conversation,
    Interruption,
    NonTalk,
    Point,
    SpeakerMetrics,
    TalkMetrics,
    Transcript,
)


ANALYSIS = Analysis(
    summary=(
        Point(text="The customer orders <flowers>.", segment_ids=(1, 2)),
        Point(text="They cost 45 dollars.", segment_ids=(4,)),
    ),
    key_points=(Point(text="Delivery on Friday.", segment_ids=(6,)),),
    conversation_type="order",
    language="en",
    model="test",
)
METRICS = TalkMetrics(
    total_conversation_duration=10.0,
    talk_time=8.0,
    speech_time=7.0,
    overlap_time=1.0,
    non_talk_time=3.0,
    non_talk_instances=(NonTalk(start=1.0, end=4.0),),
    interruptions=(Interruption(start=5.0, end=6.0, interrupter="B", interrupted="A"),),
    speakers=(
        SpeakerMetrics(
            speaker="A",
            talk_time=4.0,
            talk_ratio=0.5,
            turns=2,
            longest_turn=2.0,
            response_latency=None,
            words=10,
            words_per_minute=150.0,
        ),
    ),
)


def test_a_point_without_evidence_is_refused() -> None:
    with pytest.raises(ValueError, match="segment_ids"):
        Point(text="it is said", segment_ids=())


def test_the_summary_reads_as_one_paragraph() -> None:
    assert ANALYSIS.summary_text == (
        "The customer orders <flowers>. They cost 45 dollars."
    )


def test_results_read_back_from_json_to_equal_values() -> None:
    assert Analysis.from_json(ANALYSIS.to_json()) == ANALYSIS
    assert TalkMetrics.from_json(METRICS.to_json()) == METRICS


@pytest.mark.parametrize("kind", [Analysis, TalkMetrics])
@pytest.mark.parametrize("text", ["", "{}", "7"])
def test_other_json_is_a_value_error(
    kind: type[Analysis | TalkMetrics], text: str
) -> None:
    with pytest.raises(ValueError, match=r"."):
        kind.from_json(text)


def test_periods_know_their_length() -> None:
    assert METRICS.non_talk_instances[0].duration == 3.0
    assert METRICS.interruptions[0].duration == 1.0


def test_a_notebook_shows_all_of_a_conversation_escaped() -> None:
    conversation = Conversation(
        source="a.wav",
        duration=10.0,
        transcript=Transcript(duration=10.0, model="engine"),
        turns=(),
        metrics=METRICS,
        analysis=ANALYSIS,
        elapsed={"decode": 0.1},
    )

    html = conversation._repr_html_()

    assert "engine" in html
    assert "150" in html
    assert "&lt;flowers&gt;" in html
    assert html.count("<table") == 3


def test_elapsed_times_cannot_be_changed() -> None:
    conversation = Conversation(
        source="a.wav",
        duration=10.0,
        transcript=Transcript(duration=10.0, model="engine"),
        turns=(),
        metrics=METRICS,
        elapsed={"decode": 0.1},
    )

    with pytest.raises(TypeError):
        conversation.elapsed["decode"] = 0.0  # type: ignore[index]
