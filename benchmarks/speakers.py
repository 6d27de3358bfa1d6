"""
Who speaks when in one channel: error rates on synthetic calls, and the time it takes.

``python benchmarks/speakers.py [--calls 18]``. Calls of two minutes are made of the
voices in ``tests/speaker_calls.py``; their numbers of speakers are found, and told. The
rates are of all calls of a row together, overlapping speech counted: with a collar of
0.25 s as in most papers, and without one. "tuned" are voices by which the diarizer's
numbers were chosen, "unseen" are others. People are harder: nothing here says how much.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from voicepipe import Audio, Turn
from voicepipe.asr.speakers.diarizer import SpeakerDiarizer
from voicepipe.asr.speakers.options import SpeakerOptions
from voicepipe.stream.vad import EnergyVad


if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
SAMPLE = ROOT / "examples" / "data" / "sample_call.flac"
COLLAR = 0.25
HEAD = (
    "| voices, speakers, sound, their number | DER, collar 0.25 s | confused "
    "| worst call | DER, no collar | number right |"
)
SOUNDS = ("wideband", "noise", "telephone")

if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))
calls: Any = importlib.import_module("speaker_calls")
scoring: Any = importlib.import_module("diarization_error")


def turns_of(audio: Audio, diarizer: SpeakerDiarizer) -> tuple[Turn, ...]:
    """Diarize one recording."""
    session = diarizer.session(rate=audio.rate, channels=audio.channels)
    return (*session.push(audio), *session.flush())


def row(name: str, heard: list[Any], speakers: int, diarizer: SpeakerDiarizer) -> str:
    """Diarize calls; give a line of the table."""
    strict, kind, right = [], [], 0
    for call in heard:
        found = turns_of(call.audio, diarizer)
        strict.append(scoring.diarization_error(call.turns, found))
        kind.append(scoring.diarization_error(call.turns, found, collar=COLLAR))
        right += len({turn.speaker for turn in found}) == speakers
    whole = scoring.DiarizationScore.sum(strict)
    collared = scoring.DiarizationScore.sum(kind)
    worst = max(score.rate for score in kind)
    return (
        f"| {name} | {collared.rate:.1%} | {collared.confused / collared.speech:.1%} "
        f"| {worst:.0%} | {whole.rate:.1%} | {right} of {len(heard)} |"
    )


def rows(count: int) -> Iterator[str]:
    """Give the lines of the table."""
    for which, voices in (("tuned", calls.TUNED), ("unseen", calls.UNSEEN)):
        for speakers in (1, 2, 3, 4):
            groups = calls.pairs(voices, count, speakers=speakers, seed=7 + speakers)
            for sound in SOUNDS:
                heard = [
                    calls.speaker_call(group, seed=70 + index, sound=sound)
                    for index, group in enumerate(groups)
                ]
                name = f"{which}, {speakers}, {sound}"
                yield row(f"{name}, found", heard, speakers, SpeakerDiarizer())
                if speakers > 1:
                    told = SpeakerDiarizer(SpeakerOptions(speakers=speakers))
                    yield row(f"{name}, told", heard, speakers, told)
                if which == "unseen" and speakers == 2:
                    energy = SpeakerDiarizer(detector=EnergyVad)
                    yield row(f"{name}, found, EnergyVad", heard, speakers, energy)


def sample_call() -> Any:
    """Give the sample call, mixed to mono."""
    samples, rate = soundfile.read(SAMPLE, dtype="float32", always_2d=True)
    told = json.loads(SAMPLE.with_suffix(".json").read_text("utf-8"))
    turns = [
        Turn(start=start, end=end, speaker=str(turn["channel"]))
        for turn in told["turns"]
        for start, end in turn["speech"]
    ]
    return calls.SpeakerCall(Audio(samples=samples, rate=rate).mono(), turns, ())


def hour() -> str:
    """Diarize an hour of a call; give the time it took, as a line."""
    call = calls.speaker_call(calls.pairs(calls.UNSEEN, 1, seed=1)[0], seed=1)
    times = -(-3_600 * call.audio.rate // call.audio.frames)
    whole = np.tile(call.audio.samples, (times, 1))[: 3_600 * call.audio.rate]
    session = SpeakerDiarizer().session(rate=call.audio.rate, channels=1)
    begin, used = time.perf_counter(), time.process_time()
    step = 10 * call.audio.rate
    for at in range(0, len(whole), step):
        session.push(Audio(samples=whole[at : at + step], rate=call.audio.rate))
    session.flush()
    took, used = time.perf_counter() - begin, time.process_time() - used
    return f"One hour at 16 kHz: {took:.0f} s, {used:.0f} s of them on the processor."


def speaker_lines(count: int) -> list[str]:
    """Give the page's paragraphs."""
    table = [HEAD, "| --- | --- | --- | --- | --- | --- |"]
    for line in rows(count):
        print(line, flush=True)
        table.append(line)
    table.append(row("sample call, mono, found", [sample_call()], 2, SpeakerDiarizer()))
    return ["\n".join(table), hour()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the embedded diarizer.")
    parser.add_argument("--calls", type=int, default=18, help="calls for each row")
    print("\n\n".join(speaker_lines(parser.parse_args().calls)))
