"""
Download one file and print how much memory that took, as JSON; MiB.

Arguments: URL, path, most bytes that are allowed.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import anyio

from voicepipe.errors import VoicepipeError
from voicepipe.io.download.downloader import Downloader
from voicepipe.io.download.values import DownloadOptions


def peak_mib() -> float:
    # Not getrusage: its peak counts what the process had been before exec.
    status = Path("/proc/self/status").read_text("ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


async def main(url: str, path: str, max_bytes: str) -> None:
    options = DownloadOptions(
        allow_hosts=(urlsplit(url).netloc,),
        max_bytes=int(max_bytes),
        attempts=1,
        durable=False,
    )
    error, size = None, 0
    async with Downloader(options) as downloader:
        before = peak_mib()
        try:
            size = (await downloader.fetch(url, path)).size
        except VoicepipeError as exc:
            error = type(exc).__name__
    print(json.dumps({"grown": peak_mib() - before, "size": size, "error": error}))


anyio.run(main, sys.argv[1], sys.argv[2], sys.argv[3])
