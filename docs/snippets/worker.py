"""Work on the jobs in a database until SIGTERM: python worker.py DATABASE_URL."""

from __future__ import annotations

import signal
import sys

import anyio

from voicepipe import (
    ExtractiveAnalyzer,
    Pipeline,
    PocketSphinxTranscriber,
    SqlJobStore,
    Worker,
)


async def main(url: str) -> None:
    """Take jobs, one at a time."""
    pipeline = Pipeline(PocketSphinxTranscriber(), ExtractiveAnalyzer())
    async with SqlJobStore(url) as store, anyio.create_task_group() as group:
        worker = Worker(store, pipeline.work)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            group.start_soon(drain_when_told, worker, signals)
            await worker.run()
        group.cancel_scope.cancel()


async def drain_when_told(worker: Worker, signals: object) -> None:
    """Let the worker end what it is at, when a signal comes."""
    async for _ in signals:
        worker.drain()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
