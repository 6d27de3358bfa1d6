"""The jobs backend and the recordings that nobody would send."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from bad_audio import CASES
from bad_case import Fails, Gives
from jobs_backend_watched import WatchedServer


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bad_case import Case
    from stress_report import Report


pytestmark = pytest.mark.timeout(1_200)

# What begins as a recording, and turns out to be too long for this server.
TOO_LONG = {"52 FLAC silence of 24 h", "60d Opus silence of 3 h"}

# One of each kind of damage that is only seen, or only survived, by who hears it all.
HEARD = {
    *TOO_LONG,
    *("06 data=0, RIFF=0", "29 float NaN", "30c float 1e38", "34 RF64 of 2^64-1 bytes"),
    *("49 FLAC total=1", "50b FLAC three bit flips", "53c FLAC 100,000 comments"),
    *("54a MP3 Xing frames=2^32-1", "56 MP3 cut in half", "58e MP3 rate changes"),
    *("59a Opus chained", "60b Opus every granule 2^62", "62a WAV, then ZIP"),
    *("62d MP3, then HTML", "62x 8 channels", "62n DC in WAV"),
}


def is_refused(case: Case) -> bool:
    """Tell whether a recording is none to this server, which is told no raw format."""
    lenient = isinstance(case.expected(lenient=True), Fails)
    return (lenient or case.raw is not None) and case.id not in TOO_LONG


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedServer]:
    with WatchedServer(
        tmp_path_factory.mktemp("bad"),
        ALLOWED_EXTENSIONS="wav,mp3,m4a,ogg,webm,flac,aac,mp4,opus",
        MAX_RECORDING_MINUTES="1",
        VOICEPIPE_WORKERS="2",
    ) as server:
        yield server


def uploaded(server: WatchedServer, case: Case, tmp_path: Path) -> dict[str, Any]:
    """Upload one; give the job, or nothing where it was refused."""
    path = tmp_path / case.name
    path.write_bytes(case.make())
    before = server.files()
    answer = server.upload(path)
    if not is_refused(case):
        assert answer.status_code == 201, answer.text
        job: dict[str, Any] = answer.json()
        assert len(server.files()) == len(before) + 1
        return job
    assert answer.status_code == 415, answer.text
    assert len(answer.json()["error"]) > 40
    assert server.files() == before
    return {}


def check_ended(case: Case, job: dict[str, Any]) -> None:
    """See what came of a job."""
    if case.id in TOO_LONG:
        assert job["status"] == "error"
        assert re.search(r"more than 60 s of sound", job["error_message"])
        assert job["segments"] is None
    else:
        assert job["status"] == "done", job["error_message"]
        expected = case.expected(lenient=True)
        assert isinstance(expected, Gives)
        seconds = len(expected.sound()) / expected.rate
        slack = (expected.delay + expected.extra + expected.missing) / expected.rate
        assert job["duration"] == pytest.approx(seconds, abs=slack + 0.01)
    said = job["error_message"] or ""
    assert not re.search(r"[\n\r/\\]|0x", said)
    assert len(said) < 300


def test_each_bad_recording_is_415_or_a_job_that_ends_as_it_should(
    server: WatchedServer, tmp_path: Path
) -> None:
    before = server.files()
    jobs = {case: uploaded(server, case, tmp_path) for case in CASES}

    assert sum(not job for job in jobs.values()) == sum(map(is_refused, CASES)) > 50
    heard = {case: job["id"] for case, job in jobs.items() if case.id in HEARD}
    assert len(heard) == len(HEARD)
    for job_id in heard.values():
        assert server.http.post(f"/api/jobs/{job_id}/run").status_code == 202
    for case, job in jobs.items():
        if job:
            peaks = server.http.get(f"/api/jobs/{job['id']}/waveform")
            wanted = 422 if case.id in TOO_LONG else 200
            assert peaks.status_code == wanted, (case.id, peaks.text)
    for case, job_id in heard.items():
        check_ended(case, server.wait(job_id, "done", "error"))
    server.check_log()
    assert server.http.delete("/api/jobs?files=true").status_code == 200
    assert server.files() == before


@pytest.mark.stress
@pytest.mark.timeout(1_800)
def test_all_bad_recordings_that_are_taken_are_worked_on(
    server: WatchedServer, tmp_path: Path, stress_report: Report
) -> None:
    ids: dict[Case, int] = {}
    for case in CASES:
        if job := uploaded(server, case, tmp_path):
            ids[case] = job["id"]
            server.http.post(f"/api/jobs/{job['id']}/run")

    for case, job_id in ids.items():
        check_ended(case, server.wait(job_id, "done", "error"))
    server.check_log()
    stress_report(
        f"{len(CASES)} bad recordings uploaded to the jobs backend",
        f"{len(CASES) - len(ids)} refused with 415, {len(ids)} ended as they should",
    )
