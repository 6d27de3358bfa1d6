"""
The jobs backend, where something happens just when it looks at a file.

Run as a program it is ``main.py`` of the example, and stops at one of its looks at the
files in its upload folder until it is told to go on: see ``VanishingServer.race``.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs_backend_runner import APP
from jobs_backend_watched import WatchedServer


if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    import httpx


_PAUSE_S = 0.002


class VanishingServer(WatchedServer):
    """Runs the server so that files can vanish between two looks at them."""

    def race(
        self, looks: int, ask: Callable[[], httpx.Response], vanish: Callable[[], None]
    ) -> tuple[httpx.Response, bool]:
        """
        Ask for something, and let something happen at one look at a file.

        Args:
            looks: At which; one that only asks for facts counts before and after.
            ask: Gives the answer.
            vanish: What happens.

        Returns:
            The answer, and whether it came so far that it had so many looks.
        """
        at, now = self.folder / "at", self.folder / "now"
        at.write_text(str(looks))
        with ThreadPoolExecutor(1) as other:
            asking = other.submit(ask)
            while not asking.done() and not now.exists():
                time.sleep(_PAUSE_S)
            reached = now.exists()
            if reached:
                try:
                    vanish()
                finally:
                    now.unlink()
        at.unlink(missing_ok=True)
        return asking.result(), reached

    def begin(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one of its programs, by way of this one."""
        return super().begin(__file__, str(self.uploads), program, *arguments)


def _stop_at_looks(uploads: str) -> None:
    """Stop this process, at the look at an upload that the file ``at`` counts to."""
    folder = Path(uploads).parent
    at, now = folder / "at", folder / "now"
    lock = threading.Lock()
    stat = os.stat

    def look(path: object) -> None:
        # A recording's name, or that of what lies beside it: 32 digits, "-", 32 digits.
        if not isinstance(path, str | Path) or len(Path(path).name) < 65:
            return
        if Path(path).parent != Path(uploads) or Path(path).name.startswith("."):
            return
        with lock, contextlib.suppress(FileNotFoundError):
            left = int(at.read_text()) - 1
            at.write_text(str(left))
            if left == 0:
                at.rename(now)
                while os.access(now, os.F_OK):
                    time.sleep(_PAUSE_S)

    def stat_and_look(path: Any, *args: Any, **how: Any) -> os.stat_result:
        look(path)
        try:
            return stat(path, *args, **how)
        finally:
            look(path)

    def hear(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            look(args[0])

    os.stat = stat_and_look  # pathlib and Starlette find it there
    sys.addaudithook(hear)


if __name__ == "__main__":
    _stop_at_looks(sys.argv[1])
    sys.argv = [str(APP / sys.argv[2]), *sys.argv[3:]]
    sys.path[0] = str(APP)
    runpy.run_path(sys.argv[0], run_name="__main__")
