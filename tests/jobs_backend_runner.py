"""The jobs backend and its workers as their users start them."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
import numpy as np
import soundfile
from app_runner import EXAMPLES, WAIT_S, AppProcess
from tiny_whisper.speech import MODEL


if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator


APP = EXAMPLES / "jobs_backend"
SAMPLE = EXAMPLES / "data" / "sample_call.mp3"
SAMPLE_FLAC = EXAMPLES / "data" / "sample_call.flac"


@functools.cache
def short_call() -> Path:
    """Give the first seconds of the sample call."""
    path = Path(tempfile.mkdtemp(), "short_call.wav")
    samples, rate = soundfile.read(SAMPLE_FLAC, 10 * 16_000)
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


@functools.cache
def long_call() -> Path:
    """Give a call that is not transcribed before a test has done with it."""
    path = Path(tempfile.mkdtemp(), "long_call.wav")
    samples, rate = soundfile.read(SAMPLE_FLAC)
    samples = np.tile(samples.mean(axis=1), 10)
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


class JobsServer(AppProcess):
    """
    Runs the server with the tiny Whisper, on one port, as often as it is started.

    Args:
        folder: Where it works; its log is there.
        variables: Its environment, besides the port and the engine.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        settings = {
            "VOICEPIPE_TRANSCRIBER": f"whisper:{MODEL}",
            "VOICEPIPE_DIARIZER": "channel",
            # A busy machine keeps a worker from renewing its lease for seconds.
            "VOICEPIPE_LEASE_SECONDS": "30",
        }
        super().__init__(APP, folder, {**settings, **variables})
        self.http: httpx.Client

    @property
    def uploads(self) -> Path:
        return self.folder / "uploads"

    def files(self) -> list[str]:
        """Give the names of all that lies in the upload folder."""
        return sorted(path.name for path in self.uploads.iterdir())

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get("/health").json()
        return found

    def start_worker(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a worker beside it."""
        return self.begin("worker.py", *arguments)

    def upload(
        self, path: Path | None = None, *, run: bool = False, key: str | None = None
    ) -> httpx.Response:
        """Upload a recording, a short one by default, with an idempotency key."""
        path = path or short_call()
        with path.open("rb") as file:
            return self.http.post(
                "/api/jobs",
                params={"run": run},
                files={"file": (path.name, file)},
                headers={} if key is None else {"Idempotency-Key": key},
            )

    def job(self, job_id: int) -> dict[str, Any]:
        answer = self.http.get(f"/api/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def wait(self, job_id: int, *statuses: str) -> dict[str, Any]:
        """Wait until a job has a status, ``done`` where none is named."""
        return self.wait_for(
            job_id, lambda job: job["status"] in (statuses or ("done",))
        )

    def wait_for(
        self, job_id: int, there: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        deadline = time.monotonic() + WAIT_S
        while not there(job := self.job(job_id)):
            assert time.monotonic() < deadline, f"{job}\n{self.log()[-8_000:]}"
            time.sleep(0.1)
        return job

    @contextlib.contextmanager
    def events(self, path: str = "/api/events", **headers: str) -> Iterator[Events]:
        """Listen to a stream of events."""
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        with self.http.stream("GET", path, headers=headers) as answer:
            assert answer.status_code == 200
            yield Events(answer)

    def __enter__(self) -> Self:
        self.http = httpx.Client(base_url=self.url, timeout=WAIT_S, trust_env=False)
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        self.http.close()
        super().__exit__(*error)


class Events:
    """Events as they come."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.iter_lines()
        self.cursor = ""
        assert next(self._lines).startswith("retry:")

    def hear(self) -> tuple[str, dict[str, Any]]:
        """Wait for the next event; give its kind and its data."""
        kind = ""
        for line in self._lines:
            name, _, value = line.partition(": ")
            match name:
                case "id":
                    self.cursor = value
                case "event":
                    kind = value
                case "data":
                    return kind, json.loads(value)
        raise EOFError

    def hear_until(self, status: str) -> list[dict[str, Any]]:
        """Hear of a job until it has a status."""
        heard = [self.hear()[1]]
        while heard[-1]["status"] != status:
            heard.append(self.hear()[1])
        return heard


class Raw:
    """
    A request by hand, on a socket.

    Args:
        server: Whom to ask.
        head: The request's head, without the line ends after it.
    """

    def __init__(self, server: JobsServer, head: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), WAIT_S)
        self.sent = 0
        self.socket.sendall(
            head.replace("\n", "\r\n").encode()
            + f"\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
        )

    def send(self, data: bytes) -> bool:
        """Send a piece of the body; tells whether the server takes it."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        self.sent += len(data)
        return True

    def answer(self) -> tuple[int, dict[str, Any]]:
        """Give the status and the JSON; what comes after it stays unread."""
        with http.client.HTTPResponse(self.socket) as response:
            response.begin()
            return response.status, json.loads(response.read())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
