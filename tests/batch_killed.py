"""
Runs a batch until it ends or is killed, and tells of each recording that is done.

Arguments: the list, the folder, the server's host and port.
"""

from __future__ import annotations

import sys

import anyio

from voicepipe.io.batch.run import run_batch
from voicepipe.io.batch.values import BatchOptions, BatchProgress
from voicepipe.io.download.downloader import Downloader
from voicepipe.io.download.values import DownloadOptions


def tell(event: BatchProgress) -> None:
    if event.total is not None:
        print(event.done, flush=True)


async def main(listing: str, folder: str, host: str) -> None:
    options = DownloadOptions(allow_hosts=(host,), connections=4, attempts=1)
    print("begun", flush=True)
    async with Downloader(options) as downloader:
        summary = await run_batch(
            listing,
            folder,
            downloader=downloader,
            options=BatchOptions(rate=8_000, workers=1),
            progress=tell,
        )
    print("ended", summary.done, summary.skipped, summary.failed, flush=True)


anyio.run(main, *sys.argv[1:])
