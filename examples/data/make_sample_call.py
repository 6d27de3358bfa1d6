"""
Render the sample call: a short phone order between an agent and a customer.

Run ``python examples/data/make_sample_call.py`` to write ``sample_call.flac``,
``sample_call.mp3`` and ``sample_call.json`` beside this script, or name another folder
as its argument. It needs the ``flite`` program with the voices
``rms`` and ``slt``. The files are part of the repository, so nobody has to run this
to use them.

Every sentence is synthesised alone and laid on its speaker's channel at a time that
the script chooses, so the reference needs no aligner: the times of speech and words
are the synthesiser's own segment ends, moved by a whole number of frames.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import numpy.typing as npt
import soundfile as sf


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


Samples = npt.NDArray[np.float64]

RATE = 16_000
"""Frames a second: what flite's rms and slt voices produce, so nothing is resampled."""

VOICES = {"agent": "rms", "customer": "slt"}
"""The flite voice of each role; the order of the roles is that of the channels."""

LEAD_IN = 0.6
"""Seconds before the first word."""

LEAD_OUT = 0.9
"""Seconds after the last word."""

SENTENCE_PAUSE = 0.4
"""Seconds of silence between the sentences of one turn."""

SPLIT_PAUSE = 0.3
"""Seconds; a longer pause inside a turn ends an interval of speech."""

PEAK = 10 ** (-6 / 20)
"""The loudest sample of each channel: -6 dBFS."""

MP3_BIT_RATE = 64_000


@dataclass(frozen=True)
class Turn:
    """One turn of the script, placed relative to the turn before it."""

    role: str
    gap: float
    """Seconds from the end of the previous turn; below zero the two overlap."""
    text: str


CALL = (
    Turn(
        "agent",
        0.0,
        "Good morning, thank you for calling the flower shop. "
        "How may I help you today?",
    ),
    Turn(
        "customer",
        0.6,
        "Hello. I would like to place an order for my mother's birthday.",
    ),
    Turn("agent", 0.5, "Of course. What kind of flowers would you like?"),
    Turn(
        "customer",
        -0.5,
        "I would like twelve red roses, and a small box of chocolate.",
    ),
    Turn("agent", 0.6, "Just a moment please, I will check."),
    # The agent looks it up: both sides are silent, then the same side goes on.
    Turn("agent", 3.5, "Yes, we have both of them in the shop."),
    Turn("customer", 0.4, "That is wonderful. How much will it cost?"),
    Turn(
        "agent",
        0.7,
        "The total price is forty five dollars, and the delivery is free.",
    ),
    Turn(
        "customer",
        -0.45,
        "That sounds good. Can you deliver the flowers on Friday morning?",
    ),
    Turn("agent", -0.5, "Yes, we can do that. What is the address please?"),
    Turn(
        "customer",
        0.8,
        "It is twenty seven Green Street, near the train station.",
    ),
    Turn("agent", 0.5, "And what is your name please?"),
    Turn(
        "customer",
        0.5,
        "My name is Mary Johnson, and my mother's name is Susan.",
    ),
    Turn("agent", 0.4, "Would you like to write a message on the card?"),
    Turn(
        "customer",
        0.7,
        "Yes please. Write happy birthday mother, with all my love.",
    ),
    Turn(
        "agent",
        -0.55,
        "That is very nice. Your order number is four nine two six.",
    ),
    Turn(
        "customer",
        0.4,
        "I have written it down. Thank you very much for your help.",
    ),
    Turn("agent", 0.3, "Have a nice day, and goodbye."),
    Turn("customer", -0.4, "Thank you, the same to you."),
)


@dataclass(frozen=True)
class Word:
    """A word and its times in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Utterance:
    """What flite made of one sentence: the sound and the times of its words."""

    samples: Samples
    words: tuple[Word, ...]


@dataclass
class Channel:
    """One side of the call while it is put together."""

    number: int
    role: str
    voice: str
    pieces: list[tuple[int, Samples]] = field(default_factory=list)
    """First frame and sound of each sentence."""


def flite(*arguments: str) -> str:
    """What the flite program prints."""
    return subprocess.run(
        ["flite", *arguments], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def check_voices() -> None:
    """Stop if a voice is missing: flite would use another one without a word."""
    if shutil.which("flite") is None:
        raise SystemExit("this script needs the flite program")
    missing = set(VOICES.values()) - set(flite("-lv").split())
    if missing:
        raise SystemExit(f"flite lacks the voices {sorted(missing)}")


def phones_of(voice: str, text: str) -> list[str]:
    """The phones of a text, without pauses."""
    printed = flite("-voice", voice, "-ps", "-t", text, "-o", "none")
    return [phone for phone in printed.split() if phone != "pau"]


def word_bounds(voice: str, sentence: str, phones: Sequence[str]) -> list[int]:
    """
    Say how many phones come up to the end of each word, beginning with a zero.

    flite prints phones without the word that each belongs to. Its reading of the
    first k words alone shows where word k ends. Only the word at the cut may be
    pronounced otherwise there than inside the sentence ("a", "the"); all phones
    before it must agree with the sentence's own.
    """
    bounds = [0]
    written = sentence.split()
    for k in range(1, len(written) + 1):
        cut = phones_of(voice, " ".join(written[:k]))
        settled = bounds[-1]
        if len(cut) <= settled or cut[:settled] != phones[:settled]:
            raise SystemExit(f"the words of {sentence!r} cannot be told apart")
        bounds.append(len(cut))
    if bounds[-1] != len(phones):
        raise SystemExit(f"the words of {sentence!r} cannot be told apart")
    return bounds


def synthesise(voice: str, sentence: str) -> Utterance:
    """Speak one sentence; the word times count from the first frame of its sound."""
    with tempfile.TemporaryDirectory() as folder:
        wave = Path(folder) / "sentence.wav"
        printed = flite("-voice", voice, "-psdur", "-t", sentence, "-o", str(wave))
        samples, rate = sf.read(wave, dtype="float64")
    if rate != RATE:
        raise SystemExit(f"voice {voice} speaks at {rate} Hz, not {RATE}")

    phones: list[str] = []
    spans: list[tuple[float, float]] = []
    start = 0.0
    for item in printed.split():
        phone, _, end = item.partition(":")
        if phone != "pau":
            phones.append(phone)
            spans.append((start, float(end)))
        start = float(end)

    texts = re.findall(r"[a-z']+", sentence.lower())
    bounds = word_bounds(voice, sentence, phones)
    words = tuple(
        Word(text, spans[first][0], spans[stop - 1][1])
        for text, first, stop in zip(texts, bounds[:-1], bounds[1:], strict=True)
    )
    return Utterance(samples, words)


def place_turn(turn: Turn, start: float, channel: Channel) -> list[Word]:
    """Lay a turn on its channel and give its words with their times in the call."""
    placed: list[Word] = []
    for sentence in re.split(r"(?<=[.?]) ", turn.text):
        utterance = synthesise(channel.voice, sentence)
        if placed:
            start = placed[-1].end + SENTENCE_PAUSE
        # The sound can move by whole frames only, so the times do likewise.
        frame = round((start - utterance.words[0].start) * RATE)
        channel.pieces.append((frame, utterance.samples))
        shift = frame / RATE
        placed.extend(
            Word(word.text, round(shift + word.start, 3), round(shift + word.end, 3))
            for word in utterance.words
        )
    return placed


def speech_intervals(words: Iterable[Word]) -> list[list[float]]:
    """Join words into intervals that end where a pause exceeds `SPLIT_PAUSE`."""
    intervals: list[list[float]] = []
    for word in words:
        if intervals and word.start - intervals[-1][1] <= SPLIT_PAUSE:
            intervals[-1][1] = word.end
        else:
            intervals.append([word.start, word.end])
    return intervals


def mix(pieces: Iterable[tuple[int, Samples]], frames: int) -> Samples:
    """Add up the pieces of one channel, with its loudest sample at `PEAK`."""
    mixed = np.zeros(frames)
    for first, samples in pieces:
        mixed[first : first + len(samples)] += samples
    mixed *= PEAK / np.abs(mixed).max()
    return mixed


def encode_mp3(path: Path, pcm: npt.NDArray[np.int16]) -> None:
    """Write 16-bit frames as a stereo MP3 of constant bit rate."""
    with av.open(str(path), "w", format="mp3", options={"fflags": "+bitexact"}) as out:
        stream = out.add_stream("libmp3lame", rate=RATE, layout="stereo")
        stream.bit_rate = MP3_BIT_RATE
        stream.format = "s16p"
        planes = np.ascontiguousarray(pcm.T)
        frame = av.AudioFrame.from_ndarray(planes, format="s16p", layout="stereo")
        frame.sample_rate = RATE
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def as_json(head: Mapping[str, Any], lists: Mapping[str, Iterable[Any]]) -> str:
    """Write JSON with one item of a list a line: small, and readable in a diff."""
    parts = [f'  "{key}": {json.dumps(value)}' for key, value in head.items()]
    for key, items in lists.items():
        rows = ",\n".join(f"    {json.dumps(item)}" for item in items)
        parts.append(f'  "{key}": [\n{rows}\n  ]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def render(folder: Path) -> None:
    """Render the call and its reference into a folder."""
    channels = {
        role: Channel(number, role, voice)
        for number, (role, voice) in enumerate(VOICES.items())
    }
    turns: list[dict[str, Any]] = []
    words: list[dict[str, Any]] = []
    end = LEAD_IN
    for turn in CALL:
        channel = channels[turn.role]
        spoken = place_turn(turn, end + turn.gap, channel)
        end = spoken[-1].end
        turns.append(
            {
                "channel": channel.number,
                "role": turn.role,
                "start": spoken[0].start,
                "end": end,
                "text": turn.text,
                "speech": speech_intervals(spoken),
            }
        )
        words.extend(
            {
                "channel": channel.number,
                "start": word.start,
                "end": word.end,
                "text": word.text,
            }
            for word in spoken
        )
    # Where turns overlap, their words do too.
    words.sort(key=lambda word: (word["start"], word["channel"]))

    frames = round((end + LEAD_OUT) * RATE)
    mixed = np.stack([mix(c.pieces, frames) for c in channels.values()], axis=1)
    pcm = np.rint(mixed * 32768).astype(np.int16)
    flac = folder / "sample_call.flac"
    sf.write(flac, pcm, RATE, subtype="PCM_16", compression_level=1.0)
    encode_mp3(folder / "sample_call.mp3", pcm)

    duration = frames / RATE
    reference = as_json(
        {"sample_rate": RATE, "frames": frames, "duration": duration},
        {
            "channels": (
                {"channel": c.number, "role": c.role, "voice": c.voice}
                for c in channels.values()
            ),
            "turns": turns,
            "words": words,
        },
    )
    (folder / "sample_call.json").write_text(reference, encoding="utf-8")


def main() -> None:
    """Render into the folder of this script, or into the one given."""
    parser = argparse.ArgumentParser(description="Render the sample call.")
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path(__file__).resolve().parent
    )
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    check_voices()
    render(folder)


if __name__ == "__main__":
    main()
