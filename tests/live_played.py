"""A server of the page of live transcription whose part a test plays."""

from __future__ import annotations

import contextlib
import json
import mimetypes
import queue
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from live_runner import APP
from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.sync.server import serve


if TYPE_CHECKING:
    from websockets.http11 import Request
    from websockets.sync.server import ServerConnection


WAIT_S = 60
RATE = 16_000
BROKEN, RESTARTS = 1011, 1012

FAILED = "The engine has failed; try again later"


class Line:
    """A page's connection; whoever has it plays the server."""

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket
        self.over = threading.Event()

    def begin(self, **more: Any) -> None:
        """Hear the start, and answer it."""
        assert self.hear()["type"] == "start"
        about = {"engine": "played", "degraded": False, "loading": False, **more}
        self.say(type="status", event="started", message="Ready", **about)

    def hear(self) -> Any:
        """Give the next message that is no sound."""
        message = self._socket.recv(WAIT_S)
        while isinstance(message, bytes):
            message = self._socket.recv(WAIT_S)
        return json.loads(message)

    def hear_sound(self) -> int:
        """Give the frames of the next message."""
        message = self._socket.recv(WAIT_S)
        assert isinstance(message, bytes)
        return len(message) // 2

    def hear_stop(self) -> None:
        assert self.hear() == {"type": "stop"}

    def say(self, **message: Any) -> None:
        self._socket.send(json.dumps(message))

    def text(self, text: str, *, final: bool = False, **more: Any) -> None:
        """Say what was heard in the first second, or longer."""
        place = {"segment_id": 0, "start": 0.0, "end": 1.0, "lag": 0.1, **more}
        said = {"text": text, "final": final, "stable": len(text) if final else 0}
        self.say(type="transcription", status="success", **{**said, **place})

    def end(self) -> None:
        self.say(type="status", event="ended", message="Recording ended")

    def fail(self) -> None:
        self.say(type="error", code="engine", message=FAILED)
        self.close(BROKEN)

    def close(self, code: int) -> None:
        self._socket.close(code)
        self.over.set()


class PlayedServer:
    """
    Serves the page; what is said on its connections is the test's to say.

    Attributes:
        health: What it tells of itself.
        refuses: The status that it answers a path with, instead of what is there.
        asked: The paths that were asked for.
    """

    def __init__(self) -> None:
        self.health: dict[str, Any] = {"status": "healthy", "degraded": False}
        self.refuses: dict[str, HTTPStatus] = {}
        self.asked: queue.Queue[str] = queue.Queue()
        self._lines: queue.Queue[Line] = queue.Queue()
        self._all: list[Line] = []
        self._server = serve(
            self._keep,
            "127.0.0.1",
            0,
            process_request=self._answer,
            compression=None,
            max_size=None,
            # Nobody may read for a while, and no answer to a ping then.
            ping_interval=None,
        )
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.socket.getsockname()[1]}"

    def line(self, **about: Any) -> Line:
        """Take the next connection; with what the server is like, begin."""
        line = self._lines.get(timeout=WAIT_S)
        line.begin(**about)
        return line

    def nobody_connects(self) -> bool:
        return self._lines.empty()

    def is_asked(self, path: str) -> bool:
        """Tell whether a path is asked for now, or soon."""
        with contextlib.suppress(queue.Empty):
            while self.asked.get(timeout=0.1) != path:
                pass
            return True
        return False

    def _keep(self, socket: ServerConnection) -> None:
        line = Line(socket)
        self._all.append(line)
        self._lines.put(line)
        line.over.wait()

    def _answer(self, _: ServerConnection, request: Request) -> Response | None:
        path = urlsplit(request.path).path
        answered = self._answer_for(path)
        # Afterwards: who sees it asked may change what the next answer is.
        self.asked.put(path)
        return answered

    def _answer_for(self, path: str) -> Response | None:
        if path in self.refuses:
            error = {"error": {"message": "no more of this"}}
            return answer(self.refuses[path], json.dumps(error).encode())
        match path:
            case "/ws":
                return None
            case "/health":
                health = {"engine": "played", **self.health}
                return answer(HTTPStatus.OK, json.dumps(health).encode())
            case "/v1/models":
                return answer(HTTPStatus.OK, b'{"data": []}')
            case _:
                name = path.removeprefix("/static/").strip("/") or "index.html"
                kind = mimetypes.guess_type(name)[0] or "text/html"
                return answer(HTTPStatus.OK, (APP / "static" / name).read_bytes(), kind)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for line in self._all:
            line.over.set()
        self._server.shutdown()
        self._thread.join()


def answer(status: HTTPStatus, body: bytes, kind: str = "application/json") -> Response:
    headers = Headers(
        {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"}
    )
    return Response(status, status.phrase, headers, body)
