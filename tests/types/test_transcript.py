from __future__ import annotations

import re

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe import Hypothesis, Segment, Transcript, Turn, Word, turns_to_rttm
from voicepipe.types.transcript import CUE_CHARS, CUE_S


def words(text: str, start: float, step: float = 0.5) -> tuple[Word, ...]:
    return tuple(
        Word(
            start=start + i * step,
            end=start + (i + 0.8) * step,
            text=t,
            probability=0.5,
        )
        for i, t in enumerate(text.split())
    )


def said(text: str, start: float, speaker: str | None, channel: int | None) -> Segment:
    spoken = words(text, start)
    return Segment(
        start=start,
        end=spoken[-1].end,
        text=text,
        words=spoken,
        speaker=speaker,
        channel=channel,
    )


CALL = Transcript.of(
    [
        said("i would like flowers", 3.0, "Speaker01", 1),
        said("good morning", 0.5, "Speaker00", 0),
        said("of course", 3.0, "Speaker00", 0),
    ],
    duration=6.0,
    model="test",
    language="en",
)


def test_segments_are_ordered_by_start_then_channel_and_numbered() -> None:
    assert [(s.id, s.text) for s in CALL.segments] == [
        (0, "good morning"),
        (1, "of course"),
        (2, "i would like flowers"),
    ]


def test_text_and_speakers() -> None:
    assert CALL.text == "good morning\nof course\ni would like flowers"
    assert CALL.speakers == ("Speaker00", "Speaker01")


def test_txt_has_a_line_for_each_segment() -> None:
    assert CALL.to_txt() == (
        "Speaker00: good morning\n"
        "Speaker00: of course\n"
        "Speaker01: i would like flowers\n"
    )


def test_txt_takes_labels_and_times() -> None:
    lines = CALL.to_txt(labels={"Speaker00": "agent"}, times=True).splitlines()

    assert lines[0] == "[0:00.5 - 0:01.4] agent: good morning"
    assert lines[2].endswith("Speaker01: i would like flowers")


def test_txt_without_speakers_has_text_only() -> None:
    alone = Transcript.of([said("hello you", 0.0, None, None)], duration=1, model="m")

    assert alone.to_txt() == "hello you\n"


def test_json_reads_back_to_an_equal_value() -> None:
    assert Transcript.from_json(CALL.to_json()) == CALL
    assert Transcript.from_json(CALL.to_json(indent=2)) == CALL


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"segments": 3}', "[" * 100_000])
def test_other_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|Expecting"):
        Transcript.from_json(text)


def test_srt_is_numbered_timed_and_separated() -> None:
    assert CALL.to_srt().startswith(
        "1\n00:00:00,500 --> 00:00:01,400\nSpeaker00: good morning\n\n2\n"
    )


def test_vtt_begins_with_its_name_and_escapes() -> None:
    tricky = Transcript.of(
        [Segment(start=3661.5, end=3662, text="a < b --> c & d", speaker="A & B")],
        duration=3662,
        model="m",
    )

    assert tricky.to_vtt() == (
        "WEBVTT\n\n01:01:01.500 --> 01:01:02.000\n"
        "<v A &amp; B>a &lt; b --&gt; c &amp; d\n"
    )


def test_an_empty_transcript_has_empty_exports() -> None:
    empty = Transcript(duration=0, model="m")

    assert empty.to_txt() == empty.to_srt() == empty.to_rttm("a") == ""
    assert empty.to_vtt() == "WEBVTT\n"


@given(st.integers(1, 120), st.floats(0.05, 3.0))
def test_long_segments_are_cut_into_cues_that_fit(count: int, step: float) -> None:
    text = " ".join(f"word{i}" for i in range(count))
    spoken = words(text, 1.0, step)
    segment = Segment(start=1.0, end=spoken[-1].end, text=text, words=spoken)
    transcript = Transcript.of([segment], duration=1_000, model="m")

    srt = transcript.to_srt()

    cues = re.findall(r"\d+\n(\S+) --> (\S+)\n(.+)\n", srt)
    assert " ".join(cue[2] for cue in cues) == text
    for begin, end, line in cues:
        assert begin < end
        assert len(line) <= CUE_CHARS
        assert seconds(end) - seconds(begin) <= max(CUE_S, step) + 0.002


def seconds(stamp: str) -> float:
    h, m, s = stamp.replace(",", ".").split(":")
    return int(h) * 3600 + int(m) * 60 + float(s)


def test_a_newline_in_a_segment_does_not_break_a_cue() -> None:
    odd = Transcript.of(
        [Segment(start=0, end=1, text="one\n\n2\ntwo")], duration=1, model="m"
    )

    assert odd.to_srt() == "1\n00:00:00,000 --> 00:00:01,000\none 2 two\n"


def test_rttm_counts_channels_from_one() -> None:
    assert CALL.to_rttm("call").splitlines()[2] == (
        "SPEAKER call 2 3.000 1.900 <NA> <NA> Speaker01 <NA> <NA>"
    )


def test_turns_have_rttm_too() -> None:
    turn = Turn(start=1, end=2.5, speaker="a")

    assert turns_to_rttm([turn], "x") == (
        "SPEAKER x 1 1.000 1.500 <NA> <NA> a <NA> <NA>\n"
    )


@pytest.mark.parametrize("uri", ["", "a b", "a\n"])
def test_rttm_and_ctm_refuse_names_with_white_space(uri: str) -> None:
    with pytest.raises(ValueError, match="white space"):
        CALL.to_rttm(uri)
    with pytest.raises(ValueError, match="white space"):
        CALL.to_ctm(uri)


def test_rttm_needs_speakers() -> None:
    unknown = Transcript.of([said("hello", 0, None, None)], duration=1, model="m")

    with pytest.raises(ValueError, match="non-empty"):
        unknown.to_rttm("a")


def test_ctm_is_ordered_by_channel_and_time() -> None:
    lines = CALL.to_ctm("call").splitlines()

    assert lines[0] == "call 1 0.500 0.400 good 0.5000"
    assert [line.split()[1] for line in lines] == ["1"] * 4 + ["2"] * 4


@pytest.mark.parametrize(("start", "end"), [(2.0, 1.0), (-1.0, 1.0), (float("nan"), 1)])
@pytest.mark.parametrize("kind", ["word", "segment", "turn", "hypothesis"])
def test_times_must_be_in_order(kind: str, start: float, end: float) -> None:
    make = {
        "word": lambda: Word(start=start, end=end, text="a"),
        "segment": lambda: Segment(start=start, end=end, text="a"),
        "turn": lambda: Turn(start=start, end=end, speaker="a"),
        "hypothesis": lambda: Hypothesis(
            segment_id=0, start=start, end=end, text="a", final=False
        ),
    }[kind]

    with pytest.raises(ValueError, match="start <= end"):
        make()


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_probabilities_lie_between_0_and_1(probability: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        Word(start=0, end=1, text="a", probability=probability)


def test_values_are_frozen() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        CALL.duration = 1  # type: ignore[misc]


def test_a_notebook_shows_a_coloured_escaped_table() -> None:
    tricky = Transcript.of(
        [
            Segment(start=0, end=1, text="<script>", speaker="Speaker00"),
            Segment(start=1, end=2, text="hello", speaker="Speaker01"),
        ],
        duration=2,
        model="m",
    )

    html = tricky._repr_html_()

    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert "#0072B2" in html
    assert "#D55E00" in html


def test_a_notebook_shows_the_beginning_of_a_long_table() -> None:
    many = Transcript.of(
        [Segment(start=i, end=i, text="x") for i in range(600)], duration=600, model="m"
    )

    assert "and more" in many._repr_html_()
