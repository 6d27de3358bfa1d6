"""The jobs page where it is hard: hostile texts, many jobs, phones, keyboards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from browser import needs_chromium
from jobs_backend_runner import SAMPLE, JobsServer
from jobs_page import (
    MEANT,
    REFERENCE,
    SAID,
    a_browser,  # noqa: F401 - a fixture
    a_call,  # noqa: F401 - a fixture
    a_shared_server,  # noqa: F401 - a fixture
    an_empty_server,  # noqa: F401 - a fixture
    badge,
    comes_in_sight,
    finished,
    in_store,
    is_whole,
    opened,
    player_at,
    segment,
    transcript_of,
)
from playwright.sync_api import expect

from voicepipe import Point


if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from voicepipe import Job, SqlJobStore


HTML = '<img src="x" onerror="window.hit=1"><script>window.hit=1</script>'
SPEAKER = "<b onclick='window.hit=1'>Speaker</b>"
BACKWARDS = "\u202egnp.3pm"

pytestmark = [needs_chromium, pytest.mark.timeout(1_200)]


def test_texts_of_strangers_stay_texts(browser: Browser, server: JobsServer) -> None:
    name = f"{HTML}{BACKWARDS}.mp3".replace('"', "'").replace("/", "\u2044")
    answer = server.http.post("/api/jobs", files={"file": (name, SAMPLE.read_bytes())})
    assert answer.status_code == 201, answer.text
    name = answer.json()["filename"]
    assert "<img" in name
    job_id = answer.json()["id"]
    turns = [{**turn, "text": f"{HTML} {turn['text']}"} for turn in REFERENCE["turns"]]
    point = Point(text=HTML, segment_ids=(3, 4))
    finished(
        server,
        job_id,
        transcript_of(turns, SPEAKER, HTML),
        attrs.evolve(
            MEANT,
            summary=(point,),
            key_points=(point,),
            conversation_type=HTML,
            language="x-<i>",
            model=HTML,
            clean_lines=(),
        ),
    )
    server.http.put(
        f"/api/jobs/{job_id}", json={"clean_transcript": f"{SPEAKER}: {HTML}"}
    )
    with opened(browser, server, job_id) as page:
        expect(page.locator("#job-name")).to_have_text(name)
        expect(page.locator(".item .name")).to_have_text(name)
        expect(page.locator("#job-facts")).to_contain_text(HTML)
        expect(page.locator(".chip").first).to_have_text(HTML)
        expect(page.locator(".chip").last).to_have_text("x-<i>")
        expect(page.locator("#summary .point")).to_have_text(HTML)
        expect(segment(page, 0).locator(".who")).to_have_text(SPEAKER)
        expect(segment(page, 0).locator(".words")).to_contain_text(HTML)
        expect(page.locator("#legend")).to_contain_text(SPEAKER)
        expect(page.locator("#talk")).to_contain_text(SPEAKER)
        segment(page, 0).locator(".words").click()
        page.get_by_role("button", name="Clean").click()
        expect(page.locator(".segment .words")).to_have_text(HTML)
        page.get_by_role("button", name="Edit", exact=True).click()
        expect(page.get_by_role("textbox", name="Summary")).to_have_value(HTML)
        page.keyboard.press("Escape")

        strange = "main :is(img, script, b b, i, [onerror], [onclick])"
        assert page.locator(strange).count() == 0
        assert page.evaluate("window.hit") is None
        # What runs backwards in a name does not turn the rest of the line.
        assert page.locator("#job-name").evaluate(
            "e => getComputedStyle(e).unicodeBidi"
        ) in {"isolate", "plaintext"}


def test_many_jobs_come_page_by_page_and_are_filtered(
    browser: Browser, server: JobsServer
) -> None:
    async def plant(store: SqlJobStore) -> Job:
        jobs = [
            await store.add(f"{number}.mp3", queue=False, name=f"call {number}")
            for number in range(65)
        ]
        await store.cancel(jobs[24].id)
        return jobs[-1]

    newest = in_store(server, plant)
    with opened(browser, server) as page:
        items = page.locator(".item")
        older = page.get_by_role("button", name="Show older ones")
        expect(items).to_have_count(30)
        expect(items.first).to_contain_text("call 64")
        older.click()
        expect(items).to_have_count(60)
        # By keyboard one goes on where the new ones begin.
        expect(items.nth(30).locator("a")).to_be_focused()
        older.click()
        expect(items).to_have_count(65)
        expect(older).to_be_hidden()
        names = items.locator(".name").all_text_contents()
        assert names == [f"call {number}" for number in reversed(range(65))]
        page.get_by_label("Show", exact=True).select_option("failed")
        expect(items).to_have_count(1)
        expect(items).to_contain_text("call 24")
        in_store(server, lambda store: store.cancel(newest.id))
        expect(items).to_have_count(2)
        expect(items.first).to_contain_text("call 64")
        in_store(server, lambda store: store.queue(newest.id))
        expect(items).to_have_count(1)
        page.get_by_label("Show", exact=True).select_option("all")
        expect(items).to_have_count(30)


@pytest.mark.parametrize("kind", ["txt", "srt", "vtt", "json", "rttm"])
def test_the_transcript_is_downloaded_in_each_format(
    browser: Browser, server: JobsServer, call: int, kind: str
) -> None:
    with opened(browser, server, call) as page:
        page.locator("#downloads summary").click()
        with page.expect_download() as download:
            page.locator(f'[data-format="{kind}"]').click()
        saved = download.value.path().read_text("utf-8")

        path = f"/api/jobs/{call}/transcript"
        assert saved == server.http.get(path, params={"format": kind}).text
        assert download.value.suggested_filename == f"sample_call.{kind}"
        expect(page.locator("#downloads .menu-list")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_a_point_moves_the_page(
    browser: Browser, server: JobsServer, scheme: str
) -> None:
    name = f"{'a-very-long-name' * 12}.mp3"
    answer = server.http.post("/api/jobs", files={"file": (name, SAMPLE.read_bytes())})
    finished(server, answer.json()["id"])
    phone: dict[str, Any] = {"has_touch": True, "color_scheme": scheme}
    wide = "document.documentElement.scrollWidth"
    with opened(browser, server, width=360, **phone) as page:
        item = page.locator(".item a")
        expect(item).to_be_visible()
        assert page.evaluate(wide) <= 360
        assert page.locator("#detail").is_hidden()
        item.tap()
        expect(segment(page, 18)).to_be_attached()
        expect(item).to_be_hidden()
        assert page.evaluate(wide) <= 360
        before = page.evaluate("scrollY")
        page.locator("#key-points .point").nth(1).tap()
        comes_in_sight(page, 14)
        assert page.evaluate("scrollY") > before
        assert player_at(page) == pytest.approx(SAID.segments[14].start, abs=0.01)
        page.go_back()
        expect(item).to_be_visible()
        expect(item).to_be_focused()


def test_all_of_it_is_reached_by_keyboard(
    browser: Browser, server: JobsServer, call: int
) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("(s) => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(selector)

    with opened(browser, server) as page:
        expect(page.locator(".item")).to_have_count(1)
        tab_to(".item a")
        page.keyboard.press("Enter")
        expect(badge(page)).to_have_text("done")
        expect(page).to_have_url(re.compile(rf"#/jobs/{call}$"))
        expect(page.locator("#job")).to_be_focused()
        is_whole(page)
        tab_to("#downloads summary")
        page.keyboard.press("Enter")
        expect(page.locator("#downloads .menu-list")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#downloads .menu-list")).to_be_hidden()
        tab_to("#play")
        tab_to("#summary .cite")
        page.keyboard.press("Enter")
        assert player_at(page) == pytest.approx(SAID.segments[3].start, abs=0.01)
        tab_to(".stamp")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert player_at(page) == pytest.approx(SAID.segments[2].start, abs=0.01)
        # One stop of the tab key, however long the transcript.
        page.keyboard.press("Tab")
        assert not page.evaluate("document.activeElement.matches('.stamp')")
        page.keyboard.press("Shift+Tab")
        expect(segment(page, 2).locator(".stamp")).to_be_focused()


def test_every_control_has_a_name_for_who_does_not_see_it(
    browser: Browser, server: JobsServer, call: int
) -> None:
    with opened(browser, server, call) as page:
        expect(badge(page)).to_have_text("done")
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("button, a, input, select")]
                .filter((e) => e.checkVisibility() && !e.textContent.trim()
                    && !e.getAttribute("aria-label") && !e.labels?.length)
                .map((e) => e.outerHTML)"""
        )
        assert nameless == []
        assert page.locator("main h1, header h1").count() == 1
        for name in ("Recordings", "Summary", "Key points", "Transcript", "Player"):
            expect(page.get_by_role("region", name=name, exact=True)).to_be_visible()


def test_a_job_that_is_not_there_is_told(browser: Browser, server: JobsServer) -> None:
    with opened(browser, server, 999_999) as page:
        expect(page.get_by_text("not there any more")).to_be_visible()
        expect(page.locator("#job")).to_be_hidden()


def test_a_recording_without_its_sound_has_no_player(
    browser: Browser, server: JobsServer
) -> None:
    job = in_store(server, lambda store: store.add("nowhere.mp3", name="gone"))
    with opened(browser, server, job.id) as page:
        expect(page.locator("#job-name")).to_have_text("gone")
        expect(page.locator("#player")).to_be_hidden()
