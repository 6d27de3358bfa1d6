"""Recordings fetched and standardized: one of them downloads while another decodes."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
import attrs

from voicepipe.errors import AudioError, VoicepipeError
from voicepipe.io.convert import Order
from voicepipe.io.download.values import DownloadRequest
from voicepipe.io.isolated import helpers
from voicepipe.io.options import DEFAULTS
from voicepipe.io.recordings import FetchedWav, FetchOutcome
from voicepipe.io.write import standardized
from voicepipe.tasks import side_by_side


if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable

    from voicepipe.io.download.downloader import Downloader
    from voicepipe.io.options import DecodeOptions
    from voicepipe.io.recordings import Recording
    from voicepipe.proc.pool import ChildPool


async def fetch_wav(
    downloader: Downloader,
    recording: Recording,
    directory: str | os.PathLike[str],
    *,
    rate: int = 16_000,
    options: DecodeOptions = DEFAULTS,
) -> FetchedWav:
    """
    Download a recording and convert it to a 16-bit PCM WAV file.

    The file is ``{conversation_id}_{speaker_label}.wav`` in the directory. It appears
    when it is whole and on disk, and replaces one of that name; what was downloaded is
    removed. The recording is decoded in a helper process with limits, whatever the
    options say: its URL and its bytes are somebody else's.

    Args:
        downloader: Who downloads.
        recording: What to fetch.
        directory: Where to write; it must exist.
        rate: Frames per second to write, 4,000 to 192,000.
        options: What to accept.

    Returns:
        What was fetched and written.

    Raises:
        FetchError: As ``Downloader.fetch``.
        AudioError: As ``read_audio``.
        DiskFullError: If there is no space left.
        OSError: If the file cannot be written.
        ValueError: If an argument is out of its range.

    Cancellation: takes effect at once; a large recording that has come so far is kept
    beside the target for the next time.
    """
    pool = helpers(options.limits, os.cpu_count() or 1)
    form = Order(source=b"", options=options, rate=rate, channels=1)
    target = Path(directory) / recording.filename
    return await _fetched(downloader, recording, target, form=form, pool=pool)


@contextlib.asynccontextmanager
async def fetch_wavs(
    downloader: Downloader,
    recordings: Iterable[Recording] | AsyncIterable[Recording],
    directory: str | os.PathLike[str],
    *,
    workers: int | None = None,
    rate: int = 16_000,
    options: DecodeOptions = DEFAULTS,
) -> AsyncIterator[AsyncIterator[FetchOutcome]]:
    """
    Fetch many recordings as ``fetch_wav`` does, side by side.

    While some download, others are decoded, each in a helper process. A context manager
    that gives the outcomes as they come, not in order. Recordings are taken one by one,
    and wait until their outcome is taken: ten million need no more memory than ten.
    What goes wrong with one is told in its outcome, and the others go on. Leaving the
    block stops what is under way.

    Args:
        downloader: Who downloads, as many at a time as its options say.
        recordings: What to fetch, taken on the event loop: it must not block. Two with
            the same file name are fetched one after the other, and one of them stays.
        directory: Where to write; it must exist.
        workers: Helper processes, each on a core; ``None`` for as many as there are
            cores.
        rate: See ``fetch_wav``.
        options: What to accept.

    Yields:
        The outcomes, to be iterated over, one for each recording.

    Raises:
        ValueError: If an argument is out of its range.
        Exception: What iterating over the recordings raised.

    Example:
        >>> async with fetch_wavs(downloader, recordings, "wavs") as outcomes:
        ...     async for outcome in outcomes:  # doctest: +SKIP
        ...         print(outcome.recording.filename, outcome.error)
    """
    if workers is None:
        workers = os.cpu_count() or 1
    if workers < 1:
        msg = f"workers must be at least 1, not {workers}"
        raise ValueError(msg)
    pool = helpers(options.limits, workers)
    form = Order(source=b"", options=options, rate=rate, channels=1)
    folder = Path(directory)

    async def fetch(index: int, recording: Recording) -> FetchOutcome:
        wav = error = None
        try:
            target = folder / recording.filename
            wav = await _fetched(downloader, recording, target, form=form, pool=pool)
        except (VoicepipeError, OSError) as exc:
            error = exc
        return FetchOutcome(index=index, recording=recording, wav=wav, error=error)

    # Some download, some decode, some bring their files to disk.
    at_work = downloader.options.connections + 2 * workers
    async with side_by_side(recordings, fetch, at_work) as outcomes:
        yield outcomes


async def _fetched(
    downloader: Downloader,
    recording: Recording,
    target: Path,
    *,
    form: Order,
    pool: ChildPool,
) -> FetchedWav:
    request = DownloadRequest(url=recording.url, path=target, headers=recording.headers)
    async with downloader.transfer(request) as transfer:
        source, download = await transfer.settle()
        order = attrs.evolve(form, source=source, channel=recording.channel)
        try:
            file = await standardized(order, target, pool)
        except AudioError as exc:
            # The unfinished file's name says nothing to anybody.
            exc.source = download.url
            raise
        # Before another recording of that name may replace it.
        size, sha256 = await anyio.to_thread.run_sync(_facts, target)
    return FetchedWav(
        recording=recording, source=download, file=file, size=size, sha256=sha256
    )


def _facts(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()
