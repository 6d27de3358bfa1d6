"""Hears a recording: decoding, diarizing and transcribing side by side."""

from __future__ import annotations

import functools
import os
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import attrs
import numpy as np

from voicepipe.analysis.metrics import talk_metrics
from voicepipe.asr.diarize import assign_speakers
from voicepipe.errors import EmptyAudioError
from voicepipe.io.read import iter_audio
from voicepipe.pipeline.steps import turns_key
from voicepipe.stream.resample import Resampler
from voicepipe.stream.windows import SilenceCutter
from voicepipe.tasks import task_group
from voicepipe.types import Audio, Transcript, TranscriptionReport, Turn


if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from voicepipe.io.source import AudioSource
    from voicepipe.pipeline.options import PipelineOptions
    from voicepipe.pipeline.steps import Steps
    from voicepipe.progress import StageClock
    from voicepipe.protocols import Diarizer, Stage, Transcriber
    from voicepipe.types import DecodeReport, Samples, TalkMetrics


BLOCK_S = 10.0
"""Seconds decoded at a time."""

MIN_WINDOW = 0.5
"""Shortest window, as a share of the longest one."""

ONLY_SPEAKER = "Speaker00"
"""Who speaks where nobody told the speakers apart."""


class Listener:
    """
    Decodes, diarizes and transcribes one recording, side by side.

    Args:
        transcriber: Turns sound into text.
        diarizer: Finds out who speaks when; ``None`` to take the speakers that the
            transcriber tells apart.
        options: How to work.
        clock: Is told how far the stages have come.
        steps: Makes what is dear, or has it from an earlier attempt.

    Attributes:
        report: What decoding has shown, ``None`` as long as it has not begun.
    """

    def __init__(
        self,
        transcriber: Transcriber,
        diarizer: Diarizer | None,
        *,
        options: PipelineOptions,
        clock: StageClock,
        steps: Steps,
    ) -> None:
        """Begin with nothing heard."""
        self._transcriber = transcriber
        self._diarizer = diarizer
        self._steps = steps
        self._session: Stage[Audio, Turn] | None = None
        self._options = options
        self._clock = clock
        self._cutter = SilenceCutter(
            options.rate,
            max_s=options.window_s,
            min_s=options.window_s * MIN_WINDOW,
        )
        self._consumed = 0.0  # share of the source that has been decoded
        self._frames = 0  # frames handed on in windows
        self.report: DecodeReport | None = None
        self._parts: list[Transcript] = []
        self._turns: list[Turn] = []
        self._known: tuple[Turn, ...] | None = None

    async def listen(
        self,
        source: AudioSource | Audio,
        heard: Callable[[float], None] | None = None,
    ) -> None:
        """
        Hear the whole recording.

        Args:
            source: What ``read_audio`` takes, or sound in memory. Turns are kept for
                one that is named by its path.
            heard: Called with the seconds that have been decoded so far.

        Raises:
            EmptyAudioError: If there is no sound.
        """
        key = await self._key_of_turns(source)
        if key is not None:
            self._known = await self._steps.turns(key)
        send, receive = anyio.create_memory_object_stream[tuple[Audio, float]](1)
        # Closed here: a task that is cancelled before its first step closes nothing.
        async with send, receive, task_group() as group:
            group.start_soon(self._decode, source, send, heard)
            for _ in range(self._options.windows_at_once):
                group.start_soon(self._transcribe, receive)
        if not self._frames:
            raise EmptyAudioError("there is not one frame of sound")
        if key is not None and self._known is None:
            await self._steps.keep_turns(key, self._turns)

    async def _key_of_turns(self, source: AudioSource | Audio) -> str | None:
        """Give the key for the turns, where they are to be kept."""
        if self._diarizer is None or not self._steps.kept:
            return None
        if not isinstance(source, str | os.PathLike):
            return None
        options = self._options
        how = f"{options.rate} {options.decode!r}"
        with self._clock.measure("diarize"):
            return await anyio.to_thread.run_sync(
                turns_key, self._diarizer, os.fspath(source), how
            )

    def conclude(self) -> tuple[Transcript, tuple[Turn, ...], TalkMetrics]:
        """Put together what has been heard."""
        transcript = self._joined()
        if self._diarizer is None:
            turns = _turns_of(transcript)
        else:
            found = self._turns if self._known is None else self._known
            turns = tuple(sorted(found, key=lambda t: (t.start, t.speaker)))
            transcript = assign_speakers(transcript, turns)
        metrics = talk_metrics(
            turns, duration=transcript.duration, transcript=transcript
        )
        return transcript, turns, metrics

    async def _decode(
        self,
        source: AudioSource | Audio,
        send: MemoryObjectSendStream[tuple[Audio, float]],
        heard: Callable[[float], None] | None,
    ) -> None:
        frames = 0
        async with aclosing(self._blocks(source)) as blocks:
            while True:
                with self._clock.measure("decode"):
                    block = await anext(blocks, None)
                    windows = await anyio.to_thread.run_sync(self._cut, block)
                if block is None:
                    self._consumed = 1.0
                else:
                    self.report = block.report
                    frames += block.frames
                self._clock.step("decode", self._consumed)
                if heard is not None:
                    heard(frames / self._options.rate)
                if block is None:
                    break
                await self._diarize(block)
                for window in windows:
                    await self._hand_on(window, send)
        # The last windows go first: while the speakers are told apart they are heard.
        for window in windows:
            await self._hand_on(window, send)
        send.close()
        await self._diarize(None)

    def _cut(self, block: Audio | None) -> tuple[Samples, ...]:
        return (
            self._cutter.flush() if block is None else self._cutter.push(block.samples)
        )

    async def _hand_on(
        self, samples: Samples, send: MemoryObjectSendStream[tuple[Audio, float]]
    ) -> None:
        window = Audio(samples=samples, rate=self._options.rate, start=self._frames)
        self._frames += window.frames
        await send.send((window, self._consumed))

    async def _diarize(self, block: Audio | None) -> None:
        """Push a block, or flush after the last one."""
        if self._diarizer is None:
            return
        if self._known is not None:
            self._clock.step("diarize", self._consumed)
            return
        with self._clock.measure("diarize"):
            if self._session is None and block is not None:
                self._session = self._diarizer.session(
                    rate=block.rate, channels=block.channels
                )
            if self._session is not None:
                work = (
                    self._session.flush
                    if block is None
                    else functools.partial(self._session.push, block)
                )
                self._turns.extend(await anyio.to_thread.run_sync(work))
        self._clock.step("diarize", self._consumed)

    async def _transcribe(
        self, receive: MemoryObjectReceiveStream[tuple[Audio, float]]
    ) -> None:
        async for window, consumed in receive:
            with self._clock.measure("transcribe"):
                part = await self._steps.transcript(self._transcriber, window)
            self._parts.append(_moved(part, window.start / window.rate))
            self._clock.step("transcribe", consumed)

    def _blocks(self, source: AudioSource | Audio) -> AsyncGenerator[Audio, None]:
        rate = self._options.rate
        if isinstance(source, Audio):
            return _blocks_of(source, rate, self._note)
        return iter_audio(
            source,
            rate=rate,
            block_s=BLOCK_S,
            options=self._options.decode,
            progress=self._note,
        )

    def _note(self, fraction: float) -> None:
        self._consumed = fraction

    def _joined(self) -> Transcript:
        languages = Counter(part.language for part in self._parts if part.segments)
        return Transcript.of(
            (
                attrs.evolve(segment, speaker=segment.speaker or ONLY_SPEAKER)
                for part in self._parts
                for segment in part.segments
            ),
            duration=self._frames / self._options.rate,
            model=self._parts[0].model,
            language=languages.most_common(1)[0][0] if languages else None,
            report=TranscriptionReport.sum(part.report for part in self._parts),
        )


async def _blocks_of(
    audio: Audio, rate: int, progress: Callable[[float], None]
) -> AsyncGenerator[Audio, None]:
    """Give sound in memory as ``iter_audio`` gives a file."""
    resampler = Resampler(audio.rate, rate, channels=audio.channels)
    step = round(BLOCK_S * audio.rate)
    for at in range(0, audio.frames + step, step):
        work: Callable[[], tuple[Samples, ...]] = resampler.flush
        if at < audio.frames:
            work = functools.partial(resampler.push, audio.samples[at : at + step])
        pieces = await anyio.to_thread.run_sync(work)
        progress(min(1.0, (at + step) / max(1, audio.frames)))
        for piece in pieces:
            yield Audio(samples=np.clip(piece, -1.0, 1.0), rate=rate)


def _moved(part: Transcript, by: float) -> Transcript:
    """Count a window's times from the start of the recording."""
    if by == 0.0:
        return part
    segments = tuple(
        attrs.evolve(
            segment,
            start=segment.start + by,
            end=segment.end + by,
            words=tuple(
                attrs.evolve(word, start=word.start + by, end=word.end + by)
                for word in segment.words
            ),
        )
        for segment in part.segments
    )
    return attrs.evolve(part, segments=segments)


def _turns_of(transcript: Transcript) -> tuple[Turn, ...]:
    """Take segments for turns, where no diarizer was asked."""
    return tuple(
        Turn(
            start=segment.start,
            end=segment.end,
            speaker=segment.speaker or ONLY_SPEAKER,
            channel=segment.channel,
        )
        for segment in transcript.segments
    )
