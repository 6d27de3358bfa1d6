"""The page of the jobs backend in a real browser, and jobs whose results are known."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import io
import json
import time
import wave
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from browser import WAIT_MS, chromium
from browser import opened as open_page
from jobs_backend_runner import SAMPLE, JobsServer
from playwright.sync_api import expect

from voicepipe import (
    Analysis,
    CleanLine,
    Point,
    Segment,
    SqlJobStore,
    Transcript,
    Turn,
    Word,
    talk_metrics,
)


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from playwright.sync_api import Browser, Locator, Page

    from voicepipe import Job, JobProgress


REFERENCE = json.loads((SAMPLE.parent / "sample_call.json").read_text("utf-8"))


def words_of(turn: dict[str, Any]) -> tuple[Word, ...]:
    """Give a turn's words, each as long as the others."""
    texts = turn["text"].split()
    start, step = turn["start"], (turn["end"] - turn["start"]) / len(texts)
    return tuple(
        Word(
            start=round(start + i * step, 3),
            end=round(start + (i + 1) * step, 3),
            text=text,
        )
        for i, text in enumerate(texts)
    )


def transcript_of(turns: list[dict[str, Any]], *names: str) -> Transcript:
    segments = [
        Segment(
            start=turn["start"],
            end=turn["end"],
            text=turn["text"],
            words=words_of(turn),
            channel=turn["channel"],
            speaker=(names or ("Speaker00", "Speaker01"))[turn["channel"]],
        )
        for turn in turns
    ]
    duration = REFERENCE["duration"]
    return Transcript.of(segments, duration=duration, model="reference", language="en")


NOTHING_KEPT = 4
"""Id of the segment that the clean transcript leaves out."""

SAID = transcript_of(REFERENCE["turns"])
MEANT = Analysis(
    summary=(
        Point(text="A customer orders roses.", segment_ids=(3,)),
        Point(text="They agree on a price.", segment_ids=(7, 8)),
    ),
    key_points=(
        Point(text="Twelve red roses and chocolate", segment_ids=(3,)),
        Point(text="The card says happy birthday", segment_ids=(14, 13)),
    ),
    conversation_type="order",
    language="en",
    model="known",
    clean_lines=tuple(
        CleanLine(segment_id=s.id, text=s.text.lower() * (s.id != NOTHING_KEPT))
        for s in SAID.segments
    ),
)


def in_store(server: JobsServer, act: Callable[[SqlJobStore], Awaitable[Job]]) -> Job:
    """Do something with the server's store, as a worker elsewhere does."""

    async def run() -> Job:
        path = server.folder / "instance" / "diarize_ai_agent.db"
        async with SqlJobStore(f"sqlite:///{path}") as store:
            return await act(store)

    # The thread of a test belongs to the browser's event loop.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(anyio.run, run).result()


def claimed(server: JobsServer, job_id: int) -> int:
    """Claim a job; gives the attempt."""

    async def claim(store: SqlJobStore) -> Job:
        job = await store.claim("a test", lease_s=600, job_id=job_id)
        assert job is not None
        return job

    return in_store(server, claim).attempt


def told(server: JobsServer, job_id: int, attempt: int, progress: JobProgress) -> None:
    """Tell how far a claimed job has come."""

    async def tell(store: SqlJobStore) -> Job:
        await store.extend(job_id, attempt=attempt, lease_s=600, progress=progress)
        return await store.get(job_id)

    in_store(server, tell)


def finished(
    server: JobsServer,
    job_id: int,
    transcript: Transcript = SAID,
    analysis: Analysis = MEANT,
) -> None:
    """Give a job its results."""
    attempt = claimed(server, job_id)
    turns = [
        Turn(start=s.start, end=s.end, speaker=s.speaker or "", channel=s.channel)
        for s in transcript.segments
    ]
    metrics = talk_metrics(turns, duration=transcript.duration, transcript=transcript)
    in_store(
        server,
        lambda store: store.finish(
            job_id,
            attempt=attempt,
            transcript=transcript,
            metrics=metrics,
            analysis=analysis,
        ),
    )


@contextlib.contextmanager
def opened(
    browser: Browser, server: JobsServer, job_id: int | None = None, **more: Any
) -> Iterator[Page]:
    """Open the page, of all jobs or of one."""
    url = f"{server.url}/#/jobs/{job_id}" if job_id else server.url
    with open_page(browser, url, **more) as page:
        yield page


def badge(page: Page) -> Locator:
    return page.locator("#job-badge")


def segment(page: Page, number: int) -> Locator:
    return page.locator(f'.segment[data-id="{number}"]')


def is_whole(page: Page) -> None:
    """Wait until a page of the call shows all: nothing comes or moves any more."""
    expect(badge(page)).to_have_text("done")
    expect(segment(page, 18)).to_be_attached()
    expect(page.locator("#duration")).to_have_text("1:10")
    expect(page.locator("#player")).to_be_visible()
    # The peaks, and with them the height of two lanes, come last.
    expect(page.locator("#seek")).to_have_class("seek two")


def play_slowly(page: Page) -> None:
    """Let a second of sound last sixteen: who looks now and then misses nothing."""
    page.evaluate("document.querySelector('audio').playbackRate = 0.0625")


def player_at(page: Page) -> float:
    found: float = page.evaluate("document.querySelector('audio').currentTime")
    return found


def is_in_sight(page: Page, number: int) -> bool:
    """Tell whether a segment is to be seen, where the player does not hide it."""
    found: bool = page.evaluate(
        """(number) => {
            const find = (selector) => document.querySelector(selector);
            const of = (selector) => find(selector).getBoundingClientRect();
            const box = of(`.segment[data-id="${number}"]`);
            const list = of("#segments");
            return box.top >= Math.max(of("#player").bottom, list.top - 1)
                && box.bottom <= Math.min(innerHeight, list.bottom + 1);
        }""",
        number,
    )
    return found


def comes_in_sight(page: Page, number: int) -> None:
    waits_until(page, lambda: is_in_sight(page, number))


def plays_to(page: Page, second: float) -> None:
    waits_until(page, lambda: player_at(page) >= second)


def waits_until(page: Page, there: Callable[[], bool]) -> None:
    """Wait; Playwright's own way is not allowed by the page's security policy."""
    deadline = time.monotonic() + WAIT_MS / 1_000
    while not there():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def silence() -> str:
    """Give a WAV of a tenth of a second of silence, base64."""
    target = io.BytesIO()
    with wave.open(target, "wb") as wav:
        wav.setparams((1, 2, 8_000, 0, "NONE", ""))
        wav.writeframes(bytes(1_600))
    return base64.b64encode(target.getvalue()).decode()


@pytest.fixture(scope="module", name="browser")
def a_browser() -> Iterator[Browser]:
    """Give a browser that plays at once what a test tells it to play."""
    with chromium("--autoplay-policy=no-user-gesture-required") as browser:
        yield browser


@pytest.fixture(scope="module", name="shared")
def a_shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsServer]:
    """Give a server that works on nothing itself; tests share it."""
    folder = tmp_path_factory.mktemp("jobs")
    with JobsServer(folder, VOICEPIPE_WORKERS="0") as server:
        yield server


@pytest.fixture(name="server")
def an_empty_server(shared: JobsServer) -> JobsServer:
    """Give the shared server with no jobs in it."""
    answer = shared.http.delete("/api/jobs", params={"files": "true"})
    assert answer.status_code == 200
    return shared


@pytest.fixture(name="call")
def a_call(server: JobsServer) -> int:
    """Give a job of the sample call with known results."""
    job_id: int = server.upload(SAMPLE).json()["id"]
    finished(server, job_id)
    return job_id
