"""Live audio: what a chunk costs, how many connections there may be, and memory."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import attrs
from case import Case

from voicepipe import CaptureStore, SessionSpec


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


HERE = Path(__file__).parent
APP = HERE.parent / "examples" / "stream_server" / "main.py"

RATE = 44_100
CHUNK = 4_096
HOUR_CHUNKS = 3_600 * RATE * 2 // CHUNK
STEPS = (100, 200, 400)

WS = "/api/ws/audio"


@attrs.frozen(kw_only=True)
class Server:
    """A server under load: its process, its port and where clients connect."""

    process: subprocess.Popen[bytes]
    port: int
    path: str

    def resident_mib(self) -> float:
        """Give the memory that it holds now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def load(self, kind: str, connections: int, *rest: float) -> dict[str, Any]:
        """Put load on it; see ``ws_load.py``."""
        command = [sys.executable, HERE / "ws_load.py", kind, self.port, self.path]
        told = subprocess.run(
            [str(part) for part in (*command, connections, *rest)],
            capture_output=True,
            check=True,
            text=True,
        )
        found: dict[str, Any] = json.loads(told.stdout)
        return found


@contextlib.contextmanager
def ours(folder: Path, *, rate: int = RATE) -> Iterator[Server]:
    """Run the streaming server, with room for the load and nothing else changed."""
    with free_port() as port:
        env = {
            **os.environ,
            "PORT": str(port),
            "AUDIO_STORAGE_PATH": str(folder),
            "MAX_CONCURRENT_SESSIONS": "2000",
            "VOICEPIPE_RATE_LIMIT": "0",
        }
        command = [sys.executable, str(APP)]
    with running(command, env, port) as process:
        yield Server(
            process=process, port=port, path=f"{WS}?sample_rate={rate}&user_id=bench"
        )


@contextlib.contextmanager
def bare(folder: Path) -> Iterator[Server]:
    """Run a handler that appends and answers."""
    folder.mkdir(parents=True, exist_ok=True)
    with free_port() as port:
        command = [sys.executable, str(HERE / "bare_ws.py"), str(port), str(folder)]
    with running(command, dict(os.environ), port) as process:
        yield Server(process=process, port=port, path=WS)


@contextlib.contextmanager
def free_port() -> Iterator[int]:
    """Give a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        yield free.getsockname()[1]


@contextlib.contextmanager
def running(
    command: Sequence[str], env: dict[str, str], port: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server and wait until it listens."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            for _ in range(200):
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                time.sleep(0.05)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def capture_cases(folder: Path, stack: contextlib.ExitStack) -> list[Case]:
    """A hundred connections that wait for each acknowledgement."""
    real = stack.enter_context(ours(folder / "real"))
    least = stack.enter_context(bare(folder / "least"))
    return [
        Case(
            name="`stream_server`, 100 connections, 300 chunks of 4 KiB in turn",
            peer_name="a bare uvicorn handler: append, answer the same JSON",
            ours=functools.partial(real.load, "turns", 100, 300, CHUNK),
            peer=functools.partial(least.load, "turns", 100, 300, CHUNK),
        )
    ]


def capture_lines(folder: Path) -> list[str]:
    """Measure the rest, a paragraph for each."""
    return [
        chunk_costs(folder / "costs"),
        live_line(folder, connections=100, seconds=60, rate=RATE, interval=0.05),
        live_line(folder, connections=1_000, seconds=30, rate=16_000, interval=0.1),
        stalled_line(folder),
    ]


def chunk_costs(folder: Path) -> str:
    """Compare what so many chunks cost with rebuilding the file for each."""
    mine = {count: by_store(folder / f"{count}", count) for count in STEPS}
    hour = by_store(folder / "hour", HOUR_CHUNKS)
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return "Chunks against rebuilding with ffmpeg: not measured, no ffmpeg."
    theirs = by_rebuilding(folder / "rebuilt", ffmpeg)
    told = "; ".join(
        f"{count} chunks {mine[count]:.3f} s against {theirs[count]:.1f} s "
        f"(**{theirs[count] / mine[count]:.0f} times**)"
        for count in STEPS
    )
    first, each = 1e6 * mine[STEPS[-1]] / STEPS[-1], 1e6 * hour / HOUR_CHUNKS
    return (
        "`CaptureStore`, chunks of 4 KiB, each acknowledged before the next, against "
        f"rebuilding the file with ffmpeg for each chunk: {told}. One hour at "
        f"{RATE:,} Hz, {HOUR_CHUNKS:,} chunks: {hour:.1f} s, {each:.0f} µs for each; "
        f"of the first {STEPS[-1]} {first:.0f} µs, beginning and closing included."
    )


def by_store(folder: Path, count: int) -> float:
    """Record so many chunks, one after the other, and close."""
    chunk = os.urandom(CHUNK)

    async def record() -> float:
        async with CaptureStore(folder) as store:
            begin = time.perf_counter()
            connection = await store.create(SessionSpec(rate=RATE))
            for _ in range(count):
                await connection.write(chunk)
            await connection.close_session()
            return time.perf_counter() - begin

    return anyio.run(record)


def by_rebuilding(folder: Path, ffmpeg: str) -> dict[int, float]:
    """Do as the replaced system did: with ffmpeg, old file and chunk to a new file."""
    folder.mkdir(parents=True)
    chunk, now, new = folder / "chunk.raw", folder / "now.wav", folder / "new.wav"
    chunk.write_bytes(os.urandom(CHUNK))
    raw = ["-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", str(chunk)]
    quiet = [ffmpeg, "-v", "error", "-y"]
    took: dict[int, float] = {}
    begin = time.perf_counter()
    subprocess.run([*quiet, *raw, str(now)], check=True)
    for count in range(2, STEPS[-1] + 1):
        joined = ["-i", str(now), *raw, "-filter_complex", "concat=n=2:v=0:a=1"]
        subprocess.run([*quiet, *joined, str(new)], check=True)
        new.replace(now)
        if count in STEPS:
            took[count] = time.perf_counter() - begin
    return took


def live_line(
    folder: Path, *, connections: int, seconds: int, rate: int, interval: float
) -> str:
    """Send in real time, the load generator on the same machine."""
    size = round(rate * interval) * 2
    found = {}
    for name, make in (
        ("ours", functools.partial(ours, rate=rate)),
        ("a bare handler", bare),
    ):
        with make(folder / f"live-{name}-{connections}") as server:
            before = server.resident_mib()
            found[name] = server.load("live", connections, seconds, size, interval)
            grown = server.resident_mib() - before
            found[name]["kib"] = 1024 * grown / connections
    told = "; ".join(
        f"{name}: p50 {one['p50_ms']:.1f} ms, p99 **{one['p99_ms']:.1f} ms**, "
        f"most {one['max_ms']:.0f} ms, {one['late']} of {one['acks']:,} later than the "
        f"next chunk, {one['kib']:.0f} KiB of memory for each connection"
        for name, one in found.items()
    )
    return (
        f"{connections:,} sessions in real time for {seconds} s, {rate:,} Hz mono in "
        f"chunks of {1e3 * interval:.0f} ms, the load generator on the same two cores, "
        f"from the moment a chunk was due to its acknowledgement: {told}."
    )


def stalled_line(folder: Path) -> str:
    """Let fifty senders stop one byte before the end of ten megabytes."""
    with ours(folder / "stalled") as server:
        before = server.resident_mib()
        found = server.load("stall", 50, 5, (10 << 20) - 1)
        grown = server.resident_mib() - before
        begin = time.perf_counter()
        url = f"http://127.0.0.1:{server.port}/health"
        with urllib.request.urlopen(url, timeout=10) as answer:
            answer.read()
        health_ms = 1e3 * (time.perf_counter() - begin)
    return (
        f"50 senders that stall one byte before the end of a 10 MiB frame "
        f"({found['sent'] / (1 << 20):.0f} MiB sent): the server grows by "
        f"**{grown:.0f} MiB**, and answers `/health` in {health_ms:.0f} ms afterwards."
    )
