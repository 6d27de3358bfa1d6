"""
Live words: our commit policy against that of ``whisper_streaming``, on a virtual clock.

``python benchmarks/live.py [--seconds 60]``. The same engine (the tests' tiny Whisper),
the same sound, no clock: decodes take no time, so that policies are compared and not
machines. Redundancy, the seconds of sound given to the engine for each second of the
stream, is the same on every machine.

The peer is its policy as published: local agreement of two hypotheses, a decode of the
whole buffer each second, the buffer cut at the end of a segment when it is longer than
15 s (Macháček, Dabre, Bojar: Turning Whisper into Real-Time Transcription System,
IJCNLP-AACL 2023; no voice activity controller, no prompt). With the path of a checkout
in ``WHISPER_STREAMING`` it is their code itself.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import jiwer
import numpy as np

from voicepipe import Audio
from voicepipe.asr.whisper.options import WhisperOptions, WhisperSetup
from voicepipe.asr.whisper.transcriber import WhisperTranscriber


if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe import Samples, Transcript, Word


TESTS = Path(__file__).parents[1] / "tests"
MODEL = TESTS / "tiny_whisper" / "model"
RATE = 16_000
MIN_CHUNK_S = 1.0
TRIM_S = 15.0
PAUSES = (0.2, 3.0)
"""Seconds between phrases, drawn evenly: somebody who talks, and thinks."""

if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))
virtual: Any = importlib.import_module("live_virtual")
evaluate: Any = importlib.import_module("tiny_whisper.evaluate")


class LocalAgreementPeer:
    """The peer's policy, from its description."""

    def __init__(self, hear: Callable[[Samples], Transcript]) -> None:
        """Begin without sound."""
        self._hear = hear
        self._sound = np.zeros((0, 1), np.float32)
        self._offset = 0.0
        self._last = 0.0  # end of the last committed word
        self._said: list[Word] = []  # committed and still in the buffer
        self._before: list[Word] = []  # what the last decode said, not committed

    def push(self, samples: Samples) -> list[str]:
        """Take a chunk, decode the buffer, and give the words that are certain now."""
        self._sound = np.concatenate([self._sound, samples])
        transcript = self._hear(self._sound)
        words = self._new(
            [
                attrs.evolve(w, start=w.start + self._offset, end=w.end + self._offset)
                for segment in transcript.segments
                for w in segment.words
            ]
        )
        certain = []
        while words and self._before and words[0].text == self._before[0].text:
            certain.append(words.pop(0))
            self._before.pop(0)
        self._before = words
        if certain:
            self._last = certain[-1].end
            self._said += certain
        self._trim([segment.end + self._offset for segment in transcript.segments])
        return [word.text for word in certain]

    def finish(self) -> list[str]:
        """Give what was not certain."""
        return [word.text for word in self._before]

    def _new(self, words: list[Word]) -> list[Word]:
        """Leave out what is committed: by time, then by up to five equal words."""
        words = [word for word in words if word.start > self._last - 0.1]
        if words and abs(words[0].start - self._last) < 1.0:
            for count in range(1, min(len(self._said), len(words), 5) + 1):
                if [w.text for w in self._said[-count:]] == [
                    w.text for w in words[:count]
                ]:
                    return words[count:]
        return words

    def _trim(self, ends: list[float]) -> None:
        if len(self._sound) <= TRIM_S * RATE or not self._said:
            return
        places = [end for end in ends[:-1] if end <= self._said[-1].end]
        if places:
            gone = round((places[-1] - self._offset) * RATE)
            self._sound = self._sound[gone:]
            self._offset += gone / RATE
            self._said = [word for word in self._said if word.end > self._offset]


class TheirCode:
    """``whisper_streaming`` itself, with our engine in its place for one."""

    sep = " "

    def __init__(self, folder: str, hear: Callable[[Samples], Transcript]) -> None:
        """Load it."""
        sys.path.insert(0, folder)
        module: Any = importlib.import_module("whisper_online")
        self._hear = hear
        self._online = module.OnlineASRProcessor(self, None, ("segment", TRIM_S))

    def push(self, samples: Samples) -> list[str]:
        """Take a chunk; give the words that are certain now."""
        self._online.insert_audio_chunk(samples[:, 0])
        return str(self._online.process_iter()[2] or "").split()

    def finish(self) -> list[str]:
        """Give what was not certain."""
        return str(self._online.finish()[2] or "").split()

    def transcribe(self, audio: Any, init_prompt: str = "") -> Transcript:
        """Decode the buffer; called by theirs, which prompts: ours takes no prompt."""
        del init_prompt
        return self._hear(np.asarray(audio, np.float32)[:, np.newaxis])

    def ts_words(self, transcript: Transcript) -> list[tuple[float, float, str]]:
        """Give the words; called by theirs."""
        words = [w for segment in transcript.segments for w in segment.words]
        return [(word.start, word.end, word.text) for word in words]

    def segments_end_ts(self, transcript: Transcript) -> list[float]:
        """Give where segments end; called by theirs."""
        return [segment.end for segment in transcript.segments]


def engine() -> WhisperTranscriber:
    """Make the engine of both; segments end in each pause, which helps the peer."""
    options = WhisperOptions(
        language="en", beam_size=1, temperatures=(0.0,), pause_s=0.3
    )
    setup = WhisperSetup(workers=1, cpu_threads=1)
    return WhisperTranscriber(MODEL, setup=setup, options=options)


def peer_live(whisper: WhisperTranscriber, sound: Samples) -> Any:
    """Hear sound as the peer does."""
    live = virtual.Live()

    def hear(samples: Samples) -> Transcript:
        audio = Audio(samples=samples, rate=RATE)
        live.count(audio)
        return anyio.run(whisper.transcribe, audio)

    folder = os.environ.get("WHISPER_STREAMING")
    peer = TheirCode(folder, hear) if folder else LocalAgreementPeer(hear)
    chunk = round(MIN_CHUNK_S * RATE)
    for begin in range(0, len(sound), chunk):
        now = min(len(sound), begin + chunk) / RATE
        new = peer.push(sound[begin : begin + chunk])
        live.commits += [virtual.Commit(text, now) for text in new]
    end = len(sound) / RATE
    live.commits += [virtual.Commit(text, end) for text in peer.finish()]
    return live


def live_lines(seconds: float = 60.0) -> list[str]:
    """Give the figures of both as a paragraph."""
    whisper = engine()
    sets = ("long espeak", "long flite")
    said = [one for pair in zip(*map(evaluate.phrases, sets)) for one in pair]  # noqa: B905
    lengths = np.cumsum([one.duration + sum(PAUSES) / 2 for one in said])
    stream = virtual.phrases(said[: int(np.sum(lengths < seconds))], pause=PAUSES)
    sound = stream.samples[:, np.newaxis]
    rows = []
    for hear in (virtual.listen, peer_live):
        begin = time.process_time()
        live = hear(whisper, sound)
        cpu_s = time.process_time() - begin
        late = live.latencies(stream)
        rows.append(
            f"| {live.decoded_s / stream.duration:.2f} | {live.decodes} "
            f"| {live.longest_s:.1f} s | {cpu_s / stream.duration:.3f} "
            f"| {statistics.median(late):.2f} s | {np.percentile(late, 95):.2f} s "
            f"| {100 * jiwer.wer(stream.text, ' '.join(live.words)):.1f} % |"
        )
    theirs = "WHISPER_STREAMING" in os.environ
    peer = "`whisper_streaming`" + ("" if theirs else ", its policy as published")
    rows = [f"| `LiveTranscriber` {rows[0]}", f"| {peer} {rows[1]}"]
    head = (
        f"Live words on a virtual clock, tiny Whisper, {stream.duration:.0f} s of "
        f"phrases with pauses of {PAUSES[0]} to {PAUSES[1]} s, {len(stream.words)} "
        "words; times from the end of a word until it is certain:\n\n"
        "| policy | redundancy | decodes | longest | CPU s per s | median | p95 "
        "| word error rate |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n"
    )
    return [head + "\n".join(rows)]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    print("\n".join(live_lines(parser.parse_args().seconds)))


if __name__ == "__main__":
    main()
