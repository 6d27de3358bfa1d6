"""The law of analyzers: whatever they say rests on what was said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from voicepipe.errors import AnalysisError
from voicepipe.testing._expect import expect
from voicepipe.types import Analysis, Segment, Transcript, Word


if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.protocols import Analyzer


_LANGUAGE = re.compile(r"[a-z]{2}")

_CALL = (
    "Thank you for calling the bakery, how can I help you?",
    "Hi, I would like to order a birthday cake for Saturday.",
    "Of course. Chocolate or lemon?",
    "Chocolate please, for twelve people, and it must not have any nuts in it.",
    "No nuts, I will write that down. That is 45 dollars. When will you pick it up?",
    "Saturday at ten in the morning. My name is Miller.",
    "Your cake will be ready on Saturday at ten, Mrs. Miller.",
    "Thank you, goodbye.",
)

_ODD = (
    "שלום, אני רוצה להזמין עוגה ליום שבת",
    "",
    " \t\n",
    "?!",
    "👍🏽 👍🏽",
    "我想订一个星期六的生日蛋糕。",
    "a\u0301 \u200f\u202e\x00",
    "word" * 500,
)


async def check_analyzer(analyzer: Analyzer) -> None:
    """
    Check an analyzer against the law of its protocol.

    It is given a call, an empty transcript, a single segment, one sentence over and
    over, and text that is hardly any; then two calls at once, one that is cancelled,
    and one after it: nine times ``analyze`` in all. Whether what it says is any good is
    not checked.

    Args:
        analyzer: What to check.

    Raises:
        AssertionError: If something does not hold.
    """
    call = _transcript(_CALL)
    await _analyzed(analyzer, _transcript(()), "an empty transcript")
    await _analyzed(analyzer, _transcript(_CALL[1:2]), "a single segment")
    await _analyzed(analyzer, _transcript(_CALL[:1] * 9), "nine equal segments")
    await _analyzed(analyzer, _transcript(_ODD), "text that is hardly any")
    found = await _analyzed(analyzer, call, "a call")
    expect(found.summary, "a call must have a summary")

    await _expect_independent(analyzer, _transcript(_CALL[:2]), call)
    await _expect_cancellable(analyzer, call)
    await _analyzed(analyzer, call, "a call after a cancelled one")


async def _analyzed(analyzer: Analyzer, transcript: Transcript, name: str) -> Analysis:
    try:
        found = await analyzer.analyze(transcript)
    except AnalysisError as exc:
        msg = f"{name} must not make analyze fail: {exc}"
        raise AssertionError(msg) from exc
    expect(isinstance(found, Analysis), f"{name} must give an Analysis, not {found!r}")
    expect(
        Analysis.from_json(found.to_json()) == found,
        f"{name}: the fields must be of the types they should be: {found!r}",
    )
    ids = {segment.id for segment in transcript.segments}
    for point in (*found.summary, *found.key_points):
        cited = point.segment_ids
        expect(cited, f"{name}: every point must cite a segment: {point!r}")
        expect(ids.issuperset(cited), f"{name} has no such segment as cited: {point!r}")
        expect(len(set(cited)) == len(cited), f"{name}: cited twice: {point!r}")
        expect(point.text.strip(), f"{name}: a point must say something: {point!r}")
    lines = tuple(line.segment_id for line in found.clean_lines)
    expect(
        lines in {(), tuple(segment.id for segment in transcript.segments)},
        f"{name}: clean_lines must be one for each segment, in order, or none",
    )
    expect(found.conversation_type.strip(), f"{name} must have a conversation_type")
    expect(found.model.strip(), f"{name}: the analysis must name its model")
    expect(
        found.language is None or _LANGUAGE.fullmatch(found.language),
        f"{name}: the language must be ISO 639-1 or None, not {found.language!r}",
    )
    return found


async def _expect_independent(analyzer: Analyzer, *transcripts: Transcript) -> None:
    """Analyse at the same time; the last one begun cites what the others lack."""
    failures: list[AssertionError] = []

    async def analyze(transcript: Transcript) -> None:
        try:
            await _analyzed(analyzer, transcript, "one of two calls at once")
        except AssertionError as exc:
            failures.append(exc)

    async with anyio.create_task_group() as group:
        for transcript in transcripts:
            group.start_soon(analyze, transcript)
            await anyio.lowlevel.checkpoint()
    if failures:
        raise failures[0]


async def _expect_cancellable(analyzer: Analyzer, transcript: Transcript) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await analyzer.analyze(transcript)
        except AnalysisError as exc:
            msg = "analyze must let a cancellation through, not turn it into an error"
            raise AssertionError(msg) from exc


def _transcript(texts: Sequence[str]) -> Transcript:
    return Transcript.of(
        (
            Segment(
                start=3.0 * at,
                end=3.0 * at + 2.5,
                text=text,
                words=tuple(
                    Word(start=3.0 * at, end=3.0 * at + 2.5, text=word)
                    for word in text.split()
                ),
                channel=at % 2,
                speaker=f"Speaker{at % 2:02d}",
            )
            for at, text in enumerate(texts)
        ),
        duration=3.0 * len(texts),
        model="check",
    )
