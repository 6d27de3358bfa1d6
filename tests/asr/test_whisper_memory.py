from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tiny_whisper.speech import TRAINED, phrase

from voicepipe.asr.whisper.transcriber import WhisperTranscriber, _OfLoop
from voicepipe.errors import ModelUnavailableError


if TYPE_CHECKING:
    from stress_report import Report


TESTS = Path(__file__).parents[1]

# The sound of a window again and again: what is said does not matter here.
MEASURE = """
import json, sys
import anyio, numpy as np
from own_peak import peak_bytes
from tiny_whisper.speech import TRAINED, phrase
from voicepipe.asr.whisper.options import WhisperOptions
from voicepipe.asr.whisper.transcriber import WhisperTranscriber
from voicepipe.types import Audio

minutes, share = int(sys.argv[1]), float(sys.argv[2])
said = phrase(TRAINED[0], "thank you").samples
minute = np.zeros(60 * 16_000, np.float32)
times = max(1, int(share * len(minute) / len(said)))
minute[: times * len(said)] = np.tile(said, times)
audio = Audio(samples=np.tile(minute, minutes), rate=16_000)
options = WhisperOptions(temperatures=(0.0,), beam_size=1, word_times=False)
engine = WhisperTranscriber(sys.argv[3], options=options)
before = peak_bytes()
transcript = anyio.run(engine.transcribe, audio)
last = transcript.segments[-1].end
print(json.dumps([(peak_bytes() - before) / 2**20, transcript.duration, last]))
"""


def measured(minutes: int, share: float) -> tuple[float, float, float]:
    phrase(TRAINED[0], "thank you")  # whether the voice is there is told here
    model = str(TESTS / "tiny_whisper" / "model")
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(minutes), str(share), model],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=True,
    )
    mib, duration, last = json.loads(run.stdout)
    return mib, duration, last


# Each round is an event loop of its own, with several calls side by side.
ROUNDS = """
import gc, json, sys, tracemalloc
import anyio, numpy as np, psutil
from tiny_whisper.speech import TRAINED, phrase
from voicepipe.asr.whisper.options import WhisperOptions, WhisperSetup
from voicepipe.asr.whisper.transcriber import WhisperTranscriber
from voicepipe.types import Audio

options = WhisperOptions(temperatures=(0.0,), beam_size=1)
setup = WhisperSetup(workers=2, cpu_threads=1)
engine = WhisperTranscriber(sys.argv[1], setup=setup, options=options)
samples = np.zeros((8 * 16_000, 2), np.float32)
for channel, text in enumerate(("one two three", "thank you")):
    said = phrase(TRAINED[0], text).samples
    samples[: len(said), channel] = said
audio = Audio(samples=samples, rate=16_000)
heard = set()

async def hear():
    heard.add((await engine.transcribe(audio)).text)

async def calls():
    await hear()
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(hear)

def after(rounds):
    for place in range(rounds):
        anyio.run(calls, backend=("asyncio", "trio")[place % 2])
    gc.collect()
    me = psutil.Process()
    traced = tracemalloc.get_traced_memory()[0]
    return [traced / 2**20, me.memory_info().rss / 2**20, me.num_threads()]

first = after(2)
tracemalloc.start()
print(json.dumps([first, after(4), len(heard)]))
"""


def test_call_after_call_and_side_by_side_leave_nothing_behind() -> None:
    phrase(TRAINED[0], "thank you")  # whether the voice is there is told here
    run = subprocess.run(
        [sys.executable, "-c", ROUNDS, str(TESTS / "tiny_whisper" / "model")],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=True,
    )
    first, then, texts = json.loads(run.stdout)
    traced, resident, threads = np.subtract(then, first)

    assert texts == 1
    # Twelve calls: each works on 1 MB of sound, in three threads.
    assert traced < 0.5
    assert resident < 60.0
    assert threads < 10


async def test_a_transcriber_that_is_gone_leaves_nothing_in_its_event_loop() -> None:
    gc.collect()
    before = sum(isinstance(one, _OfLoop) for one in gc.get_objects())

    for _ in range(20):
        with pytest.raises(ModelUnavailableError):
            await WhisperTranscriber(TESTS / "nowhere").load()

    gc.collect()
    # The last error holds the frames that it came through.
    left = sum(isinstance(one, _OfLoop) for one in gc.get_objects())
    assert left <= before + 1


def test_an_hour_takes_no_more_memory_than_its_longest_window() -> None:
    window, *_ = measured(11, 0.1)
    hour, duration, last = measured(60, 0.1)

    assert duration == 3600.0
    assert last > 3500.0
    assert hour < window + 100


@pytest.mark.stress
@pytest.mark.timeout(3600)
def test_an_hour_of_speech_takes_bounded_memory(stress_report: Report) -> None:
    hour, duration, last = measured(60, 0.95)

    stress_report(
        "Whisper: an hour of one channel, all speech",
        f"{hour:.0f} MiB above the model and the sound itself",
    )
    assert duration == 3600.0
    assert last > 3500.0
    assert hour < 1200
