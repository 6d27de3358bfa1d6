"""Run the main job on a file and print the peak memory it took, as JSON; MiB."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path

import anyio
import psutil

from voicepipe import (
    ChannelDiarizer,
    ExtractiveAnalyzer,
    Pipeline,
    PocketSphinxTranscriber,
)
from voicepipe.testing import FakeTranscriber


def peak_mib(pid: int) -> float:
    # Not getrusage: its peak counts what the process had been before exec.
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


async def main(path: str, engine: str) -> None:
    transcriber = FakeTranscriber() if engine == "fake" else PocketSphinxTranscriber()
    pipeline = Pipeline(transcriber, ExtractiveAnalyzer(), diarizer=ChannelDiarizer())
    begin = time.perf_counter()
    found = await pipeline.run(path)
    took = time.perf_counter() - begin
    children = psutil.Process().children()
    print(
        json.dumps(
            {
                "duration_s": found.duration,
                "segments": len(found.transcript.segments),
                "own_mib": peak_mib(os.getpid()),
                "helpers_mib": sum(peak_mib(child.pid) for child in children),
                "took_s": took,
            }
        )
    )


anyio.run(main, *sys.argv[1:])
