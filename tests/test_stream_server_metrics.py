"""What the streaming server counts, with chunks that come before answers are said."""

from __future__ import annotations

import importlib
import itertools
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from stream_server_runner import APP

from voicepipe import CaptureStore
from voicepipe.servers.asgi import SEND_NOW


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Clock:
    """Each time that it is asked, a second has passed."""

    def __init__(self) -> None:
        self._seconds = itertools.count(1.0)

    def perf_counter(self) -> float:
        return next(self._seconds)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give the app's WebSocket side, with numbers of its own; nobody else sees it."""
    names = ("audio_socket", "replies", "settings")
    monkeypatch.syspath_prepend(APP)
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module("audio_socket")
    for name in names:
        del sys.modules[name]


async def test_each_of_two_chunks_counts_its_own_bytes_and_its_own_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, app: Any
) -> None:
    monkeypatch.setattr(app, "time", Clock())
    # A server that has both chunks before the first one can be safe.
    came: list[dict[str, Any]] = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "bytes": bytes(1_000)},
        {"type": "websocket.receive", "bytes": bytes(10)},
    ]
    heard: list[str] = []
    answered = anyio.Event()

    def send_now(text: str) -> bool:
        heard.append(text)
        if len(heard) == 3:
            answered.set()
        return True

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            send_now(message["text"])

    async def receive() -> dict[str, Any]:
        if came:
            return came.pop(0)
        await answered.wait()
        return {"type": "websocket.disconnect"}

    async with CaptureStore(tmp_path) as store:
        scope = {
            "type": "websocket",
            "path": "/api/ws/audio",
            "root_path": "",
            "query_string": b"",
            "state": {"store": store},
            "extensions": {SEND_NOW: {"call": send_now}},
        }
        with anyio.fail_after(60):
            await app.audio_socket(scope, receive, send)

    told = app.metrics.text().decode().splitlines()
    assert "voicepipe_stream_chunks_total 2.0" in told
    assert "voicepipe_stream_received_bytes_total 1010.0" in told
    # They came at 1 and 2 s and were answered at 3 and 4 s.
    assert "voicepipe_stream_ack_seconds_sum 4.0" in told
    assert 'voicepipe_stream_ack_seconds_bucket{le="2.5"} 2.0' in told
    assert 'voicepipe_stream_ack_seconds_bucket{le="1"} 0.0' in told
