"""The streaming server as its users start it: a process that may be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

import httpx


if TYPE_CHECKING:
    from types import TracebackType


APP = Path(__file__).parents[1] / "examples" / "stream_server"


class StreamServer:
    """
    Runs the server on one port and one folder, as often as it is started.

    Args:
        folder: Where it stores; its log is there too.
        variables: Its environment, besides the port and the folder.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.stored = folder / "sessions"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        kept = {k: v for k, v in os.environ.items() if not k.startswith("VOICEPIPE_")}
        self._env = {
            **kept,
            "PORT": str(self.port),
            "AUDIO_STORAGE_PATH": str(self.stored),
            "VOICEPIPE_RATE_LIMIT": "0",
            **variables,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = (folder / "server.log").open("ab")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        process = self.process = subprocess.Popen(
            [sys.executable, APP / "main.py"],
            cwd=self.folder,
            env=self._env,
            stdout=self._log,
            stderr=self._log,
        )
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.url}/health", timeout=5, trust_env=False)
                return
            assert process.poll() is None, self.log()
            time.sleep(0.05)
        raise AssertionError(self.log())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and give its exit code."""
        process = self.process
        assert process is not None
        process.send_signal(number)
        return process.wait(30)

    def log(self) -> str:
        """Give what it has said."""
        return (self.folder / "server.log").read_text("utf-8", "replace")[-4_000:]

    def wav(self, session_id: str) -> Path:
        """Name a session's file."""
        return self.stored / f"{session_id}.wav"

    def media_path(self, session_id: str) -> str:
        """Name the route of a recording's sound."""
        return f"/api/audio/sessions/{session_id}/audio"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self._log.close()
