"""
Fetch the recordings of a list: ``python batch.py calls.csv [--one]``.

Run again, it does what is missing, failed or changed.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import anyio
from settings import SETTINGS

from voicepipe import (
    BatchOptions,
    BatchSummary,
    Downloader,
    VoicepipeError,
    batch_progress_bar,
    run_batch,
)


async def run(
    listing: Path, folder: Path, options: BatchOptions
) -> BatchSummary | None:
    """Work the list off; ``None`` if a signal has stopped it."""
    summary = None
    async with anyio.create_task_group() as group:

        async def stop_on_signal() -> None:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    group.cancel_scope.cancel()

        group.start_soon(stop_on_signal)
        with batch_progress_bar(description=listing.name) as progress:
            async with Downloader(SETTINGS.downloads) as downloader:
                summary = await run_batch(
                    listing,
                    folder,
                    downloader=downloader,
                    options=options,
                    progress=progress,
                )
        group.cancel_scope.cancel()
    return summary


def main() -> int:
    """Read the command line, and tell what has become of the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("listing", type=Path, help="CSV, JSON lines or Parquet")
    parser.add_argument("--one", action="store_true", help="do one row, to try it out")
    parser.add_argument("--output-dir", type=Path, default=Path(SETTINGS.storage))
    parser.add_argument(
        "--ignore-query",
        action="store_true",
        help="links that are signed anew are the same recordings",
    )
    arguments = parser.parse_args()
    options = BatchOptions(
        limit=1 if arguments.one else None, ignore_query=arguments.ignore_query
    )
    summary, failed = None, False
    try:
        arguments.output_dir.mkdir(parents=True, exist_ok=True)
        summary = anyio.run(run, arguments.listing, arguments.output_dir, options)
    except* (VoicepipeError, OSError) as errors:
        # In a group: it was raised beside the task that waits for signals.
        failed = True
        for error in errors.exceptions:
            print(f"batch failed: {error}", file=sys.stderr)
    if failed:
        return 2
    if summary is None:
        print("stopped; run it again to go on", file=sys.stderr)
        return 130
    print(summary)
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())
