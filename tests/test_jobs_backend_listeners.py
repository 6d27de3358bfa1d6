"""The jobs backend, who listens to it, and who reads slowly."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest
from app_runner import WAIT_S
from jobs_backend_runner import short_call
from jobs_backend_watched import WatchedServer


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stress_report import Report


pytestmark = pytest.mark.timeout(1_200)

MOST = 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedServer]:
    folder = tmp_path_factory.mktemp("listeners")
    with WatchedServer(folder, VOICEPIPE_WORKERS="0") as server:
        yield server
        server.check_log()


def open_to(server: WatchedServer, path: str, *headers: str) -> socket.socket:
    """Ask, and leave it to the caller to read what comes."""
    connection = socket.create_connection(("127.0.0.1", server.port), WAIT_S)
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *headers]
    connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
    return connection


def heard(connection: socket.socket, until: bytes) -> bytes:
    """Read until something has come."""
    data = b""
    while until not in data:
        more = connection.recv(1 << 16)
        assert more, data[-500:]
        data += more
    return data


def listeners(server: WatchedServer) -> int:
    text = server.http.get("/metrics").text
    return int(re.findall(r"^voicepipe_jobs_listeners (\d+)", text, re.MULTILINE)[0])


def wait_for_listeners(server: WatchedServer, number: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while listeners(server) != number:
        assert time.monotonic() < deadline, listeners(server)
        time.sleep(0.1)


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", "nan", "inf", "1e3", "0x1", "-1", "0", "\u00ff", " ", "null"),
        *("9" * 19, "9" * 40, "-" + "9" * 40, "9" * 5_000, "1" * 60_000),
        # The first moments of the year 1 and the last of 9999: the calendar's ends.
        *("-62135596800000000", "-62135596799000000", "253402300799999999"),
    ],
    ids=lambda cursor: repr(cursor[:24]),
)
def test_any_cursor_gives_a_stream_that_goes_on(
    server: WatchedServer, cursor: str
) -> None:
    with contextlib.closing(
        open_to(server, "/api/events", f"Last-Event-ID: {cursor}")
    ) as connection:
        assert b" 200 OK" in heard(connection, b"retry: ")
        job = server.upload().json()
        text = heard(connection, f'"id": {job["id"]}, '.encode())
    assert b"event: job" in text
    # Nobody is told of jobs that are gone, but who asks for what was then.
    server.http.delete("/api/jobs?files=true")
    wait_for_listeners(server, 0)


def test_one_listener_too_many_is_503_until_another_leaves(
    server: WatchedServer,
) -> None:
    job = server.upload().json()
    paths = ["/api/events", f"/api/jobs/{job['id']}/events"]
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(contextlib.closing(open_to(server, paths[i % 2])))
            for i in range(MOST)
        ]
        for connection in connections:
            assert b" 200 OK" in heard(connection, b"retry: ")
        assert listeners(server) == MOST
        for path in paths:
            refused = server.http.get(path)
            assert refused.status_code == 503
            assert refused.headers["retry-after"]
        server.http.post(f"/api/jobs/{job['id']}/run")
        for connection in connections:
            heard(connection, b'"status": "processing"')
        connections[0].close()
        wait_for_listeners(server, MOST - 1)
        with server.events() as one_more:
            server.http.delete(f"/api/jobs/{job['id']}")
            kind, data = one_more.hear()
            while kind != "deleted":
                kind, data = one_more.hear()
            assert data == {"id": job["id"]}
        for connection in connections[1:]:
            heard(connection, b"event: deleted")
    wait_for_listeners(server, 0)


def grown_mib(server: WatchedServer, before: int) -> float:
    return (memory(server) - before) / (1 << 20)


def memory(server: WatchedServer) -> int:
    assert server.process is not None
    return int(psutil.Process(server.process.pid).memory_info().rss)


def test_listeners_who_do_not_read_cost_nobody_else(server: WatchedServer) -> None:
    job = server.upload().json()
    path = f"/api/jobs/{job['id']}"
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            connection = open_to(server, "/api/events")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
            stack.enter_context(contextlib.closing(connection))
        wait_for_listeners(server, 100)
        with server.events() as events:
            before = memory(server)
            for turn in range(100):
                server.http.put(path, json={"summary": f"{turn}" * 1_000})
            server.http.post(f"{path}/run")
            events.hear_until("processing")
        assert grown_mib(server, before) < 64
    server.http.delete(path)
    wait_for_listeners(server, 0)


def test_readers_who_take_nothing_hold_nobody_up(server: WatchedServer) -> None:
    jobs = [server.upload().json() for _ in range(3)]
    whole = short_call().read_bytes()
    before = memory(server)
    with contextlib.ExitStack() as stack:
        for turn in range(60):
            path = f"/api/jobs/{jobs[turn % 3]['id']}/audio"
            connection = open_to(server, path)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
            stack.enter_context(contextlib.closing(connection))
        for job in jobs:
            path = f"/api/jobs/{job['id']}"
            assert server.http.get(f"{path}/audio").content == whole
            assert server.http.get(f"{path}/waveform").status_code == 200
        assert server.upload().status_code == 201
        assert grown_mib(server, before) < 64
        # Who hangs up in the middle is forgotten, also when the recording goes.
        assert server.http.delete("/api/jobs?files=true").json() == {"deleted": 4}
    assert server.files() == []


def test_who_is_cut_off_while_he_catches_up_misses_nothing(
    server: WatchedServer,
) -> None:
    old = server.upload().json()["id"]
    # What is told again in any case goes back ten seconds.
    time.sleep(11)
    new = server.upload().json()["id"]
    told = -1

    with server.events(Last_Event_ID="100000000000000") as events:
        while told not in {old, new}:
            told = events.hear()[1]["id"]
        cursor = events.cursor
    ids: set[int] = set()
    with server.events(Last_Event_ID=cursor) as events:
        while not {old, new} <= ids:
            ids.add(events.hear()[1]["id"])
        server.http.put(f"/api/jobs/{new}", json={"summary": "more"})
        assert events.hear()[1]["id"] == new
    server.http.delete("/api/jobs?files=true")


class Fickle(threading.Thread):
    """
    Listens for a while, again and again, from where it was.

    Args:
        server: To whom.
        number: Every second one leaves after each event.
        ended: When to stop.
    """

    def __init__(
        self, server: WatchedServer, number: int, ended: threading.Event
    ) -> None:
        super().__init__()
        self._url = f"{server.url}/api/events"
        self._number = number
        self._ended = ended
        self._cursor = ""
        self.failed: list[str] = []

    def run(self) -> None:
        patience = httpx.Timeout(WAIT_S, read=1 + self._number % 3)
        with httpx.Client(trust_env=False, timeout=patience) as http:
            # As a browser does, he waits before he comes again.
            while not self._ended.wait(0.3):
                try:
                    self._listen(http)
                except httpx.ReadTimeout:
                    continue
                except httpx.HTTPError as exc:
                    self.failed.append(repr(exc))

    def _listen(self, http: httpx.Client) -> None:
        headers = {"Last-Event-ID": self._cursor}
        with http.stream("GET", self._url, headers=headers) as answer:
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    self._cursor = line[4:]
                if self._ended.is_set() or (self._number % 2 and self._cursor):
                    return


@pytest.mark.parametrize(
    ("listening", "turns"),
    [
        (3, 15),
        pytest.param(30, 100, marks=[pytest.mark.stress, pytest.mark.timeout(900)]),
    ],
)
def test_listeners_come_and_go_while_jobs_do(
    server: WatchedServer, listening: int, turns: int, stress_report: Report
) -> None:
    ended = threading.Event()
    threads = [Fickle(server, number, ended) for number in range(listening)]
    for thread in threads:
        thread.start()
    for turn in range(turns):
        path = f"/api/jobs/{server.upload(run=turn % 2 == 0).json()['id']}"
        server.http.post(f"{path}/cancel")
        assert server.http.delete(path).status_code == 200
    ended.set()
    for thread in threads:
        thread.join(WAIT_S)

    assert [failed for thread in threads for failed in thread.failed] == []
    wait_for_listeners(server, 0)
    stress_report(
        f"{turns} jobs come and go under {listening} listeners who do too",
        "all streams in order, none left over",
    )


def test_a_listener_who_has_no_key_hears_nothing(tmp_path: Path) -> None:
    with WatchedServer(
        tmp_path, VOICEPIPE_API_KEY="k3y-of-the-listeners", VOICEPIPE_WORKERS="0"
    ) as server:
        for query in ("", "?token=", "?token=wrong", "?token=k3y", "?key=x"):
            assert server.http.get(f"/api/events{query}").status_code == 401
        with contextlib.closing(
            open_to(server, "/api/events?token=k3y-of-the-listeners")
        ) as connection:
            heard(connection, b"retry: ")
        assert "k3y-of-the-listeners" not in server.log()
