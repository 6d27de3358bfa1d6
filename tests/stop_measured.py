"""
Convert a recording that should be stopped, and tell how it went.

Arguments: the verb (``standardize``, ``iter_audio``, ``read_audio``), the recording,
the target, the ``DecodeOptions`` as JSON, and how often to do it. Standard output: JSON
with ``error``, ``message``, the ``frames`` given before it, ``took_s``, the processor
time of it all ``busy_s``, and the peaks ``own_mib`` and ``helpers_mib``.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import psutil
from own_peak import peak_bytes

from voicepipe import (
    AudioError,
    DecodeOptions,
    iter_audio,
    read_audio,
    standardize,
)


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Helpers(threading.Thread):
    """
    Looks at the helper processes, which may be gone when the work is done.

    Attributes:
        peak_mib: The most memory that they have had, together; Linux only.
        busy_s: Processor time of each, by its process id.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mib = 0.0
        self.busy_s: dict[int, float] = {}
        self._done = threading.Event()

    def run(self) -> None:
        """Look fifty times a second."""
        own = psutil.Process()
        while not self._done.wait(0.02):
            children = own.children()
            for one in children:
                self.busy_s[one.pid] = max(busy_s(one), self.busy_s.get(one.pid, 0.0))
            total = sum(map(peak_kib, children))
            self.peak_mib = max(self.peak_mib, total / 1024)

    def stop(self) -> float:
        """End, and give the peak."""
        self._done.set()
        self.join()
        return self.peak_mib


def peak_kib(process: psutil.Process) -> int:
    """Give the peak memory of a process, zero where it is gone."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text("ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) if found else 0


def busy_s(process: psutil.Process) -> float:
    """Give the processor time of a process so far, zero where it is gone."""
    try:
        used = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(used.user + used.system)


async def work(
    verb: str, source: str, target: str, options: DecodeOptions
) -> AsyncIterator[int]:
    """Read or convert it; give how many frames came."""
    if verb == "standardize":
        yield (await standardize(source, target, options=options)).frames
    elif verb == "read_audio":
        yield (await read_audio(source, options=options)).frames
    else:
        async for block in iter_audio(source, options=options):
            yield block.frames


async def outcome(
    verb: str, source: str, target: str, options: DecodeOptions
) -> dict[str, Any]:
    """Give how it ended."""
    frames = 0
    try:
        async for count in work(verb, source, target, options):
            frames += count
    except AudioError as exc:
        return {"error": type(exc).__name__, "message": str(exc), "frames": frames}
    return {"error": None, "message": "", "frames": frames}


async def main(arguments: list[str]) -> dict[str, Any]:
    """Do it, and measure."""
    verb, source, target, chosen, times = arguments
    options = DecodeOptions(**json.loads(chosen))
    helpers = Helpers()
    helpers.start()
    begin = time.perf_counter()
    found: dict[str, Any] = {}
    for _ in range(int(times)):
        found = await outcome(verb, source, target, options)
    took_s = time.perf_counter() - begin
    own_mib = peak_bytes() / (1 << 20)
    measured = {"own_mib": own_mib, "helpers_mib": helpers.stop()}
    busy = time.process_time() + sum(helpers.busy_s.values())
    return {**found, **measured, "took_s": took_s, "busy_s": busy}


print(json.dumps(anyio.run(main, sys.argv[1:])))
