"""The page of the jobs backend, in a real browser, with the real server behind it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from browser import needs_chromium
from jobs_backend_runner import SAMPLE, JobsServer
from jobs_page import (
    SAID,
    a_browser,  # noqa: F401 - a fixture
    a_call,  # noqa: F401 - a fixture
    a_shared_server,  # noqa: F401 - a fixture
    an_empty_server,  # noqa: F401 - a fixture
    badge,
    claimed,
    comes_in_sight,
    in_store,
    is_in_sight,
    is_whole,
    opened,
    play_slowly,
    player_at,
    plays_to,
    segment,
    told,
    waits_until,
)
from playwright.sync_api import expect

from voicepipe import JobProgress


if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page


LONG_MS = 900_000
HTML = '<img src="x" onerror="window.hit=1">'

pytestmark = [needs_chromium, pytest.mark.timeout(1_200)]


def test_a_call_is_uploaded_watched_and_a_key_point_leads_to_its_words(
    browser: Browser, tmp_path: Path
) -> None:
    engine = {"VOICEPIPE_TRANSCRIBER": "pocketsphinx", "VOICEPIPE_WORKERS": "0"}
    with JobsServer(tmp_path, **engine) as server, opened(browser, server) as page:
        expect(page.get_by_text("No recordings yet")).to_be_visible()
        page.locator("#files").set_input_files(SAMPLE)
        expect(page.get_by_role("heading", name=SAMPLE.name)).to_be_visible()
        # A worker who waits: a real one may have done it before anybody looks.
        attempt = claimed(server, 1)
        told(server, 1, attempt, JobProgress(stage="transcribe", fraction=0.42))
        expect(page.locator("#working-text")).to_have_text("Transcribing · 42 %")
        expect(page.locator(".item .badge")).to_have_text("in work")
        in_store(server, lambda store: store.release(1, attempt=attempt))
        server.start_worker()
        expect(badge(page)).to_have_text("done", timeout=LONG_MS)
        expect(page.locator(".item .badge")).to_have_text("done")
        expect(page.locator("#said")).to_have_text(f"{SAMPLE.name}: done.")
        job = server.job(1)
        cited = max(job["key_points"], key=lambda point: point["segment_ids"][0])
        number = cited["segment_ids"][0]
        expect(segment(page, number)).to_be_attached()
        assert not is_in_sight(page, number)
        page.get_by_role("button", name=cited["text"], exact=True).last.click()

        comes_in_sight(page, number)
        expect(segment(page, number)).to_have_class(re.compile(r"\bcited\b"))
        start = job["segments"][number]["start"]
        assert player_at(page) == pytest.approx(start, abs=0.01)
        play_slowly(page)
        page.get_by_role("button", name="Play").click()
        expect(segment(page, number).locator(".word.now")).to_have_count(1)
        expect(page.locator(".chip").first).to_have_text(job["conversation_type"])


def colour_of(page: Page, name: str) -> str:
    """Give a colour of the style sheet as a canvas has it."""
    text: str = page.evaluate(
        "n => getComputedStyle(document.body).getPropertyValue(n)", name
    )
    return ",".join(str(part) for part in bytes.fromhex(text.strip()[1:]))


def test_the_waveform_shows_the_sound_and_who_speaks(
    browser: Browser, server: JobsServer, call: int
) -> None:
    colours = """() => {
        const canvas = document.querySelector("#wave");
        const {width, height} = canvas;
        const {data} = canvas.getContext("2d").getImageData(0, 0, width, height);
        const found = {};
        for (let at = 0; at < data.length; at += 4) {
            if (data[at + 3] === 255) {
                const colour = data.slice(at, at + 3).join();
                found[colour] = (found[colour] ?? 0) + 1;
            }
        }
        return found;
    }"""
    with opened(browser, server, call, color_scheme="light") as page:
        expect(page.locator("#duration")).to_have_text("1:10")
        pair = [colour_of(page, f"--s{at}") for at in range(2)]
        is_whole(page)

        counts = [0, 0]

        def more_than(least: list[int]) -> bool:
            # At one look: in some moments a canvas is empty.
            drawn = page.evaluate(colours)
            counts[:] = [drawn.get(colour, 0) for colour in pair]
            return all(one > other for one, other in zip(counts, least, strict=True))

        waits_until(page, lambda: more_than([0, 0]))
        twice = [2 * count for count in counts]
        box = page.locator("#seek").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 10)

        expect(page.locator("#time")).to_have_text("0:52")
        assert player_at(page) == pytest.approx(0.75 * 70.283, abs=0.2)
        waits_until(page, lambda: more_than(twice))
        expect(page.locator("#legend li")).to_have_text(["Speaker00", "Speaker01"])


def test_the_player_is_worked_by_keyboard(
    browser: Browser, server: JobsServer, call: int
) -> None:
    with opened(browser, server, call) as page:
        slider = page.get_by_role("slider")
        expect(slider).to_have_attribute("aria-valuemax", "70")
        slider.focus()
        for key, at in {
            "ArrowRight": "0:05",
            "PageUp": "0:35",
            "ArrowLeft": "0:30",
            "End": "1:10",
            "Home": "0:00",
        }.items():
            page.keyboard.press(key)
            expect(slider).to_have_attribute("aria-valuetext", f"{at} of 1:10")
        page.keyboard.press("Space")
        pause = page.get_by_role("button", name="Pause")
        expect(pause).to_be_visible()
        plays_to(page, 0.5)
        page.keyboard.press("Space")
        expect(pause).to_be_hidden()


def test_a_click_on_a_word_seeks_to_it(
    browser: Browser, server: JobsServer, call: int
) -> None:
    with opened(browser, server, call) as page:
        line = segment(page, 3)
        line.hover()
        word = line.locator(".word", has_text="chocolate")
        word.click()
        expect(word).to_have_class("word now")
        assert player_at(page) == pytest.approx(
            SAID.segments[3].words[-1].start, abs=0.01
        )
        page.get_by_role("button", name="Go to 0:18").click()
        assert player_at(page) == pytest.approx(SAID.segments[4].start, abs=0.01)
        assert line.inner_text().endswith(SAID.segments[3].text)


def test_a_word_that_never_had_the_pointer_over_it_is_sought_by_touch(
    browser: Browser, server: JobsServer, call: int
) -> None:
    with opened(browser, server, call, width=390, has_touch=True) as page:
        is_whole(page)
        line = segment(page, 0).locator(".words")
        line.scroll_into_view_if_needed()
        box = line.evaluate(
            """(line) => {
                const range = document.createRange();
                const at = line.textContent.indexOf("calling");
                const [text] = line.childNodes;
                range.setStart(text, at + 2);
                range.setEnd(text, at + 5);
                const {left, top, width, height} = range.getBoundingClientRect();
                return [left + width / 2, top + height / 2];
            }"""
        )
        page.touchscreen.tap(*box)

        expect(line.locator(".word.now")).to_have_text("calling")


def soon_at(page: Page, number: int) -> None:
    """Let the player go to the moment before a segment begins."""
    second = SAID.segments[number].start - 0.03
    page.evaluate("at => { document.querySelector('audio').currentTime = at; }", second)


def test_the_transcript_follows_the_playback_until_one_scrolls_away(
    browser: Browser, server: JobsServer, call: int
) -> None:
    with opened(browser, server, call) as page:
        follow = page.get_by_role("button", name="Follow")
        expect(follow).to_have_attribute("aria-pressed", "true")
        page.get_by_label("Speed").select_option("2")
        assert page.evaluate("document.querySelector('audio').playbackRate") == 2
        page.get_by_role("button", name="Play").click()
        plays_to(page, 0.5)
        play_slowly(page)
        # Nobody touches the page: the next line comes by itself.
        soon_at(page, 13)
        expect(segment(page, 13)).to_have_class(re.compile(r"\bnow\b"))
        comes_in_sight(page, 13)
        page.locator("#segments").hover()
        page.mouse.wheel(0, -3000)
        expect(follow).to_have_attribute("aria-pressed", "false")
        scrolled = "document.querySelector('#segments').scrollTop"
        waits_until(page, lambda: page.evaluate(scrolled) == 0)
        soon_at(page, 15)
        expect(segment(page, 15)).to_have_class(re.compile(r"\bnow\b"))
        assert page.evaluate(scrolled) == 0
        follow.click()
        comes_in_sight(page, 15)


def test_points_that_cite_several_places_lead_to_each(
    browser: Browser, server: JobsServer, call: int
) -> None:
    with opened(browser, server, call) as page:
        point = page.locator("#key-points li").nth(1)
        expect(point.locator(".cite")).to_have_text(["0:54", "0:51"])
        point.get_by_role("button", name="Go to 0:51, Speaker00").click()
        expect(page.locator(".cited")).to_have_count(1)
        assert player_at(page) == pytest.approx(SAID.segments[13].start, abs=0.01)
        point.locator(".point").click()
        expect(page.locator(".cited")).to_have_count(2)
        assert player_at(page) == pytest.approx(SAID.segments[14].start, abs=0.01)
        page.get_by_role("button", name="Go to 0:14: Speaker01 interrupts").click()
        expect(page.locator("#time")).to_have_text("0:14")
        expect(page.locator(".cited")).to_have_count(0)


def test_a_clean_transcript_leads_to_what_was_said(
    browser: Browser, server: JobsServer, call: int
) -> None:
    with opened(browser, server, call) as page:
        page.get_by_role("button", name="Clean").click()
        expect(page.locator(".segment")).to_have_count(len(SAID.segments) - 1)
        line = page.locator(".segment", has_text="twenty seven green street")
        line.locator(".words").click()
        said = SAID.segments[10]
        assert "twenty seven Green Street" in said.text
        assert player_at(page) == pytest.approx(said.start, abs=0.01)
        expect(line).to_have_class(re.compile(r"\bnow\b"))
        page.locator("#summary .point").nth(1).click()
        expect(page.locator(".cited")).to_have_count(2)
        expect(page.locator(".cited").first).to_contain_text("the total price")


def test_the_talk_metrics_are_shown_as_they_are(
    browser: Browser, server: JobsServer, call: int
) -> None:
    with opened(browser, server, call) as page:
        metrics = server.job(call)["metrics"]
        rows = page.locator(".bars li")
        expect(rows).to_have_count(4)
        total = metrics["total_conversation_duration"]
        for at, speaker in enumerate(metrics["speakers"]):
            time = speaker["talk_time"]
            expect(rows.nth(at)).to_contain_text(speaker["speaker"])
            expect(rows.nth(at)).to_contain_text(
                f"{time:.1f} s · {100 * time / total:.0f} %"
            )
            widths = rows.nth(at).evaluate(
                """(row) => [...row.querySelectorAll("rect")].map(
                    (rect) => rect.getBoundingClientRect().width)"""
            )
            assert widths[1] / widths[0] == pytest.approx(time / total, abs=0.01)
            expect(page.locator(".scroll tbody tr").nth(at)).to_contain_text(
                str(round(speaker["words_per_minute"]))
            )
        expect(page.locator(".places").first).to_contain_text(
            f"{len(metrics['interruptions'])} interruption"
        )


def test_results_are_put_right_and_stay_so(
    browser: Browser, server: JobsServer, call: int
) -> None:
    with opened(browser, server, call) as page:
        clean = page.get_by_role("button", name="Clean")
        clean.click()
        expect(segment(page, 0)).to_contain_text("good morning, thank you")
        page.get_by_role("button", name="As heard").click()
        page.evaluate("document.querySelector('#segments').scrollTop = 300")
        page.get_by_role("button", name="Edit", exact=True).click()
        page.get_by_role("textbox", name="Summary").fill("Roses, by hand.")
        page.get_by_role("textbox", name="Key points").fill("one\n\n two ")
        page.get_by_role("textbox", name="Language").fill("")
        page.get_by_role("textbox", name="Clean transcript").fill(
            "Speaker00: Hello.\nSpeaker01: Roses."
        )
        page.get_by_role("button", name="Save").click()

        expect(page.locator("#summary li")).to_have_text(["Roses, by hand."])
        expect(page.locator("#key-points li")).to_have_text(["one", "two"])
        # Who reads further down is not thrown to the top.
        assert page.evaluate("document.querySelector('#segments').scrollTop") > 200
        expect(page.locator(".edited:visible")).to_have_count(3)
        clean.click()
        expect(page.locator(".segment")).to_have_count(2)
        expect(page.locator(".segment .who")).to_have_text(["Speaker00", "Speaker01"])
        page.reload()
        expect(page.locator("#summary li")).to_have_text(["Roses, by hand."])
        expect(page.locator(".chip")).to_have_text(["order"])
        job = server.job(call)
        assert job["summary"] == "Roses, by hand."
        assert job["keypoints"] == ["one", "two"]
        assert job["language"] is None
        assert job["conversation_type"] == "order"
        assert set(job["edited"]) == {
            "summary",
            "keypoints",
            "language",
            "clean_transcript",
        }


def test_a_job_is_begun_cancelled_begun_again_and_deleted(
    browser: Browser, server: JobsServer
) -> None:
    with opened(browser, server) as page, opened(browser, server) as other:
        page.get_by_label("Transcribe at once").uncheck()
        page.locator("#files").set_input_files(SAMPLE)
        expect(badge(page)).to_have_text("not started")
        shown = other.locator(".item .badge")
        expect(shown).to_have_text("not started")
        page.get_by_role("button", name="Transcribe", exact=True).click()
        expect(badge(page)).to_have_text("waiting")
        expect(shown).to_have_text("waiting")
        page.get_by_role("button", name="Cancel", exact=True).click()
        expect(badge(page)).to_have_text("cancelled")
        expect(shown).to_have_text("cancelled")
        page.get_by_role("button", name="Try again").click()
        expect(badge(page)).to_have_text("waiting")
        page.get_by_role("button", name="Delete", exact=True).click()
        page.get_by_role("button", name="Keep it").click()
        expect(page.get_by_role("dialog")).to_be_hidden()
        assert len(server.http.get("/api/jobs").json()) == 1
        page.get_by_role("button", name="Delete", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()

        expect(page.get_by_text("No recordings yet")).to_be_visible()
        expect(other.get_by_text("No recordings yet")).to_be_visible()
        expect(page.locator("#job")).to_be_hidden()
        assert server.http.get("/api/jobs").json() == []
        # Files go behind the job, and who listens knows of the job at once.
        waits_until(page, lambda: server.files() == [])


def test_progress_and_failures_are_told_while_they_happen(
    browser: Browser, server: JobsServer
) -> None:
    job_id = server.upload(SAMPLE, run=True).json()["id"]
    with opened(browser, server, job_id) as page:
        expect(page.locator("#working-text")).to_have_text("Waiting for a worker")
        attempt = claimed(server, job_id)
        told(server, job_id, attempt, JobProgress(stage="diarize", fraction=0.42))
        expect(page.locator("#working-text")).to_have_text(
            "Telling the speakers apart · 42 %"
        )
        bar = page.locator("#working-progress")
        assert bar.evaluate("bar => bar.value") == pytest.approx(0.42)
        expect(page.locator(".item-text")).to_contain_text("42 %")
        said = f"The engine says {HTML}"
        in_store(server, lambda store: store.fail(job_id, attempt=attempt, error=said))
        expect(badge(page)).to_have_text("failed")
        expect(page.locator("#job-error")).to_contain_text(said)
        expect(page.locator("#working")).to_be_hidden()
        expect(page.locator("#said")).to_have_text(f"{SAMPLE.name}: failed.")
