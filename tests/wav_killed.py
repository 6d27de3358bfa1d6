"""
Writes a WAV file until it is killed, and tells after each write what is in it.

Arguments: path, number of channels, seed, pause between writes (seconds). Each report
on stdout is the number of bytes of samples written so far and the time
(``time.monotonic``), ``<Qd``, made before the next write begins.
"""

from __future__ import annotations

import os
import random
import struct
import sys
import time

import numpy as np

from voicepipe.io.wav.writer import WavWriter


REPORT = struct.Struct("<Qd")


def sound(first: int, samples: int) -> bytes:
    """Give some samples out of an endless row, each of them told by its place."""
    places = np.arange(first, first + samples, dtype=np.uint64)
    return (places * np.uint64(40_503) >> np.uint64(4)).astype("<u2").tobytes()


def main(path: str, channels: int, seed: int, pause_s: float) -> None:
    chance = random.Random(seed)
    writer = WavWriter(path, rate=48_000, channels=channels)
    done = 0
    while True:
        # The first write brings a frame at least; the others end anywhere.
        size = chance.randint(1, 640) if done else 2 * channels
        row = sound(done // 2, size // 2 + 2)
        writer.write_pcm(row[done % 2 : done % 2 + size])
        done += size
        os.write(1, REPORT.pack(done - writer.partial_bytes, time.monotonic()))
        if pause_s:
            time.sleep(pause_s)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
