"""Servers with faults, and a place to download to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from authority import an_authority  # noqa: F401 - a fixture
from fault_server import (
    FaultServer,
    a_server,  # noqa: F401 - a fixture
    another_server,  # noqa: F401 - a fixture
)

from voicepipe.net import answer, retries


if TYPE_CHECKING:
    from collections.abc import Iterator

    from authority import Authority


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be little time between attempts: a tenth of the usual."""
    monkeypatch.setattr(retries, "_FIRST_S", retries._FIRST_S / 10)
    monkeypatch.setattr(retries, "_JITTER_S", retries._JITTER_S / 10)


@pytest.fixture(params=["through the engine", "past the engine"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a body with a length pass the engine by, as only large ones do else."""
    if request.param == "past the engine":
        monkeypatch.setattr(answer, "_DIRECT_BYTES", 1)


@pytest.fixture
def tls_server(authority: Authority) -> Iterator[FaultServer]:
    """Give a server with a certificate that holds."""
    with FaultServer(tls=authority.server("127.0.0.1")) as server:
        yield server
