"""Many recordings standardized, side by side, in helper processes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import attrs

from voicepipe.errors import AudioError
from voicepipe.io.convert import Order
from voicepipe.io.isolated import helpers
from voicepipe.io.options import DEFAULTS
from voicepipe.io.source import AudioSource
from voicepipe.io.write import standardized
from voicepipe.tasks import task_group
from voicepipe.types.audio import WavFile


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from anyio.streams.memory import MemoryObjectSendStream

    from voicepipe.io.options import DecodeOptions
    from voicepipe.proc.pool import ChildPool


@attrs.frozen(kw_only=True)
class Standardized:
    """
    What has become of one recording of many.

    Attributes:
        index: Its place among the pairs, from 0.
        source: What was to be converted.
        target: Where it was to be written.
        file: What was written; ``None`` after an error.
        error: Why nothing was written; ``None`` if all is well.
    """

    index: int
    source: AudioSource
    target: Path
    file: WavFile | None = None
    error: AudioError | OSError | None = None


@contextlib.asynccontextmanager
async def standardize_many(
    pairs: Iterable[tuple[AudioSource, str | os.PathLike[str]]],
    *,
    workers: int | None = None,
    rate: int = 16_000,
    channels: int | None = 1,
    options: DecodeOptions = DEFAULTS,
) -> AsyncIterator[AsyncIterator[Standardized]]:
    """
    Convert many recordings as ``standardize`` does, each in a helper process.

    A context manager that gives the outcomes as they come, not in order. Pairs are
    taken one by one as workers become free, and a worker waits until its outcome is
    taken, so that ten million of them need no more memory than ten. What goes wrong
    with one recording is told in its outcome, and the others go on. Leaving the block
    stops what is under way.

    Args:
        pairs: What to convert and where to write it, on the event loop: it must not
            block.
        workers: Helper processes, each on a core; ``None`` for as many as there are
            cores.
        rate: See ``standardize``.
        channels: See ``standardize``.
        options: What to accept; always ``isolated``.

    Yields:
        The outcomes, to be iterated over, one for each pair.

    Raises:
        ValueError: If an argument is out of its range.
        Exception: What iterating over the pairs raised.

    Cancellation: takes effect at once; targets that are not complete are as they were.

    Example:
        >>> from tqdm.asyncio import tqdm
        >>> async with standardize_many(pairs, workers=8) as outcomes:  # doctest: +SKIP
        ...     async for outcome in tqdm(outcomes, total=len(pairs)):
        ...         if outcome.error is not None:
        ...             print(outcome.error)
    """
    if workers is None:
        workers = os.cpu_count() or 1
    if workers < 1:
        msg = f"workers must be at least 1, not {workers}"
        raise ValueError(msg)
    pool = helpers(options.limits, workers)
    form = Order(source=b"", options=options, rate=rate, channels=channels)
    left = enumerate(pairs)
    send, receive = anyio.create_memory_object_stream[Standardized]()
    async with send, receive, task_group() as group:
        # Twice as many as helpers: half of them bring their files to disk.
        for _ in range(2 * workers):
            group.start_soon(_work, left, form, pool, send.clone())
        send.close()
        yield receive
        group.cancel_scope.cancel()


async def _work(
    left: Iterator[tuple[int, tuple[AudioSource, str | os.PathLike[str]]]],
    form: Order,
    pool: ChildPool,
    send: MemoryObjectSendStream[Standardized],
) -> None:
    """Convert one recording after the other until there are no more."""
    async with send:
        for index, (source, target) in left:
            file = error = None
            try:
                order = attrs.evolve(form, source=source)
                file = await standardized(order, target, pool)
            except (AudioError, OSError) as exc:
                error = exc
            await send.send(
                Standardized(
                    index=index,
                    source=source,
                    target=Path(target),
                    file=file,
                    error=error,
                )
            )
