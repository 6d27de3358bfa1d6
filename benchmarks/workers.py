"""Two workers on a batch that only computes, against two bare processes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from case import Case

from voicepipe import (
    Conversation,
    SqlJobStore,
    TalkMetrics,
    Transcript,
    Worker,
    WorkerOptions,
)


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from voicepipe import JobRun


JOBS = 16
PROCESSES = 2
STEPS = 8_000_000
"""Additions of one job: about a quarter of a second, the interpreter's lock held."""

RESULT = Conversation(
    source="",
    duration=0.0,
    transcript=Transcript(duration=0.0, model="none"),
    turns=(),
    metrics=TalkMetrics(
        total_conversation_duration=0.0,
        talk_time=0.0,
        speech_time=0.0,
        overlap_time=0.0,
        non_talk_time=0.0,
    ),
)


def compute() -> int:
    """Keep a core busy."""
    total = 0
    for i in range(STEPS):
        total += i
    return total


async def handler(run: JobRun) -> Conversation:
    """Do one job."""
    del run
    await anyio.to_thread.run_sync(compute)
    return RESULT


class Crew:
    """
    Processes that wait for a word to begin, so that their start is not measured.

    Args:
        command: What each does, and with what.
    """

    def __init__(self, *command: str) -> None:
        """Start them."""
        self._processes = [
            subprocess.Popen(
                [sys.executable, __file__, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(PROCESSES)
        ]
        self.hear()

    def say(self, word: str) -> None:
        """Say a word to all of them."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.write(f"{word}\n")
                process.stdin.flush()

    def hear(self) -> None:
        """Wait for a line of each."""
        for process in self._processes:
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError("a process of the benchmark has died")

    def close(self) -> None:
        """End them."""
        for process in self._processes:
            process.communicate()


@contextlib.contextmanager
def workers_case(folder: Path) -> Iterator[Case]:
    """Give the case, for as long as its processes run."""
    url = f"sqlite:///{folder / 'workers.db'}"
    anyio.run(fill, url, 0)
    workers, bare = Crew("work", url), Crew("bare")

    def ours() -> None:
        anyio.run(fill, url, JOBS)
        workers.say("go")
        anyio.run(drained, url)
        workers.say("stop")
        workers.hear()

    def peer() -> None:
        bare.say("go")
        bare.hear()

    try:
        yield Case(
            name=f"two `Worker` processes, {JOBS} jobs that compute for 0.25 s",
            peer_name="two bare processes, half of them each",
            ours=ours,
            peer=peer,
        )
    finally:
        workers.close()
        bare.close()


async def fill(url: str, jobs: int) -> None:
    """Add jobs."""
    async with SqlJobStore(url) as store:
        for _ in range(jobs):
            await store.add("call.wav")


async def drained(url: str) -> None:
    """Wait until no job is left."""
    async with SqlJobStore(url) as store:
        while True:
            if not await store.list(status="processing", limit=1, results=False):
                return
            await anyio.sleep(0.02)


def bare() -> None:
    """Compute half of the batch at each word."""
    print("ready", flush=True)
    for _ in sys.stdin:
        for _ in range(JOBS // PROCESSES):
            compute()
        print("done", flush=True)


async def work(url: str) -> None:
    """Work from ``go`` to ``stop``, again and again."""
    async with SqlJobStore(url) as store:
        print("ready", flush=True)
        while await anyio.to_thread.run_sync(sys.stdin.readline):
            worker = Worker(store, handler, options=WorkerOptions())
            async with anyio.create_task_group() as group:
                group.start_soon(worker.run)
                await anyio.to_thread.run_sync(sys.stdin.readline)
                worker.drain()
            print("done", flush=True)


def main(what: str, *given: Any) -> None:
    """Be one of the processes."""
    if what == "work":
        anyio.run(work, *given)
    else:
        bare()


if __name__ == "__main__":
    main(*sys.argv[1:])
