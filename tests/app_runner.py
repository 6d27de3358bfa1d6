"""An app of ``examples`` as its users start it: a process that may be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import httpx


if TYPE_CHECKING:
    from collections.abc import Callable


EXAMPLES = Path(__file__).parents[1] / "examples"
WAIT_S = 240

# What a developer may have set for the apps: it is not for the tests.
_OURS = ("VOICEPIPE_", "OPENAI_", "GEMINI_", "HF_TOKEN", "DATABASE_URL", "LLM_MODEL")


class AppProcess:
    """
    Runs an app on one port, as often as it is started.

    Args:
        app: The folder of its programs.
        folder: Where it works; its log is there.
        variables: Its environment, besides the port.

    Attributes:
        env: The environment that it gets when it is started next.
        process: The one that was started last.
    """

    def __init__(self, app: Path, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        self.port = kept_port(self)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
        self.env = {
            **kept,
            "PORT": str(self.port),
            "VOICEPIPE_RATE_LIMIT": "0",
            **variables,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._app = app
        self._log: IO[bytes]
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        process = self.process = self.begin("main.py")
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                self.health()
                return
            assert process.poll() is None, self.log()[-8_000:]
            time.sleep(0.05)
        raise AssertionError(self.log()[-8_000:])

    def health(self) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/health", timeout=WAIT_S, trust_env=False)
        found: dict[str, Any] = answer.json()
        return found

    def begin(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one of its programs, which is killed at the end at the latest."""
        self._started.append(self._popen(program, *arguments))
        return self._started[-1]

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run it for as long as it takes, where it does not start."""
        return subprocess.run(
            [sys.executable, self._app / "main.py"],
            capture_output=True,
            check=False,
            cwd=self.folder,
            env=self.env,
            text=True,
            timeout=WAIT_S,
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and give its exit code."""
        process = self.process
        assert process is not None
        process.send_signal(number)
        return process.wait(WAIT_S)

    def log(self) -> str:
        """Give all that it has said."""
        return (self.folder / "server.log").read_text("utf-8", "replace")

    def _popen(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, self._app / arguments[0], *arguments[1:]],
            cwd=self.folder,
            env=self.env,
            stdout=self._log,
            stderr=self._log,
        )

    def __enter__(self) -> Self:
        self._log = (self.folder / "server.log").open("ab")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.kill()
            process.wait()
        self._log.close()


def kept_port(owner: object) -> int:
    """
    Give a port of this machine that nobody else gets while its owner is there.

    Whoever asks for any port would otherwise get this one in the moment in which a
    server starts, or is started again. On Linux a socket that does not listen keeps a
    port from them, and not from a server, which names it and sets ``SO_REUSEADDR``.
    """
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(("127.0.0.1", 0))
    port = int(keeper.getsockname()[1])
    if sys.platform == "linux":
        weakref.finalize(owner, keeper.close)
    else:
        keeper.close()
    return port


def at_once(number: int, call: Callable[[int], None]) -> None:
    """Call from as many threads, and wait for all."""
    threads = [threading.Thread(target=call, args=(i,)) for i in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
