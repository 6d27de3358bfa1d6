"""What transcribing a recording has shown, beside its text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import attrs


if TYPE_CHECKING:
    from collections.abc import Iterable


@attrs.frozen(kw_only=True)
class TranscriptionReport:
    """
    How far a transcript can be trusted, as an engine's guards saw it.

    Seconds and counts are sums over all channels.

    Attributes:
        speech_s: Seconds in which voice activity was heard.
        covered_s: Seconds of these for which there is text, at most ``speech_s``.
        repeated: Times that a phrase said over and over was cut down, words that only
            the engine heard.
        unspoken: Segments dropped, since nobody spoke where they stood.
        retimed: Words whose times were mended: out of order, empty, or outside of the
            sound.
    """

    speech_s: float = 0.0
    covered_s: float = 0.0
    repeated: int = 0
    unspoken: int = 0
    retimed: int = 0

    @property
    def coverage(self) -> float | None:
        """Share of the speech for which there is text; ``None`` without speech."""
        return self.covered_s / self.speech_s if self.speech_s > 0.0 else None

    @classmethod
    def sum(cls, reports: Iterable[Self | None]) -> Self | None:
        """Add up the reports of parts of a recording; ``None`` where there is none."""
        told = [report for report in reports if report is not None]
        if not told:
            return None
        return cls(
            speech_s=sum(report.speech_s for report in told),
            covered_s=sum(report.covered_s for report in told),
            repeated=sum(report.repeated for report in told),
            unspoken=sum(report.unspoken for report in told),
            retimed=sum(report.retimed for report in told),
        )
