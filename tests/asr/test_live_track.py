from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from live_script import RATE, plain, script

from voicepipe import Segment, Transcript, Word
from voicepipe.asr.live.track import Track, hypothesis_of
from voicepipe.stream.live.activity import EnergyActivity
from voicepipe.stream.live.options import LiveOptions


if TYPE_CHECKING:
    from voicepipe import Hypothesis


def track() -> Track:
    return Track(EnergyActivity(RATE), LiveOptions())


def said(*segments: Segment) -> Hypothesis:
    """Give what becomes of an engine's answer to one utterance."""
    one = plain(4)
    heard = track()
    heard.push(one.samples)
    heard.end()
    transcript = Transcript(segments=segments, duration=9.0, model="any")
    told = []
    while True:
        texts, request = heard.advance()
        told += texts
        if request is None:
            return hypothesis_of(told[-1], segment_id=0, channel=None)
        told += heard.decoded(request, transcript, took_s=0.0)


def test_words_have_the_spaces_that_the_engine_gives_them() -> None:
    words = tuple(
        Word(start=i / 2, end=i / 2 + 0.4, text=text)
        for i, text in enumerate(("你", "好,", "I'm", "fine"))
    )

    told = said(Segment(start=0, end=2, text="你好, I'm fine", words=words))

    assert told.text == "你好, I'm fine"
    assert [word.text for word in told.words] == ["你", "好,", "I'm", "fine"]
    assert told.final
    assert told.stable == len(told.text)


def test_text_without_words_gets_them() -> None:
    told = said(Segment(start=0.0, end=1.0, text="one two"))

    assert told.text == "one two"
    assert [word.end - word.start for word in told.words] == pytest.approx([0.5, 0.5])


def test_a_loop_of_the_engine_is_cut() -> None:
    words = tuple(
        Word(start=0.01 * i, end=0.01 * i + 0.01, text="you") for i in range(40)
    )

    told = said(Segment(start=0, end=1, text=" ".join(["you"] * 40), words=words))

    assert told.text == "you"


def test_sound_that_was_decoded_leaves_memory() -> None:
    one = script((f"w{i}", 0.1 if i % 20 else 1.5, 0.3) for i in range(400))
    heard = track()
    held = []
    sound = one.samples
    for at in range(0, len(sound), 1_600):
        heard.push(sound[at : at + 1_600])
        _, request = heard.advance()
        if request is not None:
            heard.decoded(request, None, took_s=0.0)
        held.append(min(at + 1_600, len(sound)) - heard.begin)

    assert max(held) <= 16 * RATE
    assert np.median(held) <= 9 * RATE


def test_an_array_that_is_filled_again_changes_nothing() -> None:
    one = plain(4)
    sound = one.samples
    heard = track()
    buffer = np.empty((1_600, 1), np.float32)
    for at in range(0, len(sound) - 1_600, 1_600):
        buffer[:] = sound[at : at + 1_600]
        heard.push(buffer)
    heard.end()
    _, request = heard.advance()

    assert request is not None
    assert np.array_equal(
        heard.sound(request).samples, sound[request.start : request.end]
    )
