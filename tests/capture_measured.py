"""
Records sessions in this process, and tells what memory that takes.

Arguments: folder, what to measure (``long``: one session of so many hours in scaled
time; ``many``: so many sessions that wait), and the number. The answer on stdout is
JSON, sizes in KiB.
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import time
from pathlib import Path

import anyio
import numpy as np

from voicepipe.io.capture.store import CaptureStore
from voicepipe.io.capture.values import CaptureOptions, SessionSpec


RATE = 8_000

# Sound in one chunk, seconds.
CHUNK_S = 1.0


def own_kib() -> int:
    gc.collect()
    status = Path("/proc/self/status").read_text("ascii")
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])


async def record_long(folder: str, hours: float) -> dict[str, float]:
    seconds = round(hours * 3_600)
    begin = time.monotonic()
    # A busy machine may stop this process for a second: nobody is idle then.
    options = CaptureOptions(
        clock=lambda: begin + (time.monotonic() - begin) * 1_000,
        idle_s=1e7,
        max_duration_s=1e7,
    )
    samples = np.arange(RATE, dtype="<i2")
    sizes = []
    async with CaptureStore(folder, options) as store:
        connection = await store.create(SessionSpec(rate=RATE))
        for second in range(seconds):
            await connection.write((samples + second).tobytes())
            # What a slow disk is behind is not what is measured.
            while store.pending_bytes > 1 << 20:  # noqa: ASYNC110
                await anyio.sleep(0.005)
            if second % (seconds // 50) == 0:
                sizes.append(own_kib())
        info = await connection.close_session()
    assert info.duration == seconds
    # The first ones still load what is needed.
    later = sizes[5:]
    slope = np.polyfit(np.linspace(0, hours * 0.9, len(later)), later, 1)[0]
    return {"first_kib": later[0], "last_kib": later[-1], "kib_per_hour": slope}


async def hold_many(folder: str, count: float) -> dict[str, float]:
    options = CaptureOptions(max_sessions=round(count) + 10)
    async with CaptureStore(folder, options) as store:
        connections = []
        for number in range(round(count) + 10):
            connection = await store.create(SessionSpec(rate=RATE))
            await connection.write(bytes(4_096))
            connections.append(connection)
            if number == 9:
                before = own_kib()
        while store.pending_bytes:  # noqa: ASYNC110
            await anyio.sleep(0.05)
        return {"kib_per_session": (own_kib() - before) / count}


if __name__ == "__main__":
    measure = {"long": record_long, "many": hold_many}[sys.argv[2]]
    told = anyio.run(measure, sys.argv[1], float(sys.argv[3]))
    os.write(1, json.dumps(told).encode())
