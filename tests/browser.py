"""Chromium, and pages in it."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect, sync_playwright


if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, Playwright, ViewportSize


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WAIT_MS = 60_000

# A machine that is busy with other tests is slow.
expect.set_options(timeout=WAIT_MS)

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed"
)


def launch(playwright: Playwright, *flags: str) -> Browser:
    """Run Chromium."""
    return playwright.chromium.launch(
        executable_path=CHROMIUM,
        args=["--no-sandbox", "--disable-gpu", *flags],
        timeout=3 * WAIT_MS,
    )


@contextlib.contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """Run Chromium, where nothing else is driven by Playwright."""
    with sync_playwright() as playwright, launch(playwright, *flags) as browser:
        yield browser


@pytest.fixture(scope="module", name="browser")
def a_browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@contextlib.contextmanager
def opened(
    browser: Browser, url: str, *, width: int = 1280, **more: Any
) -> Iterator[Page]:
    """Open a page; it must do nothing that it may not."""
    size: ViewportSize = {"width": width, "height": 800}
    with browser.new_context(viewport=size, **more) as context:
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on(
            "console",
            lambda said: (
                faults.append(said.text) if "Content Security" in said.text else None
            ),
        )
        page.goto(url)
        yield page
        assert faults == []
