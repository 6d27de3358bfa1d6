"""The extractive analyzer: what it quotes, and what it costs."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import attrs
import pytest
from analysis.example_calls import CALLS
from hypothesis import given, settings
from hypothesis import strategies as st

from voicepipe.analysis.extractive import ExtractiveAnalyzer
from voicepipe.testing.analyzer import check_analyzer
from voicepipe.types import Analysis, Segment, Transcript, Word


if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.example_calls import Call

    from voicepipe.types import Point


def analyze(
    transcript: Transcript, analyzer: ExtractiveAnalyzer | None = None
) -> Analysis:
    return anyio.run((analyzer or ExtractiveAnalyzer()).analyze, transcript)


def cited(points: tuple[Point, ...]) -> set[int]:
    return {i for point in points for i in point.segment_ids}


async def test_it_keeps_the_law_of_analyzers() -> None:
    await check_analyzer(ExtractiveAnalyzer())


def test_points_are_made_of_the_words_of_the_segments_they_cite(call: Call) -> None:
    found = analyze(call.transcript)
    assert found.summary
    assert found.key_points
    for point in (*found.summary, *found.key_points):
        said = " ".join(call.transcript.segments[i].text for i in point.segment_ids)
        rest = iter(said.split())
        assert all(word in rest for word in point.text.split()), (point, said)


def test_type_and_language_are_right(call: Call) -> None:
    found = analyze(call.transcript)
    assert found.conversation_type == call.type
    assert found.language == call.language


def test_what_the_engine_says_of_the_language_wins() -> None:
    heard = attrs.evolve(CALLS["order"].transcript, language="uk")
    assert analyze(heard).language == "uk"


def test_the_summary_is_in_the_order_of_the_call(call: Call) -> None:
    ids = [point.segment_ids for point in analyze(call.transcript).summary]
    assert ids == sorted(ids)


def test_key_points_are_not_the_summary_again(call: Call) -> None:
    found = analyze(call.transcript)
    assert cited(found.key_points) - cited(found.summary)


def test_both_keep_to_their_size_and_to_a_third_of_the_call() -> None:
    call = CALLS["order"].transcript
    found = analyze(call)
    assert (len(found.summary), len(found.key_points)) == (5, 5)
    found = analyze(call, ExtractiveAnalyzer(summary_sentences=2, key_points=3))
    assert (len(found.summary), len(found.key_points)) == (2, 3)
    found = analyze(call, ExtractiveAnalyzer(summary_sentences=0, key_points=0))
    assert (found.summary, found.key_points) == ((), ())
    start = attrs.evolve(call, segments=call.segments[:9])
    assert 1 <= len(analyze(start).summary) <= 3


@pytest.mark.parametrize(
    ("name", "amount"), [("order", "$54.75"), ("order unpunctuated", "fifty four")]
)
def test_an_order_is_told_by_what_where_to_and_how_much(name: str, amount: str) -> None:
    found = analyze(CALLS[name].transcript)
    assert 1 in cited(found.summary), "why the customer calls"
    assert 5 in cited(found.summary), "the address"
    assert 12 in cited(found.summary), "the allergy"
    assert 16 in cited(found.summary), "what is ordered in the end"
    assert amount in found.summary_text
    assert {5, 7, 20} <= cited(found.key_points), "address, order, time"


def test_an_order_heard_with_errors_still_tells_order_total_and_address() -> None:
    found = analyze(CALLS["order misheard"].transcript)
    assert {5, 16, 20} <= cited(found.summary)
    assert {5, 7} <= cited(found.key_points)
    found = analyze(CALLS["complaint misheard"].transcript)
    assert {1, 12} <= cited(found.summary)


@pytest.mark.parametrize(
    ("name", "phrases"),
    [
        ("complaint", ["washing machine", "refund the delivery fee"]),
        ("refund", ["me ha llegado roto", "Quiero el reembolso", "79,90 euros"]),
        ("support", ["Techniker repariert das Kabel", "Störung", "Internet"]),
        ("booking", ["réserver une table pour samedi", "gâteau au chocolat"]),
        ("laptop", ["laptop keeps crashing since the update", "ticket number 55821"]),
        ("dentist", ["prenotare un appuntamento", "preferisco venerdì"]),
    ],
)
def test_a_summary_says_what_the_call_is_about(name: str, phrases: list[str]) -> None:
    summary = analyze(CALLS[name].transcript).summary_text
    assert [phrase for phrase in phrases if phrase not in summary] == []


def test_greetings_and_fillers_are_not_chosen(call: Call) -> None:
    found = analyze(call.transcript)
    chosen = cited(found.summary) | cited(found.key_points)
    assert call.transcript.segments[-1].id not in chosen
    for point in (*found.summary, *found.key_points):
        assert len(point.text.split()) >= 5, point


@pytest.mark.parametrize(
    "better",
    [
        "1: i'll bring the spare laptop cable",
        "1: i'd like a spare orange laptop cable",
        "1: the garage charges ninety dollars",
    ],
)
def test_promises_wishes_and_numbers_are_key_points(
    better: str, say: Callable[..., Transcript]
) -> None:
    found = analyze(
        say(
            "0: the boston office closes early during winter",
            better,
            "0: yellow lamps brighten narrow hallways",
        ),
        ExtractiveAnalyzer(summary_sentences=0, key_points=1),
    )
    assert [point.segment_ids for point in found.key_points] == [(1,)]


def test_assent_never_wins(say: Callable[..., Transcript]) -> None:
    talk = ["0: okay", "1: yes", "0: mm hm", "1: yeah sure", "0: okay thank you"] * 40
    talk[100:100] = ["1: the water heater in the basement leaks since monday"]
    found = analyze(say(*talk))
    assert [(point.text, point.segment_ids) for point in found.summary] == [
        ("the water heater in the basement leaks since monday", (100,))
    ]
    assert found.key_points == found.summary


def test_nothing_but_fillers_has_no_summary(say: Callable[..., Transcript]) -> None:
    found = analyze(say("0: hello", "1: yes okay thank you", "0: bye"))
    assert (found.summary, found.key_points) == ((), ())
    assert found.conversation_type == "other"


def test_what_is_repeated_is_said_once(say: Callable[..., Transcript]) -> None:
    offer = "0: The blue sofa costs nine hundred euros with delivery to your home."
    call = say(
        offer,
        offer,
        "1: My old sofa must go too because the stairs are narrow.",
        offer,
        "0: Our two drivers carry the old sofa down to the recycling.",
        offer,
        "1: The invoice goes to my company at twelve harbour road.",
        offer,
        offer,
    )
    texts = [point.text for point in analyze(call).summary]
    assert len(texts) == len(set(texts)) == 3


def test_a_thought_cut_by_pauses_is_quoted_whole(
    say: Callable[..., Transcript],
) -> None:
    found = analyze(
        say(
            "1: i want to return the",
            "0: mm hm",
            "1: green bicycle with the broken front wheel",
            "0: which shop did you buy it from",
        )
    )
    assert [(point.text, point.segment_ids) for point in found.summary] == [
        ("i want to return the green bicycle with the broken front wheel", (0, 2))
    ]


def test_own_types_replace_the_list() -> None:
    own = {"food": ("pizza*",), "money": ("reembols*",)}
    analyzer = ExtractiveAnalyzer(conversation_types=own)
    types = [
        analyze(CALLS[name].transcript, analyzer).conversation_type
        for name in ("order", "refund", "booking")
    ]
    assert types == ["food", "money", "other"]


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        ExtractiveAnalyzer(summary_sentences=-1)
    with pytest.raises(ValueError, match="must not be negative"):
        ExtractiveAnalyzer(key_points=-1)
    with pytest.raises(ValueError, match="each cue a word"):
        ExtractiveAnalyzer(conversation_types={"order": ("?",)})


def test_a_script_without_spaces_is_quoted_too(say: Callable[..., Transcript]) -> None:
    found = analyze(
        say("0: 我想订一个星期六的生日蛋糕。巧克力的。", "1: 好的没有问题星期六来取。")
    )
    assert "我想订一个星期六的生日蛋糕。" in found.summary_text
    assert found.language is None


def test_right_to_left_text_is_quoted_unchanged(say: Callable[..., Transcript]) -> None:
    text = "שלום, אני רוצה להזמין עוגת יום הולדת ליום שבת בעשר בבוקר"
    assert analyze(say(f"0: {text}")).summary_text == text


def test_another_process_gives_the_same_analysis() -> None:
    code = (
        "import sys, anyio\n"
        "from voicepipe.analysis.extractive import ExtractiveAnalyzer\n"
        "from voicepipe.types import Transcript\n"
        "t = Transcript.from_json(sys.stdin.buffer.read().decode())\n"
        "a = anyio.run(ExtractiveAnalyzer().analyze, t)\n"
        "sys.stdout.buffer.write(a.to_json().encode())\n"
    )
    transcript = CALLS["order"].transcript
    path = os.pathsep.join(sys.path)
    results = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=transcript.to_json().encode(),
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert results == {analyze(transcript).to_json().encode()}


WORDS = ("the", "pizza", "costs", "20", "dollars", "today", "okay", "Straße")
ODD = (
    "",
    "yes",
    "okay?!",
    "👍🏽",
    "…",
    "a. B. c",
    "1 2 3",
    "שלום עולם",
    "我想订。",
    "GÜNAYDIN İYİ",
)
texts = st.one_of(
    st.text(max_size=60),
    st.sampled_from(ODD),
    st.lists(st.sampled_from(WORDS)).map(" ".join),
)


@settings(max_examples=60)
@given(
    said=st.lists(texts, max_size=30),
    speakers=st.integers(0, 3),
    pause=st.sampled_from([0.0, 0.5, 9.0]),
    language=st.sampled_from([None, "en", "fr-CA", "xx", ""]),
)
def test_any_text_gives_an_analysis_that_cites_what_exists(
    said: list[str], speakers: int, pause: float, language: str | None
) -> None:
    transcript = Transcript.of(
        (
            Segment(
                start=at * (1.0 + pause),
                end=at * (1.0 + pause) + 1.0,
                text=text,
                speaker=f"S{at % speakers}" if speakers else None,
            )
            for at, text in enumerate(said)
        ),
        duration=0.0,
        model="hypothesis",
        language=language,
    )
    found = analyze(transcript)
    points = (*found.summary, *found.key_points)
    assert cited(points) <= set(range(len(said)))
    assert all(point.text.strip() for point in points)
    assert analyze(transcript) == found


def six_hours() -> Transcript:
    """Give ten thousand segments with words and times: the calls over and over."""
    lines = [
        (segment.text, segment.channel)
        for name in ("order misheard", "complaint misheard", "laptop", "order")
        for segment in CALLS[name].transcript.segments
    ]
    segments = []
    for at in range(10_000):
        text, channel = lines[at % len(lines)]
        text = f"{text} item{at % 3000}"
        start = 2.16 * at
        span = {"start": start, "end": start + 2.0}
        segments.append(
            Segment(
                **span,
                text=text,
                words=tuple(Word(**span, text=word) for word in text.split()),
                channel=channel,
                speaker=f"Speaker0{channel}",
            )
        )
    return Transcript.of(segments, duration=21_600.0, model="by hand")


async def test_a_call_of_six_hours_leaves_the_event_loop_free(
    loop_lag: Callable[..., object],
) -> None:
    transcript = six_hours()
    # A hundred thousand words are work for the garbage collector, which stops all
    # threads. What the making of them has brought up is not the analyzer's.
    gc.collect()
    lags = []
    # Other processes may take the processor away, but hardly each time.
    while len(lags) < 6 and min(lags, default=1.0) >= 0.05:
        began = time.process_time()
        async with loop_lag() as lag:
            found = await ExtractiveAnalyzer().analyze(transcript)
        # On the core, which other processes may have too.
        assert time.process_time() - began < 30.0
        assert len(found.summary) == 5
        lags.append(lag.longest_s)
    assert min(lags) < 0.05


def test_a_call_of_six_hours_needs_little_memory() -> None:
    transcript = six_hours()
    tracemalloc.start()
    try:
        anyio.run(ExtractiveAnalyzer().analyze, transcript)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A matrix of all similarities would take 800 MB.
    assert peak < 48e6


async def test_a_cancelled_call_stops_and_leaves_no_thread_at_work() -> None:
    transcript = six_hours()
    limiter = anyio.to_thread.current_default_thread_limiter()

    with anyio.move_on_after(0.05) as scope:
        await ExtractiveAnalyzer().analyze(transcript)

    assert scope.cancelled_caught
    assert limiter.borrowed_tokens == 0
