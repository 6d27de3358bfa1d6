"""A page in a real browser streams to the server, written from the contract alone."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from browser import (
    a_browser,  # noqa: F401 - a fixture
    needs_chromium,
    opened,
)
from stream_server_runner import StreamServer


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page


# What a page does that knows nothing but the contract: pieces of 4 KiB, either after
# the first message or at once, and an answer for each.
STREAM = """
async ({path, data, eager}) => {
    const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
    const pieces = [];
    for (let at = 0; at < bytes.length; at += 4096) {
        pieces.push(bytes.slice(at, at + 4096));
    }
    const url = new URL(path, location.href);
    url.protocol = "ws:";
    const socket = new WebSocket(url);
    const answers = [];
    let first = null;
    return new Promise((resolve, reject) => {
        const send = () => {
            for (const piece of pieces) { socket.send(piece); }
            socket.send(JSON.stringify({type: "control", action: "close_session"}));
        };
        socket.onopen = () => { if (eager) { send(); } };
        socket.onerror = () => reject(new Error("the socket broke"));
        socket.onmessage = ({data}) => {
            const message = JSON.parse(data);
            if (first === null) {
                first = message;
                if (!eager) { send(); }
            } else {
                answers.push(message);
            }
        };
        socket.onclose = ({code}) => resolve({first, answers, code});
    });
}
"""


pytestmark = needs_chromium


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamServer]:
    with StreamServer(tmp_path_factory.mktemp("stored")) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: StreamServer) -> Iterator[Page]:
    with opened(browser, server.url) as page:
        yield page


def a_wav(rate: int, seconds: float) -> bytes:
    samples = np.random.default_rng(7).integers(-9_000, 9_000, round(rate * seconds))
    target = io.BytesIO()
    soundfile.write(target, samples.astype(np.int16), rate, format="WAV")
    return target.getvalue()


def stream(page: Page, data: bytes, *, rate: int, eager: bool) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(
        STREAM,
        {
            "path": f"/api/ws/audio?user_id=browser&sample_rate={rate}",
            "data": base64.b64encode(data).decode(),
            "eager": eager,
        },
    )
    return found


@pytest.mark.parametrize("eager", [False, True], ids=["waits for a word", "at once"])
def test_a_page_streams_a_wav_and_the_same_samples_are_stored(
    page: Page, server: StreamServer, *, eager: bool
) -> None:
    data = a_wav(16_000, 3.0)

    found = stream(page, data, rate=16_000, eager=eager)

    *acks, closing = found["answers"]
    pieces = -(-len(data) // 4096)
    assert found["first"]["status"] == "active"
    assert found["first"]["chunk_count"] == 0
    assert [ack["chunk_count"] for ack in acks] == [*range(1, pieces + 1)]
    assert {ack["message"] for ack in acks} == {"Chunk processed successfully"}
    assert (closing["status"], found["code"]) == ("completed", 1000)
    stored, rate = soundfile.read(server.wav(closing["session_id"]), dtype="int16")
    source, _ = soundfile.read(io.BytesIO(data), dtype="int16")
    assert rate == 16_000
    assert np.array_equal(stored, source)


def test_the_page_of_the_server_lists_and_plays_a_recording(
    page: Page, server: StreamServer, tmp_path: Path
) -> None:
    found = stream(page, a_wav(16_000, 1.0), rate=16_000, eager=True)
    session_id = found["first"]["session_id"]

    page.reload()
    row = page.get_by_text(session_id[:8]).first
    row.wait_for()
    played = page.evaluate(
        """async (url) => {
            const audio = new Audio(url);
            await new Promise((resolve, reject) => {
                audio.onloadedmetadata = resolve;
                audio.onerror = () => reject(audio.error.message);
            });
            return audio.duration;
        }""",
        server.media_path(session_id),
    )

    assert played == pytest.approx(1.0, abs=0.01)
