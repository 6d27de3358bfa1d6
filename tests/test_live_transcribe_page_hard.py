"""The page of live transcription with a server that fails, is slow, or goes away."""

from __future__ import annotations

import contextlib
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from browser import WAIT_MS, chromium, needs_chromium, opened
from live_played import FAILED, RATE, RESTARTS, Line, PlayedServer
from playwright.sync_api import expect


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page


pytestmark = needs_chromium

LOADING = "the engine is still being loaded"

# All that the page says of how it is, from now on.
WATCH = """
() => {
    window.seen = [];
    const look = () => {
        for (const id of ["state", "notice", "done"]) {
            const said = document.getElementById(id).textContent;
            if (!seen.includes(said)) { seen.push(said); }
        }
    };
    look();
    const all = {subtree: true, childList: true, characterData: true};
    new MutationObserver(look).observe(document.body, all);
}
"""

# The page's client without the page.
CLIENT = """
async () => {
    const {LiveClient} = await import("/static/live.js");
    const url = location.origin.replace("http", "ws") + "/ws";
    window.client = new LiveClient(url, {rate: 16000});
    window.heard = {ready: [], text: [], dropped: []};
    for (const kind of Object.keys(heard)) {
        client.addEventListener(kind, ({detail}) => heard[kind].push(detail));
    }
    client.open();
}
"""

# A microphone that can be muted from outside.
MUTABLE = """
() => {
    const devices = navigator.mediaDevices;
    const getUserMedia = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async (...how) => {
        const stream = await getUserMedia(...how);
        window.track = stream.getAudioTracks()[0];
        return stream;
    };
}
"""

# Lets the microphone give two minutes and a half at once.
LONG = """
async () => {
    const {LiveClient} = await import("/static/live.js");
    const send = LiveClient.prototype.send;
    LiveClient.prototype.send = function (samples) {
        LiveClient.prototype.send = send;
        for (let at = 0; at < 150; at += 1) {
            send.call(this, new Int16Array(16000));
        }
    };
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(
        "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"
    ) as browser:
        yield browser


@pytest.fixture
def server() -> Iterator[PlayedServer]:
    with PlayedServer() as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: PlayedServer) -> Iterator[Page]:
    with opened(browser, server.url, permissions=["clipboard-write"]) as page:
        page.evaluate(WATCH)
        expect(page.locator("#state")).to_have_text("Ready")
        yield page


def start(page: Page) -> None:
    page.get_by_role("button", name="Start Recording").click()


def stop(page: Page) -> None:
    page.get_by_role("button", name="Stop Recording").click()


def has_stopped(page: Page, state: str) -> None:
    """Wait until the page may record again."""
    expect(page.locator("#state")).to_have_text(state)
    button = page.get_by_role("button", name="Start Recording")
    expect(button).to_have_attribute("aria-disabled", "false")


def forward(page: Page, *, until: Callable[[], bool]) -> None:
    """Let the page's time go on, by more than it waits for anything."""
    for _ in range(WAIT_MS // 100):
        page.clock.fast_forward(31_000)
        if until():
            return
        page.wait_for_timeout(100)
    pytest.fail("the page waits for ever")


def alert(page: Page, text: str) -> Any:
    return expect(page.get_by_role("alert").filter(has_text=text))


def shown(page: Page) -> Any:
    return expect(page.locator(".segment > span").filter(visible=True))


def saved(page: Page, kind: str) -> str:
    with page.expect_download() as download:
        page.locator(f"[data-save={kind}]").click()
    return download.value.path().read_text("utf-8")


def fails_at_once(line: Line) -> None:
    line.hear_sound()
    line.fail()


def fails_behind_the_stop(line: Line) -> None:
    line.hear_stop()
    line.fail()


def fails_behind_words(line: Line) -> None:
    line.hear_stop()
    line.text("some words")
    line.fail()


def goes_behind_words(line: Line) -> None:
    line.hear_stop()
    line.text("some words")
    line.close(RESTARTS)


@pytest.mark.parametrize(
    "fails",
    [fails_at_once, fails_behind_the_stop, fails_behind_words, goes_behind_words],
)
def test_a_server_that_fails_again_and_again_is_given_up_after_three_times(
    page: Page, server: PlayedServer, fails: Callable[[Line], None]
) -> None:
    start(page)
    lines = [server.line()]
    if fails is not fails_at_once:
        stop(page)
    fails(lines[0])
    for _ in range(2):
        lines.append(server.line())
        fails(lines[-1])

    alert(page, "The last words are missing").to_be_visible()
    if fails is not goes_behind_words:
        alert(page, FAILED).to_be_visible()
    has_stopped(page, "Not connected")
    assert server.nobody_connects()


def test_a_server_that_fails_now_and_then_but_goes_on_is_not_given_up(
    page: Page, server: PlayedServer
) -> None:
    start(page)
    for number in range(5):
        line = server.line()
        line.hear_sound()
        line.text(f"sentence {number}", final=True, end=0.01, words=[])
        line.fail()
    line = server.line()
    stop(page)
    line.hear_stop()
    line.end()

    has_stopped(page, "Ready")
    shown(page).to_have_text([f"sentence {number}" for number in range(5)])


def test_certain_words_stay_when_the_server_is_gone_for_good(
    page: Page, server: PlayedServer
) -> None:
    start(page)
    line = server.line()
    line.text("these words are certain and these not", stable=len("these words are"))
    shown(page).to_have_text("these words are certain and these not")
    line.fail()
    for _ in range(2):
        fails_at_once(server.line())
    has_stopped(page, "Not connected")

    shown(page).to_have_text("these words are")
    expect(page.locator(".segment")).to_have_class("segment final")
    expect(page.locator("#said")).to_have_text("these words are")
    assert saved(page, "txt") == "these words are\n"
    assert "--> 00:00:00,4" in saved(page, "srt")


def test_certain_words_stay_until_they_are_heard_anew(
    page: Page, server: PlayedServer
) -> None:
    start(page)
    line = server.line()
    line.text("one two three four maybe", stable=len("one two three four"), end=12.0)
    shown(page).to_have_text("one two three four maybe")
    line.close(RESTARTS)
    line = server.line()
    shown(page).to_have_text("one two three four")
    line.text("one", final=True, end=3.0, words=[])
    line.text("two three", segment_id=1, start=3.5, end=6.0)
    # What comes in its order has come when what is behind it is there.
    expect(page.locator("#said")).to_have_text("one")
    expect(page.locator(".segment")).to_have_count(3)
    shown(page).to_have_text("one two three four")
    assert saved(page, "txt") == "one two three four\n"
    line.text("two three four five", segment_id=1, start=3.5, end=10.0)
    shown(page).to_have_text(["one", "two three four five"])
    stop(page)
    line.hear_stop()
    line.text("Two three four", final=True, segment_id=1, start=3.5, end=10.0)
    line.end()

    has_stopped(page, "Ready")
    shown(page).to_have_text(["one", "Two three four"])


def test_certain_words_stay_where_nothing_is_heard_in_their_place(
    page: Page, server: PlayedServer
) -> None:
    start(page)
    line = server.line()
    line.text("one two", stable=len("one"), end=2.0)
    shown(page).to_have_text("one two")
    line.close(RESTARTS)
    line = server.line()
    line.text("three", final=True, start=2.5, end=4.0, words=[])
    shown(page).to_have_text(["one", "three"])
    stop(page)
    line.hear_stop()
    line.end()

    has_stopped(page, "Ready")
    assert saved(page, "txt") == "one\nthree\n"


def test_a_recording_that_stops_while_the_engine_is_loaded_waits_for_it(
    page: Page, server: PlayedServer
) -> None:
    server.health["status"] = "starting"
    start(page)
    line = server.line(loading=True)
    expect(page.locator("#state")).to_have_text(f"Recording; {LOADING}")
    page.clock.install()
    stop(page)
    line.hear_stop()
    expect(page.locator("#state")).to_have_text(f"Finishing; {LOADING}")
    server.asked.queue.clear()
    page.clock.fast_forward(31_000)
    # Once: more of it would be more than a question to the server may take.
    assert any(server.is_asked("/health") for _ in range(600))
    line.text("at last", final=True, words=[])
    line.end()

    has_stopped(page, "Ready")
    shown(page).to_have_text("at last")
    assert not any("missing" in said for said in page.evaluate("seen"))


def test_a_server_that_does_not_answer_once_its_engine_is_there_is_given_up(
    page: Page, server: PlayedServer
) -> None:
    start(page)
    line = server.line(loading=True)
    expect(page.locator("#state")).to_have_text(f"Recording; {LOADING}")
    page.clock.install()
    stop(page)
    line.hear_stop()
    told = page.get_by_role("alert").filter(has_text="does not answer")
    forward(page, until=told.is_visible)

    alert(page, "does not answer").to_be_visible()
    has_stopped(page, "Not connected")


def test_nobody_is_asked_to_talk_when_the_recording_has_stopped(
    page: Page, server: PlayedServer
) -> None:
    start(page)
    line = server.line()
    expect(page.locator("#state")).to_have_text("Recording")
    stop(page)
    line.hear_stop()
    page.evaluate("() => { seen.length = 0; }")
    line.text("the last", lag=30.0)
    shown(page).to_have_text("the last")
    line.close(RESTARTS)
    line = server.line()
    line.text("the last words", final=True, lag=30.0, words=[])
    shown(page).to_have_text("the last words")
    line.hear_stop()
    line.end()
    has_stopped(page, "Ready")

    seen = page.evaluate("seen")
    assert not [said for said in seen if re.search("recording;|^Recording|Keep", said)]
    assert any("connection to the server is lost" in said for said in seen)
    assert {"Reconnecting…", "Finishing…"} < set(seen)


def words_of(*words: str) -> list[dict[str, Any]]:
    """Give words of half a second."""
    return [
        {"word": word, "start": 0.5 * at, "end": 0.5 * at + 0.5}
        for at, word in enumerate(words)
    ]


ENGLISH = [
    *("please", "send", "the", "pizza", "for", "the", "children", "of", "the"),
    *("house", "at", "number", "twenty", "-four", ",", "and", "the", "other"),
    *("one", "to", "the", "old", "man", "who", "lives", "next", "door"),
]
ENGLISH_TEXT = " ".join(ENGLISH).replace(" -", "-").replace(" ,", ",")
CHINESE = "请把披萨送到街角的房子里我在那里住了很多年然后再送一个给隔壁的老人谢谢你"


@pytest.mark.parametrize(
    ("text", "words", "space"),
    [(ENGLISH_TEXT, ENGLISH, " "), (CHINESE, list(CHINESE), "")],
    ids=["English", "Chinese"],
)
def test_subtitles_have_the_text_of_the_page(
    page: Page, server: PlayedServer, text: str, words: list[str], space: str
) -> None:
    start(page)
    line = server.line()
    told = words_of(*words)
    line.text(text, final=True, end=told[-1]["end"], words=told)
    shown(page).to_have_text(text)
    blocks = saved(page, "srt").strip().split("\n\n")
    cues = [block.split("\n", 2)[2] for block in blocks]
    vtt = saved(page, "vtt")
    stop(page)
    line.hear_stop()
    line.end()
    has_stopped(page, "Ready")

    assert len(cues) > 1
    assert space.join(cues) == text
    assert all(f"\n{cue}\n" in vtt for cue in cues)


def test_what_is_certain_is_counted_in_whole_characters(
    page: Page, server: PlayedServer
) -> None:
    start(page)
    line = server.line()
    line.text("🎵 hello world", stable=len("🎵 hello"))

    expect(page.locator(".stable")).to_have_text("🎵 hello")
    assert page.locator(".segment .tentative").text_content() == " world"
    stop(page)
    line.hear_stop()
    line.end()
    has_stopped(page, "Ready")


def test_how_far_the_text_is_behind_counts_sound_on_its_way(
    page: Page, server: PlayedServer
) -> None:
    page.evaluate(CLIENT)
    line = server.line()
    page.wait_for_function("() => heard.ready.length")
    page.evaluate("() => client.send(new Int16Array(60 * 16000))")
    line.text("one", end=20.0, lag=3.0)
    page.wait_for_function("() => heard.text.length")

    assert page.evaluate("heard.text[0].lag") == pytest.approx(40.0)


def test_sound_that_a_slow_server_has_not_taken_is_sent_again_or_told(
    page: Page, server: PlayedServer
) -> None:
    seconds = 200
    page.evaluate(CLIENT)
    line = server.line()
    page.wait_for_function("() => heard.ready.length")
    page.evaluate(
        """(seconds) => {
            for (let at = 0; at < seconds; at += 1) {
                client.send(new Int16Array(16000));
            }
        }""",
        seconds,
    )
    line.close(RESTARTS)
    line = server.line()
    page.wait_for_function("() => heard.ready.length > 1")
    page.evaluate("() => { client.stop(); }")
    again = 0
    with contextlib.suppress(AssertionError):
        while True:
            again += line.hear_sound()
    line.end()

    told = sum(one["seconds"] for one in page.evaluate("heard.dropped"))
    assert again / RATE + told == seconds


def test_sound_that_is_given_up_is_told_until_the_next_recording(
    page: Page, server: PlayedServer
) -> None:
    start(page)
    line = server.line()
    expect(page.locator("#state")).to_have_text("Recording")
    line.close(RESTARTS)
    expect(page.locator("#state")).to_have_text("Reconnecting…")
    page.evaluate(LONG)
    alert(page, "s of sound are lost").to_be_visible()
    line = server.line()
    expect(page.locator("#state")).to_have_text("Recording")
    alert(page, "s of sound are lost").to_be_visible()
    stop(page)
    line.hear_stop()
    line.end()
    has_stopped(page, "Ready")

    alert(page, "s of sound are lost").to_be_visible()
    expect(page.locator("#done")).to_have_text("")
    start(page)
    line = server.line()
    expect(page.locator("#notice")).to_be_hidden()
    stop(page)
    line.hear_stop()
    line.end()
    has_stopped(page, "Ready")


@pytest.mark.parametrize("status", [HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.FORBIDDEN])
def test_a_server_that_refuses_is_not_said_to_be_away(
    page: Page, server: PlayedServer, status: HTTPStatus
) -> None:
    server.refuses["/v1/models"] = status
    start(page)

    alert(page, f"The server answered {status.value}: no more of this").to_be_visible()
    has_stopped(page, "Not connected")


def test_a_server_that_takes_no_web_socket_is_not_said_to_be_away(
    page: Page, server: PlayedServer
) -> None:
    server.refuses["/ws"] = HTTPStatus.FORBIDDEN
    start(page)

    alert(page, "takes no WebSocket from here").to_be_visible()
    has_stopped(page, "Not connected")


def test_a_microphone_that_sounds_again_hides_no_other_notice(
    page: Page, server: PlayedServer
) -> None:
    page.evaluate(MUTABLE)
    start(page)
    line = server.line()
    expect(page.locator("#state")).to_have_text("Recording")
    page.evaluate("() => { track.enabled = false; }")
    alert(page, "gives no sound").to_be_visible()
    line.close(RESTARTS)
    alert(page, "connection to the server is lost").to_be_visible()
    page.evaluate("() => { track.enabled = true; }")
    level = """() => document.getElementById("level").ariaValueNow !== "0" """
    page.wait_for_function(
        level.replace("ariaValueNow", 'getAttribute("aria-valuenow")')
    )

    alert(page, "connection to the server is lost").to_be_visible()
    line = server.line()
    alert(page, "connection to the server is lost").to_be_hidden()
    stop(page)
    line.hear_stop()
    line.end()
    has_stopped(page, "Ready")


def test_what_is_done_is_announced_each_time(page: Page, server: PlayedServer) -> None:
    for number in range(2):
        start(page)
        line = server.line()
        line.hear_sound()  # text has its place by the sound before it
        expect(page.locator("#state")).to_have_text("Recording")
        expect(page.locator("#done")).to_have_text("")
        line.text("hello", final=True, words=[])
        shown(page).to_have_count(number + 1)
        stop(page)
        line.hear_stop()
        line.end()
        has_stopped(page, "Ready")
        expect(page.locator("#done")).to_contain_text("its text is complete")
    page.get_by_role("button", name="Copy").click()

    page.wait_for_function("() => seen.includes('Copied')")
    assert page.locator("#done").get_attribute("role") == "status"
