"""The jobs backend and requests whose head is the harm."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from jobs_backend_watched import Said, WatchedServer


if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.timeout(1_200)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedServer]:
    with WatchedServer(
        tmp_path_factory.mktemp("wire"), VOICEPIPE_WORKERS="0"
    ) as server:
        yield server
        server.check_log()


@pytest.fixture(scope="module")
def job(server: WatchedServer) -> dict[str, Any]:
    found: dict[str, Any] = server.upload().json()
    return found


@pytest.fixture(autouse=True)
def the_job_is_as_it_was(server: WatchedServer, job: dict[str, Any]) -> Iterator[None]:
    yield
    assert server.http.get("/api/jobs").json() == [job]
    assert len(server.files()) == 1


def refused(said: Said) -> bool:
    """Tell whether a request was no HTTP, or is answered with an error."""
    return said.status == 0 or 400 <= said.status < 500


@pytest.mark.parametrize(
    "headers",
    [
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: -1"],
        [b"Content-Length: 1e3"],
        [b"Content-Length: +5"],
        [b"Content-Length: " + b"9" * 30],
        [b"Content-Length: 0x10"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: chunked, identity"],
        [b"Transfer-Encoding: \x0bchunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Content-Length: 3", b"X: a\rb"],
        [b"Content-Length: 3", b"X: a\0b"],
        [b"Content-Length: 3", b"X y: z"],
        [b"Content-Length: 3", b": z"],
        [b"Content-Length: 3", b"Host: elsewhere.example"],
        [b"Content-Length : 3"],
    ],
    ids=lambda headers: repr(headers[-1][:32]),
)
def test_a_request_that_is_no_http_is_refused(
    server: WatchedServer, headers: list[bytes]
) -> None:
    typed = b"Content-Type: multipart/form-data; boundary=b"

    assert refused(server.said(b"POST /api/jobs", typed, *headers, body=b"abc"))


@pytest.mark.parametrize(
    "body",
    [
        b"-1\r\nabc\r\n0\r\n\r\n",
        b"f" * 30 + b"\r\nabc\r\n0\r\n\r\n",
        b"x\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3;" + b"e" * 100_000 + b"\r\nabc\r\n0\r\n\r\n",
        b"0\r\n\r\n",
        b"0\r\n" + b"T: t\r\n" * 20_000 + b"\r\n",
    ],
    ids=["negative", "huge", "no number", "too long", "extension", "none", "trailers"],
)
def test_chunks_that_are_none_are_refused(server: WatchedServer, body: bytes) -> None:
    typed = b"Content-Type: multipart/form-data; boundary=b"
    said = server.said(
        b"POST /api/jobs", typed, b"Transfer-Encoding: chunked", body=body
    )

    assert refused(said)


def test_methods_that_a_path_has_not_are_405(
    server: WatchedServer, job: dict[str, Any]
) -> None:
    paths = server.http.get("/openapi.json").json()["paths"]
    methods = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
    asked = 0

    for path, operations in paths.items():
        has = {name.upper() for name in operations}
        for method in [*sorted(methods - has), "BREW", "get"]:
            target = path.format(job_id=job["id"])
            said = server.said(f"{method} {target}".encode())
            assert said.error(405)
            allowed = re.findall(r"allow: (.*?)\r\n", said.head + "\r\n")
            assert len(allowed) == 1
            assert set(allowed[0].split(", ")) - {"HEAD"} == has, (path, allowed)
            asked += 1
    assert asked > 80


@pytest.mark.parametrize(
    "path",
    [
        "/static/../main.py",
        "/static/%2e%2e/main.py",
        "/static/..%2fmain.py",
        "/static/..%5cmain.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/index.html%00.js",
        "/static/%00",
        "/static/" + "a" * 5_000,
        "/static/" + "a/" * 5_000,
        "/../../etc/passwd",
        "/uploads/",
        "/instance/diarize_ai_agent.db",
        "/.env",
        "//api/jobs",
        "/api//jobs",
        "/API/jobs",
        "/api/jobs%00",
        "/" + "a" * 60_000,
        "*",
        "http://elsewhere.example/api/jobs",
    ],
    ids=lambda path: path[:32],
)
def test_odd_paths_lead_nowhere(server: WatchedServer, path: str) -> None:
    said = server.said(f"GET {path}".encode())

    said.error(404)
    assert server.said(f"DELETE {path}".encode()).status in {404, 405}


def test_many_and_long_headers_do_no_harm(
    server: WatchedServer, job: dict[str, Any]
) -> None:
    start = f"GET /api/jobs/{job['id']}".encode()
    for headers in (
        [b"X-%d: y" % i for i in range(10_000)],
        [b"X: y"] * 10_000,
        [b"X: " + b"y" * 1_000_000],
        [b"Cookie: " + b"a=b; " * 10_000],
        [b"Accept: " + b"*/*;q=0.1," * 5_000],
        [b"Expect: 100-continue"],
        [b"Upgrade: websocket", b"Sec-WebSocket-Key: x", b"Sec-WebSocket-Version: 13"],
        [b"X-HTTP-Method-Override: DELETE", b"X-Original-URL: /api/jobs"],
        [b"Content-Length: 3"],
    ):
        said = server.said(start, *headers, body=b"abc" * (len(headers[0]) == 17))
        assert said.status in {200, 400, 431}
