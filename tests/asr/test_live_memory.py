"""What a session holds does not grow with the time for which it goes on."""

from __future__ import annotations

import array
import gc
import tracemalloc
from typing import TYPE_CHECKING

import anyio
import attrs
import numpy as np
import pytest
from live_script import RATE, Ears, Script, script
from live_sessions import cut, in_no_time, live


if TYPE_CHECKING:
    from stress_report import Report

    from voicepipe import Audio, Transcript
    from voicepipe.asr.live.session import LiveSession


ROUND = script((f"w{i}", 0.1 if i else 1.0, 0.3) for i in range(12))
"""What is said again and again, with a second behind it in which it becomes final."""

SPARSE_S = 20.0
"""Of so many seconds one round takes a quarter: the parties of a call do not hurry."""


@attrs.frozen
class Again:
    """An engine that hears one script again and again, at any time of a stream."""

    script: Script
    length: int

    async def transcribe(self, audio: Audio) -> Transcript:
        """Hear a stretch; none reaches from one round into the next."""
        start = audio.start % self.length
        return await Ears(self.script).transcribe(attrs.evolve(audio, start=start))


def held_over(rounds: int) -> list[int]:
    """
    Give all that is held after each round of a session of two channels, bytes.

    In turns one speaks, the other one does, and both carry one signal.
    """
    length = round(SPARSE_S * RATE)
    voice = np.zeros((length, 1), np.float32)
    voice[: ROUND.length] = ROUND.samples
    none = np.zeros_like(voice)
    kinds = [[voice, none], [none, voice], [voice, voice]]
    sounds = [cut(np.hstack(kind), 4_000) for kind in kinds]
    held = array.array("q", bytes(8 * rounds))  # it takes no more when it is filled

    async def read(session: LiveSession, said: list[str]) -> None:
        async for event in session:
            if event.final:
                said += [word.strip(",").lower() for word in event.text.split()]

    async def call() -> None:
        said: list[str] = []
        transcriber = live(Again(ROUND, length), step_s=2.0)
        async with (
            transcriber.session(rate=RATE, channels=2) as session,
            anyio.create_task_group() as group,
        ):
            group.start_soon(read, session, said)
            for number in range(rounds):
                for piece in sounds[number % len(sounds)]:
                    await session.push(piece)
                await anyio.wait_all_tasks_blocked()
                assert said == ROUND.texts, (number, said)
                said.clear()
                gc.collect()
                held[number] = tracemalloc.get_traced_memory()[0]
            await session.flush()

    tracemalloc.start()
    try:
        in_no_time(call)
    finally:
        tracemalloc.stop()
    return held.tolist()


def growth(held: list[int]) -> float:
    """Give by how much more is held in the end than when all has settled, bytes."""
    return float(np.mean(held[-6:]) - np.mean(held[12:18]))


# A hundred bytes more or less are held from one round to the next, some more until all
# has been called often enough, and some by whoever runs the tests. An outbox that keeps
# what was read holds 84 kB after ten minutes.
SLACK = 20_000


def test_ten_minutes_leave_nothing_behind_in_a_session() -> None:
    assert growth(held_over(30)) <= SLACK


@pytest.mark.stress
def test_two_hours_leave_nothing_behind_in_a_session(stress_report: Report) -> None:
    held = held_over(360)

    stress_report(
        "memory of a live session of two channels over 2 h",
        f"{growth(held):.0f} bytes more at its end than after five minutes",
    )
    assert growth(held) <= SLACK
