"""The jobs backend as it starts, works, stops, dies and comes back."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from app_runner import WAIT_S
from gemini_service import KEY, GeminiService
from jobs_backend_runner import APP, JobsServer, long_call, short_call
from live_runner import speech, wav

from voicepipe.servers import engines


if TYPE_CHECKING:
    from collections.abc import Iterator

    from stress_report import Report


pytestmark = pytest.mark.timeout(1_200)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsServer]:
    with JobsServer(tmp_path_factory.mktemp("life")) as server:
        yield server


def test_events_tell_of_a_job_from_its_beginning_to_its_end(
    server: JobsServer,
) -> None:
    with server.events() as events:
        job_id = server.upload(run=True).json()["id"]
        heard = events.hear_until("done")
        server.http.delete(f"/api/jobs/{job_id}")
        last = events.hear()

    assert {job["id"] for job in heard} == {job_id}
    assert {job["status"] for job in heard} <= {"uploaded", "processing", "done"}
    assert "segments" not in heard[-1]
    assert last == ("deleted", {"id": job_id})


def test_events_tell_how_far_a_job_has_come(server: JobsServer) -> None:
    with server.events() as events:
        # Long enough that something is told on the way.
        job_id = server.upload(long_call(), run=True).json()["id"]
        heard = [events.hear()[1]]
        while heard[-1]["progress"] is None:
            assert heard[-1]["status"] in {"uploaded", "processing"}
            heard.append(events.hear()[1])
        server.http.post(f"/api/jobs/{job_id}/cancel")
        heard += events.hear_until("error")
        server.http.delete(f"/api/jobs/{job_id}")

    assert {job["id"] for job in heard} == {job_id}
    progress = [job["progress"]["fraction"] for job in heard if job["progress"]]
    assert progress == sorted(progress)


def test_who_comes_back_hears_what_was_missed(server: JobsServer) -> None:
    with server.events() as events:
        first = server.upload().json()["id"]
        assert events.hear()[1]["id"] == first
        cursor = events.cursor
    second = server.upload().json()["id"]
    server.http.delete(f"/api/jobs/{first}")

    told: set[tuple[str, int]] = set()
    with server.events(Last_Event_ID=cursor) as events:
        # What is older may be told again.
        while not {("deleted", first), ("job", second)} <= told:
            kind, data = events.hear()
            told.add((kind, data["id"]))

    assert ("job", first) not in told


@pytest.mark.parametrize("cursor", ["x", "-1", "9" * 40, ""])
def test_a_cursor_that_is_none_is_no_error(server: JobsServer, cursor: str) -> None:
    with server.events(Last_Event_ID=cursor) as events:
        job_id = server.upload().json()["id"]
        while events.hear()[1]["id"] != job_id:
            pass


def test_a_jobs_own_events_begin_with_how_it_is(server: JobsServer) -> None:
    job_id = server.upload().json()["id"]
    with server.events(f"/api/jobs/{job_id}/events") as events:
        kind, job = events.hear()
        server.upload()
        server.http.put(f"/api/jobs/{job_id}", json={"summary": "mine"})
        # How it is may be told twice.
        while (edited := events.hear()[1])["updated_at"] == job["updated_at"]:
            assert edited == job

    assert (kind, job["id"], job["status"]) == ("job", job_id, "uploaded")
    assert edited["id"] == job_id
    assert edited["updated_at"] > job["updated_at"]


@pytest.mark.parametrize(
    "kills", [2, pytest.param(30, marks=[pytest.mark.stress, pytest.mark.timeout(900)])]
)
def test_jobs_outlive_kills_of_the_server(
    tmp_path: Path, kills: int, stress_report: Report
) -> None:
    with JobsServer(
        tmp_path, VOICEPIPE_MAX_TRIES="1000", VOICEPIPE_LEASE_SECONDS="1"
    ) as server:
        ids = [server.upload(run=True).json()["id"] for _ in range(4)]
        for number in range(kills):
            time.sleep(0.1 + 0.29 * number % 1.3)
            server.stop(signal.SIGKILL)
            server.start()
            ids.append(server.upload(run=True).json()["id"])
        jobs = [server.wait(job_id) for job_id in ids]

        assert len({job["audio_path"] for job in jobs}) == len(ids)
        # All are of one recording.
        assert len({job["clean_transcript"] for job in jobs}) == 1
        assert {job["status"] for job in server.http.get("/api/jobs").json()} == {
            "done"
        }
        assert len(server.files()) == len(ids)
    stress_report(
        f"{kills} SIGKILLs of the jobs backend, its worker inside",
        f"{len(ids)} of {len(ids)} jobs done, all with the same transcript",
    )


def test_a_worker_beside_the_server_does_the_jobs(tmp_path: Path) -> None:
    with JobsServer(tmp_path, VOICEPIPE_WORKERS="0") as server:
        worker = server.start_worker("--at-once", "2")
        ids = [server.upload(run=True).json()["id"] for _ in range(3)]

        jobs = [server.wait(job_id) for job_id in ids]
        worker.send_signal(signal.SIGTERM)

        assert worker.wait(WAIT_S) == 0
        assert all(job["segments"] for job in jobs)
        assert server.http.get("/health").json()["worker"] == "external"


def test_all_of_it_runs_on_postgresql(tmp_path: Path, postgres: str) -> None:
    with (
        JobsServer(tmp_path, DATABASE_URL=postgres, VOICEPIPE_WORKERS="0") as server,
        server.events() as events,
    ):
        worker = server.start_worker()
        job_id = server.upload(run=True, key="k").json()["id"]
        assert server.upload(key="k").status_code == 200
        assert events.hear_until("done")[-1]["id"] == job_id
        edited = server.http.put(f"/api/jobs/{job_id}", json={"keypoints": ["\u20ac"]})
        assert edited.json()["keypoints"] == ["\u20ac"]
        listed = server.http.get("/api/jobs").json()
        assert listed == [server.job(job_id)]
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(WAIT_S) == 0
        assert server.http.delete("/api/jobs?files=true").json() == {"deleted": 1}
        assert server.stop() == 0
    assert not (tmp_path / "instance" / "diarize_ai_agent.db").exists()


def test_old_jobs_go_with_their_files_and_crashes_leave_nothing(
    tmp_path: Path,
) -> None:
    server = JobsServer(tmp_path, VOICEPIPE_WORKERS="0")
    with server:
        old = server.upload().json()["id"]
        server.http.get(f"/api/jobs/{old}/waveform")
        server.upload()
        server.http.delete("/api/jobs/2")
        running = server.upload(run=True).json()["id"]
        server.stop()
        part = server.uploads / ".0123.part"
        part.write_bytes(b"x")
        fresh = server.uploads / ".4567.part"
        fresh.write_bytes(b"x")
        note = server.uploads / "README.txt"
        note.write_text("ours", "utf-8")
        a_day_ago = time.time() - 90_000
        os.utime(part, (a_day_ago, a_day_ago))
        server.env["VOICEPIPE_RETENTION_DAYS"] = "0.00001"
        time.sleep(1.0)
        server.start()
        deadline = time.monotonic() + WAIT_S
        while len(server.files()) > 3 and time.monotonic() < deadline:
            time.sleep(0.05)

        # What is being worked on stays, and what is not ours.
        assert server.http.get(f"/api/jobs/{old}").status_code == 404
        kept = Path(server.job(running)["audio_path"]).name
        assert server.files() == sorted([fresh.name, note.name, kept])


def test_an_upload_whose_last_step_was_killed_is_there_when_it_is_wanted(
    tmp_path: Path,
) -> None:
    with JobsServer(tmp_path, VOICEPIPE_WORKERS="0") as server:
        job = server.upload().json()
        whole = server.folder / job["audio_path"]
        whole.rename(whole.with_name(f".{whole.name}.part"))

        audio = server.http.get(f"/api/jobs/{job['id']}/audio")

        assert audio.content == short_call().read_bytes()
        assert server.files() == [whole.name]


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL must begin with"),
        ({"DATABASE_URL": "canary.db"}, "DATABASE_URL must begin with"),
        ({"DATABASE_URL": "postgresql+psycopg2://x"}, "DATABASE_URL must begin with"),
        ({"MAX_CONTENT_LENGTH": "0"}, "MAX_CONTENT_LENGTH must be"),
        ({"ALLOWED_EXTENSIONS": "wav,../x"}, "ALLOWED_EXTENSIONS must be"),
        ({"VOICEPIPE_WORKERS": "-1"}, "VOICEPIPE_WORKERS must be"),
        ({"VOICEPIPE_ANALYZER": "gemini:canary"}, "GEMINI_API_KEY must be set"),
        ({"VOICEPIPE_DIARIZER": "canary"}, "VOICEPIPE_DIARIZER must be"),
        ({"DEBUG": "canary"}, "DEBUG must be"),
        ({"HOST": "0.0.0.0"}, "VOICEPIPE_API_KEY must be set"),
        ({"UPLOAD_FOLDER": "/proc/nothing"}, "not started"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_settings_are_told_in_one_line(
    tmp_path: Path, variables: dict[str, str], told: str
) -> None:
    done = JobsServer(tmp_path, **variables).run()

    assert done.returncode not in {0, None}
    assert told in done.stderr
    assert "canary" not in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_foreign_table_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "instance" / "diarize_ai_agent.db"
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, owner TEXT)")
        connection.execute("INSERT INTO jobs VALUES (1, 'somebody')")
    connection.close()
    before = path.read_bytes()

    done = JobsServer(tmp_path).run()

    assert done.returncode == 2
    assert done.stderr.startswith("not started: ")
    assert "Traceback" not in done.stderr
    assert path.read_bytes() == before


def test_a_relative_database_lies_in_the_instance_folder(tmp_path: Path) -> None:
    with JobsServer(
        tmp_path,
        DATABASE_URL="sqlite:///mine.db",
        INSTANCE_FOLDER="data",
        UPLOAD_FOLDER=str(tmp_path / "files"),
        VOICEPIPE_WORKERS="0",
    ) as server:
        job = server.upload().json()

    assert (tmp_path / "data" / "mine.db").is_file()
    assert Path(job["audio_path"]).parent == tmp_path / "files"
    assert Path(job["audio_path"]).is_file()


@pytest.mark.parametrize("debug", ["false", "true"])
def test_a_traceback_is_shown_for_debugging_only(tmp_path: Path, debug: str) -> None:
    with JobsServer(tmp_path, DEBUG=debug, VOICEPIPE_WORKERS="0") as server:
        server.uploads.rmdir()

        answer = server.upload()

    assert answer.status_code == 500
    assert answer.json()["error"] == "Internal error"
    assert ("traceback" in answer.json()) is (debug == "true")
    assert ("Traceback" in answer.text) is (debug == "true")


def test_gemini_reads_the_transcript_where_there_is_a_key(tmp_path: Path) -> None:
    with (
        GeminiService() as gemini,
        JobsServer(
            tmp_path,
            GEMINI_API_KEY=KEY,
            GEMINI_BASE_URL=gemini.base,
            LLM_MODEL="gemini-2.5-flash",
            SECRET_KEY="a secret of flask's",
        ) as server,
    ):
        job = server.wait(server.upload(run=True).json()["id"], "done", "error")
        log = server.log()

    assert job["status"] == "done", job["error_message"]
    assert job["models"]["analyzer"] == "gemini:gemini-2.5-flash"
    assert job["summary_points"]
    lines = job["clean_transcript"].splitlines()
    assert len(lines) == len(job["segments"])
    assert all(re.match(r"Speaker0\d: ", line) for line in lines)
    assert KEY not in log


NUMBER = "five five five zero one three eight two four six"


def test_redaction_takes_numbers_out_of_text_and_sound(tmp_path: Path) -> None:
    said = speech(f"phone number {NUMBER}", "thank you goodbye")
    path = tmp_path / "call.wav"
    path.write_bytes(wav(said))
    with JobsServer(tmp_path, VOICEPIPE_REDACT="1") as server:
        job_id = server.upload(path).json()["id"]
        early = [
            server.http.get(f"/api/jobs/{job_id}/{kind}").status_code
            for kind in ("audio", "waveform")
        ]
        server.http.post(f"/api/jobs/{job_id}/run?wait=true")
        job = server.job(job_id)
        audio = server.http.get(f"/api/jobs/{job_id}/audio")
        server.http.put(
            f"/api/jobs/{job_id}", json={"summary": "Call +49 30 901820 or so."}
        )
        edited = server.job(job_id)
        peaks = server.http.get(f"/api/jobs/{job_id}/waveform").json()
        server.http.delete(f"/api/jobs/{job_id}")
        left = server.files()

    assert early == [409, 409]
    assert job["status"] == "done", job["error_message"]
    assert "[phone]" in job["clean_transcript"]
    assert "three eight two" not in str(job)
    assert "901820" not in edited["summary"]
    [word] = [
        word
        for segment in job["segments"]
        for word in segment["words"]
        if word["text"] == "[phone]"
    ]
    (tmp_path / "heard.wav").write_bytes(audio.content)
    heard, rate = soundfile.read(tmp_path / "heard.wav")
    assert len(heard) / rate == pytest.approx(said.duration, abs=0.01)
    silent = heard[round(word["start"] * rate) : round(word["end"] * rate)]
    assert len(silent) > rate
    assert not np.any(silent)
    assert np.abs(heard).max() > 0.2
    part = round(word["start"] / said.duration * len(peaks["peaks"][0])) + 5
    assert peaks["peaks"][0][part] == 0.0
    assert left == []


def test_each_setting_is_in_the_example_file_with_its_default() -> None:
    example = (APP / ".env.example").read_text("utf-8")
    listed = dict(re.findall(r"(?m)^([A-Z_]+)=(.*)$", example))
    sources = [APP / "settings.py", *Path(engines.__path__[0]).glob("*.py")]
    read = {
        name
        for source in sources
        for name in re.findall(
            r'(?:env_[a-z]+\(\s*env,\s*|n[a-z]+ = |variable = )"([A-Z_]{3,})"',
            source.read_text("utf-8"),
        )
    }
    contract = {
        "DEBUG": "false",
        "UPLOAD_FOLDER": "uploads",
        "INSTANCE_FOLDER": "instance",
        "DATABASE_URL": "sqlite:///diarize_ai_agent.db",
        "LLM_MODEL": "gemini-2.5-flash",
        "WHISPER_MODEL": "small",
        "MAX_CONTENT_LENGTH": "209715200",
        "ALLOWED_EXTENSIONS": "wav,mp3,m4a,ogg,webm",
        "PORT": "5000",
    }

    assert read <= set(listed)
    assert {"HF_TOKEN", "VOICEPIPE_DIARIZER", "VOICEPIPE_WORKERS"} <= read
    assert contract.items() <= listed.items()
