"""Stored files that are deleted when they are old."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread


if TYPE_CHECKING:
    import os


_log = logging.getLogger(__name__)

_DAY_S = 86_400.0


async def keep_for_days(
    folder: str | os.PathLike[str],
    days: float,
    *,
    pattern: str = "*.wav",
    every_s: float = 3_600.0,
) -> None:
    """
    Delete files that are older than so many days, now and every hour; never ends.

    The time of a file's last change counts. Several processes may do it side by side.

    Args:
        folder: Where the files are; need not exist.
        days: How old they may get; 0 for any age.
        pattern: Which files.
        every_s: How often to look, seconds.
    """
    while days > 0:
        gone = await anyio.to_thread.run_sync(_delete, Path(folder), days, pattern)
        if gone:
            _log.info("deleted %d files older than %g days", gone, days)
        await anyio.sleep(every_s)


def _delete(folder: Path, days: float, pattern: str) -> int:
    oldest = time.time() - days * _DAY_S
    gone = 0
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_mtime < oldest:
                path.unlink()
                gone += 1
    return gone
