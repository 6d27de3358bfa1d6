"""The tiny Whisper hears what is said: other tests of engines rely on it."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tiny_whisper import evaluate, make_evaluation, speech, synthesis
from tiny_whisper.speech import (
    ESPEAK,
    FLITE,
    RATE,
    UNSEEN_ESPEAK,
    UNSEEN_FLITE,
    WORDS,
    Voice,
)
from tiny_whisper.train import bank, windows


if TYPE_CHECKING:
    from stress_report import Report


# Engines take their time on a busy machine.
SHARE = 0.25
"""Of each set, in the ordinary run."""


@pytest.fixture(scope="module")
def whisper() -> Any:
    return evaluate.load(threads=2)


def test_it_is_small() -> None:
    sizes = [path.stat().st_size for path in speech.MODEL.iterdir()]

    assert sum(sizes) <= 3_000_000


def test_the_list_is_the_one_that_its_script_writes() -> None:
    kept = json.loads(make_evaluation.LIST.read_text(encoding="utf-8"))

    assert kept == make_evaluation.chosen()


BOUNDS = {
    "short espeak": 0.03,
    "short flite": 0.03,
    "long espeak": 0.06,
    "long flite": 0.06,
    "unseen espeak short": 0.15,
    "unseen espeak long": 0.15,
}


@pytest.mark.parametrize(("name", "bound"), BOUNDS.items())
def test_words_are_right(whisper: Any, name: str, bound: float) -> None:
    judged = evaluate.judge(whisper, evaluate.phrases(name, SHARE))

    assert judged.wer <= bound, judged.wrong


@pytest.mark.stress
@pytest.mark.parametrize(("name", "bound"), BOUNDS.items())
def test_words_are_right_in_all_phrases(
    whisper: Any, name: str, bound: float, stress_report: Report
) -> None:
    judged = evaluate.judge(whisper, evaluate.phrases(name))

    stress_report(
        f"tiny Whisper, {name}: {judged.count} words",
        f"WER {100 * judged.wer:.1f} %; starts off by {np.median(judged.late):.2f} s, "
        f"p95 {np.percentile(judged.late, 95):.2f} s",
    )
    assert judged.wer <= bound
    assert np.median(judged.late) <= 0.3
    assert np.percentile(judged.late, 95) <= 0.6


@pytest.mark.parametrize("voice", [ESPEAK[0], FLITE[0]], ids=lambda voice: voice.name)
def test_words_start_where_they_are_said(whisper: Any, voice: Voice) -> None:
    late: list[float] = []
    for spoken in evaluate.phrases(f"long {voice.engine}", 0.1):
        late += evaluate.late_starts(
            spoken.words, evaluate.words(whisper, spoken.samples)
        )

    assert len(late) > 50
    assert np.median(late) <= 0.3
    assert np.percentile(late, 95) <= 0.6


@pytest.mark.parametrize("name", list(evaluate.wordless()))
def test_nothing_is_heard_where_nobody_speaks(whisper: Any, name: str) -> None:
    sound = evaluate.wordless()[name]

    assert not evaluate.text(whisper, sound, vad_filter=True)


@pytest.mark.parametrize(
    ("left", "right"), [(ESPEAK[0], FLITE[0]), (FLITE[1], ESPEAK[2])]
)
def test_each_channel_has_its_own_words(
    whisper: Any, left: Voice, right: Voice
) -> None:
    said = [
        (0, speech.phrase(left, "hello name please")),
        (1, speech.phrase(right, "large pizza today")),
        (0, speech.phrase(left, "phone number please")),
        (1, speech.phrase(right, "five four three seven")),
    ]
    call, truth = speech.conversation(said)

    for channel in (0, 1):
        heard = evaluate.text(whisper, np.ascontiguousarray(call[:, channel]))
        assert heard == " ".join(word.text for word in truth[channel])


def test_english_is_detected(whisper: Any) -> None:
    _, info = whisper.transcribe(speech.phrase(ESPEAK[0], "hello").samples)

    assert (info.language, info.language_probability) == ("en", 1.0)


def heard_in_training() -> list[str]:
    return [
        text
        for number in range(bank.SHARDS)
        for text in bank.phrases(
            random.Random(f"law {number}"), 3_000, bank.evaluation_texts()
        )
    ]


def test_training_never_hears_a_sequence_of_the_list() -> None:
    kept = json.loads(make_evaluation.LIST.read_text(encoding="utf-8"))
    judged = {item["text"] for items in kept.values() for item in items}

    assert not {text for text in heard_in_training() if " " in text} & judged
    # Drawn freely, some would come: there are only so many pairs.
    free = list(bank.phrases(random.Random(0), 9_000, frozenset({"one"})))
    assert set(free) & {text for text in judged if " " in text}


def test_training_never_hears_a_voice_as_the_list_changes_it() -> None:
    kept = json.loads(make_evaluation.LIST.read_text(encoding="utf-8"))
    items = [item for items in kept.values() for item in items]
    judged = {
        Voice(**{key: value for key, value in item.items() if key != "text"})
        for item in items
    }
    trained = {
        voice
        for number in range(200)
        for _, voice, _ in bank.voices(random.Random(number))
    }

    assert judged & trained == {*ESPEAK, *FLITE}
    unseen = {UNSEEN_ESPEAK.name, UNSEEN_FLITE.name}
    assert not any(voice.name.endswith(("+m6", "rms")) for voice in trained)
    assert {voice.name for voice in judged} >= unseen
    alone = [item for item in items if " " not in item["text"]]
    assert all(
        (item["speed"], item["pitch"], item["stretch"]) != (160, 50, 1.0)
        for item in alone
    )


def test_windows_of_training_are_cut_and_joined_past_the_list() -> None:
    """Parts of clips, joined, could become what the list has."""
    said = speech.render(ESPEAK[0], "one two one two")
    clip = bank.Clip(
        (said.samples * 32767).astype(np.int16),
        tuple(WORDS.index(word.text) for word in said.words),
        tuple(word.start for word in said.words),
        tuple(word.end for word in said.words),
    )
    never = frozenset({"one two", "two two one", "one one"})
    made = windows.Windows({"espeak": [[clip]]}, never, np.random.default_rng(1))
    style = windows.Style(seconds=4.0, most_words=4, silent=0.0)

    texts = {
        " ".join(WORDS[heard.word] for heard in segment.words)
        for _ in range(300)
        for segment in made.make(style).segments
    }

    assert {"two one", "one two one"} <= texts
    assert not texts & never


@pytest.mark.parametrize("voice", [*ESPEAK, *FLITE], ids=lambda voice: voice.name)
def test_the_times_of_speech_are_exact(voice: Voice) -> None:
    """A plosive after a gap: where a word is cut out, its sound is the same."""
    first = speech.render(voice, "coffee")
    both = speech.render(voice, "pizza coffee")
    start = both.words[1].start

    assert [word.text for word in both.words] == ["pizza", "coffee"]
    assert both.words[0].start < 0.05
    assert start == both.words[0].end
    assert both.duration - start == pytest.approx(first.duration, abs=0.15)


def test_joined_speech_keeps_its_times() -> None:
    one, two = (speech.phrase(ESPEAK[0], text) for text in ("one two", "three"))

    joined = speech.joined([one, two], [1.0, 0.5, 0.25])

    assert joined.text == "one two three"
    assert len(joined.samples) == len(one.samples) + len(two.samples) + 1.75 * RATE
    start = joined.words[2].start - 1.5 - one.duration
    assert start == pytest.approx(two.words[0].start)


def test_speech_is_the_same_each_time() -> None:
    for voice in (ESPEAK[1], FLITE[1]):
        once, again = (speech.render(voice, "order number six") for _ in range(2))
        speech.render(ESPEAK[0], "water")

        assert np.array_equal(once.samples, again.samples)


def test_what_cannot_be_said_is_refused() -> None:
    for voice in (Voice("espeak", "none"), Voice("flite", "none")):
        with pytest.raises(ValueError, match="has no voice"):
            speech.render(voice, "one")
    with pytest.raises(ValueError, match="nothing to say"):
        speech.render(ESPEAK[0], " ")


@pytest.mark.parametrize("voice", [ESPEAK[0], FLITE[0]], ids=lambda voice: voice.engine)
def test_an_absent_program_is_named(
    voice: Voice, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    synthesis._flite_voices.cache_clear()

    with pytest.raises(
        speech.SpeechMissingError, match=f"apt-get install {voice.engine}"
    ):
        speech.render(voice, "one")


def test_every_word_can_be_said_by_every_voice() -> None:
    for voice in (*ESPEAK, *FLITE):
        said = speech.render(voice, " ".join(WORDS))

        assert said.text == " ".join(WORDS)
        assert all(word.start < word.end for word in said.words)
