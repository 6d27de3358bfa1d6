"""
Score who spoke when, by the rules of NIST's md-eval (RT-09 evaluation plan).

Time around each boundary of the reference (the collar) does not count. In the rest,
where ``r`` speakers are said to speak and ``s`` are found, ``c`` of them the right
ones, ``max(r - s, 0)`` are missed, ``max(s - r, 0)`` are false alarms, and
``min(r, s) - c`` are confused. Their sum over the sum of ``r`` is the error rate, under
the one-to-one mapping of found to true speakers that makes most of them right.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING

import attrs


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voicepipe import Turn


@attrs.frozen(kw_only=True)
class DiarizationScore:
    """Seconds of speakers: what there is, and what is wrong with what was found."""

    speech: float
    missed: float
    false_alarm: float
    confused: float

    @property
    def rate(self) -> float:
        """The diarization error rate, 0 where nobody speaks and nobody was found."""
        wrong = self.missed + self.false_alarm + self.confused
        if not self.speech:
            return float("inf") if wrong else 0.0
        return wrong / self.speech

    @classmethod
    def sum(cls, scores: Iterable[DiarizationScore]) -> DiarizationScore:
        """Put recordings together, each weighted by its speech."""
        rows = [attrs.astuple(score) for score in scores]
        speech, missed, false_alarm, confused = (
            sum(row[index] for row in rows) for index in range(4)
        )
        return cls(
            speech=speech,
            missed=missed,
            false_alarm=false_alarm,
            confused=confused,
        )


def diarization_error(
    truth: Sequence[Turn], found: Sequence[Turn], *, collar: float = 0.0
) -> DiarizationScore:
    """
    Compare turns with those of the reference; channels do not count.

    Args:
        truth: The reference.
        found: What a diarizer gave.
        collar: Seconds before and after each boundary of the reference that do not
            count.
    """
    pieces = list(_pieces(truth, found, collar))
    together: defaultdict[tuple[str, str], float] = defaultdict(float)
    for seconds, true, told in pieces:
        for pair in itertools.product(true, told):
            together[pair] += seconds
    right = _best_mapping(together)
    speech = missed = false_alarm = confused = 0.0
    for seconds, true, told in pieces:
        correct = sum(right.get(name) in told for name in true)
        speech += seconds * len(true)
        missed += seconds * max(0, len(true) - len(told))
        false_alarm += seconds * max(0, len(told) - len(true))
        confused += seconds * (min(len(true), len(told)) - correct)
    return DiarizationScore(
        speech=speech, missed=missed, false_alarm=false_alarm, confused=confused
    )


def _pieces(
    truth: Sequence[Turn], found: Sequence[Turn], collar: float
) -> Iterable[tuple[float, frozenset[str], frozenset[str]]]:
    """Cut time wherever anything changes: length, true speakers, found speakers."""
    events: list[tuple[float, int, str, int]] = []
    for kind, turns in enumerate((truth, found)):
        for turn in turns:
            events += [
                (turn.start, kind, turn.speaker, 1),
                (turn.end, kind, turn.speaker, -1),
            ]
    if collar:
        for edge in {at for turn in truth for at in (turn.start, turn.end)}:
            events += [(edge - collar, 2, "", 1), (edge + collar, 2, "", -1)]
    counts: tuple[defaultdict[str, int], ...] = tuple(
        defaultdict(int) for _ in range(3)
    )
    last = 0.0
    for at, kind, name, step in sorted(events):
        if at > last and not counts[2][""]:
            true, told = (
                frozenset(name for name, count in counts[which].items() if count)
                for which in (0, 1)
            )
            yield at - last, true, told
        last = max(at, last)
        counts[kind][name] += step


def _best_mapping(together: dict[tuple[str, str], float]) -> dict[str, str]:
    """Map true speakers to found ones, so that they share the most time."""
    true = sorted({name for name, _ in together})
    told = sorted({name for _, name in together})
    # What was mapped of the found ones, as bits: shared time, and how.
    best: dict[int, tuple[float, dict[str, str]]] = {0: (0.0, {})}
    for name in true:
        step = dict(best)
        for used, (seconds, how) in best.items():
            for bit, other in enumerate(told):
                shared = together.get((name, other), 0.0)
                key = used | 1 << bit
                if used >> bit & 1 or not shared:
                    continue
                if key not in step or seconds + shared > step[key][0]:
                    step[key] = (seconds + shared, {**how, name: other})
        best = step
    return max(best.values(), key=lambda entry: entry[0])[1]
