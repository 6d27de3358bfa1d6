"""The jobs page and its server: keys, refusals, crashes, sound that comes late."""

from __future__ import annotations

import re
from signal import SIGKILL
from typing import TYPE_CHECKING

import pytest
from browser import needs_chromium
from jobs_backend_runner import SAMPLE, JobsServer
from jobs_page import (
    a_browser,  # noqa: F401 - a fixture
    badge,
    finished,
    in_store,
    opened,
    plays_to,
    segment,
    silence,
)
from playwright.sync_api import expect


if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from voicepipe import Job, SqlJobStore


KEY = "open sesame"
LONG_MS = 900_000

pytestmark = [needs_chromium, pytest.mark.timeout(1_200)]


def test_the_page_asks_for_the_key_and_shows_nothing_without(
    browser: Browser, tmp_path: Path
) -> None:
    variables = {"VOICEPIPE_API_KEY": KEY, "VOICEPIPE_WORKERS": "0"}
    with JobsServer(tmp_path, **variables) as server:
        server.http.headers["authorization"] = f"Bearer {KEY}"
        job_id = server.upload(SAMPLE).json()["id"]
        finished(server, job_id)
        with opened(browser, server, job_id) as page:
            key = page.get_by_label("The server's key")
            key.fill("wrong")
            page.get_by_role("button", name="Continue").click()
            expect(page.get_by_role("alert")).to_contain_text("not the right one")
            assert page.locator(".item").count() == 0
            expect(page.locator("#app")).to_be_hidden()
            key.fill(KEY)
            page.get_by_role("button", name="Continue").click()
            expect(badge(page)).to_have_text("done")
            expect(key).to_be_hidden()
            page.get_by_role("button", name="Play").click()
            plays_to(page, 0.2)
            page.locator("#files").set_input_files(SAMPLE)
            expect(page.locator(".item")).to_have_count(2)
            # The list may know of it before the upload has its answer.
            expect(page.locator(".upload")).to_have_count(0)
            page.reload()
            expect(page.locator(".item")).to_have_count(2)

        assert KEY not in server.log()
        assert "open%20sesame" not in server.log()
        assert "open+sesame" not in server.log()


def test_a_server_that_is_killed_is_told_and_what_is_missed_comes_when_it_is_back(
    browser: Browser, tmp_path: Path
) -> None:
    with (
        JobsServer(tmp_path, VOICEPIPE_WORKERS="0") as server,
        opened(browser, server) as page,
    ):
        keys: list[str | None] = []
        page.on(
            "request",
            lambda request: keys.append(request.headers.get("idempotency-key")),
        )
        state = page.locator("#state")
        expect(state).to_have_text("Connected")
        kept, deleted = (server.upload(SAMPLE).json()["id"] for _ in range(2))
        expect(page.locator(".item")).to_have_count(2)
        page.goto(f"{server.url}/#/jobs/{kept}")
        expect(badge(page)).to_have_text("not started")
        server.stop(SIGKILL)
        expect(state).to_have_text("Not connected. Trying again…")
        page.get_by_role("button", name="Transcribe", exact=True).click()
        expect(page.get_by_role("alert").first).to_contain_text("cannot be reached")
        page.locator("#files").set_input_files(SAMPLE)
        expect(page.locator(".upload.failed")).to_contain_text("broke off")
        finished(server, kept)

        async def delete(store: SqlJobStore) -> Job:
            await store.delete([deleted])
            return await store.get(kept)

        in_store(server, delete)
        server.start()
        expect(state).to_have_text("Connected")
        expect(badge(page)).to_have_text("done")
        expect(page.locator(".item")).to_have_count(1)
        expect(segment(page, 18)).to_be_attached()
        expect(page.get_by_role("alert").first).to_be_hidden()
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".item")).to_have_count(2)
        expect(page.locator(".upload")).to_have_count(0)
        first, again = filter(None, keys)
        assert first == again
        assert len(bytes.fromhex(first)) == 16


def test_sound_that_is_redacted_can_be_heard_when_it_is_ready(
    browser: Browser, tmp_path: Path
) -> None:
    variables = {"VOICEPIPE_REDACT": "1", "VOICEPIPE_WORKERS": "0"}
    with JobsServer(tmp_path, **variables) as server:
        job_id = server.upload(run=True).json()["id"]
        with opened(browser, server, job_id) as page:
            expect(badge(page)).to_have_text("waiting")
            expect(page.locator("#player")).to_be_hidden()
            server.start_worker()
            expect(badge(page)).to_have_text("done", timeout=LONG_MS)
            expect(page.locator("#duration")).to_have_text("0:10")
            page.get_by_role("button", name="Play").click()
            plays_to(page, 0.3)


def test_recordings_are_dropped_on_the_page_and_refusals_are_told(
    browser: Browser, tmp_path: Path
) -> None:
    with (
        JobsServer(
            tmp_path, VOICEPIPE_WORKERS="0", MAX_CONTENT_LENGTH="1000000"
        ) as server,
        opened(browser, server) as page,
    ):
        expect(page.get_by_text("No recordings yet")).to_be_visible()
        # What the server takes comes by another answer.
        expect(page.locator("#files")).to_have_attribute("accept", re.compile(r"^\."))
        dropped = page.evaluate_handle(
            """async (url) => {
                const data = new DataTransfer();
                const put = (name, bytes) => data.items.add(new File([bytes], name));
                put("notes.txt", "no sound");
                put("noise.mp3", "no sound either");
                put("long.wav", new Uint8Array(1000001));
                put("silence.wav", Uint8Array.from(atob(url), (c) => c.charCodeAt(0)));
                return data;
            }""",
            silence(),
        )
        page.dispatch_event("body", "dragenter", {"dataTransfer": dropped})
        expect(page.get_by_text("Drop to upload")).to_be_visible()
        page.dispatch_event("body", "drop", {"dataTransfer": dropped})

        expect(page.get_by_text("Drop to upload")).to_be_hidden()
        expect(page.locator(".item .name")).to_have_text(["silence.wav"])
        failed = page.locator(".upload.failed")
        expect(failed).to_have_count(3)
        expect(failed.filter(has_text="notes.txt")).to_contain_text("must end in")
        expect(failed.filter(has_text="noise.mp3")).to_contain_text("not")
        expect(failed.filter(has_text="long.wav")).to_contain_text("Larger than")
        assert "long.wav" not in server.log()
        for _ in range(3):
            failed.first.get_by_role("button", name="Forget the upload").click()
        expect(failed).to_have_count(0)
