"""
The end of a process that was told to stop, whatever still runs in it.

A thread in native code can be neither cancelled nor waited for, and the interpreter
waits for all threads. Whoever started the process sends SIGKILL some seconds later; so
it ends itself before, with what it could finish.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable


_log = logging.getLogger(__name__)


class WayOut:
    """
    Ends the process some time after it was asked to stop; sooner if asked again.

    Args:
        limit_s: From the first time, seconds.
        again_s: From the second time, seconds.

    Attributes:
        asked: How often the process was asked to stop.
        last_deed: Done before the process ends that way.
    """

    def __init__(self, *, limit_s: float, again_s: float) -> None:
        """Start to wait, in a thread."""
        self.asked: int = 0
        self.last_deed: Callable[[], None] = _nothing
        self._limit_s = limit_s
        self._again_s = again_s
        # A signal handler may interrupt itself: no lock, so no event.
        self._bell, self._door = socket.socketpair()
        self._bell.settimeout(0.0)
        self._thread = threading.Thread(
            target=self._wait, name="voicepipe way out", daemon=True
        )
        self._thread.start()

    def ask(self) -> None:
        """Ask the process to stop. May be called in a signal handler."""
        self.asked += 1
        with contextlib.suppress(OSError):
            self._bell.send(b"!")

    def close(self) -> None:
        """Stay, if nobody has asked."""
        if not self.asked:
            self._bell.close()
            self._thread.join()

    def _wait(self) -> None:
        with self._door:
            if not self._door.recv(1):
                return
            if select.select([self._door], [], [], self._limit_s)[0]:
                time.sleep(self._again_s)
        self.last_deed()
        # A stuck thread may hold a log's lock.
        last_words = threading.Thread(target=_say_so, daemon=True)
        last_words.start()
        last_words.join(0.3)
        os._exit(0)


def _nothing() -> None:
    """Be done."""


def _say_so() -> None:
    _log.warning("work that did not stop in time is abandoned")
    logging.shutdown()
