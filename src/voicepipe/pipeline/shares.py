"""How far a whole run has come, from how far its stages have."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from voicepipe.types import Progress, StageName


# Rough shares of the time of a run. Whisper on a processor takes almost all of it.
_WEIGHTS: dict[StageName, float] = {
    "decode": 1.0,
    "diarize": 2.0,
    "transcribe": 14.0,
    "analyze": 3.0,
}


class WholeProgress:
    """
    Makes one number of the stages' progress, and names the stage that is waited for.

    Args:
        stages: The stages that there are, in their order, each with the share of it
            that is done.
        report: Called with a stage's name and the share of the whole that is done, in
            [0, 1]; it never falls.
    """

    def __init__(
        self, stages: Mapping[StageName, float], report: Callable[[str, float], None]
    ) -> None:
        """Begin where the stages are."""
        self._done: dict[StageName, float] = dict(stages)
        self._report = report

    def __call__(self, event: Progress) -> None:
        """Take the progress of one stage."""
        if event.stage in self._done:
            self._done[event.stage] = event.fraction
            whole = sum(_WEIGHTS[stage] for stage in self._done)
            done = sum(_WEIGHTS[stage] * share for stage, share in self._done.items())
            self._report(self._waited_for(), done / whole)

    def _waited_for(self) -> StageName:
        """Name the stage that is not done; decoding only while nothing is heard."""
        left: list[StageName] = [s for s, share in self._done.items() if share < 1.0]
        if "decode" in left and "transcribe" in left and self._done["transcribe"]:
            left.remove("decode")
        return left[0] if left else "store"
