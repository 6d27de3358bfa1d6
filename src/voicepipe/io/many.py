"""Many recordings standardized, side by side, in helper processes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from voicepipe.errors import AudioError
from voicepipe.io.convert import Order
from voicepipe.io.isolated import helpers
from voicepipe.io.options import DEFAULTS
from voicepipe.io.source import AudioSource
from voicepipe.io.write import standardized
from voicepipe.tasks import side_by_side
from voicepipe.types.audio import WavFile


if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable

    from voicepipe.io.options import DecodeOptions


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
    pairs: Iterable[tuple[AudioSource, str | os.PathLike[str]]]
    | AsyncIterable[tuple[AudioSource, str | os.PathLike[str]]],
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
        pairs: What to convert and where to write it; taken on the event loop, so it
            must not block.
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

    async def convert(
        index: int, pair: tuple[AudioSource, str | os.PathLike[str]]
    ) -> Standardized:
        source, target = pair
        file = error = None
        try:
            file = await standardized(attrs.evolve(form, source=source), target, pool)
        except (AudioError, OSError) as exc:
            error = exc
        return Standardized(
            index=index, source=source, target=Path(target), file=file, error=error
        )

    # Twice as many as helpers: half of them bring their files to disk.
    async with side_by_side(pairs, convert, 2 * workers) as outcomes:
        yield outcomes
