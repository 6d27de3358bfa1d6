"""
Choose what the tiny Whisper is judged on: ``python -m tiny_whisper.make_evaluation``.

Run once, before any training, and never again: `evaluation.json` is the list. Training
rejects every sequence of words in it (`train/bank.py`). Voices speak half of the
phrases at their ordinary settings, and the others at settings that no training uses.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import attrs

from tiny_whisper.speech import (
    ESPEAK,
    FLITE,
    UNSEEN_ESPEAK,
    UNSEEN_FLITE,
    WORDS,
    Voice,
)


LIST = Path(__file__).parent / "evaluation.json"
SEED = 20261121

SETS: dict[str, tuple[tuple[Voice, ...], int, int, int]] = {
    # voices, phrases of each voice, fewest and most words
    "short espeak": (ESPEAK, 80, 1, 4),
    "short flite": (FLITE, 80, 1, 4),
    "long espeak": (ESPEAK, 48, 2, 12),
    "long flite": (FLITE, 48, 2, 12),
    "unseen espeak short": ((UNSEEN_ESPEAK,), 48, 1, 4),
    "unseen espeak long": ((UNSEEN_ESPEAK,), 32, 2, 12),
    "unseen flite short": ((UNSEEN_FLITE,), 48, 1, 4),
    "unseen flite long": ((UNSEEN_FLITE,), 32, 2, 12),
}


def chosen() -> dict[str, list[dict[str, object]]]:
    """Draw the phrases of all sets, none twice."""
    draw = random.Random(SEED)
    taken: set[str] = set()
    sets: dict[str, list[dict[str, object]]] = {}
    for name, (voices, each, fewest, most) in SETS.items():
        items = sets[name] = []
        for number in range(each * len(voices)):
            voice = voices[number % len(voices)]
            text = _text(draw, draw.randint(fewest, most), taken)
            # A single word at ordinary settings would be a clip of the training.
            if " " not in text or (number // len(voices)) % 2:
                voice = _changed(draw, voice)
            items.append({"text": text, **attrs.asdict(voice)})
    return sets


def _text(draw: random.Random, count: int, taken: set[str]) -> str:
    while True:
        text = " ".join(draw.choice(WORDS) for _ in range(count))
        # Single words come again: there are few.
        if count == 1 or text not in taken:
            taken.add(text)
            return text


def _changed(draw: random.Random, voice: Voice) -> Voice:
    """Change the settings a little: odd speeds are what no training uses."""
    if voice.engine == "espeak":
        speed, pitch = 2 * draw.randint(70, 89) + 1, draw.randint(42, 58)
        return attrs.evolve(voice, speed=speed, pitch=pitch)
    # Training rounds its stretch to hundredths.
    return attrs.evolve(voice, stretch=draw.randint(90, 111) / 100 + 0.005)


def main() -> None:
    """Write the list."""
    lines = []
    for name, items in chosen().items():
        rows = ",\n".join(f"  {json.dumps(item)}" for item in items)
        lines.append(f" {json.dumps(name)}: [\n{rows}\n ]")
    LIST.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
