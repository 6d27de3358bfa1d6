"""What a pipeline reports while it runs, and when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import attrs

from voicepipe.types.analysis import Analysis, TalkMetrics
from voicepipe.types.audio import DecodeReport
from voicepipe.types.job import Job
from voicepipe.types.transcript import Transcript, Turn


StageName: TypeAlias = Literal["decode", "diarize", "transcribe", "analyze", "store"]
"""The stages of a pipeline, in their order."""


def _frozen(value: Mapping[StageName, float]) -> Mapping[StageName, float]:
    return MappingProxyType(dict(value))


@attrs.frozen(kw_only=True)
class Progress:
    """
    How far one stage of a run has come.

    Attributes:
        stage: Which stage.
        fraction: Share of its work that is done, in [0, 1]; never falls within a run.
        elapsed: Seconds in which this stage was at work so far. Stages overlap, so that
            their sum may exceed the time of the run.
    """

    stage: StageName
    fraction: float
    elapsed: float


@attrs.frozen(kw_only=True)
class Conversation:
    """
    All that a pipeline found out about one recording.

    Attributes:
        source: Name of the recording.
        duration: Seconds of sound, from decoded frames.
        transcript: Who said what, with speakers where they are known.
        turns: Who spoke when, ordered by start.
        metrics: How the conversation was led.
        analysis: What it means; ``None`` without an analyzer.
        job: The stored record; ``None`` without a store.
        elapsed: Seconds in which each stage was at work, by its name.
        report: What decoding the recording has shown; ``None`` for sound that was
            handed over as ``Audio``.
    """

    source: str
    duration: float
    transcript: Transcript
    turns: tuple[Turn, ...]
    metrics: TalkMetrics
    analysis: Analysis | None = None
    job: Job | None = None
    elapsed: Mapping[StageName, float] = attrs.field(
        factory=dict, converter=_frozen, eq=False
    )
    report: DecodeReport | None = None

    def _repr_html_(self) -> str:
        """Show everything, one table under the other, in a notebook."""
        shown = (self.transcript, self.metrics, self.analysis)
        return "".join(part._repr_html_() for part in shown if part is not None)
