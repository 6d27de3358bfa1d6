"""The training-data downloader, run as a user runs it."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import soundfile


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


APP = Path(__file__).parents[1] / "examples" / "training_downloader"
DATA = APP.parent / "data"
CANARY = "hunter2deadbeef"


class Web(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; what is called slow waits until a test lets it go on."""

    protocol_version = "HTTP/1.1"
    go_on = threading.Event()

    def do_GET(self) -> None:
        if "/slow" in self.path:
            self.go_on.wait(300)
        # Who has asked may have gone meanwhile.
        with contextlib.suppress(ConnectionError):
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve recordings, and what is none; gives host and port."""
    folder = tmp_path_factory.mktemp("web")
    for name in ("a.mp3", "slow.mp3"):
        shutil.copy(DATA / "sample_call.mp3", folder / name)
    (folder / "login.mp3").write_text("<!doctype html><p>Please log in", "utf-8")
    (folder / "half.mp3").write_bytes((folder / "a.mp3").read_bytes()[:100_000])

    def handler(*args: Any) -> Web:
        return Web(*args, directory=os.fspath(folder))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def environment(web: str, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VOICEPIPE_")}
    return {**kept, "VOICEPIPE_ALLOW_HOSTS": f"{web}, 127.0.0.1:9", **more}


def port_of(folder: Path, process: subprocess.Popen[bytes]) -> int:
    """Give the port that the service says it listens on, when it does."""
    log = folder / "logs" / "audio_downloader.log"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        told = log.read_text("utf-8") if log.exists() else ""
        if found := re.search(r"listening on http://127\.0\.0\.1:(\d+)\n", told):
            return int(found[1])
        assert process.poll() is None
        time.sleep(0.05)
    raise AssertionError("it does not listen")


@contextlib.contextmanager
def running(
    folder: Path, web: str, *arguments: str, **more: str
) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """Start the service in a folder; gives a client of it, and its process."""
    with subprocess.Popen(
        [sys.executable, APP / "main.py", *arguments],
        cwd=folder,
        env=environment(web, PORT="0", **more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            url = f"http://127.0.0.1:{port_of(folder, process)}"
            # A server closes a connection after so many seconds: this one before.
            limits = httpx.Limits(keepalive_expiry=2.0)
            with httpx.Client(
                base_url=url, timeout=60, trust_env=False, limits=limits
            ) as client:
                yield client, process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def service(
    web: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, Path]]:
    """Run one service for the tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("service")
    with running(folder, web) as (client, _):
        yield client, folder


def single(client: httpx.Client, **form: str) -> httpx.Response:
    return client.post("/download/single", data=form)


def test_a_recording_is_stored_and_told(
    service: tuple[httpx.Client, Path], web: str
) -> None:
    client, folder = service

    answer = single(
        client,
        conversation_id="c1",
        speaker_label="agent",
        audio_url=f"http://user:{CANARY}@{web}/a.mp3?sig={CANARY}",
    )

    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "status": "success",
        "conversation_id": "c1",
        "speaker_label": "agent",
        "filename": "c1_agent.wav",
        "filepath": "./downloaded_audios/c1_agent.wav",
        "file_size_mb": 2.14,
    }
    wav = soundfile.info(folder / "downloaded_audios" / "c1_agent.wav")
    assert (wav.samplerate, wav.channels, wav.subtype) == (16_000, 1, "PCM_16")
    log = (folder / "logs" / "audio_downloader.log").read_text("utf-8")
    assert re.search(r"(?m)^\d{4}-\S+T\S+\+05:30 .* POST /download/single 200 ", log)
    assert CANARY not in log


def test_the_label_has_a_default_and_forms_may_be_multipart(
    service: tuple[httpx.Client, Path], web: str
) -> None:
    client, _ = service
    fields = {"conversation_id": "c2", "audio_url": f"http://{web}/a.mp3"}

    answer = client.post(
        "/download/single", files={name: (None, text) for name, text in fields.items()}
    )

    assert answer.json()["filename"] == "c2_speaker.wav"


@pytest.mark.parametrize(
    ("form", "status", "detail"),
    [
        ({}, 400, "conversation_id: field required"),
        ({"conversation_id": "x"}, 400, "audio_url: field required"),
        ({"conversation_id": "../x", "audio_url": "{web}/a.mp3"}, 400, "conversation"),
        ({"conversation_id": "", "audio_url": "{web}/a.mp3"}, 400, "conversation_id"),
        (
            {
                "conversation_id": "x",
                "audio_url": "{web}/a.mp3",
                "speaker_label": "a/b",
            },
            400,
            "speaker_label",
        ),
        ({"conversation_id": "x", "audio_url": "call.mp3"}, 400, "URL"),
        ({"conversation_id": "x", "audio_url": "file:///etc/passwd"}, 400, "scheme"),
        ({"conversation_id": "x", "audio_url": "http://10.0.0.1/a"}, 400, "not public"),
        ({"conversation_id": "x", "audio_url": "http://1.1.1.1:22/"}, 400, "port 22"),
        ({"conversation_id": "x", "audio_url": "{web}/login.mp3"}, 400, "HTML"),
        ({"conversation_id": "x", "audio_url": "{web}/half.mp3"}, 400, "ends before"),
        ({"conversation_id": "x", "audio_url": "{web}/none.mp3"}, 502, "404"),
        ({"conversation_id": "x", "audio_url": "http://127.0.0.1:9/"}, 502, "no conn"),
    ],
)
def test_what_is_wrong_is_answered_with_its_status(
    service: tuple[httpx.Client, Path],
    web: str,
    form: dict[str, str],
    status: int,
    detail: str,
) -> None:
    client, folder = service

    answer = single(
        client, **{k: v.replace("{web}", f"http://{web}") for k, v in form.items()}
    )

    assert (answer.status_code, set(answer.json())) == (status, {"detail"})
    assert detail in answer.json()["detail"]
    assert not list((folder / "downloaded_audios").glob("*x*"))
    assert not list((folder / "downloaded_audios").glob(".voicepipe-*"))


def test_both_sides_of_a_call_are_stored(
    service: tuple[httpx.Client, Path], web: str
) -> None:
    client, _ = service
    url = f"http://{web}/a.mp3"

    answer = client.post(
        "/download/dual",
        data={
            "conversation_id": "d1",
            "audio_url_agent": url,
            "audio_url_customer": url,
        },
    ).json()

    assert (answer["conversation_id"], answer["status"]) == ("d1", "success")
    assert answer["total_files"] == 2
    assert [entry["speaker"] for entry in answer["downloads"]] == ["agent", "customer"]
    assert answer["downloads"][1] == {
        "speaker": "customer",
        "filename": "d1_customer.wav",
        "filepath": "./downloaded_audios/d1_customer.wav",
        "file_size_mb": 2.14,
        "status": "success",
    }


@pytest.mark.parametrize("failing", ["agent", "customer"])
def test_one_side_may_fail_alone(
    service: tuple[httpx.Client, Path], web: str, failing: str
) -> None:
    client, _ = service
    form = {
        f"audio_url_{side}": f"http://{web}/a.mp3" for side in ("agent", "customer")
    }
    form[f"audio_url_{failing}"] = f"http://{web}/none.mp3"

    answer = client.post("/download/dual", data={"conversation_id": "d2", **form})

    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, "partial")
    assert body["total_files"] == 1
    by_speaker = {entry["speaker"]: entry for entry in body["downloads"]}
    assert by_speaker[failing]["status"] == "error"
    assert "404" in by_speaker[failing]["error"]


def test_both_failing_is_the_first_ones_error(
    service: tuple[httpx.Client, Path], web: str
) -> None:
    client, _ = service

    answer = client.post(
        "/download/dual",
        data={
            "conversation_id": "d3",
            "audio_url_agent": f"http://{web}/none.mp3",
            "audio_url_customer": f"http://{web}/login.mp3",
        },
    )

    assert answer.status_code == 502


def test_it_tells_of_itself_and_of_its_storage(
    service: tuple[httpx.Client, Path],
) -> None:
    client, folder = service

    index, health, info = (
        client.get(path).json() for path in ("/", "/health", "/storage/info")
    )

    assert set(index) == {"service", "version", "routes"}
    assert health["status"] == "healthy"
    assert (health["exists"], health["writable"]) == (True, True)
    assert health["free_space_mb"] > 0
    stored = sorted(path.name for path in (folder / "downloaded_audios").glob("*.wav"))
    assert (info["files"], info["total_files"]) == (stored, len(stored))
    assert client.get("/docs").status_code == 200
    assert client.get("/redoc").status_code == 200


def test_a_slow_server_is_a_gateway_timeout_and_sigterm_ends_it(
    web: str, tmp_path: Path
) -> None:
    with running(tmp_path, web, DOWNLOAD_TIMEOUT_SECONDS="1") as (client, process):
        answer = single(client, conversation_id="x", audio_url=f"http://{web}/slow.mp3")
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)

    assert answer.status_code == 504
    assert code == 0


def test_a_full_disk_is_our_fault_and_passes(
    web: str, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(3 << 20)
    with running(tmp_path, web, AUDIO_STORAGE_DIR=os.fspath(disk)) as (client, _):
        url = f"http://{web}/a.mp3"
        answers = [
            single(client, conversation_id=f"c{n}", audio_url=url) for n in range(2)
        ]
        left = sorted(path.name for path in disk.iterdir())
        (disk / "c0_speaker.wav").unlink()
        again = single(client, conversation_id="c2", audio_url=url)

    assert [answer.status_code for answer in answers] == [200, 500]
    assert "no space" in answers[1].json()["detail"].lower()
    assert left == ["c0_speaker.wav"]
    assert again.status_code == 200


def test_a_key_is_wanted_where_one_is_set(web: str, tmp_path: Path) -> None:
    with running(tmp_path, web, VOICEPIPE_API_KEY=CANARY) as (client, _):
        assert client.get("/storage/info").status_code == 401
        assert client.get("/health").status_code == 200
        key = {"Authorization": f"Bearer {CANARY}"}
        assert client.get("/storage/info", headers=key).status_code == 200

    log = (tmp_path / "logs" / "audio_downloader.log").read_text("utf-8")
    assert CANARY not in log


def test_it_does_not_start_for_others_without_a_key(web: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, APP / "main.py"],
        cwd=tmp_path,
        env=environment(web, HOST="0.0.0.0"),
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )

    assert done.returncode != 0
    assert "VOICEPIPE_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr


def test_four_workers_share_the_work_and_the_log(web: str, tmp_path: Path) -> None:
    with running(tmp_path, web, "--workers", "4") as (client, process):
        for number in range(12):
            with httpx.Client(
                base_url=client.base_url, timeout=60, trust_env=False
            ) as other:
                answer = single(
                    other,
                    conversation_id=f"c{number}",
                    audio_url=f"http://{web}/login.mp3",
                )
                assert answer.status_code == 400
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)

    assert code == 0
    log = (tmp_path / "logs" / "audio_downloader.log").read_text("utf-8")
    answered = re.findall(r"\[(\d+)\]: \w+ POST /download/single 400 ", log)
    assert len(answered) == 12


def test_old_files_are_deleted_where_that_is_wanted(web: str, tmp_path: Path) -> None:
    storage = tmp_path / "downloaded_audios"
    storage.mkdir()
    for name, days in (("old", 3), ("new", 1)):
        (storage / f"{name}_speaker.wav").write_bytes(b"x")
        then = time.time() - days * 86_400
        os.utime(storage / f"{name}_speaker.wav", (then, then))

    with running(tmp_path, web, VOICEPIPE_RETENTION_DAYS="2") as (client, _):
        # The first look may come after the first answer.
        files: list[str] = []
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            files = client.get("/storage/info").json()["files"]
            if len(files) < 2:
                break
            time.sleep(0.05)

    assert files == ["new_speaker.wav"]


LIST = """conversation_id,audio_url_agent,audio_url_customer,campaign
c1,http://{web}/a.mp3,http://{web}/a.mp3,autumn
c2,http://{web}/a.mp3,,autumn
c3,http://{web}/login.mp3,,winter
"""


def batch(folder: Path, web: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, APP / "batch.py", *arguments],
        cwd=folder,
        env=environment(web),
        capture_output=True,
        check=False,
        text=True,
        timeout=100,
    )


def stored(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "downloaded_audios").glob("*.wav"))


def test_a_list_is_tried_out_then_done_then_left_alone(
    web: str, tmp_path: Path
) -> None:
    (tmp_path / "calls.csv").write_text(LIST.format(web=web), "utf-8")

    one = batch(tmp_path, web, "calls.csv", "--one")
    after_one = stored(tmp_path)
    whole = batch(tmp_path, web, "calls.csv")
    times = {p: p.stat().st_mtime_ns for p in tmp_path.glob("downloaded_audios/*.wav")}
    again = batch(tmp_path, web, "calls.csv")

    assert one.returncode == 0, one.stderr
    assert after_one == ["c1_agent.wav", "c1_customer.wav"]
    assert whole.returncode == 1
    assert "NotAudioError" in whole.stdout
    assert stored(tmp_path) == ["c1_agent.wav", "c1_customer.wav", "c2_agent.wav"]
    assert again.returncode == 1
    assert {path: path.stat().st_mtime_ns for path in times} == times
    lines = (tmp_path / "downloaded_audios" / "manifest.jsonl").read_text("utf-8")
    entries = [json.loads(line) for line in lines.splitlines()]
    assert len(entries) == 4
    assert entries[0]["metadata"] == {"campaign": "autumn"}


def test_a_list_that_is_stopped_goes_on(web: str, tmp_path: Path) -> None:
    slow = LIST.format(web=web).replace("login.mp3", "slow.mp3")
    (tmp_path / "calls.csv").write_text(slow, "utf-8")
    with subprocess.Popen(
        [sys.executable, APP / "batch.py", "calls.csv"],
        cwd=tmp_path,
        env=environment(web),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 60
        while len(stored(tmp_path)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "run it again" in told
    Web.go_on.set()
    try:
        again = batch(tmp_path, web, "calls.csv")
    finally:
        Web.go_on.clear()
    assert again.returncode == 0
    assert stored(tmp_path)[-1] == "c3_agent.wav"


def test_a_list_that_cannot_be_read_is_told_in_one_line(
    web: str, tmp_path: Path
) -> None:
    (tmp_path / "calls.csv").write_text("id,url\n1,2\n", "utf-8")

    done = batch(tmp_path, web, "calls.csv")

    assert done.returncode == 2
    assert "conversation_id" in done.stderr
    assert "Traceback" not in done.stderr
