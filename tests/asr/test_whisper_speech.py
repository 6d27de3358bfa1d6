"""Where the words of a model belong that heard the parts one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_whisper.speech import MODEL, TRAINED, phrase

from voicepipe.asr.guards import guarded, heard_segment, heard_word
from voicepipe.asr.whisper.options import WhisperOptions
from voicepipe.asr.whisper.speech import Places, Speech
from voicepipe.asr.whisper.transcriber import WhisperTranscriber
from voicepipe.stream.vad import SpeechSpan
from voicepipe.types import Audio


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from voicepipe.types import Segment


RATE = 16_000

# One after the other they lie at 0 to 2 s, 2 to 2.9 s, and 2.9 to 4.9 s.
EARLY, CLICK, LATE = ((10.0, 12.0), (30.0, 30.9), (60.0, 62.0))
SAID_EARLY, SAID_LATE = (10.4, 11.6), (60.4, 61.6)


def parts(*spans: tuple[float, float]) -> tuple[SpeechSpan, ...]:
    return tuple(SpeechSpan(round(a * RATE), round(b * RATE)) for a, b in spans)


def segment(*words: tuple[str, float, float]) -> Segment:
    """Make what a model gives, in its own time."""
    heard = [heard_word(*word) for word in words]
    text = " ".join(word.text for word in heard)
    return heard_segment(text, heard[0].start, heard[-1].end, words=heard)


def times(*segments: Segment) -> list[tuple[float, float]]:
    return [(word.start, word.end) for one in segments for word in one.words]


def close(*pairs: tuple[float, float]) -> list[object]:
    return [pytest.approx(pair, abs=1e-3) for pair in pairs]


def test_text_on_a_click_stays_there_and_is_dropped() -> None:
    places = Places(Speech(parts(CLICK, LATE), [SAID_LATE]))

    invented = places.restored(segment(("Thank", 0.1, 0.4), ("you.", 0.4, 0.7)))
    true = places.restored(segment(("hello", 1.3, 1.9), ("there", 1.9, 2.4)))

    assert times(*invented) == close((30.1, 30.4), (30.4, 30.7))
    assert times(*true) == close((60.4, 61.0), (61.0, 61.5))
    kept, report = guarded([*invented, *true], [SAID_LATE], 70.0)
    assert [one.text for one in kept] == ["hello there"]
    assert times(*kept) == times(*true)
    assert (report.unspoken, report.retimed) == (1, 0)


def test_text_between_a_phrase_and_a_click_is_not_the_next_phrase() -> None:
    places = Places(Speech(parts(EARLY, CLICK, LATE), [SAID_EARLY, SAID_LATE]))

    true = places.restored(segment(("hello", 0.5, 1.5)))
    invented = places.restored(segment(("Thank", 1.75, 1.95), ("you.", 2.2, 2.6)))

    assert times(*true) == close((10.5, 11.5))
    assert times(*invented) == close((11.75, 11.95), (30.2, 30.6))


def test_a_click_in_a_segment_is_cut_out_of_it() -> None:
    places = Places(Speech(parts(EARLY, CLICK, LATE), [SAID_EARLY, SAID_LATE]))

    cut = places.restored(
        segment(
            ("Hello", 0.5, 1.5), ("you.", 2.0, 2.6), ("Two,", 3.3, 3.6), ("3", 4, 4.4)
        )
    )

    assert [one.text for one in cut] == ["Hello", "you.", "Two, 3"]
    assert times(*cut) == close((10.5, 11.5), (30.0, 30.6), (60.4, 60.7), (61.1, 61.5))
    kept, report = guarded(cut, [SAID_EARLY, SAID_LATE], 70.0)
    assert [one.text for one in kept] == ["Hello", "Two, 3"]
    assert report.unspoken == 1


def test_a_first_word_that_ends_before_its_phrase_is_not_of_the_click_before() -> None:
    places = Places(Speech(parts(CLICK, LATE), [SAID_LATE]))

    heard = places.restored(segment(("hello", 0.1, 1.2), ("there", 1.4, 1.9)))

    assert [one.text for one in heard] == ["hello there"]
    assert times(*heard) == close((60.4, 60.4), (60.5, 61.0))


def test_a_word_in_the_margin_of_a_phrase_begins_the_next_one() -> None:
    places = Places(Speech(parts(EARLY, LATE), [SAID_EARLY, SAID_LATE]))

    heard = [
        *places.restored(segment(("hello", 0.5, 1.5))),
        *places.restored(segment(("one", 1.7, 2.1))),
        *places.restored(segment(("two", 2.4, 2.9))),
    ]

    assert times(*heard) == close((10.5, 11.5), (60.4, 60.4), (60.4, 60.9))


def test_no_word_goes_back_to_a_click_behind_the_word_before_it() -> None:
    places = Places(Speech(parts(EARLY, CLICK, LATE), [SAID_EARLY, SAID_LATE]))

    # Models have been seen to give words out of order.
    heard = places.restored(segment(("one", 3.3, 4.0), ("two", 2.2, 2.6)))

    assert [one.text for one in heard] == ["one two"]
    assert times(*heard) == close((60.4, 61.1), (60.4, 60.4))


PAUSES = st.floats(0.0, 40.0)
LENGTHS = st.floats(0.5, 5.0)


@st.composite
def speeches(draw: st.DrawFn) -> Speech:
    """Draw parts in their order, with or without something said in them."""
    spans, said = [], []
    at = 0.0
    for _ in range(draw(st.integers(1, 5))):
        begin = at + draw(PAUSES)
        at = begin + draw(LENGTHS)
        spans.append((begin, at))
        if draw(st.booleans()):
            said.append((begin + 0.1 * (at - begin), at - 0.1 * (at - begin)))
    return Speech(parts(*spans), said)


@st.composite
def heard_by_a_model(draw: st.DrawFn) -> list[Segment]:
    """Draw words, now and then out of their order."""
    segments, at = [], 0.0
    for _ in range(draw(st.integers(1, 4))):
        words = []
        for _ in range(draw(st.integers(1, 5))):
            start = max(0.0, at + draw(st.floats(-2.0, 1.0)))
            at = start + draw(st.floats(0.0, 1.5))
            words.append((draw(st.sampled_from(["a", "b", "no"])), start, at))
        segments.append(segment(*words))
    return segments


@given(speeches(), heard_by_a_model())
def test_no_text_is_lost_and_every_word_lies_in_a_part(
    speech: Speech, segments: list[Segment]
) -> None:
    places = Places(speech)

    placed = [one for each in segments for one in places.restored(each)]

    assert " ".join(s.text for s in placed) == " ".join(s.text for s in segments)
    for start, end in times(*placed):
        assert any(
            part.start / RATE - 1e-3 <= start <= end <= part.end / RATE + 1e-3
            for part in speech.parts
        )


def loudest(samples: NDArray[np.float32], seconds: float) -> NDArray[np.float32]:
    frames = round(seconds * RATE)
    energy = np.convolve(np.square(samples), np.ones(frames), "valid")
    begin = int(energy.argmax())
    return samples[begin : begin + frames]


@pytest.mark.parametrize("batch_size", [None, 4])
async def test_words_invented_on_a_click_are_dropped_a_minute_before_speech(
    batch_size: int | None,
) -> None:
    # Bits of vowels, too short to be speech, on which the tiny model hears a word.
    voices = {voice.name: voice for voice in TRAINED}
    clicks = [("awb", "okay", 0.08), ("slt", "nine", 0.13), ("kal16", "nine", 0.16)]
    true = phrase(TRAINED[0], "one two three").samples
    options = WhisperOptions(temperatures=(0.0,), batch_size=batch_size)
    engine = WhisperTranscriber(MODEL, options=options)
    dropped = 0

    for name, text, seconds in clicks:
        click = loudest(phrase(voices[name], text).samples, seconds)
        samples = np.zeros(70 * RATE, np.float32)
        samples[5 * RATE : 5 * RATE + len(click)] = click
        samples[60 * RATE : 60 * RATE + len(true)] = true
        transcript = await engine.transcribe(Audio(samples=samples, rate=RATE))

        assert transcript.text == "one two three"
        assert 60.0 < transcript.segments[0].start < 60.5
        assert transcript.report is not None
        dropped += transcript.report.unspoken

    assert dropped
