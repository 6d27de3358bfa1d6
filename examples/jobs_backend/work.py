"""What is done with a job, in the server itself or in ``worker.py`` beside it."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Self

import anyio
import anyio.to_thread
from redacting import pipeline_options, write_silenced
from settings import SETTINGS
from uploads import SILENCED, Uploads

from voicepipe import (
    DecodeOptions,
    JobError,
    Pipeline,
    StoreError,
    Worker,
    WorkerOptions,
)
from voicepipe.servers.engines import (
    OpenedTranscriber,
    open_analyzer,
    open_diarizer,
    open_transcriber,
)


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voicepipe import (
        Analyzer,
        Conversation,
        Diarizer,
        Job,
        JobRun,
        JobStore,
        Transcript,
    )


_logger = logging.getLogger("jobs_backend")

DRAIN_S = 4.0
EXIT_S = 8.0
"""After SIGTERM: seconds for the jobs under way, and until the process ends."""
_AGAIN_S = 5.0

DECODE = DecodeOptions(
    isolated=True,
    allow_truncated=True,
    allow_damaged=True,
    max_duration_s=SETTINGS.max_recording_s,
)
"""How recordings of strangers are decoded; what is left of a cut one is heard."""


class Engines:
    """
    What works on jobs.

    Args:
        opened: The transcriber.
        analyzer: Finds out what a conversation means.
        diarizer: Finds out who speaks when.

    Attributes:
        opened: The transcriber, with its name and state.
    """

    def __init__(
        self, opened: OpenedTranscriber, analyzer: Analyzer, diarizer: Diarizer
    ) -> None:
        """Keep them."""
        self.opened: OpenedTranscriber = opened
        self._analyzer = analyzer
        self._diarizer = diarizer
        self._uploads = Uploads(SETTINGS.uploads)

    @property
    def transcriber_name(self) -> str:
        """The transcriber's name for everybody: of a folder its last part."""
        kind, _, model = self.opened.name.partition(":")
        folder = Path(model)
        named = model and folder.is_dir()
        return f"{kind}:{folder.name}" if named else self.opened.name

    async def work(self, run: JobRun) -> Conversation:
        """
        Do one job; what ``Worker`` wants.

        Raises:
            VoicepipeError: As ``Pipeline.work``.
            OSError: If the recording cannot be read.
        """
        path = await anyio.to_thread.run_sync(self._found, run.job)
        pipeline = Pipeline(
            self.opened.transcriber,
            self._analyzer,
            diarizer=self._diarizer,
            options=pipeline_options(DECODE),
        )
        found = await pipeline.work(run, source=str(path))
        if SETTINGS.redact:
            await self._silence(run, path, found.transcript)
        return found

    async def _silence(self, run: JobRun, path: Path, transcript: Transcript) -> None:
        """
        Write the sound that may be heard, beside the recording.

        Raises:
            LeaseLostError: If the job was deleted meanwhile, or is another attempt's;
                what lies beside the recording stays then as it is.
        """
        in_thread = anyio.to_thread.run_sync
        uploads, source = self._uploads, run.job.source
        part = uploads.unused_part()
        try:
            await write_silenced(path, part, transcript, DECODE)
            # Another attempt may have put its own there meanwhile.
            await run.cache.put("silenced", "1")
            await in_thread(uploads.put_beside, source, SILENCED, part)
        finally:
            with anyio.CancelScope(shield=True):
                await in_thread(_remove, part)

    def _found(self, job: Job) -> Path:
        try:
            path = self._uploads.path(job.source)
        except FileNotFoundError:
            path = Path()
        if not path.is_file():
            raise JobError("the recording is not there any more", job_id=job.id)
        return path

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        """
        Open the engines that the settings name.

        Raises:
            VoicepipeError: If one is not to be had, and nothing may take its place.
        """
        opened = await open_transcriber(SETTINGS.transcriber)
        try:
            yield cls(
                opened,
                open_analyzer(SETTINGS.analyzer),
                open_diarizer(SETTINGS.diarizer),
            )
        finally:
            await opened.aclose()


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def make_worker(store: JobStore, engines: Engines, at_once: int) -> Worker:
    """Make a worker as the settings want it."""
    lease_s = SETTINGS.lease_s
    options = WorkerOptions(
        at_once=at_once,
        lease_s=lease_s,
        beat_s=min(5.0, lease_s / 3),
        scan_s=min(2.0, lease_s),
        retry_s=min(10.0, lease_s),
        max_tries=SETTINGS.max_tries,
        drain_s=DRAIN_S,
    )
    return Worker(store, engines.work, options=options)


async def keep_working(
    worker: Worker, engines: Engines, loading: anyio.CancelScope
) -> None:
    """
    Work until the worker is drained, whatever happens to the store meanwhile.

    Args:
        worker: Who works.
        engines: With what; work begins when they are there.
        loading: Cancelled so as not to wait for them.
    """
    with loading:
        await engines.opened.finish()
    while True:
        try:
            await worker.run()
        except StoreError:
            _logger.exception("the worker ended; it begins anew")
            await anyio.sleep(_AGAIN_S)
        else:
            return
