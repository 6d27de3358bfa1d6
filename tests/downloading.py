"""What the tests of downloads share: limits, one call, and what lies about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from voicepipe.io.download.downloader import Downloader
from voicepipe.io.download.values import Download, DownloadOptions


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fault_server import FaultServer


def limits(*servers: FaultServer, **changes: Any) -> DownloadOptions:
    """Give limits that no busy machine passes, and let these servers be reached."""
    patient: dict[str, Any] = {
        "allow_hosts": tuple(server.host for server in servers),
        "resolve_s": 60.0,
        "connect_s": 60.0,
        "read_s": 60.0,
        "total_s": 100.0,
        "attempts": 2,
        "durable": False,
    }
    return DownloadOptions(**{**patient, **changes})


async def fetch(
    options: DownloadOptions, url: str, path: Path, **more: Any
) -> Download:
    """Download one file with a downloader of its own."""
    async with Downloader(options) as downloader:
        return await downloader.fetch(url, path, **more)


async def until(happened: Callable[[], object], *, within_s: float = 60.0) -> None:
    """Wait until something has happened in the server's threads."""
    with anyio.fail_after(within_s):
        while not happened():  # noqa: ASYNC110 - a thread cannot set an event of ours
            await anyio.sleep(0.005)


def parts(folder: Path) -> list[str]:
    """Give the kinds of unfinished files in a folder: ``[".json", ".part"]``, say."""
    return sorted(path.suffix for path in folder.glob(".voicepipe-*"))


def names(folder: Path) -> set[str]:
    """Give the names of all files in a folder."""
    return {path.name for path in folder.iterdir()}
