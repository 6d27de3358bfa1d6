"""A list of recordings fetched: what is missing, has failed or has changed."""

from __future__ import annotations

import contextlib
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

from voicepipe.errors import BatchError, DiskFullError, VoicepipeError
from voicepipe.io.batch import manifest
from voicepipe.io.batch.entries import Entries
from voicepipe.io.batch.feed import Feed
from voicepipe.io.batch.ledger import LEDGER_NAME, LOCK_NAME, Ledger, Result
from voicepipe.io.batch.listing import Listing
from voicepipe.io.batch.plan import Plan
from voicepipe.io.batch.values import BatchOptions, BatchProgress, BatchSummary
from voicepipe.io.fetch import fetch_wavs
from voicepipe.io.steps import Steps


if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Generator

    from voicepipe.io.batch.entries import Entry
    from voicepipe.io.download.downloader import Downloader
    from voicepipe.io.recordings import FetchOutcome


T = TypeVar("T")

_LAST_S = 5.0
"""Longest time for the manifest of a run that was cancelled, or has failed, seconds."""

_MESSAGE_CHARACTERS = 500

_DEFAULTS = BatchOptions()


async def run_batch(
    listing: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    downloader: Downloader,
    options: BatchOptions = _DEFAULTS,
    progress: Callable[[BatchProgress], None] | None = None,
) -> BatchSummary:
    """
    Fetch the recordings of a list as WAV files, and keep a ledger of it.

    The list is CSV in UTF-8 (commas, semicolons or tabs), JSON lines, or Parquet
    (``voicepipe[parquet]``), one row for each conversation: ``conversation_id`` with
    ``audio_url_agent`` and ``audio_url_customer``, one of which may be empty; or with
    ``audio_url`` and, if wanted, ``speaker_label`` (default ``speaker``) and
    ``channel`` (counted from 0). Upper and lower case in these names do not matter. All
    other columns are metadata, for the manifest, and kept as they are: no place for
    secrets. The list is read twice, row by row: ten million rows need no more memory
    than ten.

    A recording is done when its file is there as it was written and nothing that
    decides about it has changed: id, label, URL, channel, rate, and which damage is
    accepted. So the same call again does what is missing, has failed or has changed,
    also after the process was killed, and after the list was edited. Files that are in
    the list no more stay. A row that cannot be used has failed, and the others go on. A
    recording that is listed twice counts once, with the metadata of the first.

    ``manifest.csv`` and ``manifest.jsonl`` tell of each recording of the list, in its
    order, what has become of it and where it comes from. They have no query, user and
    password of a URL, but the SHA-256 of all of it. In the table, cells that a
    spreadsheet would take for a formula begin with an apostrophe.

    Args:
        listing: The list.
        directory: Where the WAV files, the manifests and the ledger are to be; made if
            it is missing. One batch at a time.
        downloader: Open, and not closed by this.
        options: What to do of the list, and how.
        progress: Called on the event loop after each recording, and while the list is
            read.

    Returns:
        What has become of it.

    Raises:
        BatchError: If the list as a whole cannot be read, lacks a column, or is changed
            meanwhile (retryable); if another batch is at work in the directory
            (retryable); if the ledger is of another version, damaged or not ours.
        DiskFullError: If there is no space left. Nothing more is begun then; what is
            done stays so.
        MissingExtraError: If the list is in Parquet, and pyarrow not installed.
        OSError: If the directory cannot be written to.

    Cancellation: what is done is in the ledger by then; the manifests are written, for
    5 s at most, and stay as they were where that is too short. Recordings under way are
    given up: one that was written in that very moment is fetched once more.

    Example:
        >>> async with Downloader() as downloader:  # doctest: +SKIP
        ...     with batch_progress_bar() as show:
        ...         print(
        ...             await run_batch(
        ...                 "calls.csv", "wavs", downloader=downloader, progress=show
        ...             )
        ...         )
    """
    folder = Path(directory)

    def opened(stack: contextlib.ExitStack) -> _Run:
        source = stack.enter_context(Listing(listing, options.format))
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_own(source.path, folder)
        ledger = stack.enter_context(Ledger(folder))
        return _Run(source, ledger, folder, options=options, report=progress)

    async with _held(opened) as run:
        await run.enlist()
        try:
            await run.fetch(downloader)
        except BaseException:
            with (
                anyio.move_on_after(_LAST_S, shield=True),
                contextlib.suppress(VoicepipeError, OSError),
            ):
                await run.write_manifests()
            raise
        await run.write_manifests()
        return await anyio.to_thread.run_sync(run.summary)


class _Run:
    """One run of a batch."""

    def __init__(
        self,
        listing: Listing,
        ledger: Ledger,
        folder: Path,
        *,
        options: BatchOptions,
        report: Callable[[BatchProgress], None] | None,
    ) -> None:
        self._ledger = ledger
        self._folder = folder
        self._options = options
        self._report = report
        self._entries = Entries(options)
        self._plan = Plan(listing, ledger, self._entries, folder, options=options)
        self._until: int | None = None
        self._total: int | None = None
        self._done = self._failed = 0

    async def enlist(self) -> None:
        """Put the list into the ledger."""
        async with _stepping(self._plan.enlist()) as steps:
            while await steps.step():
                self._tell()
        self._total = await anyio.to_thread.run_sync(self._count)
        self._tell()

    async def fetch(self, downloader: Downloader) -> None:
        """Do what is to be done."""
        options = self._options
        full: DiskFullError | None = None
        async with _stepping(self._plan.todo(self._until)) as steps:
            feed = Feed(steps)
            async with fetch_wavs(
                downloader,
                feed,
                self._folder,
                workers=options.workers,
                rate=options.rate,
                options=options.decode,
            ) as outcomes:
                async for outcome in outcomes:
                    entry = feed.take(outcome.index)
                    if isinstance(outcome.error, DiskFullError):
                        # Not the recording's fault: it stays to be done, and all that
                        # follows would fail the same way.
                        full = full or outcome.error
                        feed.stop()
                        continue
                    good = await anyio.to_thread.run_sync(self._record, entry, outcome)
                    self._done += good
                    self._failed += not good
                    self._tell()
        if full is not None:
            raise full

    async def write_manifests(self) -> None:
        """Write what has become of the list."""
        names = self._entries.metadata_names
        async with _stepping(
            manifest.write(self._folder, self._ledger, names)
        ) as steps:
            while await steps.step():
                pass

    def summary(self) -> BatchSummary:
        """Count what has become of the list; in a worker thread."""
        counts = self._ledger.counts()
        return BatchSummary(
            rows=self._plan.tally.rows,
            done=counts.get("done", 0),
            skipped=counts.get("skipped", 0),
            failed=counts.get("failed", 0),
            pending=counts.get("pending", 0),
            duplicates=self._plan.tally.duplicates,
            causes=self._ledger.causes(),
            manifest_csv=self._folder / manifest.CSV_NAME,
            manifest_jsonl=self._folder / manifest.JSONL_NAME,
        )

    def _count(self) -> int:
        """Give how many entries this run deals with, and see where it ends."""
        tally = self._plan.tally
        if self._options.limit is None:
            pending = self._ledger.counts().get("pending", 0)
        else:
            self._until, pending = self._ledger.first_rows(self._options.limit)
        return tally.skipped + tally.failed + pending

    def _record(self, entry: Entry, outcome: FetchOutcome) -> bool:
        """Keep what has become of an entry; in a worker thread."""
        assert entry.key is not None  # noqa: S101 - only such are to be done
        error: VoicepipeError | OSError | None = outcome.error
        path = self._folder / outcome.recording.filename
        result: Result | None = None
        if outcome.wav is not None:
            try:
                result = manifest.fetched(entry, outcome.wav, path, datetime.now(UTC))
            except OSError as exc:
                error = exc
        if result is None:
            assert error is not None  # noqa: S101 - there is one or the other
            result = Result(
                filename=path.name,
                fingerprint=entry.fingerprint,
                written=None,
                cause=type(error).__name__,
                error=_message(error),
            )
        self._ledger.record(entry.position, entry.key, result)
        return result.written is not None

    def _tell(self) -> None:
        if self._report is not None:
            tally = self._plan.tally
            self._report(
                BatchProgress(
                    done=self._done,
                    skipped=tally.skipped,
                    failed=tally.failed + self._failed,
                    total=self._total,
                )
            )


def _message(error: VoicepipeError | OSError) -> str:
    """Give an error's first words: those of ours hold no secrets."""
    if isinstance(error, VoicepipeError):
        return str(error).partition("\n")[0][:_MESSAGE_CHARACTERS]
    return error.strerror or type(error).__name__


def _refuse_own(listing: Path, folder: Path) -> None:
    """See that the list is none of the files that the batch writes."""
    own = (manifest.CSV_NAME, manifest.JSONL_NAME, LEDGER_NAME, LOCK_NAME)
    if listing.resolve() in {folder.resolve() / name for name in own}:
        msg = f"the list {listing.name} would be overwritten: give it another name"
        raise BatchError(msg)


@contextlib.asynccontextmanager
async def _held(opened: Callable[[contextlib.ExitStack], T]) -> AsyncIterator[T]:
    """Open something in a worker thread, and close it there, whatever happens."""
    stack = contextlib.ExitStack()
    # Whoever is cancelled from outside anyio, as by ``asyncio.timeout``, does not wait
    # for a thread: closing does.
    turn = threading.Lock()

    def enter() -> T:
        with turn:
            return opened(stack)

    def close() -> None:
        with turn:
            stack.close()

    try:
        yield await anyio.to_thread.run_sync(enter)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(close)


@contextlib.asynccontextmanager
async def _stepping(work: Generator[T, None, None]) -> AsyncIterator[Steps[T]]:
    """Run a generator in worker threads, and close it there."""
    steps = Steps(work)
    try:
        yield steps
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(steps.close)
