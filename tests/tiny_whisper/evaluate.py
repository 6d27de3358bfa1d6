"""
Judge a tiny Whisper: ``python -m tiny_whisper.evaluate [MODEL] [--share 0.25]``.

Everything goes through faster-whisper: int8, one beam, otherwise its own defaults; but
the language is told, which changes nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import jiwer
import numpy as np

from tiny_whisper.make_evaluation import LIST
from tiny_whisper.speech import MODEL, RATE, Spoken, SpokenWord, Voice, phrase


if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Sound = NDArray[np.floating[Any]]


def phrases(name: str, share: float = 1.0) -> list[Spoken]:
    """Say the first phrases of a set of `evaluation.json`, each with silence around."""
    items = json.loads(LIST.read_text(encoding="utf-8"))[name]
    chosen = items[: max(1, round(len(items) * share))]
    texts = [item.pop("text") for item in chosen]
    return [
        phrase(Voice(**item), text) for item, text in zip(chosen, texts, strict=True)
    ]


def load(model: Path = MODEL, threads: int = 1) -> Any:
    """Load a model with faster-whisper, as int8 on the CPU."""
    from faster_whisper import WhisperModel

    return WhisperModel(
        str(model), device="cpu", compute_type="int8", cpu_threads=threads
    )


def words(model: Any, sound: Sound, **options: Any) -> list[SpokenWord]:
    """Transcribe with one beam, and give the words with their times."""
    # To detect the language would encode all a second time, for nothing.
    options = {"beam_size": 1, "word_timestamps": True, "language": "en", **options}
    segments, _ = model.transcribe(sound, **options)
    return [
        SpokenWord(word.word.strip(), word.start, word.end)
        for segment in segments
        for word in segment.words or ()
    ]


def text(model: Any, sound: Sound, **options: Any) -> str:
    """Transcribe with one beam."""
    segments, _ = model.transcribe(sound, **{"beam_size": 1, **options})
    return " ".join("".join(segment.text for segment in segments).split())


@attrs.frozen
class Judged:
    """
    What came of a set of phrases.

    Attributes:
        wer: The share of words that are wrong, missing or too many.
        count: Words.
        late: How far off the start of each right word is, in seconds.
        wrong: What was said and what was heard instead.
    """

    wer: float
    count: int
    late: list[float]
    wrong: list[tuple[str, str]]


def judge(model: Any, said: Iterable[Spoken], **options: Any) -> Judged:
    """Transcribe each phrase on its own, as if cut at the pauses."""
    truths: list[str] = []
    heards: list[str] = []
    late: list[float] = []
    for spoken in said:
        heard = words(model, spoken.samples, **options)
        truths.append(spoken.text)
        heards.append(" ".join(word.text for word in heard))
        late += late_starts(spoken.words, heard)
    return Judged(
        float(jiwer.wer(truths, heards)),
        sum(len(truth.split()) for truth in truths),
        late,
        [(a, b) for a, b in zip(truths, heards, strict=True) if a != b],
    )


def late_starts(
    truth: Iterable[SpokenWord], heard: Iterable[SpokenWord]
) -> list[float]:
    """Give how far off the starts are, in seconds, of the words that are right."""
    truth, heard = list(truth), list(heard)
    if not heard:
        return []
    aligned = jiwer.process_words(
        " ".join(word.text for word in truth), " ".join(word.text for word in heard)
    ).alignments[0]
    return [
        abs(a.start - b.start)
        for chunk in aligned
        if chunk.type == "equal"
        for a, b in zip(
            truth[chunk.ref_start_idx : chunk.ref_end_idx],
            heard[chunk.hyp_start_idx : chunk.hyp_end_idx],
            strict=True,
        )
    ]


def wordless(seconds: float = 5.0) -> dict[str, Sound]:
    """Make sounds in which nobody speaks."""
    draw = np.random.default_rng(5)
    size = round(seconds * RATE)
    t = np.arange(size) / RATE

    def tones(*hz: float) -> Sound:
        waves = np.sin(2 * np.pi * np.outer(hz, t)).sum(0)
        return waves.astype(np.float32)

    sounds = {
        "silence": np.zeros(size, np.float32),
        "half a minute of silence": np.zeros(30 * RATE, np.float32),
    }
    for level in (1e-4, 1e-3, 1e-2, 3e-2, 0.1):
        noise = level * draw.standard_normal(size)
        sounds[f"white noise of {level}"] = noise.astype(np.float32)
    hum = 0.05 * tones(50) + 0.01 * tones(150)
    brown = np.cumsum(draw.standard_normal(size))
    brown -= np.convolve(brown, np.ones(400) / 400, "same")
    sounds |= {
        "brown noise": (0.05 * brown / brown.std()).astype(np.float32),
        "hum": hum.astype(np.float32),
        "a tone of 440 Hz": 0.05 * tones(440),
        "a tone of 1 kHz": 0.2 * tones(1000),
        "a dial tone": 0.1 * tones(350, 440),
        "a ring tone": 0.1 * tones(440, 480) * ((t % 3.0) < 1.0),
        "a European ring tone": 0.15 * tones(425) * ((t % 5.0) < 1.0),
        "a busy tone": 0.1 * tones(480, 620) * ((t % 1.0) < 0.5),
    }
    keys = np.zeros(size, np.float32)
    for number, (low, high) in enumerate(
        [(697, 1209), (770, 1336), (852, 1477), (941, 1336), (697, 1477), (770, 1209)]
    ):
        keys += tones(low, high) * ((t >= 0.6 * number) & (t < 0.6 * number + 0.2))
    sounds["DTMF keys"] = 0.15 * keys
    for root in (220.0, 330.0):
        chord = tones(root, root * 1.25, root * 1.5, 2 * root)
        decay = np.exp(-(t % 0.8) * 3)
        sounds[f"chords on {root:.0f} Hz"] = (0.08 * chord * decay).astype(np.float32)
    return {name: sound.astype(np.float32) for name, sound in sounds.items()}


def main() -> None:
    """Print the figures of a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", default=MODEL)
    parser.add_argument("--share", type=float, default=1.0, help="of each set")
    parser.add_argument("--show", type=int, default=0, help="faults of each set")
    asked = parser.parse_args()
    model = load(asked.model)
    for name in json.loads(LIST.read_text(encoding="utf-8")):
        began = time.monotonic()
        judged = judge(model, phrases(name, asked.share))
        print(
            f"{name:20} {judged.count:5} words, WER {100 * judged.wer:5.2f} %; starts "
            f"off by {np.median(judged.late):.3f} s, p95 "
            f"{np.percentile(judged.late, 95):.3f} s; "
            f"took {time.monotonic() - began:.0f} s",
            flush=True,
        )
        for truth, heard in judged.wrong[: asked.show]:
            print(f"    {truth!r}\n    {heard!r}")
    for vad in (False, True):
        heard_in = {
            name: text(model, sound, vad_filter=vad)
            for name, sound in wordless().items()
        }
        false = {name: said for name, said in heard_in.items() if said}
        print(f"words without speech, voice activity {vad}: {false}")


if __name__ == "__main__":
    main()
