"""The jobs backend keeps what its OpenAPI document promises: asked by schemathesis."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jobs_backend_watched import WatchedServer


if TYPE_CHECKING:
    from collections.abc import Iterator

    from stress_report import Report


TESTS = Path(__file__).parent

# A form with a file in it is not yet a recording: that the schema cannot say.
CONFIG = """
hooks = "jobs_backend_hooks"
warnings = false
request-timeout = 240

[generation]
database = "none"

[[operations]]
include-name = "POST /api/jobs"
checks.positive_data_acceptance.expected-statuses = ["2XX", 400, 415, 422]

# They do not end; test_jobs_backend_listeners is on them.
[[operations]]
include-path-regex = "events$"
enabled = false
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedServer]:
    with WatchedServer(tmp_path_factory.mktemp("schema")) as server:
        yield server


def asked(server: WatchedServer, *arguments: str) -> str:
    """Ask whatever the document allows and what it does not; give the report."""
    config = server.folder / "schemathesis.toml"
    config.write_text(CONFIG, "utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", config),
            *("run", f"{server.url}/openapi.json", "--no-color", *arguments),
        ],
        capture_output=True,
        check=False,
        cwd=server.folder,
        env={
            **os.environ,
            "JOBS_BACKEND_URL": server.url,
            "PYTHONPATH": str(TESTS),
        },
        text=True,
    )
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-4_000:]
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "least"),
    [
        pytest.param(
            ("--max-examples=8", "--seed=8"), 300, marks=pytest.mark.timeout(1_200)
        ),
        pytest.param(
            ("--max-examples=300", "--seed=88", "--max-time=900"),
            3_000,
            marks=[pytest.mark.stress, pytest.mark.timeout(1_800)],
        ),
    ],
    ids=["few", "many"],
)
def test_every_answer_is_one_that_the_document_has(
    server: WatchedServer, arguments: tuple[str, ...], least: int, stress_report: Report
) -> None:
    report = asked(server, *arguments)

    cases = int(re.findall(r"(\d+) generated", report)[0])
    assert cases >= least, report
    # Much was asked of jobs that are there, and much was sent that is sound.
    log = server.log()
    for answered in (r"POST /api/jobs 201", r"GET /api/jobs/\d+ 200", r"run 202"):
        assert len(re.findall(answered, log)) >= 3, answered
    for left_out in ("PUT", "DELETE", "GET"):
        assert re.search(rf" {left_out} /api/jobs/\d+ 200 ", log)
    server.check_log()
    stress_report(
        f"{cases} requests by schemathesis to the jobs backend",
        "each answered as the OpenAPI document says; none with a fault of ours",
    )
