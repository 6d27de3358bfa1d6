"""The jobs backend with an eye on all that it says to strangers."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import time
from typing import TYPE_CHECKING

from app_runner import WAIT_S
from jobs_backend_runner import APP, JobsServer


if TYPE_CHECKING:
    from pathlib import Path

    import httpx


SECRETS = {
    "SECRET_KEY": "canary-of-the-secret-key",
    "OPENAI_API_KEY": "canary-of-the-hosted-whisper",
    "GEMINI_API_KEY": "canary-of-the-analyzer",
    "HF_TOKEN": "canary-of-the-diarizer",
}

# What a program says when it falls, and what it is made of.
_INSIDES = re.compile(
    r"Traceback|File \"|site-packages|\.py\b|sqlalchemy|sqlite3|pydantic|libsnd|libav"
    r"|Errno|\bat 0x[0-9a-f]|<class |\w+Error\b",
    re.IGNORECASE,
)


class WatchedServer(JobsServer):
    """
    Runs the server with secrets, and looks at each answer that comes by ``http``.

    Args:
        folder: Where it works; its log is there.
        variables: Its environment, besides.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        super().__init__(
            folder, **{"VOICEPIPE_ANALYZER": "extractive", **SECRETS, **variables}
        )

    def start(self) -> None:
        """Start it, as its super class does, but watched."""
        self.http.event_hooks = {"response": [self._look]}
        super().start()

    def _look(self, answer: httpx.Response) -> None:
        if not answer.headers["content-type"].startswith("text/event-stream"):
            answer.read()
            self.check(answer)

    def check(self, answer: httpx.Response) -> None:
        """Raise if an answer says what is nobody's business, or is no proper one."""
        text = repr(answer.headers) + answer.text
        for private in (
            *SECRETS.values(),
            *(str(self.folder), str(APP), sys.prefix),
        ):
            assert private not in text, (private, text[:2_000])
        assert answer.headers["x-content-type-options"] == "nosniff"
        if answer.status_code >= 400:
            self._check_error(answer)

    def _check_error(self, answer: httpx.Response) -> None:
        # 503 says when to come again; all else above is a fault of ours.
        assert answer.status_code < 500 or (
            answer.status_code == 503 and answer.headers["retry-after"]
        ), answer.text
        if answer.request.method == "HEAD":
            return
        assert answer.headers["content-type"] == "application/json", answer.text
        body = answer.json()
        assert list(body) == ["error"], answer.text
        assert re.fullmatch(r"[^\n\r]{3,1000}", body["error"]), answer.text
        assert not _INSIDES.search(body["error"]), answer.text

    def check_log(self) -> None:
        """Raise if something fell, or a secret was logged."""
        log = self.log()
        assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:4_000]
        for secret in SECRETS.values():
            assert secret not in log
        # A server answers before a slow machine has loaded its model.
        deadline = time.monotonic() + WAIT_S
        while (health := self.http.get("/health").json())["status"] == "starting":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert health["status"] == "healthy"

    def said(self, start: bytes, *headers: bytes, body: bytes = b"") -> Said:
        """
        Ask by hand, on a connection of its own.

        Args:
            start: The request line, without ``HTTP/1.1`` and the line's end.
            headers: More than ``Host`` and ``Connection``.
            body: What follows the head as it is.
        """
        own = (f"Host: 127.0.0.1:{self.port}".encode(), b"Connection: close")
        lines = (start + b" HTTP/1.1", *own, *headers, b"", body)
        with socket.create_connection(("127.0.0.1", self.port), WAIT_S) as connection:
            heard = b""
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"\r\n".join(lines))
            with contextlib.suppress(ConnectionError):
                while more := connection.recv(1 << 16):
                    heard += more
        return Said(heard)


class Said:
    """
    The answer to bytes by hand.

    Args:
        heard: All that came.

    Attributes:
        status: Its status; 0 where the connection was closed without one.
        head: Its status line and headers.
        body: The rest.
    """

    def __init__(self, heard: bytes) -> None:
        """Take it apart."""
        head, _, self.body = heard.partition(b"\r\n\r\n")
        self.head: str = head.decode("latin-1")
        self.status: int = int(self.head.split()[1]) if self.head else 0

    @property
    def names(self) -> list[str]:
        """The names of its headers, in lower case."""
        return [line.partition(":")[0].lower() for line in self.head.split("\r\n")[1:]]

    def error(self, *statuses: int) -> str:
        """Give the message of an error in JSON that has one of these statuses."""
        assert self.status in statuses, (self.head, self.body[:500])
        body = json.loads(self.body[self.body.index(b"{") :])
        assert list(body) == ["error"]
        return str(body["error"])
