"""Parts that do their job at once: no model, no network, no disk."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from voicepipe.errors import JobNotFoundError, JobStateError, LeaseLostError
from voicepipe.stream.channels import DualMono
from voicepipe.stream.vad import EnergyVad
from voicepipe.types import (
    Analysis,
    Hypothesis,
    Job,
    Point,
    Segment,
    Transcript,
    Turn,
    Word,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voicepipe.protocols import Stage
    from voicepipe.stream.vad import SpeechSpan
    from voicepipe.types import Audio, JobStatus, TalkMetrics


class FakeTranscriber:
    """
    Says the same words again and again wherever there is sound.

    Args:
        text: The words of each segment, separated by spaces.
    """

    def __init__(self, text: str = "hello world") -> None:
        """Keep the words."""
        self._texts = text.split()

    async def transcribe(self, audio: Audio, /) -> Transcript:
        """Give a segment for each stretch of sound, its words evenly spaced."""
        same = DualMono()
        same.push(audio.samples)
        segments: list[Segment] = []
        for index in range(1 if same.verdict else audio.channels):
            channel = None if same.verdict else index
            vad = EnergyVad(audio.rate)
            spans = (*vad.push(audio.samples[:, index : index + 1]), *vad.flush())
            segments.extend(
                self._segment(span.start / audio.rate, span.end / audio.rate, channel)
                for span in spans
            )
        return Transcript.of(
            segments, duration=audio.duration, model="fake", language="en"
        )

    def _segment(self, start: float, end: float, channel: int | None) -> Segment:
        step = (end - start) / max(1, len(self._texts))
        words = tuple(
            Word(
                start=start + i * step,
                end=min(start + (i + 1) * step, end),
                text=text,
                probability=1.0,
            )
            for i, text in enumerate(self._texts)
        )
        return Segment(
            start=start,
            end=end,
            text=" ".join(self._texts),
            words=words,
            channel=channel,
            speaker=None if channel is None else f"Speaker{channel:02d}",
        )


class FakeStreamingTranscriber:
    """
    Says the same text for each stretch of sound, when it ends.

    Args:
        text: The text of each segment.
    """

    def __init__(self, text: str = "hello world") -> None:
        """Keep the text."""
        self._text = text

    def session(self, *, rate: int, channels: int) -> Stage[Audio, Hypothesis]:
        """Begin one stream; see ``StreamingTranscriber``."""
        del channels
        return _FakeStream(self._text, rate)


class _FakeStream:
    """One stream; a ``Stage`` from ``Audio`` to ``Hypothesis``."""

    def __init__(self, text: str, rate: int) -> None:
        self._text = text
        self._rate = rate
        self._vad = EnergyVad(rate)
        self._ids = itertools.count()

    def push(self, audio: Audio, /) -> tuple[Hypothesis, ...]:
        """Take audio; give what has ended."""
        return self._final(self._vad.push(audio.mono().samples))

    def flush(self) -> tuple[Hypothesis, ...]:
        """End the stream; give the rest."""
        return self._final(self._vad.flush())

    def _final(self, spans: Sequence[SpeechSpan]) -> tuple[Hypothesis, ...]:
        return tuple(
            Hypothesis(
                segment_id=next(self._ids),
                start=span.start / self._rate,
                end=span.end / self._rate,
                text=self._text,
                final=True,
            )
            for span in spans
        )


class FakeDiarizer:
    """
    Gives each stretch of sound to the next of its speakers.

    Args:
        speakers: How many speakers take turns.
    """

    def __init__(self, speakers: int = 2) -> None:
        """Keep the number."""
        self._speakers = speakers

    def session(self, *, rate: int, channels: int) -> Stage[Audio, Turn]:
        """Begin one recording; see ``Diarizer``."""
        del channels
        return _FakeTurns(self._speakers, rate)


class _FakeTurns:
    """One recording; a ``Stage`` from ``Audio`` to ``Turn``."""

    def __init__(self, speakers: int, rate: int) -> None:
        self._names = itertools.cycle(f"Speaker{i:02d}" for i in range(speakers))
        self._rate = rate
        self._vad = EnergyVad(rate)

    def push(self, audio: Audio, /) -> tuple[Turn, ...]:
        """Take audio; give the turns that have ended."""
        return self._turns(self._vad.push(audio.mono().samples))

    def flush(self) -> tuple[Turn, ...]:
        """End the recording; give the rest."""
        return self._turns(self._vad.flush())

    def _turns(self, spans: Sequence[SpeechSpan]) -> tuple[Turn, ...]:
        return tuple(
            Turn(
                start=span.start / self._rate,
                end=span.end / self._rate,
                speaker=next(self._names),
            )
            for span in spans
        )


class FakeAnalyzer:
    """
    Takes the first segment for the summary and the last one for the key point.

    Args:
        conversation_type: What to call every conversation.
    """

    def __init__(self, conversation_type: str = "other") -> None:
        """Keep the label."""
        self._type = conversation_type

    async def analyze(self, transcript: Transcript, /) -> Analysis:
        """Cite the first and the last segment."""
        points = [
            Point(text=segment.text, segment_ids=(segment.id,))
            for segment in transcript.segments
            if segment.text.strip()
        ]
        return Analysis(
            summary=tuple(points[:1]),
            key_points=tuple(points[-1:]),
            conversation_type=self._type,
            language=transcript.language,
            model="fake",
        )


class FakeJobStore:
    """
    Keeps jobs in a dictionary; nothing is durable.

    Args:
        clock: What time it is, UTC; set it in tests instead of waiting.
    """

    def __init__(
        self, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Begin without jobs."""
        self._clock = clock
        self._jobs: dict[int, Job] = {}
        self._ids = itertools.count(1)

    async def add(self, source: str, /, *, queue: bool = True) -> Job:
        """See ``JobStore.add``."""
        now = self._clock()
        return self._keep(
            Job(
                id=next(self._ids),
                source=source,
                status="processing" if queue else "uploaded",
                created_at=now,
                updated_at=now,
            )
        )

    async def get(self, job_id: int, /) -> Job:
        """See ``JobStore.get``."""
        try:
            return self._jobs[job_id]
        except KeyError as exc:
            msg = f"there is no job {job_id}"
            raise JobNotFoundError(msg, job_id=job_id) from exc

    async def list(
        self,
        *,
        status: JobStatus | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> tuple[Job, ...]:
        """See ``JobStore.list``."""
        found = (
            job
            for _, job in sorted(self._jobs.items(), reverse=True)
            if status in {None, job.status} and (before is None or job.id < before)
        )
        return tuple(itertools.islice(found, limit))

    async def queue(self, job_id: int, /) -> Job:
        """See ``JobStore.queue``."""
        job = await self.get(job_id)
        if job.status == "processing":
            msg = f"job {job_id} is processing already"
            raise JobStateError(msg, job_id=job_id, status=job.status)
        return self._change(job, status="processing", error=None, retry_at=None)

    async def claim(
        self, worker: str, /, *, lease_s: float, job_id: int | None = None
    ) -> Job | None:
        """See ``JobStore.claim``."""
        now = self._clock()
        for _, job in sorted(self._jobs.items()):
            named = job.id == job_id
            if (job_id is None or named) and _claimable(job, now, named=named):
                return self._change(
                    job,
                    status="processing",
                    attempt=job.attempt + 1,
                    worker=worker,
                    lease_until=now + timedelta(seconds=lease_s),
                    retry_at=None,
                )
        return None

    async def extend(self, job_id: int, /, *, attempt: int, lease_s: float) -> Job:
        """See ``JobStore.extend``."""
        until = self._clock() + timedelta(seconds=lease_s)
        return self._change(self._held(job_id, attempt), lease_until=until)

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
        """See ``JobStore.finish``."""
        return self._change(
            self._held(job_id, attempt),
            status="done",
            worker=None,
            lease_until=None,
            transcript=transcript,
            metrics=metrics,
            analysis=analysis,
            error=None,
        )

    async def fail(
        self,
        job_id: int,
        /,
        *,
        attempt: int,
        error: str,
        retry_at: datetime | None = None,
    ) -> Job:
        """See ``JobStore.fail``."""
        return self._change(
            self._held(job_id, attempt),
            status="error" if retry_at is None else "processing",
            worker=None,
            lease_until=None,
            retry_at=retry_at,
            error=error,
        )

    async def delete(self, job_ids: Sequence[int], /) -> int:
        """See ``JobStore.delete``."""
        return sum(self._jobs.pop(job_id, None) is not None for job_id in job_ids)

    def _held(self, job_id: int, attempt: int) -> Job:
        job = self._jobs.get(job_id)
        if job is None or job.worker is None or job.attempt != attempt:
            msg = f"attempt {attempt} is not the current claim of job {job_id}"
            raise LeaseLostError(msg, job_id=job_id, attempt=attempt)
        return job

    def _keep(self, job: Job) -> Job:
        self._jobs[job.id] = job
        return job

    def _change(self, job: Job, **fields: Any) -> Job:
        return self._keep(attrs.evolve(job, updated_at=self._clock(), **fields))


def _claimable(job: Job, now: datetime, *, named: bool) -> bool:
    if job.status != "processing":
        return named and job.status == "uploaded"
    free = job.lease_until is None or job.lease_until <= now
    return free and (job.retry_at is None or job.retry_at <= now)
