"""Runs recordings through the stages of a pipeline."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import attrs

from voicepipe.analysis.redaction.transcript import redact_transcript
from voicepipe.errors import AudioError
from voicepipe.jobs.lease import claimed_job, kept_lease
from voicepipe.pipeline.listener import Listener
from voicepipe.pipeline.options import PipelineOptions
from voicepipe.pipeline.shares import WholeProgress
from voicepipe.pipeline.steps import Steps
from voicepipe.progress import StageClock
from voicepipe.types import Conversation


if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.io.source import AudioSource
    from voicepipe.jobs.run import JobRun
    from voicepipe.protocols import Analyzer, Diarizer, JobStore, Transcriber
    from voicepipe.types import Audio, Progress, StageName


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
            found = await self._understand(source, name, clock, steps=Steps())
            return attrs.evolve(found, elapsed=clock.elapsed)
        lease_s = self._options.lease_s
        async with claimed_job(self._store, name, lease_s=lease_s) as job:
            async with kept_lease(self._store, job, lease_s=lease_s):
                found = await self._understand(source, name, clock, steps=Steps())
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

    async def work(
        self, run: JobRun, /, *, source: AudioSource | Audio | None = None
    ) -> Conversation:
        """
        Do a job for a worker: the recording is the file that the job names.

        Each window's transcript, the speakers' turns and the analysis are kept with the
        job as soon as they are there, by the content that they were made of and the
        engine that made them. A later attempt takes up what is there, so that nothing
        is computed or paid for twice. An analyzer that is a ``CachingAnalyzer`` keeps
        each of its calls.

        The pipeline's own store is not used: the worker writes to its own.

        Args:
            run: The job and its attempt, as a ``Worker`` hands it.
            source: The recording, where the job's source is no path to it. Turns are
                kept only where this is a path.

        Raises:
            OSError: If the file cannot be read.
            AudioError: If it cannot be decoded, or holds no sound.
            TranscriptionError: If the transcriber fails.
            DiarizationError: If the diarizer fails.
            AnalysisError: If the analyzer fails.
            LeaseLostError: If another attempt took the job over.
            StoreError: If the store fails for good.

        Cancellation: every stage stops; what was kept stays.
        """
        stages: dict[StageName, object] = {
            "decode": self,
            "diarize": self._diarizer,
            "transcribe": self._transcriber,
            "analyze": self._analyzer,
        }
        there: dict[StageName, float] = {
            stage: 0.0 for stage, part in stages.items() if part is not None
        }
        clock = StageClock(WholeProgress(there, run.progress))
        found = await self._understand(
            run.job.source if source is None else source,
            run.name,
            clock,
            steps=Steps(run.cache),
            heard=run.heard,
        )
        return attrs.evolve(found, elapsed=clock.elapsed)

    async def _understand(
        self,
        source: AudioSource | Audio,
        name: str,
        clock: StageClock,
        *,
        steps: Steps,
        heard: Callable[[float], None] | None = None,
    ) -> Conversation:
        """Do everything but store it."""
        listener = Listener(
            self._transcriber,
            self._diarizer,
            options=self._options,
            clock=clock,
            steps=steps,
        )
        try:
            await listener.listen(source, heard)
        except AudioError as exc:
            exc.source = name  # a path may be nobody else's business
            raise
        # In a thread: six hours have tens of thousands of words.
        transcript, turns, metrics = await anyio.to_thread.run_sync(listener.conclude)
        if (redaction := self._options.redact) is not None:
            redacted = await anyio.to_thread.run_sync(
                redact_transcript, transcript, redaction
            )
            transcript = redacted.transcript
        analysis = None
        if self._analyzer is not None:
            with clock.measure("analyze"):
                analysis = await steps.analysis(self._analyzer, transcript)
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
