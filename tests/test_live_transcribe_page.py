"""The page of live transcription, and older pages, in a real browser that speaks."""

from __future__ import annotations

import base64
import itertools
import math
import re
import time
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from browser import launch, needs_chromium, opened
from live_runner import LiveServer, errors_in, speech, wav
from playwright.sync_api import expect, sync_playwright
from tiny_whisper.speech import Spoken


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page, Playwright


KEY = "open sesame"

# A word of eighteen: browsers work on the sound themselves, and a busy machine drops
# some of it.
ONE_WORD = 0.06

SAID = speech()

pytestmark = needs_chromium

RECORDING = re.compile("^Recording")  # and perhaps how far the text is behind

# Keeps what was to be seen for a moment, however seldom somebody looks; and the sound
# that the page has had from its microphone.
WATCH = """
() => {
    const text = (one) => one?.textContent ?? "";
    const $ = (id) => document.getElementById(id);
    const seen = {moments: [], said: [], copy: []};
    const had = [];
    const look = () => {
        const said = [...$("said").children].map(text);
        seen.said.push(...said.filter((line) => line && !seen.said.includes(line)));
        seen.copy.push(text($("copy")));
        const words = [...document.querySelectorAll(".tentative")].filter(text);
        seen.moments.push({
            styles: words.map((word) => getComputedStyle(word).fontStyle),
            finals: [...document.querySelectorAll(".final > span")].map(text),
            said: [...seen.said],
            page: text($("text")),
        });
    };
    const all = {subtree: true, childList: true, characterData: true};
    new MutationObserver(look).observe(document.body, {...all, attributes: true});
    window.AudioWorkletNode = class extends AudioWorkletNode {
        constructor(...how) {
            super(...how);
            this.port.addEventListener("message", ({data}) => {
                if (data.samples) { had.push(data.samples.slice()); }
            });
        }
    };
    window.seen = seen;
    window.sound = async () => {
        const url = await new Promise((resolve) => {
            const reader = new FileReader();
            reader.onload = () => resolve(reader.result);
            reader.readAsDataURL(new Blob(had));
        });
        return url.slice(url.indexOf(",") + 1);
    };
}
"""

# A page of the system that was there before, written from its contract alone.
OLD_PAGE = """
async ({seconds, whole}) => {
    const url = location.origin.replace("http", "ws") + "/ws";
    const socket = new WebSocket(url);
    await new Promise((resolve) => (socket.onopen = resolve));
    const stream = await navigator.mediaDevices.getUserMedia({audio: true});
    const recorder = new MediaRecorder(stream, {mimeType: "audio/webm;codecs=opus"});
    const heard = [];
    const sent = [];
    const file = [];
    const answered = new Promise((resolve) => {
        socket.onmessage = ({data}) => {
            heard.push(JSON.parse(data));
            if (heard.at(-1).type !== "status") { setTimeout(resolve, 2000); }
        };
    });
    let sending = Promise.resolve();
    recorder.ondataavailable = ({data}) => {
        sending = sending.then(async () => {
            const bytes = new Uint8Array(await data.arrayBuffer());
            const chars = Array.from(bytes, (byte) => String.fromCharCode(byte));
            socket.send(JSON.stringify({type: "audio", audio: btoa(chars.join(""))}));
            file.push(chars.join(""));
            sent.push(performance.now() / 1000);
        });
    };
    recorder.start(...(whole ? [] : [250]));
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    // As old pages do: what was said last comes behind the stop.
    if (!whole) { socket.send(JSON.stringify({type: "stop"})); }
    await new Promise((resolve) => { recorder.onstop = resolve; recorder.stop(); });
    await sending;
    for (const track of stream.getTracks()) { track.stop(); }
    await answered;
    socket.close();
    return {heard, sent, file: btoa(file.join(""))};
}
"""


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def speaks(playwright: Playwright, tmp_path_factory: Any) -> Iterator[Browser]:
    """Give a browser whose microphone says the sentences once, from when it opens."""
    sound = tmp_path_factory.mktemp("microphone") / "said.wav"
    sound.write_bytes(wav(SAID))
    with launch(
        playwright,
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={sound}%noloop",
    ) as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("live")) as server:
        yield loaded(server)


def loaded(server: LiveServer) -> LiveServer:
    """Wait for the engine: a server answers before a slow machine has loaded it."""
    deadline = time.monotonic() + 240
    while server.health()["status"] == "starting":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return server


def start(page: Page) -> None:
    page.evaluate(WATCH)
    # What the page says of itself when it opens must not come behind the click.
    state(page).not_to_have_text("Connecting…")
    page.get_by_role("button", name="Start Recording").click()


def stop(page: Page) -> None:
    page.get_by_role("button", name="Stop Recording").click()
    expect(page.get_by_role("button", name="Start Recording")).to_be_enabled()


def text_of(page: Page) -> str:
    """Give the words of all segments, in their order."""
    parts = page.locator(".segment > span").all_text_contents()
    return " ".join(" ".join(parts).split())


def state(page: Page) -> Any:
    return expect(page.locator("#state"))


def all_is_said(page: Page) -> None:
    """Wait until the microphone has said all it has to say."""
    seconds = math.ceil(SAID.duration) + 1
    page.wait_for_function(
        """(seconds) => {
            const [m, s] = document.getElementById("clock").textContent.split(":");
            return 60 * Number(m) + Number(s) >= seconds;
        }""",
        arg=seconds,
    )


def is_right(page: Page, server: LiveServer) -> bool:
    """
    Tell whether the text is what was said.

    Where the machine was too busy for the browser, and sound was lost before the page
    had it: whether it is the text of a file of the sound that the page had.
    """
    text = text_of(page)
    if errors_in(text, SAID.text) <= ONE_WORD:
        return True
    sound = np.frombuffer(base64.b64decode(page.evaluate("sound()")), "<i2")
    file = wav(Spoken(sound.astype(np.float32) / 32_768, ()))
    return is_text_of(text, "had.wav", file, server)


def is_text_of(text: str, name: str, file: bytes, server: LiveServer) -> bool:
    """Tell whether a text is what a file has."""
    answer = httpx.post(
        f"{server.url}/v1/audio/transcriptions",
        files={"file": (name, file)},
        data={"model": "whisper-1"},
        timeout=120,
        trust_env=False,
    )
    had = answer.json()["text"]
    print(f"the page had sound in which a file has: {had}")
    return len(had.split()) > 3 and errors_in(text, had) <= 2 * ONE_WORD


def test_words_appear_while_one_speaks_and_the_text_is_right_after_stop(
    speaks: Browser, server: LiveServer
) -> None:
    with opened(speaks, server.url) as page:
        expect(page.get_by_text("Press Start Recording and speak")).to_be_visible()
        start(page)
        all_is_said(page)
        # Sentences may be one where sound between them was lost.
        expect(page.locator(".final").nth(1)).to_be_visible()
        stop(page)
        seen = page.evaluate("seen")
        lines = page.locator(".segment > span").all_text_contents()

        assert is_right(page, server)
        # Words that may change look so, and are not read out.
        styles = [style for moment in seen["moments"] for style in moment["styles"]]
        assert styles
        assert set(styles) == {"italic"}
        for moment in seen["moments"]:
            assert moment["said"] == moment["finals"]
        assert seen["said"] == lines
        # What was said first is certain before what was said last is heard.
        first = next(moment for moment in seen["moments"] if moment["finals"])
        assert first["finals"] == lines[:1]
        assert lines[-1] not in first["page"]
        assert not any(page.locator(".segment .tentative").all_text_contents())
        assert page.locator("#said").get_attribute("aria-live") == "polite"
        state(page).to_have_text("Ready")
        expect(page.locator("#notice")).to_be_hidden()


def test_the_text_can_be_copied_saved_and_cleared(
    speaks: Browser, server: LiveServer
) -> None:
    permissions = ["clipboard-read", "clipboard-write", "microphone"]
    with opened(speaks, server.url, permissions=permissions) as page:
        for name in ("Copy", "Download as text", "Clear"):
            expect(page.get_by_role("button", name=name)).to_be_disabled()
        start(page)
        expect(page.locator(".final").nth(1)).to_be_visible()
        stop(page)
        lines = page.locator(".segment > span").all_text_contents()
        page.get_by_role("button", name="Copy").click()
        # As a function: the page's own rules forbid to read a text as a program.
        page.wait_for_function("() => seen.copy.includes('Copied')")
        copied = page.evaluate("navigator.clipboard.readText()")
        saved = {}
        for kind, name in {
            "txt": "text",
            "srt": "SRT subtitles",
            "vtt": "WebVTT subtitles",
        }.items():
            with page.expect_download() as download:
                page.get_by_role("button", name=f"Download as {name}").click()
            assert download.value.suggested_filename.endswith(f".{kind}")
            saved[kind] = download.value.path().read_text("utf-8")
        page.get_by_role("button", name="Clear").click()
        expect(page.get_by_text("Press Start Recording and speak")).to_be_visible()
        expect(page.get_by_role("button", name="Copy")).to_be_disabled()

    assert len(lines) >= 2
    assert copied == saved["txt"] == "".join(f"{line}\n" for line in lines)
    assert saved["srt"].startswith("1\n00:00:00,")
    assert f"\n{lines[0]}\n\n2\n00:00:0" in saved["srt"]
    assert saved["vtt"].startswith("WEBVTT\n\n00:00:00.")
    assert f"\n{lines[1]}\n" in saved["vtt"]


def test_it_works_by_keyboard_on_a_phone_in_the_dark(
    speaks: Browser, server: LiveServer
) -> None:
    with opened(speaks, server.url, width=360, color_scheme="dark") as page:
        button = page.locator("#record")
        state(page).to_have_text("Ready")
        page.evaluate(WATCH)
        while not button.evaluate("e => e === document.activeElement"):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(button).to_have_text("Stop Recording")
        expect(page.locator(".final").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        all_is_said(page)
        page.keyboard.press("Enter")
        expect(button).to_have_text("Start Recording")

        assert button.evaluate("e => e === document.activeElement")
        assert is_right(page, server)


def test_a_second_recording_goes_on_behind_the_first(
    speaks: Browser, server: LiveServer
) -> None:
    with opened(speaks, server.url) as page:
        before = 0
        for _ in range(2):
            start(page)
            expect(page.locator(".final").nth(before)).to_be_visible()
            stop(page)
            before = page.locator(".final").count()
        segments = page.locator(".segment")
        ids = segments.evaluate_all("all => all.map((one) => one.dataset.id)")
        times = page.locator(".segment time").all_text_contents()

    recordings = [one.partition("/")[0] for one in ids]
    assert len(set(recordings)) == 2
    assert recordings == sorted(recordings, key=int)
    assert times == sorted(times)
    assert text_of_lines(times)


def text_of_lines(times: list[str]) -> bool:
    """Tell whether times are of minutes and seconds."""
    return all(len(time.split(":")) == 2 for time in times)


def test_a_microphone_that_is_not_allowed_is_told(
    playwright: Playwright, server: LiveServer
) -> None:
    with (
        launch(playwright, "--use-fake-device-for-media-stream") as browser,
        opened(browser, server.url, permissions=[]) as page,
    ):
        start(page)

        alert = page.get_by_role("alert").filter(has_text="microphone is not allowed")
        expect(alert).to_be_visible()
        state(page).to_have_text("Not recording")
        expect(page.get_by_role("button", name="Start Recording")).to_be_enabled()


def test_without_a_microphone_that_is_told(
    playwright: Playwright, server: LiveServer
) -> None:
    with (
        launch(playwright, "--use-fake-ui-for-media-stream") as browser,
        opened(browser, server.url) as page,
    ):
        start(page)

        alert = page.get_by_role("alert").filter(has_text="No microphone was found")
        expect(alert).to_be_visible()


def test_a_server_that_is_killed_is_told_and_no_word_is_lost_when_it_is_back(
    speaks: Browser, tmp_path: Path
) -> None:
    with LiveServer(tmp_path) as server, opened(speaks, server.url) as page:
        start(page)
        expect(page.locator(".final").first).to_be_visible()
        server.stop(SIGKILL)
        alert = page.get_by_role("alert").filter(has_text="Reconnecting")
        expect(alert).to_be_visible()
        state(page).to_have_text("Reconnecting…")
        server.start()
        state(page).to_have_text(RECORDING)
        expect(alert).to_be_hidden()
        all_is_said(page)
        stop(page)

        assert is_right(page, server)


def test_a_server_that_stays_away_is_told_and_the_text_is_kept(
    speaks: Browser, tmp_path: Path
) -> None:
    with LiveServer(tmp_path) as server, opened(speaks, server.url) as page:
        loaded(server)
        start(page)
        expect(page.locator(".final").first).to_be_visible()
        first = page.locator(".final").first.text_content()
        server.stop()
        page.get_by_role("button", name="Stop Recording").click()
        alert = page.get_by_role("alert").filter(has_text="The last words are missing")
        expect(alert).to_be_visible()
        state(page).to_have_text("Not connected")
        assert page.locator(".final").first.text_content() == first
        start(page)
        gone = page.get_by_role("alert").filter(has_text="server cannot be reached")
        expect(gone).to_be_visible()


def test_a_full_server_is_told(speaks: Browser, tmp_path: Path) -> None:
    with (
        LiveServer(tmp_path, MAX_SESSIONS="1") as server,
        opened(speaks, server.url) as first,
        opened(speaks, server.url) as second,
    ):
        start(first)
        state(first).to_have_text(RECORDING)
        start(second)

        alert = second.get_by_role("alert").filter(has_text="try again later")
        expect(alert).to_be_visible()
        expect(second.get_by_role("button", name="Start Recording")).to_be_visible()
        stop(first)


def test_the_page_asks_for_the_key(speaks: Browser, tmp_path: Path) -> None:
    with (
        LiveServer(tmp_path, VOICEPIPE_API_KEY=KEY) as server,
        opened(speaks, server.url) as page,
    ):
        key = page.get_by_label("The server's key")
        key.fill("wrong")
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("alert")).to_contain_text("not the right one")
        expect(page.locator("#record")).to_be_hidden()
        key.fill(KEY)
        page.get_by_role("button", name="Continue").click()
        start(page)
        expect(page.locator(".final").first).to_be_visible()
        stop(page)

        assert KEY not in server.log()
        assert "open%20sesame" not in server.log()
        assert "open+sesame" not in server.log()


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "in pieces"])
def test_an_old_page_gets_one_status_and_the_text_of_its_recording(
    speaks: Browser, server: LiveServer, *, whole: bool
) -> None:
    for _ in range(3):
        with opened(speaks, server.url) as page:
            seconds = SAID.duration + 1
            given = page.evaluate(OLD_PAGE, {"seconds": seconds, "whole": whole})
        heard = given["heard"]
        # A browser that rests for a second ends its recording by that, and one that
        # has no time drops sound.
        is_even = all(b - a < 0.8 for a, b in itertools.pairwise(given["sent"]))
        is_said = errors_in(heard[-1].get("text", ""), SAID.text) <= ONE_WORD
        if is_even and is_said:
            break

    assert [m["type"] for m in heard] == ["status", "transcription"]
    text = heard[1]["text"]
    file = base64.b64decode(given["file"])
    assert is_said or is_text_of(text, "had.webm", file, server)
