"""A service that is paid by the call: it counts what it is asked, and takes a while."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Iterator


class PaidService(ThreadingHTTPServer):
    """
    Answers ``said KEY`` to who posts a key and the number of an attempt.

    Attributes:
        takes_s: Seconds until it answers.
    """

    # Whoever asked is killed as often as not: nobody waits for such a call.
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.takes_s = 0.03
        self._lock = threading.Lock()
        self._calls: Counter[tuple[str, int]] = Counter()
        self._free = math.inf
        self._goes_on = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    @property
    def calls(self) -> Counter[str]:
        """How often each key was paid for so far."""
        found: Counter[str] = Counter()
        with self._lock:
            for (key, _), count in self._calls.items():
                found[key] += count
        return found

    def paid(self, key: str, *, since: int) -> int:
        """Give how often a key was paid for by an attempt and those after it."""
        with self._lock:
            calls = self._calls.items()
            return sum(n for (k, at), n in calls if k == key and at >= since)

    def hold_after(self, calls: int) -> None:
        """Answer so many calls more; the others wait until ``go_on``."""
        with self._lock:
            self._free = calls

    def go_on(self) -> None:
        """Answer all calls, also those that are waiting."""
        with self._lock:
            self._free = math.inf
        self._goes_on.set()

    def pay(self, key: str, attempt: int) -> None:
        """Count a call, and take the time that its answer takes."""
        with self._lock:
            self._calls[key, attempt] += 1
            self._free -= 1
            is_held = self._free < 0
        time.sleep(self.takes_s)
        if is_held:
            self._goes_on.wait()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of those who hung up because they were killed."""


class _Handler(BaseHTTPRequestHandler):
    server: PaidService
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        key, attempt = asked.split()
        self.server.pay(key, int(attempt))
        answer = f"said {key}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        """Write no log."""


@contextlib.contextmanager
def paid_service() -> Iterator[PaidService]:
    with PaidService() as service:
        thread = threading.Thread(target=service.serve_forever, daemon=True)
        thread.start()
        try:
            yield service
        finally:
            service.go_on()
            service.shutdown()
            thread.join()
