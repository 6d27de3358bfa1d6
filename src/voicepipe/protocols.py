"""
What a part must be able to do to take its place: structural, one job each.

Nothing has to inherit from these; a class with the right methods fits. What a signature
cannot say, the law of each, is checked by ``voicepipe.testing``: run its ``check_…``
over your own implementation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar


if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from voicepipe.types import (
        Analysis,
        Audio,
        Hypothesis,
        Job,
        JobStatus,
        TalkMetrics,
        Transcript,
        Turn,
    )


__all__ = [
    "Analyzer",
    "Diarizer",
    "JobStore",
    "Stage",
    "StreamingTranscriber",
    "Transcriber",
]

X_contra = TypeVar("X_contra", contravariant=True)
Y_co = TypeVar("Y_co", covariant=True)


class Stage(Protocol[X_contra, Y_co]):
    """
    A synchronous step that turns a stream of inputs into a stream of outputs.

    Its law is chunk invariance: however the same input is cut into pieces, the outputs
    put together are bit-identical. After ``flush`` both methods raise ``ValueError``.
    """

    def push(self, x: X_contra, /) -> tuple[Y_co, ...]:
        """Take the next piece; give what is ready."""
        ...

    def flush(self) -> tuple[Y_co, ...]:
        """Say that the input has ended; give what was held back."""
        ...


class Transcriber(Protocol):
    """Turns sound into text."""

    async def transcribe(self, audio: Audio, /) -> Transcript:
        """
        Transcribe audio of any rate and any number of channels.

        Several channels are transcribed one by one and merged by time, each a speaker;
        identical channels are transcribed once. Times count from the first frame of
        ``audio``. Audio without speech, and without frames, gives no segments.

        Raises:
            TranscriptionError: If the engine fails.
        """
        ...


class StreamingTranscriber(Protocol):
    """Turns sound into text while it arrives."""

    def session(self, *, rate: int, channels: int) -> Stage[Audio, Hypothesis]:
        """
        Begin one stream.

        The stage runs in a worker thread. A hypothesis that is ``final`` is the last
        for its segment, ``flush`` makes every segment final, and what is final does
        not depend on how the sound was cut into pieces.

        Args:
            rate: Frames per second of the audio to come, Hz.
            channels: Its number of channels.
        """
        ...


class Diarizer(Protocol):
    """Finds out who speaks when."""

    def session(self, *, rate: int, channels: int) -> Stage[Audio, Turn]:
        """
        Begin one recording.

        The stage runs in a worker thread, so that it may compute or wait. Turns come
        at any push, in any order; many diarizers give all of them at ``flush``.
        Times count from the first frame pushed.

        Args:
            rate: Frames per second of the audio to come, Hz.
            channels: Its number of channels.

        Raises:
            DiarizationError: From the stage's methods, if the engine fails.
        """
        ...


class Analyzer(Protocol):
    """Finds out what a conversation means."""

    async def analyze(self, transcript: Transcript, /) -> Analysis:
        """
        Analyse a transcript, also an empty one.

        Every point of the result cites ids of segments that exist in the transcript.

        Raises:
            AnalysisError: If the analyzer fails.
        """
        ...


class JobStore(Protocol):
    """
    Keeps jobs durably and hands each to one worker at a time.

    A job can be claimed while its status is ``processing`` and no lease on it is valid.
    A claim raises its ``attempt`` by one; ``extend``, ``finish`` and ``fail`` carry the
    attempt they belong to and raise ``LeaseLostError`` without writing anything when
    another attempt has begun since, or the job has ended or been deleted. A lease that
    ran out unnoticed may still be extended or finished. Ids are never used again. When
    a call returns, its change is durable.
    """

    async def add(self, source: str, /, *, queue: bool = True) -> Job:
        """Add a job: ready to be claimed, or only ``uploaded``."""
        ...

    async def get(self, job_id: int, /) -> Job:
        """
        Give one job.

        Raises:
            JobNotFoundError: If there is none with this id.
        """
        ...

    async def list(
        self,
        *,
        status: JobStatus | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> tuple[Job, ...]:
        """
        Give jobs, newest first.

        Args:
            status: Only jobs of this status.
            limit: Most jobs to give; at least 1.
            before: Only jobs with a smaller id: the last one of the page before.
        """
        ...

    async def queue(self, job_id: int, /) -> Job:
        """
        Make a job claimable that is ``uploaded``, ``done`` or ``error``.

        Raises:
            JobNotFoundError: If there is none with this id.
            JobStateError: If it is ``processing`` already.
        """
        ...

    async def claim(
        self, worker: str, /, *, lease_s: float, job_id: int | None = None
    ) -> Job | None:
        """
        Claim the oldest claimable job, or this one; ``None`` where there is none.

        Args:
            worker: Name to record as the holder.
            lease_s: Seconds until the claim expires unless extended; positive.
            job_id: Claim this job or nothing. Named like this it may also be
                ``uploaded``, so that who adds a job can claim it before any worker.
        """
        ...

    async def extend(self, job_id: int, /, *, attempt: int, lease_s: float) -> Job:
        """
        Let the claim last for so many seconds from now.

        Raises:
            LeaseLostError: If this attempt is not the current claim.
        """
        ...

    async def finish(
        self,
        job_id: int,
        /,
        *,
        attempt: int,
        transcript: Transcript,
        metrics: TalkMetrics | None = None,
        analysis: Analysis | None = None,
    ) -> Job:
        """
        Store the results and set the job ``done``.

        Raises:
            LeaseLostError: If this attempt is not the current claim.
        """
        ...

    async def fail(
        self,
        job_id: int,
        /,
        *,
        attempt: int,
        error: str,
        retry_at: datetime | None = None,
    ) -> Job:
        """
        Set the job to ``error``; with ``retry_at`` leave it claimable from then on.

        Raises:
            LeaseLostError: If this attempt is not the current claim.
        """
        ...

    async def delete(self, job_ids: Sequence[int], /) -> int:
        """Delete jobs and all that is stored about them; give how many there were."""
        ...
