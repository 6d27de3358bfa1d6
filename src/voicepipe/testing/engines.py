"""The laws of the engines that hear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import attrs
import numpy as np

from voicepipe.stream.resample import Resampler
from voicepipe.tasks import task_group
from voicepipe.testing._expect import expect
from voicepipe.types import Audio


if TYPE_CHECKING:
    from voicepipe.protocols import Diarizer, StreamingTranscriber, Transcriber
    from voicepipe.types import Hypothesis, Transcript, Turn


SLACK_S = 0.5
"""How far times may reach past the sound: engines round to their own frames."""


async def check_transcriber(transcriber: Transcriber, *, speech: Audio) -> None:
    """
    Check a transcriber against the law of its protocol.

    Args:
        transcriber: What to check.
        speech: A few seconds of mono speech in which it finds words.

    Raises:
        AssertionError: If something does not hold.
    """
    expect(speech.channels == 1, "give speech in mono")
    rate = speech.rate
    await _expect_nothing(transcriber, Audio(samples=np.zeros((0, 1)), rate=rate))
    await _expect_nothing(transcriber, _silence(speech, 2.0, channels=2))

    alone = await transcriber.transcribe(speech)
    expect_transcript(alone, speech)
    expect(alone.segments, "speech must give segments")

    quiet = np.zeros_like(speech.samples)
    right = _like(speech, np.hstack([quiet, speech.samples]))
    heard = await transcriber.transcribe(right)
    expect_transcript(heard, right)
    expect(heard.segments, "speech on the second channel must give segments")
    for segment in heard.segments:
        expect(segment.channel == 1, "speech on channel 1 must be told to be there")
        expect(segment.speaker, "a channel of its own is a speaker of its own")

    dual = await transcriber.transcribe(_like(speech, np.repeat(speech.samples, 2, 1)))
    expect(dual.text == alone.text, "identical channels must be transcribed once")

    faster = await anyio.to_thread.run_sync(_resampled, speech, 2 * rate)
    expect_transcript(await transcriber.transcribe(faster), faster)

    await _expect_cancellable(transcriber, speech)


async def check_streaming_transcriber(
    transcriber: StreamingTranscriber, *, speech: Audio
) -> None:
    """
    Check a streaming transcriber against the law of its protocol.

    Args:
        transcriber: What to check.
        speech: A few seconds of mono speech in which it finds words.

    Raises:
        AssertionError: If something does not hold.
    """
    finals = []
    for step_s in (0.1, 1.0):
        session = transcriber.session(rate=speech.rate, channels=speech.channels)
        events: list[Hypothesis] = []
        for block in _blocks(speech, step_s):
            events.extend(await anyio.to_thread.run_sync(session.push, block))
        events.extend(await anyio.to_thread.run_sync(session.flush))
        finals.append(_finals(events))
    expect(finals[0], "speech must give a final hypothesis")
    expect(finals[0] == finals[1], "final text must not depend on how sound is cut")


def _finals(events: list[Hypothesis]) -> list[Hypothesis]:
    final: dict[int, Hypothesis] = {}
    certain: dict[int, str] = {}
    for event in events:
        key, text = event.segment_id, event.text
        expect(key not in final, "what is final must not change")
        expect(
            text.startswith(certain.get(key, "")),
            "the first `stable` characters of a segment must not change",
        )
        expect(event.stable <= len(text), "no more can be stable than there is")
        # What is final is stable all of it, whether an engine says so or not.
        stable = len(text) if event.final else event.stable
        expect(stable >= len(certain.get(key, "")), "`stable` must not go back")
        certain[key] = text[: event.stable]
        if event.final:
            final[key] = event
    seen = {event.segment_id for event in events}
    expect(seen == set(final), "flush must make every segment final")
    return [final[key] for key in sorted(final)]


async def check_diarizer(diarizer: Diarizer, *, speech: Audio) -> None:
    """
    Check a diarizer against the law of its protocol.

    Args:
        diarizer: What to check.
        speech: A few seconds of mono speech of one speaker.

    Raises:
        AssertionError: If something does not hold.
    """
    expect(speech.channels == 1, "give speech in mono")
    turns = await _diarize(diarizer, speech, 1.0)
    expect(turns, "speech must give turns")
    for turn in turns:
        expect(turn.speaker, "a turn must have a speaker")
        expect(turn.end <= speech.duration + SLACK_S, "a turn must not pass the end")
    again = await _diarize(diarizer, speech, 0.3)
    expect(again == turns, "turns must not depend on how sound is cut")
    expect(
        not await _diarize(diarizer, _silence(speech, 2.0, channels=1), 1.0),
        "silence must give no turns",
    )
    expect(not await _diarize(diarizer, speech.cut(0.0, 0.0), 1.0), "nothing, no turns")


async def _diarize(diarizer: Diarizer, audio: Audio, step_s: float) -> list[Turn]:
    session = diarizer.session(rate=audio.rate, channels=audio.channels)
    turns: list[Turn] = []
    for block in _blocks(audio, step_s):
        turns.extend(await anyio.to_thread.run_sync(session.push, block))
    turns.extend(await anyio.to_thread.run_sync(session.flush))
    return sorted(turns, key=lambda turn: (turn.start, turn.speaker))


def expect_transcript(transcript: Transcript, audio: Audio) -> None:
    """
    Check what holds for every transcript of this audio.

    Raises:
        AssertionError: If something does not hold.
    """
    expect(transcript.model, "a transcript must name its engine")
    expect(
        abs(transcript.duration - audio.duration) < 1e-6,
        "the duration must be that of the audio",
    )
    limit = audio.duration + SLACK_S
    last = 0.0
    for place, segment in enumerate(transcript.segments):
        expect(segment.id == place, "segments must be numbered from 0 in their order")
        expect(segment.start >= last, "segments must be ordered by start")
        expect(segment.end <= limit, "a segment must not pass the end of the audio")
        expect(segment.text.strip(), "a segment must have text")
        last = segment.start
        spoken = segment.start
        for word in segment.words:
            expect(word.start < word.end, "a word must have a length")
            expect(word.start >= spoken - 1e-6, "words must follow one another")
            expect(word.end <= segment.end + 1e-6, "words must lie in their segment")
            spoken = word.end


async def _expect_nothing(transcriber: Transcriber, audio: Audio) -> None:
    transcript = await transcriber.transcribe(audio)
    expect(not transcript.segments, f"{audio!r} of silence must give no segments")
    expect_transcript(transcript, audio)


async def _expect_cancellable(transcriber: Transcriber, speech: Audio) -> None:
    """Cancel a call in its midst; the engine must still work afterwards."""
    begin = anyio.current_time()
    await transcriber.transcribe(speech)
    took = anyio.current_time() - begin
    # Another call may be faster: then earlier, and in the end before it waits at all.
    ended = False
    for share in (0.5, 0.25, 0.1, 0.0):
        ended = await _ends(transcriber, speech, share * took)
        if ended:
            break
    expect(ended, "a call must end when it is cancelled")
    transcript = await transcriber.transcribe(speech)
    expect(transcript.segments, "an engine must work after a cancelled call")


async def _ends(transcriber: Transcriber, speech: Audio, after_s: float) -> bool:
    """Whether a call can be cancelled, or is done at once, as a fake's may be."""
    others = False

    async def look() -> None:
        nonlocal others
        others = True

    async with task_group() as group:
        group.start_soon(look)
        with anyio.CancelScope() as scope:
            if after_s:
                scope.deadline = anyio.current_time() + after_s
            else:
                scope.cancel()
            await transcriber.transcribe(speech)
        at_once = not others
    return scope.cancelled_caught or at_once


def _like(
    audio: Audio, samples: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> Audio:
    return attrs.evolve(audio, samples=samples)


def _silence(audio: Audio, seconds: float, *, channels: int) -> Audio:
    return _like(audio, np.zeros((round(seconds * audio.rate), channels), np.float32))


def _blocks(audio: Audio, step_s: float) -> list[Audio]:
    count = int(np.ceil(audio.duration / step_s))
    return [audio.cut(i * step_s, (i + 1) * step_s) for i in range(count)]


def _resampled(audio: Audio, rate: int) -> Audio:
    resampler = Resampler(audio.rate, rate)
    pieces = (*resampler.push(audio.samples), *resampler.flush())
    return Audio(samples=np.clip(np.concatenate(pieces), -1.0, 1.0), rate=rate)
