"""The jobs backend's contract: its routes, and the clients that were there before."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import soundfile
from app_runner import WAIT_S, at_once
from jobs_backend_runner import SAMPLE, SAMPLE_FLAC, JobsServer, long_call


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = pytest.mark.timeout(1_200)

FIELDS = {
    *("id", "audio_path", "status", "conversation_type", "summary", "keypoints"),
    *("language", "clean_transcript", "segments", "error_message", "created_at"),
    *("updated_at", "filename", "attempts", "progress", "duration", "metrics"),
    *("summary_points", "key_points", "models", "edited"),
}
EDITABLE = ("conversation_type", "summary", "keypoints", "language", "clean_transcript")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsServer]:
    with JobsServer(tmp_path_factory.mktemp("jobs")) as server:
        yield server


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsServer]:
    """Give a server that works on nothing."""
    folder = tmp_path_factory.mktemp("idle")
    with JobsServer(folder, VOICEPIPE_WORKERS="0") as server:
        yield server


@pytest.fixture(scope="module")
def done(server: JobsServer) -> dict[str, Any]:
    """Give a job that is done."""
    return server.wait(server.upload(SAMPLE, run=True).json()["id"])


def error_of(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert list(body) == ["error"]
    assert body["error"]
    return str(body["error"])


def test_the_old_clients_way_from_upload_to_edit(server: JobsServer) -> None:
    uploaded = server.upload(SAMPLE)

    job = uploaded.json()
    assert uploaded.status_code == 201
    assert set(job) == FIELDS
    assert job["status"] == "uploaded"
    assert {job[name] for name in (*EDITABLE[:2], "segments", "error_message")} == {
        None
    }
    path = f"/api/jobs/{job['id']}"
    ran = server.http.post(f"{path}/run", params={"wait": "true"})
    assert ran.status_code == 200
    job = ran.json()
    assert job["status"] == "done", job["error_message"]
    assert job == server.http.get(path).json()
    assert all(job[name] for name in (*EDITABLE, "segments"))
    assert isinstance(job["keypoints"], list)
    lines = job["clean_transcript"].splitlines()
    assert all(re.match(r"Speaker0[01]: \w", line) for line in lines)
    edited = server.http.put(path, json={"summary": "Mine.", "keypoints": ["a", "b"]})
    assert edited.status_code == 200
    job |= {"summary": "Mine.", "keypoints": ["a", "b"]}
    for name in EDITABLE:
        assert edited.json()[name] == job[name] == server.job(job["id"])[name]
    assert edited.json()["edited"] == ["summary", "keypoints"]


def test_a_done_job_has_all_that_was_found(done: dict[str, Any]) -> None:
    assert done["filename"] == "sample_call.mp3"
    assert re.fullmatch(r"uploads/[0-9a-f]{32}-[0-9a-f]{32}\.mp3", done["audio_path"])
    for name in ("created_at", "updated_at"):
        assert dt.datetime.fromisoformat(done[name]).utcoffset() == dt.timedelta(0)
    assert done["attempts"] == 1
    assert done["progress"] is None
    assert done["duration"] == pytest.approx(70.283)
    assert done["models"]["analyzer"] == "extractive"
    assert done["edited"] == []
    assert [s["id"] for s in done["segments"]] == list(range(len(done["segments"])))
    ids = set(range(len(done["segments"])))
    for point in done["summary_points"] + done["key_points"]:
        assert point["segment_ids"]
        assert ids >= set(point["segment_ids"])
    assert [p["text"] for p in done["key_points"]] == done["keypoints"]
    for segment in done["segments"]:
        assert segment["speaker"] == f"Speaker0{segment['channel']}"
        assert 0 <= segment["start"] <= segment["end"] <= 70.3
        assert [w["text"] for w in segment["words"]] == segment["text"].split()
        assert list(segment["words"][0]) == ["start", "end", "text"]
    shares = [s["talk_ratio"] for s in done["metrics"]["speakers"]]
    assert sum(shares) == pytest.approx(1.0)


def test_run_answers_at_once_and_only_once(idle: JobsServer) -> None:
    path = f"/api/jobs/{idle.upload().json()['id']}"

    first = idle.http.post(f"{path}/run")
    second = idle.http.post(f"{path}/run")
    edit = idle.http.put(path, json={})

    assert (first.status_code, first.json()["status"]) == (202, "processing")
    error_of(second, 409)
    error_of(edit, 409)
    idle.http.delete(path, params={"files": "true"})


def test_a_job_that_is_done_is_not_run_again(server: JobsServer) -> None:
    path = f"/api/jobs/{server.upload().json()['id']}"
    first = server.http.post(f"{path}/run")
    job = server.wait(first.json()["id"])

    again = server.http.post(f"{path}/run", params={"wait": 1})

    assert (first.status_code, first.json()["status"]) == (202, "processing")
    assert again.json()["status"] == "done"
    assert again.json()["segments"] == job["segments"]
    assert again.json()["attempts"] == 1


def test_a_run_takes_the_place_of_edits(server: JobsServer) -> None:
    job_id = server.upload().json()["id"]
    server.http.put(f"/api/jobs/{job_id}", json={"summary": "before"})
    assert server.job(job_id)["summary"] == "before"

    server.http.post(f"/api/jobs/{job_id}/run?wait=true")

    assert server.job(job_id)["summary"] != "before"
    assert server.job(job_id)["edited"] == []


def test_a_job_that_comes_back_whole_changes_what_differs(
    server: JobsServer, done: dict[str, Any]
) -> None:
    path = f"/api/jobs/{done['id']}"
    changed = {**done, "language": None, "status": "error", "id": 7, "nonsense": 1}

    answer = server.http.put(path, json=changed)
    back = server.http.put(path, json={**done, "summary": done["summary"]})

    assert answer.json()["edited"] == ["language"]
    assert answer.json()["language"] is None
    assert answer.json()["status"] == "done"
    assert back.json()["language"] == done["language"]


@pytest.mark.parametrize(
    "body",
    [
        '{"summary": 5}',
        '{"keypoints": "one"}',
        '{"keypoints": [null]}',
        '{"clean_transcript": ["x"]}',
        '{"summary": "a\\u0000b"}',
        '{"keypoints": ["\\ud800"]}',
        json.dumps({"language": "x" * 201}),
        json.dumps({"keypoints": ["x"] * 1_001}),
        *("[]", "{", "", "null", "NaN"),
    ],
    ids=lambda body: str(body)[:30],
)
def test_an_edit_that_is_none_is_refused(
    server: JobsServer, done: dict[str, Any], body: str
) -> None:
    answer = server.http.put(
        f"/api/jobs/{done['id']}",
        content=body,
        headers={"content-type": "application/json"},
    )

    error_of(answer, 422)
    assert server.job(done["id"])["summary"] == done["summary"]


def test_a_body_of_a_hundred_thousand_brackets_is_refused(
    server: JobsServer, done: dict[str, Any]
) -> None:
    answer = server.http.put(
        f"/api/jobs/{done['id']}",
        content="[" * 100_000,
        headers={"content-type": "application/json"},
    )

    error_of(answer, 400)


def test_a_body_that_is_too_long_is_refused(
    server: JobsServer, done: dict[str, Any]
) -> None:
    body = {"summary": "x" * (16 << 20)}

    error_of(server.http.put(f"/api/jobs/{done['id']}", json=body), 413)


@pytest.mark.parametrize("job_id", ["0", "999999", "x", "-1", "1.5", "9" * 30])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "/run"),
        ("POST", "/cancel"),
        ("GET", "/audio"),
        ("GET", "/waveform"),
        ("GET", "/transcript"),
        ("GET", "/events"),
    ],
)
def test_a_job_that_is_not_there_is_404(
    server: JobsServer, method: str, path: str, job_id: str
) -> None:
    answer = server.http.request(
        method, f"/api/jobs/{job_id}{path}", json={} if method == "PUT" else None
    )

    error_of(answer, 404)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PATCH", "/api/jobs", 405),
        ("POST", "/api/jobs/1", 405),
        ("GET", "/api/jobs/1/run", 405),
        ("GET", "/api/nothing", 404),
        ("GET", "/api/jobs?limit=0", 422),
        ("GET", "/api/jobs?limit=1001", 422),
        ("GET", "/api/jobs?before=x", 422),
        ("GET", f"/api/jobs?before={'9' * 25}", 422),
        ("GET", "/api/jobs?status=lost", 422),
        ("GET", "/api/jobs/1/transcript?format=doc", 422),
    ],
)
def test_what_is_no_request_gets_an_error(
    server: JobsServer, method: str, path: str, status: int
) -> None:
    error_of(server.http.request(method, path), status)


def test_the_list_goes_page_by_page_the_newest_first(idle: JobsServer) -> None:
    ids = [idle.upload().json()["id"] for _ in range(5)]
    idle.http.post(f"/api/jobs/{ids[1]}/run")

    page = idle.http.get("/api/jobs", params={"limit": 2, "token": "secret"})
    seen = page.json()
    while (link := page.links.get("next")) is not None:
        assert "secret" not in link["url"]
        page = idle.http.get(link["url"])
        seen += page.json()

    assert [job["id"] for job in seen] == ids[::-1]
    assert seen == idle.http.get("/api/jobs").json()
    processing = idle.http.get("/api/jobs", params={"status": "processing"}).json()
    assert [job["id"] for job in processing] == [ids[1]]
    heads = idle.http.get("/api/jobs", params={"results": "false"}).json()
    assert [job["id"] for job in heads] == ids[::-1]
    left_out = {"segments", "clean_transcript", "metrics", "summary"}
    assert set(heads[0]) == set(seen[0]) - left_out - FIELDS.difference(heads[0])
    assert not left_out & set(heads[0])


def test_a_list_with_results_is_whole(server: JobsServer, done: dict[str, Any]) -> None:
    for _ in range(3):
        server.upload()

    everything = server.http.get("/api/jobs").json()

    assert len(everything) >= 4
    assert [set(job) for job in everything] == [FIELDS] * len(everything)
    for job in everything:
        assert job == server.job(job["id"])
    assert any(job["segments"] for job in everything)


def test_deleting_all_leaves_files_unless_they_are_asked_for(
    idle: JobsServer,
) -> None:
    idle.http.delete("/api/jobs?files=true")
    assert idle.files() == []
    for _ in range(3):
        idle.upload()

    kept = idle.http.delete("/api/jobs")
    assert (kept.status_code, kept.json()) == (200, {"deleted": 3})
    assert len(idle.files()) == 3
    idle.upload()
    gone = idle.http.delete("/api/jobs", params={"files": "true"})
    assert gone.json() == {"deleted": 1}
    assert len(idle.files()) == 3
    assert idle.http.get("/api/jobs").json() == []
    assert idle.http.delete("/api/jobs").json() == {"deleted": 0}


def test_deleting_one_takes_all_that_was_made_of_it(server: JobsServer) -> None:
    before = server.files()
    job = server.wait(server.upload(run=True).json()["id"])
    path = f"/api/jobs/{job['id']}"
    assert server.http.get(f"{path}/waveform").status_code == 200
    assert len(server.files()) == len(before) + 2

    gone = server.http.delete(path)

    assert (gone.status_code, gone.json()) == (200, {"deleted": 1})
    assert server.files() == before
    error_of(server.http.get(path), 404)
    error_of(server.http.delete(path), 404)


def test_a_cancelled_job_ends_in_error_and_may_run_again(idle: JobsServer) -> None:
    job_id = idle.upload(run=True).json()["id"]
    path = f"/api/jobs/{job_id}"

    cancelled = idle.http.post(f"{path}/cancel")

    assert cancelled.status_code == 200
    assert cancelled.json()["status"] == "error"
    assert cancelled.json()["error_message"] == "cancelled"
    error_of(idle.http.post(f"{path}/cancel"), 409)
    again = idle.http.post(f"{path}/run")
    assert (again.status_code, again.json()["error_message"]) == (202, None)


def test_cancelling_stops_the_work(server: JobsServer) -> None:
    job_id = server.upload(long_call(), run=True).json()["id"]
    server.wait_for(job_id, lambda job: job["progress"] is not None)

    server.http.post(f"/api/jobs/{job_id}/cancel")

    deadline = time.monotonic() + WAIT_S
    while server.health()["jobs"]["working"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert server.job(job_id)["status"] == "error"
    assert server.job(job_id)["segments"] is None


def test_the_sound_comes_whole_and_by_ranges(
    server: JobsServer, done: dict[str, Any]
) -> None:
    path = f"/api/jobs/{done['id']}/audio"
    data = SAMPLE.read_bytes()

    whole = server.http.get(path)
    part = server.http.get(path, headers={"range": "bytes=100-199"})
    end = server.http.get(path, headers={"range": "bytes=-10"})
    beyond = server.http.get(path, headers={"range": f"bytes={len(data)}-"})
    head = server.http.head(path)

    assert whole.content == data
    assert whole.headers["content-type"] == "audio/mpeg"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in whole.headers["content-security-policy"]
    assert whole.headers["content-disposition"] == 'inline; filename="sample_call.mp3"'
    assert (part.status_code, part.content) == (206, data[100:200])
    assert end.content == data[-10:]
    assert beyond.status_code == 416
    assert head.headers["content-length"] == str(len(data))
    download = server.http.get(path, params={"download": "true"})
    assert download.headers["content-disposition"].startswith("attachment")


def test_a_file_is_what_it_holds_and_not_what_it_is_called(
    idle: JobsServer, tmp_path: Path
) -> None:
    called = tmp_path / "\u65e5\u672c 'x'.wav"
    called.write_bytes(SAMPLE_FLAC.read_bytes())

    job = idle.upload(called).json()

    assert job["filename"] == called.name
    assert job["audio_path"].endswith(".flac")
    audio = idle.http.get(f"/api/jobs/{job['id']}/audio")
    assert audio.headers["content-type"] == "audio/flac"


def test_a_waveform_is_that_of_the_sound(server: JobsServer, idle: JobsServer) -> None:
    job_id = idle.upload(SAMPLE).json()["id"]
    before = len(idle.files())

    answer = idle.http.get(f"/api/jobs/{job_id}/waveform")

    found = answer.json()
    samples, rate = soundfile.read(SAMPLE_FLAC, always_2d=True)
    assert found["duration"] == pytest.approx(len(samples) / rate, abs=0.001)
    assert found["channels"] == len(found["peaks"]) == 2
    assert (found["truncated"], found["damaged"]) == (False, False)
    for channel, peaks in enumerate(found["peaks"]):
        assert 1_000 < len(peaks) <= 2_000
        assert max(peaks) == pytest.approx(abs(samples[:, channel]).max(), abs=0.1)
        # An MP3's sound is not that of the FLAC, but nearly.
        step = len(samples) / len(peaks)
        for at in range(0, len(peaks), 97):
            near = samples[round((at - 1) * step) if at else 0 : round((at + 2) * step)]
            assert peaks[at] <= abs(near[:, channel]).max() + 0.1
    assert idle.http.get(f"/api/jobs/{job_id}/waveform").content == answer.content
    assert len(idle.files()) == before + 1


def test_many_who_want_a_waveform_get_the_same(idle: JobsServer) -> None:
    job_id = idle.upload().json()["id"]
    answers: list[bytes] = []

    at_once(
        8,
        lambda _: answers.append(
            httpx.get(
                f"{idle.url}/api/jobs/{job_id}/waveform",
                timeout=WAIT_S,
                trust_env=False,
            ).content
        ),
    )

    assert len(answers) == 8
    assert len(set(answers)) == 1


def test_transcripts_come_in_each_format(
    server: JobsServer, done: dict[str, Any]
) -> None:
    path = f"/api/jobs/{done['id']}/transcript"

    got = {
        form: server.http.get(path, params={"format": form, "download": "true"})
        for form in ("txt", "srt", "vtt", "json", "rttm")
    }

    assert {answer.status_code for answer in got.values()} == {200}
    for form, answer in got.items():
        named = f'attachment; filename="sample_call.{form}"'
        assert answer.headers["content-disposition"] == named
    assert got["txt"].text == done["clean_transcript"] + "\n"
    assert got["srt"].text.startswith("1\n00:00:0")
    assert got["vtt"].text.startswith("WEBVTT\n")
    assert got["vtt"].headers["content-type"].startswith("text/vtt")
    assert len(got["json"].json()["segments"]) == len(done["segments"])
    lines = got["rttm"].text.splitlines()
    assert len(lines) == len(done["segments"])
    assert all(line.startswith(f"SPEAKER job-{done['id']} ") for line in lines)


def test_before_a_job_is_done_there_is_no_transcript(idle: JobsServer) -> None:
    job_id = idle.upload().json()["id"]

    error_of(idle.http.get(f"/api/jobs/{job_id}/transcript"), 409)


def test_an_edited_transcript_is_what_is_downloaded(server: JobsServer) -> None:
    job_id = server.wait(server.upload(run=True).json()["id"])["id"]
    server.http.put(f"/api/jobs/{job_id}", json={"clean_transcript": "Me: hello"})

    assert server.http.get(f"/api/jobs/{job_id}/transcript").text == "Me: hello\n"


def test_a_recording_whose_file_is_gone_is_told(server: JobsServer) -> None:
    job = server.upload().json()
    (server.folder / job["audio_path"]).unlink()

    ended = server.http.post(f"/api/jobs/{job['id']}/run?wait=true").json()

    assert ended["status"] == "error"
    assert "the recording is not there any more" in ended["error_message"]
    assert str(server.folder) not in ended["error_message"]
    for path in ("audio", "waveform"):
        error_of(server.http.get(f"/api/jobs/{job['id']}/{path}"), 404)


def test_health_and_metrics_tell_how_it_is(
    server: JobsServer, done: dict[str, Any], idle: JobsServer
) -> None:
    health = server.http.get("/health").json()

    assert done["status"] == "done"
    assert health["status"] == "healthy"
    assert health["transcriber"] == "whisper:model"
    assert health["analyzer"] == "extractive"
    assert health["diarizer"] == "channel"
    assert health["worker"] == "embedded"
    assert health["degraded"] is False
    assert idle.http.get("/health").json()["worker"] == "external"
    text = server.http.get("/metrics").text
    assert re.search(r"^voicepipe_jobs_uploads_total [1-9]", text, re.MULTILINE)
    assert "voicepipe_jobs_working" in text


def test_the_description_has_every_route(server: JobsServer) -> None:
    paths = server.http.get("/openapi.json").json()["paths"]

    assert {"get", "post", "delete"} <= set(paths["/api/jobs"])
    assert {"get", "put", "delete"} <= set(paths["/api/jobs/{job_id}"])
    assert "413" in paths["/api/jobs"]["post"]["responses"]
    assert "/api/jobs/{job_id}/audio" in paths
    for path in ("/docs", "/redoc"):
        assert server.http.get(path).status_code == 200


def test_with_a_key_data_wants_it(tmp_path: Path) -> None:
    with JobsServer(tmp_path, VOICEPIPE_API_KEY="s3cret-key") as server:
        error_of(server.upload(), 401)
        paths = ("/api/jobs", "/api/events", "/metrics", "/api/jobs/1/audio")
        for path in paths:
            error_of(server.http.get(path), 401)
        assert server.http.get("/health").status_code == 200
        server.http.headers["authorization"] = "Bearer s3cret-key"
        job = server.upload().json()
        del server.http.headers["authorization"]
        token = {"token": "s3cret-key"}
        audio = server.http.get(f"/api/jobs/{job['id']}/audio", params=token)
        assert audio.status_code == 200
        assert server.http.get("/api/jobs", params=token).json()[0]["id"] == job["id"]
        assert "s3cret-key" not in server.log()
