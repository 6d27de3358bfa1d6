"""
What a part must be able to do to take its place: structural, one job each.

Nothing has to inherit from these; a class with the right methods fits. What a signature
cannot say, the law of each, is checked by ``voicepipe.testing``: run its ``check_…``
over your own implementation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from voicepipe.types import (
        Analysis,
        Audio,
        Hypothesis,
        Job,
        JobEdit,
        JobField,
        JobProgress,
        JobStatus,
        TalkMetrics,
        Transcript,
        Turn,
    )


__all__ = [
    "Analyzer",
    "CachingAnalyzer",
    "Diarizer",
    "JobStore",
    "ResultCache",
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
        ``audio``. Audio without speech, and without frames, gives no segments. Each
        word has a length and starts when the one before it in its segment has ended, or
        later.

        Cancellation ends the call; the next one works.

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


class ResultCache(Protocol):
    """Keeps results that are dear to make, by keys that say all they depend on."""

    async def get(self, key: str, /) -> str | None:
        """Give what was put under a key, ``None`` where there is nothing."""
        ...

    async def put(self, key: str, value: str, /) -> None:
        """Keep a value durably; under a key that is there, the newer one counts."""
        ...


class CachingAnalyzer(Analyzer, Protocol):
    """An analyzer whose costly steps can be kept, and taken up by a later attempt."""

    def caching(self, cache: ResultCache, /) -> Analyzer:
        """Give the same analyzer with a cache of its own; cheap, one for each job."""
        ...


class JobStore(Protocol):
    """
    Keeps jobs durably and hands each to one worker at a time.

    A job can be claimed while its status is ``processing``, no lease on it is valid and
    its ``retry_at`` has come. A claim raises ``attempt`` and ``tries`` by one. What a
    worker writes (``extend``, ``keep``, ``release``, ``finish``, ``fail``) carries the
    attempt it belongs to and raises ``LeaseLostError`` without writing anything when
    another attempt has begun since, or the job has ended, been cancelled or deleted. A
    lease that ran out unnoticed may still be extended or finished. Ids are never used
    again. When a call returns, its change is durable.
    """

    async def add(
        self,
        source: str,
        /,
        *,
        queue: bool = True,
        name: str | None = None,
        key: str | None = None,
    ) -> Job:
        """
        Add a job: ready to be claimed, or only ``uploaded``.

        Args:
            source: Name of the recording.
            queue: Whether it is to be worked on.
            name: What people call it.
            key: Idempotency key, 1 to 255 characters. Where a job with it is there
                already, that one is given as it is, and nothing is added.
        """
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
        changed_since: datetime | None = None,
        results: bool = True,
    ) -> tuple[Job, ...]:
        """
        Give jobs, newest first.

        Args:
            status: Only jobs of this status.
            limit: Most jobs to give; at least 1.
            before: Only jobs with a smaller id: the last one of the page before.
            changed_since: Only jobs whose ``updated_at`` is this or later.
            results: Whether to read transcript, metrics, analysis and edits too.
        """
        ...

    async def queue(self, job_id: int, /) -> Job:
        """
        Make an ``uploaded``, ``done`` or ``error`` job claimable; its tries begin anew.

        Raises:
            JobNotFoundError: If there is none with this id.
            JobStateError: If it is ``processing`` already.
        """
        ...

    async def update(self, job_id: int, edits: Mapping[JobField, JobEdit], /) -> Job:
        """
        Put what a person wrote in the place of results; other edits stay.

        The next ``finish`` removes all edits.

        Raises:
            JobNotFoundError: If there is none with this id.
            JobStateError: If it is ``processing``.
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

    async def extend(
        self,
        job_id: int,
        /,
        *,
        attempt: int,
        lease_s: float,
        progress: JobProgress | None = None,
    ) -> None:
        """
        Let the claim last for so many seconds from now, and tell how far it has come.

        Raises:
            LeaseLostError: If this attempt is not the current claim.
        """
        ...

    async def keep(self, job_id: int, key: str, value: str, /, *, attempt: int) -> None:
        """
        Keep a result of a step for later attempts, until the job is ``done``.

        Args:
            job_id: The job.
            key: All that the result depends on, 1 to 255 characters.
            value: The result; it replaces one that is there.
            attempt: Whose it is.

        Raises:
            LeaseLostError: If this attempt is not the current claim.
        """
        ...

    async def kept(self, job_id: int, key: str, /) -> str | None:
        """Give what an attempt has kept, ``None`` where there is nothing."""
        ...

    async def release(self, job_id: int, /, *, attempt: int) -> Job:
        """
        Give a claim back: the job can be claimed at once, and the try does not count.

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
        Store the results and set the job ``done``; edits and what was kept go.

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

    async def cancel(self, job_id: int, /, *, reason: str = "cancelled") -> Job:
        """
        Set a job that is ``uploaded`` or ``processing`` to ``error`` with a reason.

        Raises:
            JobNotFoundError: If there is none with this id.
            JobStateError: If it is ``done`` or ``error`` already.
        """
        ...

    async def delete(self, job_ids: Sequence[int], /) -> int:
        """Delete jobs and all that is stored about them; give how many there were."""
        ...

    async def prune(self, *, before: datetime, limit: int = 1_000) -> tuple[Job, ...]:
        """
        Delete jobs that are not ``processing`` and have not changed since a time.

        Args:
            before: Jobs whose ``updated_at`` is earlier go.
            limit: Most jobs to delete, the oldest first; at least 1. Where as many are
                given there may be more.

        Returns:
            The deleted jobs without their results, so that files can go too.
        """
        ...
