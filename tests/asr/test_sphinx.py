from __future__ import annotations

import json
from pathlib import Path

import anyio
import attrs
import numpy as np
import psutil
import pytest
import soundfile

from voicepipe import (
    Audio,
    PocketSphinxModel,
    PocketSphinxTranscriber,
    TranscriptionError,
)
from voicepipe.testing import FakeTranscriber, check_transcriber


# Engines take their time on a busy machine.

DATA = Path(__file__).parents[2] / "examples" / "data"
REFERENCE = json.loads((DATA / "sample_call.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def engine() -> PocketSphinxTranscriber:
    return PocketSphinxTranscriber()


@pytest.fixture(scope="module")
def call() -> Audio:
    samples, rate = soundfile.read(DATA / "sample_call.flac", dtype="float32")
    return Audio(samples=samples, rate=rate)


async def test_it_keeps_the_law_of_transcribers(
    engine: PocketSphinxTranscriber, call: Audio
) -> None:
    await check_transcriber(engine, speech=call.channel(0).cut(0.0, 6.3))


async def test_the_fake_keeps_the_law_too(call: Audio) -> None:
    await check_transcriber(FakeTranscriber(), speech=call.channel(0).cut(0.0, 6.3))


async def test_the_same_audio_always_gives_the_same_transcript(
    engine: PocketSphinxTranscriber, call: Audio
) -> None:
    short = call.cut(0.0, 6.3)

    first = await engine.transcribe(short)
    await engine.transcribe(call.cut(6.5, 11.0))

    assert await engine.transcribe(short) == first


async def test_words_have_the_times_at_which_they_are_said(
    engine: PocketSphinxTranscriber, call: Audio
) -> None:
    transcript = await engine.transcribe(call.channel(0).cut(0.0, 20.6))
    expected = [w for w in REFERENCE["words"] if w["channel"] == 0 and w["end"] < 20.6]

    heard = [word for segment in transcript.segments for word in segment.words]
    starts = {(w.text, round(w.start)): w.start for w in heard}
    errors = [
        abs(starts[key] - w["start"])
        for w in expected
        if (key := (w["text"], round(w["start"]))) in starts
    ]
    assert len(errors) > 0.8 * len(expected)
    assert np.median(errors) < 0.05
    assert np.quantile(errors, 0.95) < 0.15


async def test_eight_kilohertz_audio_is_taken_as_well(
    engine: PocketSphinxTranscriber, call: Audio
) -> None:
    narrow = attrs.evolve(
        call.channel(0), samples=call.channel(0).samples[::2], rate=8_000
    ).cut(0.0, 6.3)

    transcript = await engine.transcribe(narrow)

    assert transcript.duration == pytest.approx(6.3)
    assert transcript.segments


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.029, 0.03, 0.031, 1.0])
async def test_short_and_silent_audio_gives_nothing(
    engine: PocketSphinxTranscriber, seconds: float
) -> None:
    silence = Audio(samples=np.zeros((round(seconds * 16_000), 2)), rate=16_000)

    assert (await engine.transcribe(silence)).segments == ()


async def test_a_model_that_is_not_there_is_a_typed_error(call: Audio) -> None:
    engine = PocketSphinxTranscriber(model=PocketSphinxModel(acoustic="/nowhere"))

    # Both channels fail, and often in the same instant.
    for _ in range(8):
        with pytest.raises(TranscriptionError, match="pocketsphinx failed") as caught:
            await engine.transcribe(call.cut(0.0, 2.0))
        assert caught.value.model == "pocketsphinx"
        assert not caught.value.retryable
    engine.close()


def cpu_s(process: psutil.Process) -> float:
    """Give the time that a process has had on the core, seconds."""
    try:
        return float(process.cpu_times().user)
    except psutil.Error:  # it has ended
        return 0.0


async def test_a_helper_that_is_killed_costs_the_call_only(
    engine: PocketSphinxTranscriber, call: Audio
) -> None:
    short = call.cut(0.0, 15.0)

    # There may be others that are nobody's helpers.
    before = {one.pid: cpu_s(one) for one in psutil.Process().children()}

    async def kill_a_helper() -> None:
        at_work: list[psutil.Process] = []
        while not at_work:
            await anyio.sleep(0.02)
            at_work = [
                one
                for one in psutil.Process().children()
                if cpu_s(one) > before.get(one.pid, 0.0) + 0.1
            ]
        at_work[0].kill()

    async with anyio.create_task_group() as group:
        group.start_soon(kill_a_helper)
        with pytest.raises(TranscriptionError, match="died") as caught:
            await engine.transcribe(short)

    assert caught.value.retryable
    assert (await engine.transcribe(short)).segments


async def test_the_loop_is_free_meanwhile(
    engine: PocketSphinxTranscriber,
    call: Audio,
    least_lag,  # noqa: ANN001
) -> None:
    part = call.cut(0.0, 15.0)

    assert await least_lag(lambda: engine.transcribe(part)) < 0.05
