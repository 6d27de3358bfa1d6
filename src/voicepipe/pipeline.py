"""The main job: from a recording to its transcript, metrics and analysis."""

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
from voicepipe.errors import AudioError, EmptyAudioError
from voicepipe.io.options import DecodeOptions
from voicepipe.io.read import iter_audio
from voicepipe.jobs.lease import claimed_job, kept_lease
from voicepipe.progress import StageClock
from voicepipe.stream.resample import Resampler
from voicepipe.stream.windows import SilenceCutter
from voicepipe.tasks import task_group
from voicepipe.types import Audio, Conversation, Transcript, Turn


if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from voicepipe.io.source import AudioSource
    from voicepipe.protocols import Analyzer, Diarizer, JobStore, Stage, Transcriber
    from voicepipe.types import DecodeReport, Progress, Samples, TalkMetrics


BLOCK_S = 10.0
"""Seconds decoded at a time."""

MIN_WINDOW = 0.5
"""Shortest window, as a share of the longest one."""

ONLY_SPEAKER = "Speaker00"
"""Who speaks where nobody told the speakers apart."""


@attrs.frozen(kw_only=True)
class PipelineOptions:
    """
    How a pipeline works.

    Attributes:
        rate: Rate at which the engines get the sound, Hz, 4,000 to 192,000.
        window_s: Longest stretch transcribed at once, seconds; windows end where it is
            quiet. It bounds the memory of a run: six hours take no more than one.
        windows_at_once: How many windows the transcriber is given at the same time, at
            least 1. Engines bound themselves; two keep two cores busy.
        lease_s: Seconds that a claim on the stored job lasts unless renewed.
        decode: How recordings are decoded.
    """

    rate: int = 16_000
    window_s: float = 30.0
    windows_at_once: int = attrs.field(default=2, validator=attrs.validators.ge(1))
    lease_s: float = 30.0
    decode: DecodeOptions = attrs.field(factory=DecodeOptions)


class Pipeline:
    """
    Runs recordings through the stages it is handed.

    Decoding goes on while the transcriber works, a window ahead. A pipeline keeps
    nothing from run to run: it may run many recordings at once, on either event loop.

    Args:
        transcriber: Turns sound into text.
        analyzer: Finds out what the conversation means; none by default.
        store: Keeps a job for each run: claimed while it runs, then ``done``, or
            ``error`` with the reason; none by default.
        diarizer: Finds out who speaks when. By default the speakers that the
            transcriber tells apart count, one for each channel.
        options: How to work.
    """

    def __init__(
        self,
        transcriber: Transcriber,
        analyzer: Analyzer | None = None,
        store: JobStore | None = None,
        *,
        diarizer: Diarizer | None = None,
        options: PipelineOptions | None = None,
    ) -> None:
        """Keep the stages."""
        self._transcriber = transcriber
        self._analyzer = analyzer
        self._store = store
        self._diarizer = diarizer
        self._options = options or PipelineOptions()

    async def run(
        self,
        source: AudioSource | Audio,
        /,
        *,
        name: str | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Conversation:
        """
        Run one recording through all stages.

        Args:
            source: What ``read_audio`` takes, or sound in memory.
            name: What to call the recording, in the store and in errors; its path by
                default, ``"audio"`` where it has none.
            progress: Called from the event loop after each step of each stage.

        Raises:
            OSError: If the file cannot be read.
            AudioError: If it cannot be decoded, or holds no sound.
            TranscriptionError: If the transcriber fails.
            DiarizationError: If the diarizer fails.
            AnalysisError: If the analyzer fails.
            JobError: If the store fails, or another attempt took the job over.

        After an error the stored job is ``error`` and has the error's text.

        Cancellation: every stage stops, and the stored job is deleted.
        """
        if name is None:
            name = "audio"
            if isinstance(source, str | os.PathLike):
                name = os.fspath(source)
        clock = StageClock(progress)
        if self._store is None:
            found = await self._understand(source, name, clock)
            return attrs.evolve(found, elapsed=clock.elapsed)
        lease_s = self._options.lease_s
        async with claimed_job(self._store, name, lease_s=lease_s) as job:
            async with kept_lease(self._store, job, lease_s=lease_s):
                found = await self._understand(source, name, clock)
            with clock.measure("store"):
                done = await self._store.finish(
                    job.id,
                    attempt=job.attempt,
                    transcript=found.transcript,
                    metrics=found.metrics,
                    analysis=found.analysis,
                )
        clock.step("store", 1.0)
        return attrs.evolve(found, job=done, elapsed=clock.elapsed)

    async def _understand(
        self, source: AudioSource | Audio, name: str, clock: StageClock
    ) -> Conversation:
        """Do everything but keep it."""
        listener = _Listener(self._transcriber, self._diarizer, self._options, clock)
        try:
            await listener.listen(source)
        except AudioError as exc:
            exc.source = name  # a path may be nobody else's business
            raise
        # In a thread: six hours have tens of thousands of words.
        transcript, turns, metrics = await anyio.to_thread.run_sync(listener.conclude)
        analysis = None
        if self._analyzer is not None:
            with clock.measure("analyze"):
                analysis = await self._analyzer.analyze(transcript)
            clock.step("analyze", 1.0)
        return Conversation(
            source=name,
            duration=transcript.duration,
            transcript=transcript,
            turns=turns,
            metrics=metrics,
            analysis=analysis,
            report=listener.report,
        )


class _Listener:
    """Decodes, diarizes and transcribes one recording, side by side."""

    def __init__(
        self,
        transcriber: Transcriber,
        diarizer: Diarizer | None,
        options: PipelineOptions,
        clock: StageClock,
    ) -> None:
        self._transcriber = transcriber
        self._diarizer = diarizer
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

    async def listen(self, source: AudioSource | Audio) -> None:
        """Hear the whole recording."""
        send, receive = anyio.create_memory_object_stream[tuple[Audio, float]](1)
        # Closed here: a task that is cancelled before its first step closes nothing.
        async with send, receive, task_group() as group:
            group.start_soon(self._decode, source, send)
            for _ in range(self._options.windows_at_once):
                group.start_soon(self._transcribe, receive)
        if not self._frames:
            raise EmptyAudioError("there is not one frame of sound")

    def conclude(self) -> tuple[Transcript, tuple[Turn, ...], TalkMetrics]:
        """Put together what has been heard."""
        transcript = self._joined()
        if self._diarizer is None:
            turns = _turns_of(transcript)
        else:
            turns = tuple(sorted(self._turns, key=lambda t: (t.start, t.speaker)))
            transcript = assign_speakers(transcript, turns)
        metrics = talk_metrics(
            turns, duration=transcript.duration, transcript=transcript
        )
        return transcript, turns, metrics

    async def _decode(
        self,
        source: AudioSource | Audio,
        send: MemoryObjectSendStream[tuple[Audio, float]],
    ) -> None:
        async with aclosing(self._blocks(source)) as blocks:
            while True:
                with self._clock.measure("decode"):
                    block = await anext(blocks, None)
                    windows = await anyio.to_thread.run_sync(self._cut, block)
                if block is None:
                    self._consumed = 1.0
                else:
                    self.report = block.report
                self._clock.step("decode", self._consumed)
                await self._diarize(block)
                for window in windows:
                    await self._hand_on(window, send)
                if block is None:
                    break
        send.close()

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
                part = await self._transcriber.transcribe(window)
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
