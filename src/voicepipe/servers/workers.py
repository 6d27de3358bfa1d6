"""Several processes that listen on the same sockets."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from multiprocessing import connection
from typing import TYPE_CHECKING, Any, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import SpawnProcess
    from multiprocessing.synchronize import Event

    from voicepipe.servers.way_out import WayOut


_log = logging.getLogger(__name__)

# Nothing of the parent's threads, locks and connections goes along.
_SPAWN = multiprocessing.get_context("spawn")

_EXIT_NO_START = 3
_TICK_S = 0.1


class _Worker(NamedTuple):
    process: SpawnProcess
    ready: Event


def supervise(
    count: int,
    work: Callable[..., None],
    job: Any,
    way_out: WayOut,
) -> int:
    """
    Keep so many workers running until the process is asked to stop.

    One that dies is replaced; one that ends before it was ready ends all.

    Args:
        count: Number of workers.
        work: What each does, a module's function: called with an event to set when it
            is ready, and with ``job``.
        job: Passed on; must pickle.
        way_out: Tells when to stop.

    Returns:
        0 after a stop, 3 if a worker did not start.
    """

    def start() -> _Worker:
        ready = _SPAWN.Event()
        process = _SPAWN.Process(target=work, args=(ready, job), daemon=True)
        process.start()
        return _Worker(process=process, ready=ready)

    team = [start() for _ in range(count)]
    way_out.last_deed = lambda: _kill(team)
    code = 0
    while not (way_out.asked or code):
        connection.wait([w.process.sentinel for w in team], timeout=_TICK_S)
        for index, worker in enumerate(team):
            ended = worker.process.exitcode
            if ended is None or way_out.asked:
                continue
            if not worker.ready.is_set():
                _log.error("a worker ended with %d before it was ready", ended)
                code = _EXIT_NO_START
                break
            _log.warning("a worker ended with %d; another takes its place", ended)
            team[index] = start()
    _stop(team, way_out)
    return code


def _stop(team: list[_Worker], way_out: WayOut) -> None:
    told = 0
    while running := [w.process for w in team if w.process.exitcode is None]:
        # The second signal goes on to them as well.
        if told < max(1, way_out.asked):
            told = max(1, way_out.asked)
            for process in running:
                process.terminate()
        connection.wait([process.sentinel for process in running], timeout=_TICK_S)


def _kill(team: list[_Worker]) -> None:
    for worker in team:
        with contextlib.suppress(OSError, ValueError):
            worker.process.kill()


def stop_with_parent() -> None:
    """Have this process stop when its parent is gone, however that went."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="voicepipe parent watch", daemon=True).start()
