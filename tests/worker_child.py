"""
A process that works: to be killed, stopped, or told to drain.

Usage: python worker_child.py '{"url": …, "service": …, "backend": …, "options": {…}}'

It prints ``ready`` when it looks for jobs, ``begin ID ATTEMPT TIME`` when it begins
one, ``drains`` when it was told to, and what the worker logs. Its transcriber and its
analyzer ask the service at ``service``, which counts what it is paid for. SIGTERM makes
it drain.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import sys
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from voicepipe import (
    Analysis,
    Audio,
    Pipeline,
    PipelineOptions,
    Point,
    Segment,
    SqlJobStore,
    Transcript,
    TranscriptionError,
)
from voicepipe.jobs import attempt as jobs_attempt
from voicepipe.jobs import worker as jobs_worker
from voicepipe.jobs.options import WorkerOptions
from voicepipe.jobs.worker import Worker
from voicepipe.testing import FakeDiarizer


if TYPE_CHECKING:
    from voicepipe import Conversation
    from voicepipe.jobs.run import JobRun


WINDOW_S = 4.0

_attempt: ContextVar[int] = ContextVar("attempt")


class Paid:
    """Engines whose every call is paid for: the service counts them by content."""

    def __init__(self, service: str, client: httpx.AsyncClient) -> None:
        self._service = service
        self._client = client

    async def _pay(self, content: bytes) -> str:
        key = hashlib.sha256(content).hexdigest()
        try:
            asked = f"{key} {_attempt.get()}"
            answer = await self._client.post(self._service, content=asked)
        except httpx.HTTPError as exc:
            raise TranscriptionError("away", model="paid", retryable=True) from exc
        return answer.raise_for_status().text

    async def transcribe(self, audio: Audio, /) -> Transcript:
        text = await self._pay(audio.samples.tobytes())
        segment = Segment(start=0.0, end=audio.duration, text=text)
        return Transcript(segments=(segment,), duration=audio.duration, model="paid")

    async def analyze(self, transcript: Transcript, /) -> Analysis:
        text = await self._pay(transcript.text.encode())
        return Analysis(
            summary=(Point(text=text, segment_ids=(0,)),),
            conversation_type="other",
            model="paid",
        )


def say(*words: object) -> None:
    print(*words, flush=True)


async def main(asked: dict[str, Any]) -> None:
    options = WorkerOptions(**asked.get("options", {}))
    async with (
        SqlJobStore(asked["url"]) as store,
        httpx.AsyncClient(timeout=600, trust_env=False) as client,
    ):
        paid = Paid(asked["service"], client)
        pipeline = Pipeline(
            paid,
            paid,
            diarizer=FakeDiarizer(),
            options=PipelineOptions(window_s=WINDOW_S),
        )

        async def handler(run: JobRun) -> Conversation:
            _attempt.set(run.attempt)
            say("begin", run.job.id, run.attempt, time.time())
            if run.job.source == "poison":
                os.kill(os.getpid(), signal.SIGKILL)
            return await pipeline.work(run)

        worker = Worker(store, handler, options=options, name=asked["name"])
        async with anyio.create_task_group() as group:
            with anyio.open_signal_receiver(signal.SIGTERM) as signals:
                group.start_soon(drain_at_a_signal, worker, signals)
                say("ready")
                await worker.run()
            group.cancel_scope.cancel()
    say("drained")


async def drain_at_a_signal(worker: Worker, signals: Any) -> None:
    async for _ in signals:
        worker.drain()
        say("drains")


if __name__ == "__main__":
    # How soon a claim is given back is not what these tests look at.
    jobs_attempt.RELEASE_S = jobs_worker.RELEASE_S = 30.0
    logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
    logging.getLogger("httpx").setLevel("WARNING")
    given = json.loads(sys.argv[1])
    anyio.run(main, given, backend=given["backend"])
