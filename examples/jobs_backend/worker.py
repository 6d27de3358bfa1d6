"""
A worker beside the server: ``python worker.py [--at-once N]``.

As many as are wanted, on one machine or on several that share ``DATABASE_URL`` and
``UPLOAD_FOLDER``; the server then has ``VOICEPIPE_WORKERS=0``. SIGTERM gives running
jobs four seconds to finish, gives back the others, and ends with 0.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from typing import TYPE_CHECKING

import anyio
from settings import SETTINGS
from work import EXIT_S, Engines, keep_working, make_worker

from voicepipe import SqlJobStore, VoicepipeError
from voicepipe.servers.logs import setup_logging
from voicepipe.servers.way_out import WayOut


if TYPE_CHECKING:
    from types import FrameType

    from voicepipe import Worker


_logger = logging.getLogger("jobs_backend.worker")

_LOOK_S = 0.1


async def work(at_once: int, way_out: WayOut) -> None:
    """
    Work until a signal comes.

    Raises:
        VoicepipeError: If the database or an engine is not to be had.
    """
    async with (
        SqlJobStore(SETTINGS.database) as store,
        Engines.open() as engines,
        anyio.create_task_group() as group,
    ):
        worker = make_worker(store, engines, at_once)
        loading = anyio.CancelScope()
        group.start_soon(_drain_when_told, worker, loading, way_out)
        _logger.info("working with %s", engines.transcriber_name)
        await keep_working(worker, engines, loading)
        group.cancel_scope.cancel()


async def _drain_when_told(
    worker: Worker, loading: anyio.CancelScope, way_out: WayOut
) -> None:
    while not way_out.asked:  # noqa: ASYNC110 - signal handlers set no events
        await anyio.sleep(_LOOK_S)
    _logger.info("told to stop")
    worker.drain()
    loading.cancel()


def main() -> int:
    """Work until told to stop; gives the process's exit code."""
    parser = argparse.ArgumentParser(description="Works on the jobs of the backend.")
    parser.add_argument(
        "--at-once",
        type=int,
        default=max(1, SETTINGS.workers),
        metavar="N",
        help="jobs at a time (default: VOICEPIPE_WORKERS, at least 1)",
    )
    at_once: int = parser.parse_args().at_once
    if at_once < 1:
        parser.error("--at-once must be at least 1")
    setup_logging(None, "", zone="UTC", secrets=SETTINGS.secrets)
    way_out = WayOut(limit_s=EXIT_S, again_s=0.5)

    def hear(number: int, frame: FrameType | None) -> None:
        del number, frame
        way_out.ask()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hear)
    try:
        SETTINGS.make_folders()
        anyio.run(work, at_once, way_out)
    except (VoicepipeError, OSError, ValueError) as exc:
        _logger.critical("not working: %s", exc)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
