"""The jobs backend and requests that no good client makes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobs_backend_runner import short_call
from jobs_backend_watched import WatchedServer


if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.timeout(1_200)

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedServer]:
    with WatchedServer(tmp_path_factory.mktemp("asks")) as server:
        yield server
        server.check_log()


@pytest.fixture(scope="module")
def job(server: WatchedServer) -> dict[str, Any]:
    """Give a job that is done; there are two more beside it."""
    server.upload()
    done = server.wait(server.upload(run=True).json()["id"])
    server.upload()
    return done


def put(server: WatchedServer, job: dict[str, Any], body: bytes) -> int:
    path = f"/api/jobs/{job['id']}"
    return server.http.put(path, content=body, headers=JSON).status_code


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 5_000 + b"]" * 5_000,
        b'{"keypoints":' * 5_000,
        b'{"summary":' + b'{"a":' * 900 + b"1" + b"}" * 901,
        b'{"keypoints":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"summary":NaN}',
        b'{"summary":1e999}',
        b'{"summary":' + b"9" * 5_000 + b"}",
        b'{"summary":-0}',
        b'{"summary":true}',
        b'{"summary":{"a":"b"}}',
        b'{"keypoints":{"0":"a"}}',
        b'{"keypoints":[["a"]]}',
        b'{"keypoints":["a",1]}',
        b'{"conversation_type":[]}',
        b'{"language":"\\ud800"}',
        b'{"summary":"\\udfff\\ud800"}',
        b'{"clean_transcript":"\\u0000"}',
        b'{"summary":"\xff"}',
        b'{"summary":"a\nb"}',
        b"{'summary':'a'}",
        b'{"summary":"a",}',
        b'{"summary":"a"} {}',
        b'// a\n{"summary":"a"}',
        b'"' + b"a" * 100_000,
        b'{"summary":"a"}'.decode().encode("utf-7") + b"\0",
        b"\x1f\x8b\x08\0\0\0\0\0",
        json.dumps({"summary": "x" * 100_001}).encode(),
        json.dumps({"clean_transcript": "x" * 5_000_001}).encode(),
        json.dumps({"keypoints": ["x" * 100_001]}).encode(),
        json.dumps({"keypoints": [""] * 100_000}).encode(),
    ],
    ids=lambda body: repr(body[:24]),
)
def test_an_edit_that_is_none_changes_nothing(
    server: WatchedServer, job: dict[str, Any], body: bytes
) -> None:
    before = server.job(job["id"])

    assert put(server, job, body) in {400, 422}
    assert server.job(job["id"]) == before


@pytest.mark.parametrize(
    ("body", "edited"),
    [
        (b'{"summary":"a","summary":"b"}', {"summary": "b"}),
        (b'{"summary":"\\ud83d\\ude00\\u202e"}', {"summary": "\U0001f600\u202e"}),
        (b'{"__proto__":{"a":1},"__class__":"x","summary":"c"}', {"summary": "c"}),
        (b'{"\\ud800":1,"\\u0000":2,"":3,"summary":"d"}', {"summary": "d"}),
        (b'{"status":"done","id":0,"attempts":-1,"key":"k","source":"/etc"}', {}),
        (b'{"audio_path":"../../etc/passwd","filename":"x"}', {}),
        (b'{"segments":[],"error_message":"x","created_at":"0"}', {}),
        (json.dumps({f"k{i}": i for i in range(50_000)}), {}),
        (b'{"a":' + b"[" * 150 + b"]" * 150 + b',"language":"x"}', {"language": "x"}),
        ('{"language":"y"}'.encode("utf-16"), {"language": "y"}),
        (b'\xef\xbb\xbf{"language":"z"}', {"language": "z"}),
        (
            b'{"summary":"<script>alert(1)</script>\\u001b[2J\\r\\nX: y"}',
            {"summary": "<script>alert(1)</script>\x1b[2J\r\nX: y"},
        ),
        (b'{"keypoints":["","",""]}', {"keypoints": ["", "", ""]}),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_edit_changes_what_may_be_edited_and_nothing_else(
    server: WatchedServer,
    job: dict[str, Any],
    body: bytes | str,
    edited: dict[str, Any],
) -> None:
    data = body.encode() if isinstance(body, str) else body
    before = server.job(job["id"])

    status = put(server, job, data)

    after = server.job(job["id"])
    # Another encoding, or a mark in front, may be read or refused.
    if status in {400, 422} and data[:2] in {b"\xff\xfe", b"\xef\xbb"}:
        assert after == before
        return
    assert status == 200
    now_edited = set(before["edited"]) | set(edited)
    assert set(after.pop("edited")) == now_edited
    assert after.pop("updated_at") >= before["updated_at"]
    assert before | edited | after == before | edited
    back = {name: before[name] for name in edited}
    assert put(server, job, json.dumps(back).encode()) == 200
    assert back.items() <= server.job(job["id"]).items()


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
_FIELDS = ("conversation_type", "summary", "keypoints", "language", "clean_transcript")


@given(edit=_JSON | st.dictionaries(st.sampled_from(_FIELDS), _JSON, max_size=3))
@settings(
    max_examples=60,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)
def test_any_json_is_an_edit_or_is_refused(
    server: WatchedServer, job: dict[str, Any], edit: Any
) -> None:
    status = put(server, job, json.dumps(edit).encode())

    assert status in {200, 400, 422}
    found = server.job(job["id"])
    if status == 200:
        for name in _FIELDS:
            assert name not in edit or found[name] == edit[name]
    server.http.put(f"/api/jobs/{job['id']}", json=job)


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "",
        "application/json-seq",
        "text/plain; application/json",
    ],
)
def test_what_a_form_of_another_page_can_send_is_no_edit(
    server: WatchedServer, job: dict[str, Any], kind: str
) -> None:
    body = b'{"summary":"not mine"}'

    said = server.said(
        f"PUT /api/jobs/{job['id']}".encode(),
        *([f"Content-Type: {kind}".encode()] if kind else []),
        f"Content-Length: {len(body)}".encode(),
        body=body,
    )

    said.error(415, 422)
    assert server.job(job["id"])["summary"] == job["summary"]


NO_IDS = (
    *("0", "-1", "-0", "1e3", "NaN", "Infinity", "true", "0x2", "0b10", "1_0", "*"),
    *(str(2**n + k) for n in (31, 32, 53, 63, 64) for k in (-1, 0, 1)),
    *("9" * 5_000, "-" + "9" * 5_000, "%D9%A2", "%EF%BC%92", "%C2%B2", "%ff", "null"),
    *("2%00", "%00", "2;", "2,3", "2'--", "2%20OR%201=1", "%25", "{job_id}"),
    *("2%2f..%2f1", "..%2f..%2fhealth", "%2e%2e"),
)
SAME_IDS = ("+2", "02", "2.0", "%202", "2%0a", "%092")
OF_JOBS = ("", "/audio", "/waveform", "/transcript")


@pytest.mark.parametrize("path", [*OF_JOBS, "/events"])
def test_an_odd_id_is_no_jobs(
    server: WatchedServer, job: dict[str, Any], path: str
) -> None:
    assert job["id"] == 2
    for job_id in NO_IDS:
        server.said(f"GET /api/jobs/{job_id}{path}".encode()).error(404)


@pytest.mark.parametrize("path", OF_JOBS)
def test_a_number_in_other_words_is_no_other_jobs(
    server: WatchedServer, job: dict[str, Any], path: str
) -> None:
    wanted = server.http.get(f"/api/jobs/{job['id']}{path}").content
    for job_id in SAME_IDS:
        said = server.said(f"GET /api/jobs/{job_id}{path}".encode())
        assert (said.status, said.body) == (200, wanted) or said.error(404)


@pytest.mark.parametrize(
    ("query", "statuses"),
    [
        ("limit=1e3", {422}),
        ("limit=-1", {422}),
        ("limit=NaN", {422}),
        ("limit=%D9%A1", {422}),
        ("limit=" + "9" * 5_000, {422}),
        ("limit=", {422}),
        ("limit=1.5", {422}),
        ("limit=1&limit=x", {422}),
        ("limit=x&limit=1", {200}),
        ("limit[]=1", {200}),
        ("before=-1", {422}),
        ("before=0", {200}),
        (f"before={2**53}", {200}),
        (f"before={2**53 + 1}", {422}),
        (f"before={2**63}", {422}),
        ("before=1e3", {422}),
        ("before=null", {422}),
        ("status=", {422}),
        ("status=DONE", {422}),
        ("status=done%00", {422}),
        ("status=done&status=lost", {422}),
        ("status=done'%20OR%201=1", {422}),
        ("results=maybe", {422}),
        ("results=%EF%BC%91", {422}),
        ("results", {422}),
        ("%ff%fe=%ed%a0%80&=&&==", {200}),
        ("a=1&" * 10_000, {200}),
        ("a" * 60_000, {200}),
    ],
    ids=lambda value: str(value)[:32],
)
def test_odd_queries_of_the_list(
    server: WatchedServer, job: dict[str, Any], query: str, statuses: set[int]
) -> None:
    assert job["id"] == 2

    answer = server.http.get(f"/api/jobs?{query}")

    assert answer.status_code in statuses, answer.text
    assert answer.status_code != 200 or len(answer.json()) <= 3


@pytest.mark.parametrize(
    "query",
    [
        "x=%0d%0aX-Evil:%201",
        "x=%3E;%20rel=%22evil%22",
        "x=%22,%20%3C/evil%3E",
        "%0d%0a=%00",
        "x=%ff%ed%a0%80",
        "x=%E6%97%A5",
        "token=s3cret&tok%65n=s3cret",
    ],
)
def test_a_link_to_the_next_page_is_one_link(
    server: WatchedServer, job: dict[str, Any], query: str
) -> None:
    assert job["id"] == 2
    said = server.said(f"GET /api/jobs?limit=1&results=false&{query}".encode())

    lines = [line for line in said.head.split("\r\n") if line.startswith("link:")]
    assert said.status == 200
    assert "x-evil" not in said.names
    assert len(lines) == 1
    assert re.fullmatch(
        r"link: </api/jobs\?[\w%&=.~+*-]+>; rel=\"next\"", lines[0], re.ASCII
    )
    assert "s3cret" not in lines[0]
    target = lines[0].partition("<")[2].partition(">")[0]
    following = server.http.get(target)
    assert [one["id"] for one in following.json()] == [2]


@pytest.mark.parametrize(
    "form",
    ["TXT", "", "doc", "..%2f..%2fetc%2fpasswd", "%00", "txt%00", "json&format=x"],
)
def test_odd_formats_are_422(
    server: WatchedServer, job: dict[str, Any], form: str
) -> None:
    path = f"/api/jobs/{job['id']}/transcript"

    assert server.http.get(f"{path}?format={form}").status_code == 422
    assert server.http.get(f"{path}?download=perhaps").status_code == 422


@pytest.mark.parametrize(
    ("ranges", "statuses"),
    [
        ("bytes=0-0", [206]),
        ("bytes=0-0,-1", [206]),
        ("bytes=0-,0-,0-", [200, 206]),
        ("bytes=" + ",".join(f"{i}-{i}" for i in range(5_000)), [200, 400, 416]),
        ("bytes=" + "0-," * 20_000, [200, 206, 400, 416]),
        ("bytes=-" + "9" * 20, [200, 206]),
        ("bytes=" + "9" * 20 + "-", [416]),
        ("bytes=" + "9" * 5_000 + "-", [200, 400, 416]),
        ("bytes=-0", [416]),
        ("bytes=5-1", [200, 400, 416]),
        ("bytes=a-b", [200, 400]),
        ("bytes=", [200, 400]),
        ("bytes=--1", [200, 400, 416]),
        ("lines=1-2", [200, 400]),
        ("\u00ff", [200, 400]),
    ],
    ids=lambda value: str(value)[:20],
)
def test_odd_ranges_of_the_sound(
    server: WatchedServer, job: dict[str, Any], ranges: str, statuses: list[int]
) -> None:
    path = f"/api/jobs/{job['id']}/audio"
    headers = [b"Range: " + ranges.encode("latin-1")]

    said = server.said(f"GET {path}".encode(), *headers)

    assert said.status in statuses
    whole = short_call().read_bytes()
    if said.status in {400, 416}:
        said.error(said.status)
    elif said.status == 200:
        assert said.body == whole
    # Many small ranges are no way to be sent more than there is.
    assert len(said.body) <= len(whole) + 1_000
