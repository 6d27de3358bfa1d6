"""
Runs a batch twice and prints what came of it, and its peak memory, as JSON.

Arguments: the list, the folder, the server's host and port.
"""

from __future__ import annotations

import json
import sys
import time

import anyio
from own_peak import peak_bytes

from voicepipe.io.batch.run import run_batch
from voicepipe.io.batch.values import BatchOptions
from voicepipe.io.download.downloader import Downloader
from voicepipe.io.download.values import DownloadOptions


async def main(listing: str, folder: str, host: str) -> None:
    options = DownloadOptions(allow_hosts=(host,), attempts=1, durable=False)
    counts, took, peaks = [], [], []
    async with Downloader(options) as downloader:
        for retry in (True, False):
            begin = time.perf_counter()
            summary = await run_batch(
                listing,
                folder,
                downloader=downloader,
                options=BatchOptions(rate=8_000, workers=1, retry_failed=retry),
            )
            took.append(time.perf_counter() - begin)
            counts.append([summary.done, summary.skipped, summary.failed])
            peaks.append(peak_bytes() / (1 << 20))
    print(json.dumps({"counts": counts, "took_s": took, "peak_mib": peaks}))


anyio.run(main, *sys.argv[1:])
