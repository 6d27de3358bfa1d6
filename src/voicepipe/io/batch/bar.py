"""A bar that shows how far a batch has come."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from voicepipe.io.batch.values import BatchProgress


@contextlib.contextmanager
def batch_progress_bar(
    *, description: str = ""
) -> Iterator[Callable[[BatchProgress], None]]:
    """
    Show one bar for a batch, in a terminal or a notebook (``tqdm.auto``).

    Args:
        description: Put before the bar, such as the list's name.

    Yields:
        What ``run_batch`` takes as ``progress``.
    """
    from tqdm.auto import tqdm

    with tqdm(desc=description or None, unit="wav") as bar:

        def show(event: BatchProgress) -> None:
            if event.total is not None and bar.total != event.total:
                bar.total = event.total
            bar.set_postfix(
                done=event.done,
                skipped=event.skipped,
                failed=event.failed,
                refresh=False,
            )
            bar.update(event.done + event.skipped + event.failed - bar.n)

        yield show
