"""
The speech that is trained on: phrases by many voices, with exact word times.

Kept as shards, `bank-0.i16` (samples, one clip after the other) and `bank-0.json`
(voices, words, times): training begins when the first is there, and takes later ones
when a stage begins.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import random
import time
from typing import TYPE_CHECKING

import attrs
import numpy as np
from numpy.typing import NDArray

from tiny_whisper.make_evaluation import LIST
from tiny_whisper.speech import ESPEAK, FLITE, RATE, WORDS, Voice, render


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_log = logging.getLogger(__name__)

SHARDS = 3
_LENGTHS = (1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 10, 12)
_ACCENTS = (
    *("en-us", "en-us", "en-us", "en-gb", "en-gb", "en-gb"),
    *("en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbcwmd", "en-029", "en-us-nyc"),
)
# Not among them: m6, which evaluation hears.
_VARIANTS = (
    *("", "+m1", "+m2", "+m3", "+m4", "+m5", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5"),
    *("+Annie", "+Andrea", "+adam", "+max", "+linda", "+steph", "+Denis"),
    *("+klatt2", "+klatt4"),
)
_F0 = {"slt": 165, "awb": 130, "kal16": 105, "kal": 105}


@attrs.frozen(eq=False)
class Clip:
    """A phrase as it was said: samples, indices into `WORDS`, seconds."""

    samples: NDArray[np.int16]
    words: tuple[int, ...]
    starts: tuple[float, ...]
    ends: tuple[float, ...]


def evaluation_texts() -> frozenset[str]:
    """Give the word sequences, of two and more, that must never be trained on."""
    sets = json.loads(LIST.read_text(encoding="utf-8"))
    texts = (item["text"] for items in sets.values() for item in items)
    return frozenset(text for text in texts if " " in text)


def voices(draw: random.Random) -> Iterator[tuple[str, Voice, int]]:
    """Give group, voice and number of phrases; settings evaluation does not use."""
    for voice in ESPEAK:
        yield "espeak", voice, 90
        for _ in range(4):
            speed, pitch = 2 * draw.randint(66, 98), draw.randint(36, 64)
            yield "espeak", attrs.evolve(voice, speed=speed, pitch=pitch), 60
    for _ in range(45):
        name = draw.choice(_ACCENTS) + draw.choice(_VARIANTS)
        speed, pitch = 2 * draw.randint(60, 100), draw.randint(25, 75)
        yield "variants", Voice("espeak", name, speed=speed, pitch=pitch), 30
    for voice in FLITE:
        yield "flite", voice, 180
        for _ in range(3):
            yield "flite", _changed(draw, voice), 110
    yield "flite", _changed(draw, Voice("flite", "kal")), 60


def _changed(draw: random.Random, voice: Voice) -> Voice:
    stretch = draw.randint(86, 118) / 100
    f0 = 0
    if draw.random() < 0.6:
        f0 = round(_F0[voice.name] * draw.uniform(0.88, 1.15))
    return attrs.evolve(voice, stretch=stretch, f0=f0)


def phrases(draw: random.Random, count: int, never: frozenset[str]) -> Iterator[str]:
    """Draw so many phrases, none of those that are never to be trained on."""
    # Each word once, and then what comes.
    yield from WORDS[:count]
    for _ in range(count - len(WORDS)):
        text = next(iter(never))
        while text in never:
            length = draw.choice(_LENGTHS)
            text = " ".join(draw.choice(WORDS) for _ in range(length))
        yield text


def make_shard(work: Path, number: int, processes: int) -> None:
    """Say the phrases of one shard."""
    began = time.monotonic()
    draw = random.Random(f"bank {number}")
    never = evaluation_texts()
    jobs = [
        (group, voice, text)
        for group, voice, count in voices(draw)
        for text in phrases(draw, count, never)
    ]
    entries = []
    at = 0
    with (
        (work / f"bank-{number}.part").open("wb") as file,
        multiprocessing.Pool(processes) as pool,
    ):
        for (group, voice, text), said in zip(
            jobs, pool.imap(_said, jobs, chunksize=16), strict=True
        ):
            samples, times = said
            file.write(samples.tobytes())
            entry = [group, attrs.astuple(voice), text, times, at, len(samples)]
            entries.append(entry)
            at += len(samples)
    (work / f"bank-{number}.part").rename(work / f"bank-{number}.i16")
    part = work / f"bank-{number}.json.part"
    part.write_text(json.dumps(entries), encoding="utf-8")
    part.rename(work / f"bank-{number}.json")
    _log.info(
        "bank %d: %d clips, %.0f s of speech, made in %.0f s",
        *(number, len(entries), at / RATE, time.monotonic() - began),
    )


def _said(
    job: tuple[str, Voice, str],
) -> tuple[NDArray[np.int16], list[tuple[float, float]]]:
    said = render(job[1], job[2])
    samples = (said.samples.clip(-1, 1) * 32767).astype(np.int16)
    return samples, [(round(w.start, 4), round(w.end, 4)) for w in said.words]


def load(work: Path) -> dict[str, list[list[Clip]]]:
    """Give the clips of all shards that are ready: by group, by voice."""
    index = {word: number for number, word in enumerate(WORDS)}
    groups: dict[str, dict[str, list[Clip]]] = {}
    for path in sorted(work.glob("bank-*.json")):
        samples = np.memmap(path.with_suffix(".i16"), np.int16, mode="r")
        entries = json.loads(path.read_text(encoding="utf-8"))
        for group, voice, text, times, at, length in entries:
            clip = Clip(
                samples[at : at + length],
                tuple(index[word] for word in text.split()),
                tuple(start for start, _ in times),
                tuple(end for _, end in times),
            )
            groups.setdefault(group, {}).setdefault(str(voice), []).append(clip)
    return {group: list(voices.values()) for group, voices in groups.items()}
