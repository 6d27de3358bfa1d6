"""What the jobs backend takes, and what it does not: uploads."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
from app_runner import WAIT_S, at_once
from jobs_backend_runner import APP, SAMPLE, JobsServer, Raw, short_call


if TYPE_CHECKING:
    from collections.abc import Iterator

    from stress_report import Report


pytestmark = pytest.mark.timeout(1_200)

CAP = 2_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsServer]:
    with JobsServer(
        tmp_path_factory.mktemp("uploads"),
        MAX_CONTENT_LENGTH=str(CAP),
        VOICEPIPE_WORKERS="0",
    ) as server:
        yield server


@pytest.fixture(scope="module")
def hasty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsServer]:
    with JobsServer(
        tmp_path_factory.mktemp("hasty"),
        MAX_CONTENT_LENGTH=str(CAP),
        UPLOAD_TIMEOUT_SECONDS="1",
        VOICEPIPE_WORKERS="0",
    ) as server:
        yield server


@pytest.fixture
def hasty(hasty_server: JobsServer) -> Iterator[JobsServer]:
    """Give a server that waits for no more than a second."""
    yield hasty_server
    check_only_files_of_jobs(hasty_server)


@pytest.fixture(autouse=True)
def only_files_of_jobs(server: JobsServer) -> Iterator[None]:
    """See that nothing stays of an upload that was refused."""
    yield
    check_only_files_of_jobs(server)


def check_only_files_of_jobs(server: JobsServer) -> None:
    jobs = server.http.get("/api/jobs?results=false").json()
    stems = sorted(Path(job["audio_path"]).stem for job in jobs)
    deadline = time.monotonic() + 60
    while (left := stems_of(server)) != stems and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.http.delete("/api/jobs?files=true").status_code == 200
    for path in server.uploads.iterdir():
        # What hung up may be found out only now.
        path.unlink(missing_ok=True)
    assert left == stems


def stems_of(server: JobsServer) -> list[str]:
    return sorted({name.partition(".")[0] for name in server.files()})


def form(*parts: tuple[str, bytes], end: str = "--b--\r\n") -> bytes:
    """Give a form's body, whose boundary is ``b``."""
    whole = b""
    for disposition, data in parts:
        head = f"--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
        whole += head.encode() + data + b"\r\n"
    return whole + end.encode()


def post(server: JobsServer, body: bytes, kind: str = "; boundary=b") -> httpx.Response:
    return server.http.post(
        "/api/jobs",
        content=body,
        headers={"content-type": f"multipart/form-data{kind}"},
    )


FILE = 'name="file"; filename="a.wav"'


def wav() -> bytes:
    return short_call().read_bytes()


def test_a_form_may_have_other_fields(server: JobsServer) -> None:
    parts = [(f'name="f{i}"', b"x" * 100) for i in range(10)]

    answer = post(server, form(*parts, (FILE, wav()), *parts[:3]))

    assert answer.status_code == 201
    audio = server.http.get(f"/api/jobs/{answer.json()['id']}/audio")
    assert audio.content == wav()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        form(),
        form(('name="data"; filename="a.wav"', wav())),
        form(('name="file"', wav()[:1000])),
        form(('name="file"; filename=""', b"")),
        form((FILE, wav()), (FILE, wav())),
        form((FILE, wav()), end=""),
        form((FILE, wav()))[:-4],
        form((FILE, wav()), end="--b\r\n"),
        form(*[('name="x"', b"")] * 17, (FILE, wav())),
        form(('name="x"', b"x" * (65 << 10)), (FILE, wav())),
        form((FILE + "; x=" + "y" * (1 << 20), wav())),
        b"--b\r\nno header at all\r\n\r\n" + wav(),
        b"\r\n" * 1000,
        b"\0" * 10_000,
    ],
    ids=[
        *("empty", "no part", "another field", "no file name", "nothing chosen"),
        *("two files", "no end", "cut end", "an open part", "many parts"),
        *("a long field", "a long header", "no header", "line ends", "zeros"),
    ],
)
def test_a_form_without_one_whole_file_is_400(server: JobsServer, body: bytes) -> None:
    answer = post(server, body)

    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize("kind", ["", "; boundary=", f"; boundary={'b' * 300}"])
def test_a_form_without_a_boundary_is_400(server: JobsServer, kind: str) -> None:
    assert post(server, form((FILE, wav())), kind).status_code == 400
    plain = server.http.post("/api/jobs", data={"file": "x"})
    assert plain.status_code == 400
    assert server.http.post("/api/jobs", json={"file": "x"}).status_code == 400


def test_a_hundred_thousand_parts_are_refused(server: JobsServer) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n'
    before = worked_s(server)

    answer = post(server, part * 100_000)

    # By the declared length already: it is 5 MB.
    assert answer.status_code == 413
    assert post(server, part * 30_000).status_code == 400
    assert worked_s(server) - before < 20


def worked_s(server: JobsServer) -> float:
    """Give the seconds for which the server has had a processor so far."""
    assert server.process is not None
    times = psutil.Process(server.process.pid).cpu_times()
    return float(times.user + times.system)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("a.wav", 201),
        ("A.WAV", 201),
        ("..%2F..%2Fa.wav", 201),
        ("../../../etc/a.wav", 201),
        ("C:\\\\calls\\\\a.wav", 201),
        ("a.tar.wav", 201),
        ("\u65e5\u672c.wav", 201),
        ("x" * 1_000 + ".wav", 201),
        ("a.exe", 415),
        ("a.wav.exe", 415),
        ("wav", 415),
        ("a.", 415),
        ("a.wav/", 415),
        ("a.flac", 415),
    ],
)
def test_a_files_name_says_whether_it_may_come_and_nothing_else(
    server: JobsServer, name: str, status: int
) -> None:
    answer = post(server, form((f'name="file"; filename="{name}"', wav())))

    assert answer.status_code == status, answer.text
    if status == 201:
        shown = answer.json()["filename"]
        assert shown.lower().endswith(".wav")
        assert len(shown) <= 255
        assert not set(shown) & {"/", "\\"}
        assert len(server.files()) == 1
        assert server.files()[0].count(".") == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"RIFF\xff\xff\xff\xffWAVEfmt ",
        b"#!/bin/sh\nreboot\n",
        b"<html><script>alert(1)</script></html>",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"#EXTM3U\n/etc/passwd\n",
        b"%PDF-1.7\n" + b"\0" * 5_000,
        b"PK\x03\x04" + b"\0" * 5_000,
        wav()[:44],
        b"\xff\xfb\x90\x00" + b"\xff" * 400,
        bytes(range(256)) * 100,
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_recording_is_415(server: JobsServer, data: bytes) -> None:
    answer = post(server, form((FILE, data)))

    assert answer.status_code == 415, answer.text
    assert str(server.folder) not in answer.text


def test_a_cut_recording_is_taken_and_told(server: JobsServer) -> None:
    answer = post(server, form((FILE, wav()[:100_000])))

    assert answer.status_code == 201
    peaks = server.http.get(f"/api/jobs/{answer.json()['id']}/waveform").json()
    assert peaks["truncated"]
    assert 0 < peaks["duration"] < 9.9


def test_a_file_of_the_largest_size_is_taken_and_one_byte_more_is_not(
    server: JobsServer,
) -> None:
    largest = wav() + b"\0" * (CAP - len(wav()))

    assert post(server, form((FILE, largest))).status_code == 201
    assert post(server, form((FILE, largest + b"\0"))).status_code == 413


def head(length: int | None, **headers: str) -> str:
    lines = [
        "POST /api/jobs HTTP/1.1",
        "Content-Type: multipart/form-data; boundary=b",
        "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}",
    ]
    return "\n".join(lines + [f"{k}: {v}" for k, v in headers.items()])


def test_a_declared_length_that_is_too_much_is_refused_at_once(
    server: JobsServer,
) -> None:
    with Raw(server, head(CAP + (65 << 10))) as raw:
        status, body = raw.answer()

    assert status == 413
    assert list(body) == ["error"]


def test_a_body_without_a_length_is_counted_while_it_comes(server: JobsServer) -> None:
    start = form((FILE, wav()), end="")[:-2]
    with Raw(server, head(None)) as raw:
        raw.send(b"%x\r\n%s\r\n" % (len(start), start))
        for _ in range(1_000):
            if not raw.send(b"10000\r\n" + b"\0" * (1 << 16) + b"\r\n"):
                break
        status, _ = raw.answer()

    assert status == 413


def test_a_length_that_promises_too_much_ends_in_408(hasty: JobsServer) -> None:
    body = form((FILE, wav()))
    with Raw(hasty, head(len(body) + 100)) as raw:
        raw.send(body)
        status, answered = raw.answer()

    assert status == 408
    assert list(answered) == ["error"]


def test_a_length_that_promises_too_little_cuts_the_form(server: JobsServer) -> None:
    body = form((FILE, wav()))
    with Raw(server, head(len(body) - 1_000)) as raw:
        raw.send(body)
        status, _ = raw.answer()

    assert status == 400


def test_slow_bodies_end_and_hold_nobody_up(hasty: JobsServer) -> None:
    slow = [Raw(hasty, head(CAP)) for _ in range(30)]
    try:
        for raw in slow:
            raw.send(form((FILE, wav()), end="")[:200])
        answer = hasty.upload()
        deadline = time.monotonic() + WAIT_S
        # On a busy machine this test too may be slow for a moment.
        while answer.status_code == 408 and time.monotonic() < deadline:
            answer = hasty.upload()
        assert answer.status_code == 201
        statuses = [raw.answer()[0] for raw in slow]
    finally:
        for raw in slow:
            raw.socket.close()

    assert statuses == [408] * 30


def test_a_client_that_hangs_up_leaves_nothing(server: JobsServer) -> None:
    for size in (0, 100, 50_000, 200_000):
        with Raw(server, head(CAP)) as raw:
            raw.send(form((FILE, wav()), end="")[:size])

    # The fixture looks at what is left.
    assert server.http.get("/api/jobs").json() == []


def test_a_key_makes_one_job_of_many_requests(server: JobsServer) -> None:
    answers: list[httpx.Response] = []

    def upload(_: int) -> None:
        answers.append(
            httpx.post(
                f"{server.url}/api/jobs",
                files={"file": ("a.wav", wav())},
                headers={"Idempotency-Key": "one of a hundred"},
                timeout=WAIT_S,
                trust_env=False,
            )
        )

    at_once(100, upload)

    assert len(answers) == 100
    assert sorted({a.status_code for a in answers}) == [200, 201]
    assert [a.status_code for a in answers].count(201) == 1
    assert len({a.json()["id"] for a in answers}) == 1
    assert len(server.http.get("/api/jobs").json()) == 1
    assert len(server.files()) == 1


def test_a_key_that_was_used_for_another_file_is_422(
    server: JobsServer, tmp_path: Path
) -> None:
    first = server.upload(key="k")

    again = server.upload(key="k")
    other = server.upload(SAMPLE, key="k")

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert other.status_code == 422
    # A deleted job's key is free.
    server.http.delete(f"/api/jobs/{first.json()['id']}")
    assert server.upload(SAMPLE, key="k").status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_a_key_that_is_none_is_400(server: JobsServer, key: str) -> None:
    assert server.upload(key=key).status_code == 400
    assert server.upload(key="x" * 255).status_code == 201


def test_said_again_with_run_a_waiting_upload_is_run(server: JobsServer) -> None:
    server.upload(key="k")

    again = server.upload(run=True, key="k")
    third = server.upload(run=True, key="k")

    assert (again.status_code, again.json()["status"]) == (200, "processing")
    assert (third.status_code, third.json()["status"]) == (200, "processing")


COUNTED = """
import hashlib, json, os, resource, sys
sys.path.insert(0, sys.argv[1])
import anyio, main

async def upload(size):
    digest, read, sent, left = hashlib.sha256(), 0, [], size
    start = (
        b'--b\\r\\nContent-Disposition: form-data; name="file"; filename="a.wav"'
        b"\\r\\n\\r\\n"
    )
    wav = open(sys.argv[2], "rb").read()
    pieces = iter([start + wav])
    left -= len(wav)

    async def receive():
        nonlocal read, left
        data = next(pieces, None)
        if data is None:
            data = bytes(min(left, 1 << 16))
            left -= len(data)
            if not data:
                return {"type": "http.request", "body": b"\\r\\n--b--\\r\\n"}
        read += len(data)
        return {"type": "http.request", "body": data, "more_body": True}

    async def send(message):
        sent.append(message)

    async with main.lifespan(main.api) as state:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await main.app(
            {
                "type": "http", "method": "POST", "path": "/api/jobs",
                "query_string": b"", "http_version": "1.1", "asgi": {"version": "3.0"},
                "raw_path": b"/api/jobs", "root_path": "", "scheme": "http",
                "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 5000),
                "headers": [
                    (b"host", b"127.0.0.1:5000"), (b"transfer-encoding", b"chunked"),
                    (b"content-type", b"multipart/form-data; boundary=b"),
                ],
                "state": state,
            },
            receive,
            send,
        )
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status = sent[0]["status"]
    print(json.dumps([status, read, after - before, sorted(os.listdir("uploads"))]))

anyio.run(upload, int(sys.argv[3]))
"""


@pytest.mark.parametrize(("more", "status"), [(0, 201), (1, 413)])
def test_200_mb_are_taken_and_a_byte_more_is_not_within_the_memory_of_any(
    server: JobsServer, tmp_path: Path, more: int, status: int
) -> None:
    cap = 200 << 20
    env = {k: v for k, v in server.env.items() if k != "MAX_CONTENT_LENGTH"}
    out = subprocess.run(
        [sys.executable, "-c", COUNTED, APP, short_call(), str(cap + more)],
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env=env | {"UPLOAD_TIMEOUT_SECONDS": "600"},
        text=True,
        timeout=500,
    ).stdout
    found, read, grown_kib, files = json.loads(out)

    assert found == status
    assert read <= cap + (64 << 10)
    assert grown_kib < 40 << 10
    assert len(files) == (status == 201)
    for path in tmp_path.glob("uploads/*"):
        path.unlink()


def upload_until(server: JobsServer, key: str, data: bytes) -> int:
    """Say an upload again until it is answered, as a good client does."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            answer = httpx.post(
                f"{server.url}/api/jobs?run=true",
                files={"file": (f"{key}.wav", data)},
                headers={"Idempotency-Key": key},
                timeout=60,
                trust_env=False,
            )
        except httpx.TransportError:
            time.sleep(0.1)
            continue
        if answer.status_code < 300:
            return int(answer.json()["id"])
        assert answer.status_code >= 500, answer.text
    raise TimeoutError


def all_jobs(server: JobsServer) -> list[dict[str, Any]]:
    """Give all jobs, page by page."""
    jobs: list[dict[str, Any]] = []
    url: str | None = "/api/jobs?results=false"
    while url is not None:
        answer = server.http.get(url)
        jobs += answer.json()
        url = answer.links.get("next", {}).get("url")
    return jobs


@pytest.mark.parametrize(
    "kills", [3, pytest.param(30, marks=[pytest.mark.stress, pytest.mark.timeout(900)])]
)
def test_what_was_answered_outlives_kills_in_the_middle_of_uploads(
    tmp_path: Path, kills: int, stress_report: Report
) -> None:
    ids: dict[str, int] = {}
    digests: dict[str, str] = {}
    clients = 4
    with JobsServer(tmp_path, VOICEPIPE_WORKERS="0") as server:

        def client(number: int) -> None:
            turn = 0
            while len(killed) < kills:
                key = f"{number}-{turn}"
                data = wav() + b"\0" * (number * 1_000 + turn)
                digests[key] = hashlib.sha256(data).hexdigest()
                ids[key] = upload_until(server, key, data)
                turn += 1

        killed: list[int] = []

        def kill(_: int) -> None:
            while len(killed) < kills:
                time.sleep(0.2 + 0.37 * len(killed) % 0.3)
                assert server.process is not None
                server.process.kill()
                server.process.wait()
                server.start()
                killed.append(1)

        at_once(clients + 1, lambda i: kill(i) if i == clients else client(i))
        assert len(killed) == kills
        assert sorted(job["id"] for job in all_jobs(server)) == sorted(ids.values())
        for key, job_id in ids.items():
            audio = server.http.get(f"/api/jobs/{job_id}/audio")
            assert hashlib.sha256(audio.content).hexdigest() == digests[key]
        whole = [name for name in server.files() if not name.startswith(".")]
        assert len(whole) == len(ids)
    stress_report(
        f"{kills} SIGKILLs of the jobs backend, {clients} clients uploading",
        f"{len(ids)} uploads answered, each is one job with its file",
    )
