"""
Streams sources into a store until it is killed, and tells what was acknowledged.

Arguments: event loop, folder of the store, folder of the sources, pause between two
chunks (seconds), seed. Each source is the file of one session, whose user has its name;
a session that is there is gone on with, from a little before where it is. Each report
on stdout is the number of the source and the bytes that were acknowledged, ``<IQ``.
When all sources are told, the program ends.
"""

from __future__ import annotations

import os
import random
import struct
import sys
from pathlib import Path

import anyio

from voicepipe.io.capture.store import CaptureStore
from voicepipe.io.capture.values import SessionSpec


REPORT = struct.Struct("<IQ")

RATE = 16_000
"""Of all sessions; mono."""

# Before where it is: what is sent again must not count again.
_OVERLAP = 5_000


async def main(folder: str, sources: str, pause_s: float, seed: int) -> None:
    chance = random.Random(seed)
    async with CaptureStore(folder) as store:
        there = {info.user_id: info for info in await store.list()}

        async def stream(number: int, path: Path) -> None:
            data = path.read_bytes()
            name = path.name
            begin = 0
            if name in there:
                received = there[name].bytes_received
                begin = max(0, received - chance.randint(0, _OVERLAP))
                session = there[name].session_id
                connection = await store.join(session, offset=begin)
            else:
                form = name if name in {"mp3", "flac", "aac"} else "wav"
                spec = SessionSpec(rate=RATE, format=form, user_id=name)  # type: ignore[arg-type]
                connection = await store.create(spec)
            while begin < len(data):
                # Compressed sound is long for its bytes.
                size = chance.randint(1, 500 if name in {"mp3", "aac"} else 8_000)
                ack = await connection.write(data[begin : begin + size])
                begin += size
                os.write(1, REPORT.pack(number, ack.bytes_received))
                await anyio.sleep(pause_s * chance.random() * 2)

        async with anyio.create_task_group() as group:
            for number, path in enumerate(sorted(Path(sources).iterdir())):
                group.start_soon(stream, number, path)


if __name__ == "__main__":
    anyio.run(
        main,
        sys.argv[2],
        sys.argv[3],
        float(sys.argv[4]),
        int(sys.argv[5]),
        backend=sys.argv[1],
    )
