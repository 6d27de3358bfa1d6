"""Servers with faults, and a place to download to."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from authority import Authority
from fault_server import FaultServer

from voicepipe.net import retries


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be little time between attempts: a tenth of the usual."""
    monkeypatch.setattr(retries, "_FIRST_S", retries._FIRST_S / 10)
    monkeypatch.setattr(retries, "_JITTER_S", retries._JITTER_S / 10)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """Give a server that answers as a test says."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def other() -> Iterator[FaultServer]:
    """Give another one: another port is another origin."""
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Give the authority that the downloader is to trust."""
    return Authority()


@pytest.fixture
def tls_server(authority: Authority) -> Iterator[FaultServer]:
    """Give a server with a certificate that holds."""
    with FaultServer(tls=authority.server("127.0.0.1")) as server:
        yield server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount a file system with room for so many bytes."""
    mounted = []

    def mount(size: int) -> Path:
        disk = tmp_path / "disk"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("may not mount a small disk: needs root, or unshare -Urm")
        mounted.append(disk)
        return disk

    yield mount
    for disk in mounted:
        subprocess.run(["umount", str(disk)], check=True)
