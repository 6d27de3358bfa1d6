"""The jobs backend's doors: the key, the origin, the host; and what it gives away."""

from __future__ import annotations

import re
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from app_runner import WAIT_S
from jobs_backend_runner import short_call
from jobs_backend_watched import SECRETS, WatchedServer


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = pytest.mark.timeout(1_200)

KEY = "k3y-canary/+~\u00fc %41"
PERCENT = "k3y-canary%2F%2B~%C3%BC%20%2541"
GOOD = {b"Authorization": f"Bearer {KEY}".encode()}


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedServer]:
    folder = tmp_path_factory.mktemp("locked")
    with WatchedServer(folder, VOICEPIPE_API_KEY=KEY, VOICEPIPE_WORKERS="0") as server:
        yield server
        server.check_log()
        assert not re.search("k3y-canary", server.log())


@pytest.fixture(scope="module")
def job(locked: WatchedServer) -> dict[str, Any]:
    with short_call().open("rb") as file:
        answer = locked.http.post("/api/jobs", files={"file": file}, headers=GOOD)
    assert answer.status_code == 201
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture(autouse=True)
def the_job_is_as_it_was(locked: WatchedServer, job: dict[str, Any]) -> Iterator[None]:
    """See that nobody without the key has done anything."""
    yield
    assert locked.http.get("/api/jobs", headers=GOOD).json() == [job]
    assert len(locked.files()) == 1


def operations(server: WatchedServer) -> list[tuple[str, str]]:
    """Give all that can be asked for, by the server's own description."""
    paths = server.http.get("/openapi.json").json()["paths"]
    return [
        (method.upper(), path.format(job_id=1))
        for path, found in paths.items()
        for method in found
        if path != "/health"
    ]


def test_all_that_has_data_wants_the_key(locked: WatchedServer) -> None:
    asked = [*operations(locked), ("GET", "/metrics"), ("POST", "/health")]
    asked += [("DELETE", "/"), ("POST", "/docs"), ("PUT", "/static/index.html")]
    assert len(asked) > 15
    for method, path in asked:
        for headers in (
            {},
            {b"Authorization": b"Bearer wrong"},
            {b"Authorization": b"Bearer " + KEY.encode() + b"x"},
            {b"Authorization": b"Bearer " + KEY[:-1].encode()},
            {b"Authorization": b"Basic " + KEY.encode()},
            {b"Authorization": KEY.encode()},
            {b"Authorization": b"Bearer"},
            {b"X-API-Key": KEY.encode(), b"Cookie": b"token=" + KEY.encode()},
        ):
            answer = locked.http.request(method, path, headers=headers)
            assert answer.status_code == 401, (method, path, headers)
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "query",
    [
        "token=",
        "token=wrong",
        "token=k3y-canary",
        f"token={PERCENT}&token=",
        f"token={PERCENT}&tok%65n={PERCENT}",
        f"token={PERCENT}%00",
        f"TOKEN={PERCENT}",
        f"token[]={PERCENT}",
        f"x=1;token={PERCENT}",
        f"key={PERCENT}",
    ],
)
def test_a_token_that_is_not_the_key_opens_nothing(
    locked: WatchedServer, query: str
) -> None:
    for path in ("/api/jobs", "/api/events", "/api/jobs/1/audio"):
        assert locked.http.get(f"{path}?{query}").status_code == 401


def test_the_right_token_opens_and_is_in_no_answer(locked: WatchedServer) -> None:
    answer = locked.http.get(f"/api/jobs?limit=1&results=0&token={PERCENT}")

    assert answer.status_code == 200
    assert "canary" not in repr(answer.headers) + answer.text


@pytest.mark.parametrize(
    "target",
    [
        *("//api/jobs", "/./api/jobs", "/x/../api/jobs", "/static/../api/jobs"),
        *("/static/..%2fapi/jobs", "/static/%2e%2e/api/jobs", "/docs/../api/jobs"),
        *(
            "/static/..%5c..%5capi/jobs",
            "/health/../api/jobs",
            "/health%2f..%2fmetrics",
        ),
        *("/api/jobs/", "/api/jobs?x=/static/", "/api/jobs#/static/", "/api/jobs;x"),
        *("/API/JOBS", "/api/jobs%20", "/api%2fjobs", "/%61pi/jobs", "/metrics/"),
        *("http://localhost/api/jobs", "http://localhost/health/../api/jobs"),
        *("/openapi.json/../api/jobs", "/static/../uploads", "/static//../api/jobs"),
    ],
)
def test_no_other_way_to_say_a_path_goes_round_the_key(
    locked: WatchedServer, job: dict[str, Any], target: str
) -> None:
    for method in ("GET", "DELETE"):
        said = locked.said(f"{method} {target}".encode(), b"X-Original-URL: /health")
        assert said.status in {401, 404, 405}
        said.error(said.status)
        assert job["audio_path"].encode() not in said.body
        assert "location" not in said.names


def test_two_keys_are_none(locked: WatchedServer) -> None:
    good = f"Authorization: Bearer {KEY}".encode()

    assert locked.said(b"GET /api/jobs", good).status == 200
    locked.said(b"GET /api/jobs", good, good).error(401)
    locked.said(b"GET /api/jobs", b"Authorization: Bearer x", good).error(401)


def test_who_has_no_key_sends_no_recording_either(locked: WatchedServer) -> None:
    head = (
        f"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1:{locked.port}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {100 << 20}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", locked.port), WAIT_S) as connection:
        connection.sendall(head.encode())
        # The answer and the end are there before the recording is.
        heard = b""
        while more := connection.recv(1 << 16):
            heard += more
    assert b" 401 " in heard


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedServer]:
    with WatchedServer(
        tmp_path_factory.mktemp("open"), VOICEPIPE_WORKERS="0"
    ) as server:
        server.upload()
        yield server
        server.check_log()


ELSEWHERE = [
    *("https://elsewhere.example", "null", "", "file://", "http://127.0.0.1.example"),
    *("http://localhost.elsewhere.example", "http://elsewhere.example:{port}"),
    *("http://127.0.0.1:{port}@elsewhere.example", "chrome-extension://abc"),
    *(
        "HTTP://127.0.0.1:{port}",
        "http://127.0.0.1:{port}/",
        "https://127.0.0.1:{port} x",
    ),
]


@pytest.mark.parametrize("origin", ELSEWHERE)
def test_a_page_from_elsewhere_reads_and_does_nothing(
    open_server: WatchedServer, origin: str
) -> None:
    header = f"Origin: {origin.format(port=open_server.port)}".encode()
    before = open_server.http.get("/api/jobs").json()

    for method, path in [*operations(open_server), ("OPTIONS", "/api/jobs")]:
        said = open_server.said(f"{method} {path}".encode(), header)
        said.error(403)
        assert "access-control-allow-origin" not in said.names
    assert open_server.http.get("/api/jobs").json() == before != []


def test_the_pages_own_origin_may(open_server: WatchedServer) -> None:
    for host in ("127.0.0.1", "localhost"):
        origin = f"http://{host}:{open_server.port}"
        headers = {"Origin": origin, "Host": f"{host}:{open_server.port}"}
        assert open_server.http.get("/api/jobs", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("elsewhere.example", "127.0.0.1.elsewhere.example", "localhost.example"),
        *("127.0.0.1@elsewhere.example", "x/?#", "", "127.0.0.1, elsewhere.example"),
        *("0.0.0.0", "169.254.169.254", "[::ffff:8.8.8.8]", "\u00ff"),
    ],
)
def test_a_name_that_is_not_this_machines_is_not_answered(
    open_server: WatchedServer, host: str
) -> None:
    head = f"GET /api/jobs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(
        ("127.0.0.1", open_server.port), WAIT_S
    ) as connection:
        connection.sendall(head.encode("latin-1"))
        answer = b""
        while more := connection.recv(1 << 16):
            answer += more

    assert re.match(rb"HTTP/1.1 (400|403) ", answer), answer
    assert b"uploads/" not in answer


def test_without_a_key_nobody_comes_through_a_proxy(open_server: WatchedServer) -> None:
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        answer = open_server.http.get("/api/jobs", headers={name: "127.0.0.1"})
        assert answer.status_code == 403


def test_what_falls_over_is_told_without_its_insides(tmp_path: Path) -> None:
    """Break what the server stands on, and look at what it says of that."""
    with WatchedServer(tmp_path, VOICEPIPE_WORKERS="0", DEBUG="false") as server:
        job = server.upload().json()
        path = f"/api/jobs/{job['id']}"
        recording = server.folder / job["audio_path"]
        recording.unlink()
        recording.mkdir()
        for route in ("/audio", "/waveform"):
            assert server.http.get(path + route).status_code == 404
        server.http.event_hooks = {"response": []}
        moved = server.uploads.rename(server.folder / "elsewhere")
        gone = server.upload()
        server.uploads.write_text("no folder")
        wrong = server.upload()
        server.uploads.unlink()
        moved.rename(server.uploads)
        said = [gone, wrong]
        for database in (server.folder / "instance").iterdir():
            database.write_bytes(b"no database" * 1_000)
        said += [server.http.get(p) for p in ("/api/jobs", path, "/health")]
        said += [server.http.post(f"{path}/run"), server.http.delete(path)]
        for answer in said:
            assert answer.headers["content-type"] == "application/json"
            for private in (
                *SECRETS.values(),
                str(tmp_path),
                "Traceback",
                ".py",
                "sqlite",
            ):
                assert private not in answer.text
        statuses = [answer.status_code for answer in said]
        assert statuses == [500, 500, 503, 503, 200, 503, 503]
        # What it counts is up to a second old.
        deadline = time.monotonic() + 60.0
        while server.http.get("/health").json()["status"] != "unhealthy":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        said.pop(4)
        assert [list(answer.json()) for answer in said] == [["error"]] * 6
