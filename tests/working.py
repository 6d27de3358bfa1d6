"""Worker processes for tests: start them, hear what they say, kill them."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import psutil


if TYPE_CHECKING:
    from collections.abc import Mapping


CHILD = Path(__file__).with_name("worker_child.py")

PATIENCE_S = 120.0
"""How long a test waits for what must happen, seconds."""


class WorkingProcess:
    """
    A worker in a process of its own.

    Args:
        url: Its job database.
        service: URL of the paid service.
        name: What the worker is called.
        backend: Its event loop.
        options: Of the ``Worker``.

    Attributes:
        lines: All that it has said so far.
    """

    def __init__(
        self,
        url: str,
        service: str,
        *,
        name: str,
        backend: str = "asyncio",
        options: Mapping[str, float],
    ) -> None:
        asked: dict[str, Any] = {
            "url": url,
            "service": service,
            "name": name,
            "backend": backend,
            "options": dict(options),
        }
        self.name = name
        self.lines: list[str] = []
        self._waited_for = 0
        self._heard: queue.Queue[str] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), json.dumps(asked)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self._reader = threading.Thread(
            target=self._read, args=[self.process.stdout], daemon=True
        )
        self._reader.start()

    def _read(self, pipe: IO[str]) -> None:
        for line in pipe:
            self._heard.put(line.strip())

    def hears(self) -> list[str]:
        """Give the lines that are new."""
        new = []
        while not self._heard.empty():
            new.append(self._heard.get())
        self.lines += new
        return new

    def wait_for(self, beginning: str) -> str:
        """
        Wait for a line that begins so; raise if it does not come.

        It is one after the line that was waited for last, and may have been heard.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            # Before the look: what comes after it is heard the next time.
            over = time.monotonic() >= deadline or not self._reader.is_alive()
            self.hears()
            for at in range(self._waited_for, len(self.lines)):
                if self.lines[at].startswith(beginning):
                    self._waited_for = at + 1
                    return self.lines[at]
            if over:
                raise AssertionError(f"no {beginning!r} in:\n" + "\n".join(self.lines))
            time.sleep(0.005)

    def kill(self) -> None:
        """Kill it, and wait until it has gone."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.hears()

    def stop(self) -> None:
        """Stop it, and wait until it stands still."""
        self.process.send_signal(signal.SIGSTOP)
        found = psutil.Process(self.process.pid)
        deadline = time.monotonic() + PATIENCE_S
        while found.status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def drain(self) -> int:
        """Send SIGTERM, and give the exit status."""
        self.tell_to_drain()
        return self.ended()

    def tell_to_drain(self) -> None:
        """Send SIGTERM as soon as it listens for that; it has heard it afterwards."""
        if "ready" not in self.lines:
            self.wait_for("ready")
        self.process.terminate()
        self.wait_for("drains")

    def ended(self) -> int:
        """Wait for its end, and give the exit status."""
        status = self.process.wait(PATIENCE_S)
        self._reader.join()
        self.hears()
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
