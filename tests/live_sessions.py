"""Whole live sessions with scripted engines, on any clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import attrs
import trio.testing
from live_script import RATE, Ears, Script

from voicepipe.asr.live.transcriber import LiveTranscriber
from voicepipe.stream.live.activity import EnergyActivity
from voicepipe.stream.live.options import LiveOptions


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from voicepipe import Audio, Hypothesis, Samples, Transcriber, Transcript
    from voicepipe.asr.live.session import LiveSession


def live(engine: Transcriber, **options: Any) -> LiveTranscriber:
    """Give live text of an engine; speech is found by its energy."""
    return LiveTranscriber(
        engine, options=LiveOptions(**options), activity=EnergyActivity
    )


def cut(samples: Samples, step: int) -> list[Samples]:
    """Cut sound into pieces of so many frames."""
    return [samples[at : at + step] for at in range(0, len(samples), step)]


async def heard(
    transcriber: LiveTranscriber,
    pieces: Sequence[Samples],
    *,
    rate: int = RATE,
) -> list[Hypothesis]:
    """Push everything, and give what comes, all of it, as it comes."""
    events: list[Hypothesis] = []

    async def read(session: LiveSession) -> None:
        events.extend([event async for event in session])

    async with (
        transcriber.session(rate=rate, channels=pieces[0].shape[1]) as session,
        anyio.create_task_group() as group,
    ):
        group.start_soon(read, session)
        for piece in pieces:
            await session.push(piece)
        await session.flush()
    return events


def finals(events: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Give the last hypothesis of each segment, in order."""
    return sorted(
        (event for event in events if event.final), key=lambda one: one.segment_id
    )


def keys(events: Sequence[Hypothesis]) -> list[str]:
    """Give the final words, without case and commas."""
    text = " ".join(event.text for event in finals(events))
    return [word.strip(",").lower() for word in text.split()]


def in_no_time(work: Callable[[], Awaitable[Any]]) -> Any:
    """Run on a clock that stands still unless all wait for it."""

    async def called() -> Any:
        return await work()

    clock = trio.testing.MockClock(autojump_threshold=0)
    return anyio.run(called, backend="trio", backend_options={"clock": clock})


@attrs.define
class Slow:
    """An engine that takes its time, on the clock of the loop."""

    script: Script
    takes_s: float
    longest_s: float = 0.0

    async def transcribe(self, audio: Audio) -> Transcript:
        """Hear a stretch."""
        self.longest_s = max(self.longest_s, audio.duration)
        await anyio.sleep(self.takes_s)
        return await Ears(self.script).transcribe(audio)
