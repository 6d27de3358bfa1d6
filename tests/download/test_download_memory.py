"""Memory does not grow with what a server sends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fault_answers import MIB, big_wav, bomb, status


if TYPE_CHECKING:
    from fault_answers import Answer
    from fault_server import FaultServer
    from stress_report import Report


MEASURED = Path(__file__).parents[1] / "download_measured.py"


def measure(
    server: FaultServer, answer: Answer, folder: Path, max_bytes: int = 1 << 31
) -> dict[str, Any]:
    url = server.on("/a.wav", answer)
    path = folder / "a.wav"
    out = subprocess.run(
        [sys.executable, str(MEASURED), url, str(path), str(max_bytes)],
        capture_output=True,
        check=True,
        text=True,
    )
    path.unlink(missing_ok=True)
    return dict(json.loads(out.stdout))


@pytest.mark.parametrize("tell", [True, False], ids=["told", "not told"])
def test_a_large_body_takes_little_memory(
    server: FaultServer, tmp_path: Path, *, tell: bool
) -> None:
    found = measure(server, big_wav(128 * MIB, tell=tell), tmp_path)

    assert (found["size"], found["error"]) == (128 * MIB, None)
    assert found["grown"] < 40


def test_a_body_over_the_limit_takes_little_memory(
    server: FaultServer, tmp_path: Path
) -> None:
    answer = big_wav(1 << 30, tell=False)

    found = measure(server, answer, tmp_path, max_bytes=16 * MIB)

    assert found["error"] == "TooLargeError"
    assert found["grown"] < 40


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_bomb_takes_no_memory(
    layers: int, server: FaultServer, tmp_path: Path
) -> None:
    coding = ", ".join(["gzip"] * layers)
    answer = status(200, f"Content-Encoding: {coding}", body=bomb(layers))

    found = measure(server, answer, tmp_path)

    assert found["error"] == "BadResponseError"
    assert found["grown"] < 16


@pytest.mark.stress
def test_a_gibibyte_takes_little_memory(
    server: FaultServer, tmp_path: Path, stress_report: Report
) -> None:
    found = measure(server, big_wav(1 << 30), tmp_path)

    stress_report(
        "a download of 1 GiB", f"the process grew by {found['grown']:.0f} MiB"
    )
    assert (found["size"], found["error"]) == (1 << 30, None)
    assert found["grown"] <= 60
