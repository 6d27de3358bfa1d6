"""
The calls of calls.json as transcripts: written by hand, without punctuation, misheard.

Those called "misheard" are what PocketSphinx made of the same lines, read by two voices
of a speech synthesiser with some noise.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from voicepipe.types import Segment, Transcript


if TYPE_CHECKING:
    from collections.abc import Sequence


PAUSE_S = 0.4
WORDS_PER_S = 2.5


class Call(NamedTuple):
    """A call, and what an analyzer should say of it."""

    transcript: Transcript
    language: str
    type: str


def transcript_of(lines: Sequence[str]) -> Transcript:
    """Give each line, such as ``0: hello``, its place in a call on two channels."""
    segments = []
    now = 0.0
    for line in lines:
        channel, text = line.split(": ", 1)
        start = now + PAUSE_S
        now = start + len(text.split()) / WORDS_PER_S
        segments.append(
            Segment(
                start=start,
                end=now,
                text=text,
                channel=int(channel),
                speaker=f"Speaker0{channel}",
            )
        )
    return Transcript.of(segments, duration=now + PAUSE_S, model="by hand")


_FILE = Path(__file__).with_name("calls.json")

CALLS = {
    name: Call(transcript_of(call["lines"]), call["language"], call["type"])
    for name, call in json.loads(_FILE.read_text("utf-8")).items()
}
