"""Live text of a real Whisper, small as it is, on a virtual clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import jiwer
import numpy as np
import pytest
from line_sounds import MUSIC, NAMES, line_sound
from live_virtual import Live, listen, phrases
from tiny_whisper import evaluate, speech
from tiny_whisper.speech import RATE

from voicepipe import Audio
from voicepipe.asr.live.transcriber import LiveTranscriber
from voicepipe.asr.whisper.options import WhisperOptions, WhisperSetup
from voicepipe.asr.whisper.transcriber import WhisperTranscriber


if TYPE_CHECKING:
    from stress_report import Report
    from tiny_whisper.speech import Spoken

    from voicepipe import Hypothesis, Samples


# Engines take their time on a busy machine.


@pytest.fixture(scope="module")
def whisper() -> WhisperTranscriber:
    return WhisperTranscriber(
        speech.MODEL,
        setup=WhisperSetup(workers=1, cpu_threads=1),
        options=WhisperOptions(language="en", beam_size=1, temperatures=(0.0,)),
    )


def batch(whisper: WhisperTranscriber, said: list[Spoken]) -> str:
    """Transcribe each phrase by itself, all of its sound at once."""

    async def work() -> str:
        found = [
            await whisper.transcribe(Audio(samples=one.samples, rate=RATE))
            for one in said
        ]
        return " ".join(" ".join(one.text.split()) for one in found)

    return anyio.run(work)


def check(whisper: WhisperTranscriber, share: float) -> tuple[Live, Spoken, str]:
    """Check what holds of live text; give it, what was said, and the batch's text."""
    said = [
        one
        for name in ("short espeak", "short flite", "long espeak", "long flite")
        for one in evaluate.phrases(name, share)
    ]
    sound = phrases(said, pause=(0.3, 1.5))

    live = listen(whisper, sound.samples[:, np.newaxis])

    certain: dict[int, tuple[str, ...]] = {}
    for text in live.told:
        words = tuple(word.text for word in text.words)
        before = certain.get(text.segment, ())
        assert words[: len(before)] == before
        certain[text.segment] = words[: text.committed]
    at_once = batch(whisper, said)
    words = " ".join(live.words)
    assert jiwer.wer(at_once, words) <= 0.02
    assert jiwer.wer(sound.text, words) <= jiwer.wer(sound.text, at_once) + 0.02
    assert live.decoded_s / sound.duration <= 3.0
    assert np.median(live.latencies(sound)) <= 1.6
    assert np.percentile(live.latencies(sound), 95) <= 3.0
    return live, sound, at_once


def test_the_final_text_is_as_good_as_the_batch_s(whisper: WhisperTranscriber) -> None:
    check(whisper, 0.02)


@pytest.mark.stress
@pytest.mark.timeout(1_200)
def test_the_final_text_is_as_good_as_the_batch_s_in_all_phrases(
    whisper: WhisperTranscriber, stress_report: Report
) -> None:
    live, said, at_once = check(whisper, 0.3)

    heard = " ".join(live.words)
    late = live.latencies(said)
    stress_report(
        f"live text, tiny Whisper, virtual clock, {said.duration / 60:.0f} min, "
        f"{len(said.words)} words",
        f"WER {100 * jiwer.wer(said.text, heard):.1f} % live, "
        f"{100 * jiwer.wer(said.text, at_once):.1f} % phrase by phrase, "
        f"{100 * jiwer.wer(at_once, heard):.1f} % of one against the other; "
        f"0 revisions; each second decoded {live.decoded_s / said.duration:.2f} times; "
        f"words certain after {np.median(late):.2f} s, "
        f"p95 {np.percentile(late, 95):.2f} s",
    )


def line(name: str, seconds: float) -> Samples:
    """Give a sound of a telephone line, again and again."""
    once = line_sound(name, RATE)
    return np.tile(once, (int(np.ceil(seconds * RATE / len(once))), 1))


@pytest.mark.parametrize("name", [*NAMES, *MUSIC])
def test_nothing_is_said_where_nobody_speaks(
    whisper: WhisperTranscriber, name: str
) -> None:
    assert not listen(whisper, line(name, 20.0)).told


@pytest.mark.stress
@pytest.mark.timeout(1_200)
def test_an_hour_without_speech_has_no_words(
    whisper: WhisperTranscriber, stress_report: Report
) -> None:
    names = [*NAMES, *MUSIC]
    hour = np.concatenate([line(name, 3_600 / len(names)) for name in names])

    live = listen(whisper, hour)

    stress_report(
        "live text of an hour of silence, noise, tones, keys and music",
        f"{len(live.commits)} words; {live.decodes} decodes, "
        f"{live.decoded_s:.0f} s of sound",
    )
    assert not live.commits


async def test_a_session_says_the_same(whisper: WhisperTranscriber) -> None:
    said = speech.phrase(speech.ESPEAK[0], "large pizza today please", after=1.0)
    events: list[Hypothesis] = []
    async with LiveTranscriber(whisper).session(rate=RATE) as session:
        for at in range(0, len(said.samples), 1_600):
            await session.push(said.samples[at : at + 1_600, np.newaxis])
        await session.flush()
        events += [event async for event in session]

    assert " ".join(event.text for event in events) == said.text
    assert all(event.final for event in events)
    for word, true in zip(
        [word for event in events for word in event.words], said.words, strict=True
    ):
        assert word.start == pytest.approx(true.start, abs=0.5)
