"""
How a conversation was led: talk time, pauses, interruptions, answers, speed.

The measures and their names follow Amazon Transcribe Call Analytics (Developer Guide,
"Post-call analytics output", ``ConversationCharacteristics``). It publishes names and
one line of meaning for each, no algorithm: what is exact here is ours.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from voicepipe.types import Interruption, NonTalk, SpeakerMetrics, TalkMetrics


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from voicepipe.types import Transcript, Turn


MIN_NON_TALK_S = 3.0
"""Shortest silence listed, seconds (Amazon Connect, metric "Non-Talk Time")."""

TURN_PAUSE_S = 1.0
"""
A speaker's pause shorter than this does not end the turn, seconds.

The longest silence that speakers usually let pass (Jefferson 1989, "a possible metric
which provides for a 'standard maximum' silence of approximately one second").
"""

MIN_INTERRUPTION_S = 0.5
"""
Shortest overlap that is an interruption, seconds; ours.

People often begin to answer in the last syllables of a turn. That is no interruption.
"""

_Span: TypeAlias = tuple[float, float]


class _Stretch(NamedTuple):
    """Speech of one speaker, seconds."""

    start: float
    end: float
    speaker: str


def talk_metrics(
    turns: Sequence[Turn],
    *,
    duration: float,
    transcript: Transcript | None = None,
    min_non_talk_s: float = MIN_NON_TALK_S,
) -> TalkMetrics:
    """
    Measure how a conversation was led.

    Turns are cut to ``[0, duration]``. A speaker's *speech* is the union of the turns
    with that label, whatever their channel, so turns that repeat, touch or overlap
    count once. Any number of speakers will do. On it rest:

    - **Talk time**: length of a speaker's speech, pauses not counted.
    - **Overlap**: time in which at least two speak, counted once.
    - **Turn**: a speaker's speech, joined over pauses shorter than ``TURN_PAUSE_S`` in
      which nobody else speaks. ``longest_turn`` counts those pauses.
    - **Interruption**: B begins while A is speaking, A stops before B does, and both
      speak together for at least ``MIN_INTERRUPTION_S``. An "mm-hm" that ends before A
      does is none, nor is a common start. B who cuts off two makes two of them.
    - **Response latency**: the median, over all changes of speaker, of the start of B's
      turn minus the end of A's before it, negative where they overlap. Turns that lie
      within another speaker's turn answer nobody and are left out.
    - **Words per minute**: a speaker's words in the transcript for each minute of the
      speaker's talk time.

    Takes ``O(n log n)`` steps for n turns, times the number of speakers where they
    speak at once.

    Args:
        turns: In any order, overlapping or not.
        duration: Seconds of the recording.
        transcript: Its segments' speakers bear the labels of ``turns``; without it no
            words are counted. Words of segments without a speaker belong to nobody.
        min_non_talk_s: Least length of a silence in ``non_talk_instances``, seconds;
            ``non_talk_time`` counts all of them.

    Raises:
        ValueError: If a number is negative or not finite.
    """
    _check("duration", duration)
    _check("min_non_talk_s", min_non_talk_s)
    speech = _speech(turns, duration)
    together = _union(itertools.chain.from_iterable(speech.values()))
    silences = _gaps(together, duration)
    speech_time = _length(together)
    words = _words(transcript)
    joined = {who: _turns(spans, set(silences)) for who, spans in speech.items()}
    latencies = _latencies(joined)
    talk_time = math.fsum(_length(spans) for spans in speech.values())
    return TalkMetrics(
        total_conversation_duration=duration,
        talk_time=talk_time,
        speech_time=speech_time,
        overlap_time=_overlap(speech),
        non_talk_time=max(0.0, duration - speech_time),
        non_talk_instances=tuple(
            NonTalk(start=start, end=end)
            for start, end in silences
            if end - start >= min_non_talk_s
        ),
        interruptions=_interruptions(speech),
        speakers=tuple(
            _speaker(
                who,
                speech.get(who, []),
                turns=joined.get(who, []),
                talk_time=talk_time,
                latencies=latencies[who],
                words=None if transcript is None else words[who],
            )
            for who in sorted({turn.speaker for turn in turns} | words.keys())
        ),
    )


def _check(name: str, seconds: float) -> None:
    if not 0.0 <= seconds < math.inf:
        msg = f"{name} must be finite and not negative, not {seconds}"
        raise ValueError(msg)


def _speech(turns: Iterable[Turn], duration: float) -> dict[str, list[_Span]]:
    spans: defaultdict[str, list[_Span]] = defaultdict(list)
    for turn in turns:
        end = min(turn.end, duration)
        if turn.start < end:
            spans[turn.speaker].append((turn.start, end))
    return {who: _union(own) for who, own in spans.items()}


def _union(spans: Iterable[_Span]) -> list[_Span]:
    """Join spans that overlap or touch; give them in order."""
    union: list[_Span] = []
    for start, end in sorted(spans):
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(end, union[-1][1]))
        else:
            union.append((start, end))
    return union


def _gaps(union: Sequence[_Span], duration: float) -> list[_Span]:
    edges = [0.0, *itertools.chain.from_iterable(union), duration]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(start, end) for start, end in pairs if start < end]


def _length(spans: Iterable[_Span]) -> float:
    return math.fsum(end - start for start, end in spans)


def _overlap(speech: Mapping[str, Sequence[_Span]]) -> float:
    steps = [
        (at, step)
        for spans in speech.values()
        for start, end in spans
        for at, step in ((start, 1), (end, -1))
    ]
    shared: list[float] = []
    speaking, last = 0, 0.0
    for at, step in sorted(steps):
        if speaking >= 2:
            shared.append(at - last)
        speaking, last = speaking + step, at
    return math.fsum(shared)


def _turns(spans: Sequence[_Span], silences: set[_Span]) -> list[_Span]:
    """
    Join a speaker's speech over short pauses in which nobody else speaks.

    Such a pause lies between the ends of one speaker's speech and is silent, so it is
    one of the silences of the whole conversation, from end to end.
    """
    turns: list[_Span] = []
    for start, end in spans:
        if (
            turns
            and start - turns[-1][1] < TURN_PAUSE_S
            and (turns[-1][1], start) in silences
        ):
            turns[-1] = (turns[-1][0], end)
        else:
            turns.append((start, end))
    return turns


def _interruptions(speech: Mapping[str, Sequence[_Span]]) -> tuple[Interruption, ...]:
    stretches = [
        _Stretch(start, end, who)
        for who, spans in speech.items()
        for start, end in spans
    ]
    found: list[Interruption] = []
    latest: dict[str, _Stretch] = {}
    for new in sorted(stretches):
        latest.pop(new.speaker, None)
        latest = {who: old for who, old in latest.items() if old.end > new.start}
        found += [
            Interruption(
                start=new.start,
                end=old.end,
                interrupter=new.speaker,
                interrupted=old.speaker,
            )
            for old in latest.values()
            if old.start < new.start
            and old.end < new.end
            and old.end - new.start >= MIN_INTERRUPTION_S
        ]
        latest[new.speaker] = new
    return tuple(
        sorted(found, key=lambda i: (i.start, i.end, i.interrupter, i.interrupted))
    )


def _latencies(turns: Mapping[str, Sequence[_Span]]) -> defaultdict[str, list[float]]:
    """Give each speaker's answers: start minus the end of the turn that is answered."""
    ordered = sorted(
        (
            _Stretch(start, end, who)
            for who, spans in turns.items()
            for start, end in spans
        ),
        key=lambda turn: (turn.start, -turn.end),
    )
    # One speaker's turns never overlap, so whatever covers a turn is another's. Two
    # that are the same cover each other.
    same = Counter((turn.start, turn.end) for turn in ordered)
    floor: list[_Stretch] = []
    reach = 0.0
    for turn in ordered:
        if turn.end > reach and same[turn.start, turn.end] == 1:
            floor.append(turn)
        reach = max(reach, turn.end)
    answers: defaultdict[str, list[float]] = defaultdict(list)
    for before, after in itertools.pairwise(floor):
        if before.speaker != after.speaker:
            answers[after.speaker].append(after.start - before.end)
    return answers


def _words(transcript: Transcript | None) -> Counter[str]:
    words: Counter[str] = Counter()
    for segment in transcript.segments if transcript else ():
        if segment.speaker is not None:
            words[segment.speaker] += len(segment.words or segment.text.split())
    return words


def _speaker(
    speaker: str,
    spans: Sequence[_Span],
    *,
    turns: Sequence[_Span],
    talk_time: float,
    latencies: Sequence[float],
    words: int | None,
) -> SpeakerMetrics:
    own = _length(spans)
    return SpeakerMetrics(
        speaker=speaker,
        talk_time=own,
        talk_ratio=own / talk_time if talk_time else 0.0,
        turns=len(turns),
        longest_turn=max((end - start for start, end in turns), default=0.0),
        response_latency=statistics.median(latencies) if latencies else None,
        words=words or 0,
        words_per_minute=None if words is None or not own else words / (own / 60.0),
    )
