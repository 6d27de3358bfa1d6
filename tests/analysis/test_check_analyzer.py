"""The check of analyzers finds what is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import attrs
import pytest

from voicepipe.analysis.extractive import ExtractiveAnalyzer
from voicepipe.errors import AnalysisError
from voicepipe.testing.analyzer import check_analyzer
from voicepipe.types import Analysis, CleanLine, Point


if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.types import Transcript


class Changed:
    """A good analyzer whose analyses are spoiled afterwards."""

    def __init__(self, spoil: Callable[[Analysis, Transcript], object]) -> None:
        self._spoil = spoil

    async def analyze(self, transcript: Transcript, /) -> Analysis:
        found = await ExtractiveAnalyzer().analyze(transcript)
        return self._spoil(found, transcript)  # type: ignore[return-value]


def with_point(found: Analysis, **changes: object) -> Analysis:
    return attrs.evolve(
        found,
        summary=tuple(attrs.evolve(point, **changes) for point in found.summary),
    )


def with_lines(found: Analysis, call: Transcript, which: slice) -> Analysis:
    lines = [CleanLine(segment_id=s.id, text=s.text) for s in call.segments]
    return attrs.evolve(found, clean_lines=tuple(lines[which]))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda found, _: attrs.asdict(found), "must give an Analysis"),
        (lambda found, _: with_point(found, segment_ids=(99,)), "no such segment"),
        (lambda found, _: with_point(found, segment_ids=(0, 0)), "cited twice"),
        (lambda found, _: with_point(found, text=" \n"), "must say something"),
        (lambda found, _: attrs.evolve(found, language="english"), "ISO 639-1"),
        (lambda found, _: attrs.evolve(found, conversation_type=" "), "_type"),
        (lambda found, _: attrs.evolve(found, model=""), "name its model"),
        (lambda found, call: with_lines(found, call, slice(1, None)), "clean_lines"),
        (
            lambda found, call: with_lines(found, call, slice(None, None, -1)),
            "in order",
        ),
        (lambda found, _: attrs.evolve(found, summary=list(found.summary)), "types"),
        (lambda found, _: attrs.evolve(found, summary=()), "must have a summary"),
        (
            lambda found, _: attrs.evolve(
                found, summary=(Point(text="All is well.", segment_ids=(0,)),)
            ),
            "an empty transcript has no such segment",
        ),
    ],
)
async def test_a_broken_analysis_is_found(
    spoil: Callable[[Analysis, Transcript], object], complaint: str
) -> None:
    with pytest.raises(AssertionError, match=complaint):
        await check_analyzer(Changed(spoil))


async def test_an_analyzer_that_mixes_calls_up_is_found() -> None:
    class Forgetful:
        async def analyze(self, transcript: Transcript, /) -> Analysis:
            self.transcript = transcript
            await anyio.sleep(0.02)
            return await ExtractiveAnalyzer().analyze(self.transcript)

    with pytest.raises(AssertionError, match="one of two calls at once"):
        await check_analyzer(Forgetful())


async def test_an_analyzer_that_fails_on_an_empty_transcript_is_found() -> None:
    class Choosy:
        async def analyze(self, transcript: Transcript, /) -> Analysis:
            if not transcript.segments:
                raise AnalysisError("nothing was said", model="choosy")
            return await ExtractiveAnalyzer().analyze(transcript)

    with pytest.raises(AssertionError, match="an empty transcript must not make"):
        await check_analyzer(Choosy())


async def test_an_analyzer_that_takes_cancellation_for_failure_is_found() -> None:
    class Greedy:
        async def analyze(self, transcript: Transcript, /) -> Analysis:
            try:
                return await ExtractiveAnalyzer().analyze(transcript)
            except anyio.get_cancelled_exc_class() as exc:
                raise AnalysisError("timed out", model="greedy") from exc

    with pytest.raises(AssertionError, match="let a cancellation through"):
        await check_analyzer(Greedy())
