"""A bar that shows how far a download has come."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from voicepipe.io.download.values import DownloadProgress


@contextlib.contextmanager
def download_progress_bar(
    *, description: str = ""
) -> Iterator[Callable[[DownloadProgress], None]]:
    """
    Show one bar for a download, in a terminal or a notebook (``tqdm.auto``).

    Args:
        description: Put before the bar, such as the file's name.

    Yields:
        What ``Downloader.fetch`` takes as ``progress``.
    """
    from tqdm.auto import tqdm

    with tqdm(
        desc=description or None, unit="B", unit_scale=True, unit_divisor=1024
    ) as bar:

        def show(event: DownloadProgress) -> None:
            bar.total = event.size
            bar.update(event.received - bar.n)

        yield show
        # The last step may have come too soon after the one before to be drawn.
        bar.refresh()
