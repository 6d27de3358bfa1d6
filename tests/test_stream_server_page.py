"""The streaming server's own page and JavaScript client, in a real browser."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING

import httpx
import numpy as np
from browser import (
    a_browser,  # noqa: F401 - a fixture
    needs_chromium,
    opened,
)
from playwright.sync_api import expect
from stream_peer import StreamPeer
from stream_server_runner import StreamServer
from stream_wire import as_wav, noise, stored


if TYPE_CHECKING:
    from playwright.sync_api import Browser


KEY = "open sesame"

APP = Path(__file__).parents[1] / "examples" / "stream_server"
CLIENT = base64.b64encode((APP / "static" / "client.js").read_bytes()).decode()

pytestmark = needs_chromium

STREAM = """
({data, rate, pauseMs}) => {
  const restarted = new Promise((resolve) => { window.restarted = resolve; });
  const stream = async () => {
    const { CaptureClient } = await import("/static/client.js");
    const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
    const url = location.origin.replace("http", "ws");
    const client = new CaptureClient(url, { rate, patienceMs: 600000 });
    let acks = 0;
    client.addEventListener("ack", () => (acks += 1));
    await client.open();
    for (let at = 0; at < bytes.length; at += 4096) {
        // However slow the server is to die and to come back, some is left to be sent.
        if (at > bytes.length / 2) { await restarted; }
        await client.send(bytes.subarray(at, at + 4096));
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    const info = await client.close();
    return { info, acks, acknowledged: client.acknowledgedBytes };
  };
  window.streamed = stream();
}
"""


def received(server: StreamServer) -> int:
    """Give how much there is of the newest session, bytes."""
    url = f"{server.url}/api/audio/sessions"
    found = httpx.get(url, timeout=60, trust_env=False).json()
    return int(found[0]["bytes_received"]) if found else 0


def test_the_javascript_client_goes_on_when_the_server_was_killed(
    browser: Browser, tmp_path: Path
) -> None:
    samples = noise(16_000, 1, 10.0)
    data = as_wav(samples, 16_000)
    with StreamServer(tmp_path) as server, opened(browser, server.url) as page:
        page.evaluate(
            STREAM,
            {
                "data": base64.b64encode(data).decode(),
                "rate": 16_000,
                "pauseMs": 30,
            },
        )
        while received(server) < 40_000:
            time.sleep(0.05)
        server.stop(SIGKILL)
        server.start()
        page.evaluate("window.restarted()")
        found = page.evaluate("window.streamed")

        assert found["info"]["status"] == "completed"
        assert found["acknowledged"] == found["info"]["bytes_received"] == len(data)
        assert found["acks"] == -(-len(data) // 4_096)
        assert np.array_equal(stored(server, found["info"]["session_id"]), samples)


def test_the_javascript_client_says_why_it_was_refused(
    browser: Browser, tmp_path: Path
) -> None:
    with StreamServer(tmp_path) as server, opened(browser, server.url) as page:
        said = page.evaluate(
            """async () => {
                const { CaptureClient } = await import("/static/client.js");
                const client = new CaptureClient(location.origin.replace("http", "ws"),
                    { rate: 1 });
                try { await client.open(); } catch (error) { return error.message; }
            }"""
        )

    assert said == "Invalid sample rate"


def test_a_close_that_fails_is_told_to_javascript_and_may_be_asked_for_again(
    browser: Browser,
) -> None:
    with StreamPeer() as peer, contextlib.closing(browser.new_page()) as page:
        peer.close_faults.append(("disk_full", "no space"))
        said, acks, info = page.evaluate(
            """async ({client, url}) => {
                const { CaptureClient } = await import(client);
                const one = new CaptureClient(url, { rate: 16000 });
                let acks = 0;
                one.addEventListener("ack", () => (acks += 1));
                await one.open();
                await one.send(new Uint8Array([1, 2]));
                let said = "";
                try { await one.close(); } catch (error) { said = error.message; }
                await one.send(new Uint8Array([3, 4]));
                return [said, acks, await one.close()];
            }""",
            {"client": f"data:text/javascript;base64,{CLIENT}", "url": peer.url},
        )

    assert said == "no space"
    assert (acks, info["status"], info["bytes_received"]) == (1, "completed", 4)
    assert peer.session.data == bytes([1, 2, 3, 4])


def test_the_page_asks_for_the_key_and_sends_lists_and_plays(
    browser: Browser, tmp_path: Path
) -> None:
    samples = noise(44_100, 1, 2.0)
    (tmp_path / "call.wav").write_bytes(as_wav(samples, 44_100))
    with (
        StreamServer(tmp_path, VOICEPIPE_API_KEY=KEY) as server,
        opened(browser, server.url) as page,
    ):
        key = page.get_by_label("The server's key")
        key.fill("wrong")
        page.get_by_role("button", name="Show the sessions").click()
        expect(page.get_by_role("alert")).to_contain_text("not the right one")
        key.fill(KEY)
        page.get_by_role("button", name="Show the sessions").click()
        expect(page.get_by_text("No sessions yet")).to_be_visible()

        page.get_by_text("Send a recording").click()
        page.get_by_label("File").set_input_files(tmp_path / "call.wav")
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.get_by_text("Stored: 0:02 in 11 chunks.")).to_be_visible()
        card = page.get_by_role("listitem")
        expect(card).to_have_count(1)
        expect(card).to_contain_text("completed")
        expect(card).to_contain_text("call.wav")
        card.get_by_role("button", name="Play").click()
        audio = card.locator("audio")
        expect(audio).to_have_js_property("duration", 2)
        with page.expect_download() as download:
            card.get_by_role("link", name="Download").click()
        saved = download.value.path().read_bytes()
        sessions = httpx.get(
            f"{server.url}/api/audio/sessions",
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=60,
            trust_env=False,
        ).json()

        assert KEY not in server.log()
        assert saved == server.wav(sessions[0]["session_id"]).read_bytes()
        assert np.array_equal(stored(server, sessions[0]["session_id"]), samples)


def test_the_page_follows_a_session_that_is_being_recorded(
    browser: Browser, tmp_path: Path
) -> None:
    with (
        StreamServer(tmp_path) as server,
        opened(browser, server.url, width=360) as page,
    ):
        expect(page.get_by_text("No sessions yet")).to_be_visible()
        found = page.evaluate(
            """() => new Promise((resolve) => {
                const url = location.origin.replace("http", "ws");
                window.live = new WebSocket(`${url}/api/ws/audio?sample_rate=8000`);
                window.live.onmessage = ({data}) => resolve(data);
                window.live.onopen = () => window.live.send(new Uint8Array(160000));
            })"""
        )
        card = page.get_by_role("listitem")
        expect(card).to_contain_text("recording")
        expect(card).to_contain_text("0:10")
        expect(page.get_by_role("status").first).to_have_text("1 being recorded")
        width = page.evaluate("document.documentElement.scrollWidth")
        card.get_by_role("button", name="Close the session").click()
        expect(card).to_contain_text("completed")

        assert json.loads(found)["status"] == "active"
        assert width <= 360
