"""The jobs backend and uploads that were written by hand to harm it."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobs_backend_runner import short_call
from jobs_backend_watched import WatchedServer


if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx


pytestmark = pytest.mark.timeout(1_200)

STORED = re.compile(r"[0-9a-f]{32}-[0-9a-f]{32}\.(wav|peaks\.json)")
CALL = short_call().read_bytes()[:40_000]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedServer]:
    folder = tmp_path_factory.mktemp("hostile")
    with WatchedServer(folder, VOICEPIPE_WORKERS="0") as server:
        yield server
        server.check_log()


def everything(server: WatchedServer) -> set[str]:
    """Give all that lies near the server, but for recordings and the database."""
    found = {
        os.path.relpath(path, server.folder)
        for path in server.folder.parent.rglob("*")
        if not STORED.fullmatch(path.name)
    }
    return {name for name in found if not name.startswith("instance/")}


@pytest.fixture(autouse=True)
def nothing_else_is_written(server: WatchedServer) -> Iterator[None]:
    before = everything(server)
    yield
    deadline = time.monotonic() + 60
    while everything(server) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert everything(server) == before
    jobs = server.http.get("/api/jobs?results=false").json()
    assert len(server.files()) == len(jobs)
    assert server.http.delete("/api/jobs?files=true").json() == {"deleted": len(jobs)}
    assert server.files() == []


def form(
    *parts: bytes, boundary: bytes = b"b", data: bytes = CALL, line: bytes = b"\r\n"
) -> bytes:
    """Give a form of parts, each with the same content behind its own headers."""
    pieces = []
    for headers in parts:
        pieces += [b"--" + boundary, headers, b"", data]
    return line.join([*pieces, b"--" + boundary + b"--", b""])


def post(
    server: WatchedServer, body: bytes, kind: str = "boundary=b", **headers: str
) -> httpx.Response:
    sent = {name.encode(): value.encode() for name, value in headers.items()}
    sent[b"content-type"] = b"multipart/form-data; " + kind.encode("latin-1")
    return server.http.post("/api/jobs", content=body, headers=sent)


def named(parameters: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="file"; ' + parameters


def check_shown(server: WatchedServer, job: dict[str, Any]) -> None:
    """See that a name is shown as a name, wherever it is shown."""
    name = job["filename"]
    assert name is None or (
        0 < len(name) <= 255 and name.isprintable() and not set(name) & {"/", "\\"}
    )
    assert STORED.fullmatch(Path(job["audio_path"]).name)
    assert server.job(job["id"])["filename"] == name
    request = f"GET /api/jobs/{job['id']}/audio?download=true".encode()
    audio = server.said(request)
    assert (audio.status, audio.body) == (200, CALL)
    assert "x-evil" not in audio.names
    lines = [i for i in audio.head.split("\r\n") if i.startswith("content-disp")]
    assert len(lines) == 1
    # One token, or one quoted string, or percent-encoded: nobody reads it otherwise.
    assert re.fullmatch(
        r"content-disposition: attachment; "
        r"(filename=\"[^\"\\\x00-\x1f\x7f-\xff]*\"|filename\*=utf-8''[\w.%~-]*)",
        lines[0],
        re.ASCII,
    ), lines


@pytest.mark.parametrize(
    "name",
    [
        b"a\r\nX-Evil: 1\r\n.wav",
        b"a%0d%0aX-Evil:%201.wav",
        b"a\0.wav",
        b"a\0.exe",
        b"\x1b[2J\x1b]0;x\x07.wav",
        b"\xff\xfe\xed\xa0\x80.wav",
        "\u202evaw.exe.wav".encode(),
        "\uff0e\uff0e\uff0fetc\uff0fa.wav".encode(),
        "a\u200b\ufeff\u200d.wav".encode(),
        b'a\\"b; filename=\\"c.exe\\".wav',
        b"a;b=c.wav",
        b"'; DROP TABLE jobs; --.wav",
        b"<img src=x onerror=alert(1)>.wav",
        b"${jndi:ldap://x/a}$(reboot)`id`{{7*7}}%s%n.wav",
        b"-rf.wav",
        b".wav",
        b"......wav",
        b"   .wav",
        b"CON.wav",
        b"nul.txt.wav",
        b"~root.wav",
        b"a.wav:b.wav",
        b"a" * 10_000 + b".wav",
        "\U0001f600".encode() * 2_000 + b".wav",
        b"." * 5_000 + b"wav",
        b"../" * 2_000 + b"a.wav",
        b".part.wav",
        b"x.peaks.json.wav",
    ],
    ids=lambda name: repr(name[:24]),
)
def test_a_name_is_only_shown(server: WatchedServer, name: bytes) -> None:
    answer = post(server, form(named(b'filename="' + name + b'"')))

    assert answer.status_code in {201, 400, 415}, answer.text
    if answer.status_code == 201:
        check_shown(server, answer.json())


@given(name=st.text(max_size=40), ending=st.sampled_from([".wav", ".MP3", "", ".exe"]))
@settings(
    max_examples=40,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)
def test_any_name_is_only_shown(server: WatchedServer, name: str, ending: str) -> None:
    quoted = (name + ending).replace("\\", "\\\\").replace('"', '\\"')
    value = quoted.encode("utf-8", "surrogatepass")

    answer = post(server, form(named(b'filename="' + value + b'"')))

    assert answer.status_code in {201, 400, 415}, answer.text
    if answer.status_code == 201:
        assert ending in {".wav", ".MP3"} or re.search(r"\.\w+$", name)
        check_shown(server, answer.json())


@pytest.mark.parametrize(
    "parameters",
    [
        b"filename*=UTF-8''a%0d%0aX-Evil:%201.wav",
        b"filename*=UTF-8''%2e%2e%2fa.wav",
        b"filename*=x'y'%ff.wav",
        b"filename*=UTF-8''%ZZ.wav",
        b"filename*=UTF-8''" + b"%00" * 3_000 + b".wav",
        b"filename*=nonsense''a.wav",
        b"filename*=a.wav",
        b"filename=\"a.wav\"; filename*=UTF-8''b.exe",
        b"filename=\"a.exe\"; filename*=UTF-8''b.wav",
        b'filename="a.wav"; filename="b.exe"',
        b'filename*0="a."; filename*1="wav"',
        b"filename*0*=UTF-8''a.; filename*1*=wav",
        b"filename=a.wav",
        b"filename=",
        b'filename="a.wav',
        b'filename="a.wav"' + b"; x=y" * 5_000,
        b"=" * 1_000 + b'; filename="a.wav"',
        b'filename="=?utf-8?q?a=2ewav?="',
    ],
    ids=lambda parameters: repr(parameters[:32]),
)
def test_a_name_said_in_odd_ways_is_shown_or_refused(
    server: WatchedServer, parameters: bytes
) -> None:
    answer = post(server, form(named(parameters)))

    assert answer.status_code in {201, 400, 415}, answer.text
    if answer.status_code == 201:
        check_shown(server, answer.json())


GOOD = named(b'filename="a.wav"')


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b'CONTENT-disposition: Form-Data; NAME="file"; FileName="a.wav"', 201),
        (b'Content-Disposition: form-data; filename="a.wav"; name="file"', 201),
        (GOOD + b"\r\nContent-Type: text/html; charset=utf-7", 201),
        (GOOD + b"\r\nContent-Transfer-Encoding: base64", 201),
        (GOOD + b"\r\nContent-Length: 1", 201),
        (GOOD + b"\r\nTransfer-Encoding: chunked", 201),
        (GOOD + b"\r\nContent-Type: multipart/mixed; boundary=b", 201),
        (GOOD + b"\r\nX: " + b"y" * 1_000, 201),
        (GOOD + b"\r\nX: y" * 10_000, 400),
        (GOOD + b"\r\nX: " + b"y" * 60_000, 400),
        (b'Content-Disposition: form-data; name="FILE"; filename="a.wav"', 400),
        (b'Content-Disposition: form-data; name="file[]"; filename="a.wav"', 400),
        (b'Content-Disposition: form-data; name="file\0"; filename="a.wav"', 400),
        (b'Content-Disposition: form-data; name="\xef\xbb\xbffile"; filename="a"', 400),
        (b'Content-Disposition: form-data; name=""; filename="a.wav"', 400),
        (b'Content-Disposition: form-data; filename="a.wav"', 400),
        (b"Content-Disposition:", 400),
        (b"Content-Disposition: form-data" + b";" * 5_000, 400),
        (b'X-Content-Disposition: form-data; name="file"; filename="a.wav"', 400),
        (b"Content-Type: audio/wav", 400),
        (GOOD + b"\r\nbad header", 400),
        (GOOD + b"\r\n: empty", 400),
        (GOOD + b"\r\nX\0Y: z", 400),
        (GOOD.replace(b": ", b":\r\n "), 400),
    ],
    ids=lambda value: repr(value[:48]) if isinstance(value, bytes) else None,
)
def test_headers_of_a_part_are_read_or_refused(
    server: WatchedServer, headers: bytes, status: int
) -> None:
    answer = post(server, form(headers))

    assert answer.status_code == status, answer.text
    if status == 201:
        # Whatever they say of the content, it stays as it came.
        check_shown(server, answer.json())


def test_two_names_of_a_part_are_one_file_at_most(server: WatchedServer) -> None:
    other = named(b'filename="b.exe"')
    cut = GOOD.replace(b"form-data", b"form-data\nX: y")
    for headers in (GOOD + b"\r\n" + other, other + b"\r\n" + GOOD, cut):
        assert post(server, form(headers)).status_code in {201, 400, 415}


@pytest.mark.parametrize(
    ("kind", "boundary", "status"),
    [
        ('boundary="b"', b"b", 201),
        ("boundary=" + "b" * 70, b"b" * 70, 201),
        ('boundary="a b"', b"a b", 201),
        ("BOUNDARY=b; charset=utf-16", b"b", 201),
        ('charset="; boundary=x"; boundary=b', b"b", 201),
        ("boundary=RIFF", b"RIFF", 201),
        ("boundary=-", b"-", 201),
        ("boundary=b; boundary=c", b"d", 400),
        ("boundary=b", b"B", 400),
        ("boundary*=UTF-8''b", b"c", 400),
        ("boundary=b" + "; x=y" * 2_000, b"c", 400),
        ("boundary=" + "b" * 20_000, b"b" * 20_000, 400),
        ('boundary="\xff\x01"', b"b", 400),
        ('boundary=""', b"", 400),
        ("boundary=;", b"", 400),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, str | bytes) else None,
)
def test_boundaries_are_kept_to(
    server: WatchedServer, kind: str, boundary: bytes, status: int
) -> None:
    body = form(GOOD, boundary=boundary)

    if "\x01" in kind:
        length = f"Content-Length: {len(body)}".encode()
        typed = b"Content-Type: multipart/form-data; " + kind.encode("latin-1")
        said = server.said(b"POST /api/jobs", typed, length, body=body)
        assert said.status == status
        return
    assert post(server, body, kind).status_code == status


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/mixed; boundary=b",
        "multipart/form-data-x; boundary=b",
        "application/x-www-form-urlencoded",
        "audio/wav",
        "application/json",
        "text/plain; boundary=b",
        "multipart/form-data",
        "boundary=b",
        ";;;;",
        "x" * 10_000,
    ],
    ids=lambda kind: kind[:32],
)
def test_other_types_of_content_are_400(server: WatchedServer, kind: str) -> None:
    answer = server.http.post(
        "/api/jobs", content=form(GOOD), headers={"content-type": kind}
    )

    assert answer.status_code == 400
    no_type = server.said(b"POST /api/jobs", b"Content-Length: 3", body=b"abc")
    no_type.error(400)


def test_a_form_in_a_form_is_no_recording(server: WatchedServer) -> None:
    inner = form(GOOD, boundary=b"inner")

    assert post(server, form(GOOD, data=inner)).status_code == 415


@pytest.mark.parametrize(
    "pack", [gzip.compress, base64.b64encode], ids=["gzip", "base64"]
)
def test_what_is_packed_is_not_unpacked(server: WatchedServer, pack: Any) -> None:
    packed = {"content-encoding": "gzip", "content-transfer-encoding": "base64"}

    assert post(server, pack(form(GOOD)), **packed).status_code == 400
    assert post(server, form(GOOD, data=pack(CALL)), **packed).status_code == 415


@pytest.mark.parametrize(
    "around",
    [
        (b"\r\n" * 100, b""),
        (b"", b"epilogue" * 1_000),
        (b"", form(GOOD)),
        (b"preamble\r\n", b""),
        (b"--", b""),
        (b"--b--\r\n", b""),
        (b"\0", b""),
    ],
    ids=["line ends", "epilogue", "a form behind", "preamble", "--", "an end", "NUL"],
)
def test_what_stands_round_a_form_is_no_second_file(
    server: WatchedServer, around: tuple[bytes, bytes]
) -> None:
    answer = post(server, around[0] + form(GOOD) + around[1])

    assert answer.status_code in {201, 400}
    if answer.status_code == 201:
        check_shown(server, answer.json())
        assert len(server.files()) == 1


def test_lines_without_carriage_returns_are_no_form(server: WatchedServer) -> None:
    assert post(server, form(GOOD, line=b"\n")).status_code == 400


@given(
    cut=st.integers(0, len(CALL) + 200),
    gone=st.integers(0, 20),
    put=st.binary(max_size=20),
)
@settings(
    max_examples=60,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)
def test_any_damage_of_a_form_is_survived(
    server: WatchedServer, cut: int, gone: int, put: bytes
) -> None:
    body = form(GOOD)
    damaged = body[:cut] + put + body[cut + gone :]

    assert post(server, damaged).status_code in {201, 400, 415}


@pytest.mark.parametrize(
    "key",
    [
        b"\xff\xfe",
        "schl\u00fcssel".encode(),
        b"a\tb",
        b"a\x7fb",
        b" ",
        b"",
        b"x" * 256,
        b"x" * 50_000,
    ],
    ids=lambda key: repr(key[:12]),
)
def test_a_key_of_odd_characters_is_400(server: WatchedServer, key: bytes) -> None:
    body = form(GOOD)
    said = server.said(
        b"POST /api/jobs",
        b"Content-Type: multipart/form-data; boundary=b",
        f"Content-Length: {len(body)}".encode(),
        b"Idempotency-Key: " + key,
        body=body,
    )

    assert "Idempotency-Key" in said.error(400)


@pytest.mark.parametrize(
    "key", ["'; DROP TABLE jobs; --", "<script>", '"k"', "../../k", "%00", "k, k", "0"]
)
def test_a_key_is_only_a_key(server: WatchedServer, key: str) -> None:
    first = post(server, form(GOOD), **{"Idempotency-Key": key})
    again = post(server, form(GOOD), **{"Idempotency-Key": key})
    other = post(server, form(GOOD), **{"Idempotency-Key": key + "x"})

    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 201)
    assert first.json()["id"] == again.json()["id"] != other.json()["id"]
    # It is the client's secret, nearly: who knows it learns of the job.
    assert key == "0" or key not in json.dumps(server.http.get("/api/jobs").json())
