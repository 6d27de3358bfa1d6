"""Calls at a telephony API on a real server: shapes, retries, credentials, remains."""

from __future__ import annotations

import itertools
import json
import logging
import time
import traceback
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import pytest
from authority import an_authority  # noqa: F401 - a fixture
from downloading import until
from fault_answers import (
    Serve,
    endless,
    hang_up,
    page,
    raw,
    redirect,
    reset,
    silence,
    status,
    wav_of,
)
from fault_server import (
    Canary,
    FaultServer,
    a_server,  # noqa: F401 - a fixture
    another_server,  # noqa: F401 - a fixture
)

from voicepipe.errors import (
    AudioError,
    BadResponseError,
    BlockedUrlError,
    CallNotFoundError,
    FetchError,
    FetchTimeoutError,
    HttpStatusError,
    InvalidIdError,
    InvalidUrlError,
    NoRecordingError,
    TooLargeError,
)
from voicepipe.io.download.values import DownloadOptions, DownloadProgress
from voicepipe.io.telephony import CallInfo, TelephonyClient, call_info_from_json


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from authority import Authority
    from fault_answers import Answer


WAV = wav_of(200_000)
SERVE = Serve(body=WAV)
URL = "https://media.example.com/a.mp3?sig=canary-signature"
CALL = {
    "store_name": "Corner Shop",
    "agent_name": "Asha",
    "call_status": "completed",
    "call_in_time": "2024-01-01 10:00:00",
    "call_out_time": "2024-01-01 10:05:00",
    "recording_url": URL,
    "call_sid": "CA1",
}
INFO = CallInfo(**CALL)
CAMEL = {
    "storeName": "Corner Shop",
    "agentName": "Asha",
    "callStatus": "completed",
    "callInTime": "2024-01-01 10:00:00",
    "callOutTime": "2024-01-01 10:05:00",
    "recordingUrl": URL,
    "callSid": "CA1",
}


def told(answer: object) -> Answer:
    """Answer with JSON."""
    return page(json.dumps(answer).encode(), "application/json")


def quick(*servers: FaultServer, **changes: Any) -> DownloadOptions:
    """Give limits that no busy machine passes, these servers allowed."""
    patient: dict[str, Any] = {"read_s": 60.0, "resolve_s": 60.0, "total_s": 100.0}
    patient["durable"] = False
    return attrs.evolve(
        TelephonyClient.OPTIONS,
        allow_hosts=tuple(one.host for one in servers),
        **{**patient, **changes},
    )


def client_of(
    server: FaultServer, *servers: FaultServer, **more: Any
) -> TelephonyClient:
    """Give a client of an API; recordings may come from the other servers."""
    return TelephonyClient(server.url("/calls"), **{"options": quick(*servers), **more})


def with_recording(server: FaultServer, *answers: Answer, order_id: str = "7") -> None:
    """Let the server know an order, and have a recording of it."""
    url = server.on(f"/{order_id}.mp3", *answers)
    server.on(f"/calls/{order_id}", told({**CALL, "recording_url": url}))


def names(folder: Path) -> set[str]:
    """Give the names of all files in a folder."""
    return {path.name for path in folder.iterdir()}


def gaps(server: FaultServer, path: str) -> list[float]:
    times = [seen.at for seen in server.asked(path)]
    return [after - before for before, after in itertools.pairwise(times)]


@pytest.mark.parametrize(
    "answer",
    [
        CALL,
        [CALL],
        CAMEL,
        [CAMEL],
        {"data": CALL},
        {"call": CAMEL},
        {"data": [CALL]},
        {"call": [CAMEL]},
        [{"data": CALL}],
        {"data": {"call": CALL}},
        {"success": True, "status": "ok", "data": {"id": 7, "call": [CAMEL]}},
        {**CALL, "data": {"duration": 3}, "call": None},
        {"storeName": "Corner Shop", "agentName": "Asha", "call": CALL},
        {**CALL, "call_sid": "CA2", "call": {"callSID": "CA1"}},
        {**CALL, "call_sid": None, "callSid": "CA1"},
        {**CALL, "data": "text", "extra": [1, 2]},
        {**CALL, "call": {"call_sid": "", "store_name": None}},
    ],
)
async def test_a_call_is_read_in_each_shape(
    answer: object, server: FaultServer
) -> None:
    server.on("/calls/A-1_b", told(answer))

    async with client_of(server) as client:
        assert await client.get_call_info("A-1_b") == INFO


async def test_values_become_texts(server: FaultServer) -> None:
    odd = {
        "store_name": 17,
        "agent_name": None,
        "call_status": True,
        "call_in_time": 1.5,
        "call_out_time": {"at": "ä"},
        "recording_url": "",
    }
    server.on("/calls/7", told(odd))

    async with client_of(server) as client:
        assert await client.get_call_info("7") == CallInfo(
            store_name="17",
            call_status="true",
            call_in_time="1.5",
            call_out_time='{"at": "ä"}',
        )


@pytest.mark.parametrize("kind", ["text/html", "application/octet-stream"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
async def test_the_body_decides_not_its_type(
    kind: str, coding: str, server: FaultServer
) -> None:
    body = json.dumps({"storeName": "दुकान"}, ensure_ascii=False).encode(coding)
    server.on("/calls/7", page(body, kind))

    async with client_of(server) as client:
        assert (await client.get_call_info("7")).store_name == "दुकान"


async def test_an_answer_about_nothing_is_warned_of(
    server: FaultServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.on("/calls/7", told({"filiale": "canary-store"}))

    async with client_of(server) as client:
        assert await client.get_call_info("7") == CallInfo()
        with pytest.raises(NoRecordingError) as none:
            await client.download_audio("7", tmp_path / "out")

    assert none.value.order_id == "7"
    assert "nothing about a call" in caplog.text
    assert "canary" not in caplog.text
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>canary-body</html>",
        b'{"storeName": "canary-body"',
        b'{"storeName": "canary-body\xff"}',
        b"[" * 100_000 + b'"canary-body"',
        b'{"data":' * 900 + b'{"storeName": "canary-body"}' + b"}" * 900 + b"x",
        b"1" * 5_000,
        b"null",
        b'"canary-body"',
        b"[]",
        b'["canary-body"]',
        b'[{"storeName": "canary-body"}, {"storeName": "b"}]',
        b'{"data": []}',
        b'{"call": [{"storeName": "canary-body"}, {}]}',
        b'{"data": ["canary-body"]}',
    ],
    ids=range(15),
)
async def test_an_answer_of_no_call_is_told_and_not_quoted(
    body: bytes, server: FaultServer
) -> None:
    url = server.on("/calls/7", page(body, "application/json"))

    async with client_of(server) as client:
        with pytest.raises(BadResponseError) as error:
            await client.get_call_info("7")

    assert error.value.url == url
    assert not error.value.retryable
    assert len(server.requests) == 1
    assert "canary-body" not in chain(error.value)


@pytest.mark.parametrize("length", [b"Content-Length: 99999999\r\n", b""])
async def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    length: bytes, server: FaultServer
) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + length + b"\r\n{"
    server.on("/calls/7", endless(head, bytes(65_536), most=1 << 26))

    async with client_of(server) as client:
        with pytest.raises(TooLargeError) as error:
            await client.get_call_info("7")

    assert error.value.limit == 1 << 20
    assert len(server.requests) == 1
    assert server.sent("/calls/7") < 1 << 25


async def test_the_mapping_is_the_callers(server: FaultServer) -> None:
    server.on("/calls/7", told([{"shop": {"name": "A"}}, 2]))
    server.on("/calls/8", told({"shop": None}))
    seen = []

    def mapping(answer: Any) -> CallInfo:
        seen.append(answer)
        return CallInfo(store_name=answer[0]["shop"]["name"])

    async with client_of(server, mapping=mapping) as client:
        assert await client.get_call_info("7") == CallInfo(store_name="A")
        with pytest.raises(BadResponseError) as error:
            await client.get_call_info("8")

    assert isinstance(error.value.__cause__, KeyError)
    assert seen == [[{"shop": {"name": "A"}}, 2], {"shop": None}]


@pytest.mark.parametrize(
    ("base", "target"),
    [
        ("/calls", "/calls/7"),
        ("/calls/", "/calls/7"),
        ("/calls//", "/calls/7"),
        ("", "/7"),
        ("/", "/7"),
        ("/a%20b/%2e/calls", "/a%20b/%2e/calls/7"),
        ("/calls?key=k%2F1&x=a/", "/calls/7?key=k%2F1&x=a/"),
        ("?key=1", "/7?key=1"),
        ("/calls#top?x", "/calls/7"),
        ("/calls/?key=1#top", "/calls/7?key=1"),
    ],
)
async def test_the_order_goes_to_the_end_of_the_path(
    base: str, target: str, server: FaultServer
) -> None:
    server.on(target.partition("?")[0], told(CALL))

    async with TelephonyClient(server.url(base), options=quick()) as client:
        assert await client.get_call_info("7") == INFO

    (seen,) = server.requests
    assert (seen.method, seen.target) == ("GET", target)
    assert seen.header("accept") == "application/json"
    assert seen.header("accept-encoding") == "identity"


@pytest.mark.parametrize("base", ["", "calls", "ftp://h/calls", "http:///calls", "\n"])
def test_a_base_url_that_cannot_be_asked_is_refused_at_once(base: str) -> None:
    with pytest.raises(InvalidUrlError):
        TelephonyClient(base)


def test_a_header_that_cannot_be_sent_is_refused_at_once() -> None:
    headers = {"X-Key": "canary-key\n"}

    with pytest.raises(ValueError, match="X-Key") as error:
        TelephonyClient(URL, headers=headers)

    assert "canary" not in chain(error.value)


BAD_IDS: list[Any] = [
    *["", ".", "..", "../a", "a/../../b", "/etc/passwd", "a/b", "a\\b", "..\\..\\x"],
    *["C:\\x", "C:x", "\\\\srv\\share", "a\x00.wav", "a\nb", "a\r\nX-Injected: 1"],
    *["\x1b[2J", "-rf", ".hidden", "~root", "$HOME", "${jndi:x}", "$(id)", "a;rm -rf"],
    *["%2e%2e%2f", "%00", "%252e", "\uff0e\uff0e\uff0fetc", "a\u202eb", "a\u200db"],
    *["\ufb01le", "\u00e1", "a\u0301", "\ud800", "a" * 129, "\U0001f600" * 85],
    *["a.", "a ", "CON", "nul", "nul.txt", "COM\u00b9", "com1", "$Mft", "x.part"],
    *[".wav.wav", "+919999999999", "<script>", "a?b=c", "a#b", "a\n", "_a"],
    *[7, None, b"7", ["7"], 7.0, True],
]


async def test_a_bad_order_id_is_refused_before_anything_is_asked(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/7.mp3", SERVE)
    info = CallInfo(recording_url=url)

    async with client_of(server, server) as client:
        for bad in BAD_IDS:
            with pytest.raises(InvalidIdError, match="order_id"):
                await client.get_call_info(bad)
            with pytest.raises(InvalidIdError, match="order_id"):
                await client.download_audio(bad, tmp_path / "out", info)

    assert server.connects == 0
    assert names(tmp_path) == set()


async def test_many_orders_take_one_connection(
    server: FaultServer, tmp_path: Path
) -> None:
    for number in range(20):
        with_recording(server, SERVE, order_id=f"{number}")

    async with client_of(server, server) as client:
        for number in range(20):
            await client.download_audio(f"{number}", tmp_path)

    assert len(server.requests) == 40
    # One for answers, one for recordings.
    assert server.connects == 2


async def test_orders_may_be_fetched_side_by_side(
    server: FaultServer, tmp_path: Path
) -> None:
    async with client_of(server, server) as client, anyio.create_task_group() as group:
        for number in range(30):
            with_recording(server, SERVE, order_id=f"{number}")
            group.start_soon(client.download_audio, f"{number}", tmp_path)

    assert names(tmp_path) == {f"{number}.mp3" for number in range(30)}
    assert server.most_open <= 16


async def test_a_status_of_the_servers_own_is_tried_again(
    server: FaultServer, tmp_path: Path
) -> None:
    codes = [429, 500, 501, 502, 503, 504, 505, 507, 520, 522, 524, 599]
    async with client_of(server, server) as client, anyio.create_task_group() as group:
        for code in codes:
            with_recording(server, status(code), SERVE, order_id=f"{code}")
            url = server.url(f"/{code}.mp3")
            good = told({**CALL, "recording_url": url})
            server.on(f"/calls/{code}", status(code), good)
            group.start_soon(client.download_audio, f"{code}", tmp_path)

    for code in codes:
        assert len(server.asked(f"/calls/{code}")) == 2
        assert len(server.asked(f"/{code}.mp3")) == 2
    assert names(tmp_path) == {f"{code}.mp3" for code in codes}


async def test_there_are_three_attempts_and_the_wait_doubles(
    server: FaultServer, tmp_path: Path
) -> None:
    cut = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{")
    faults = [status(503), status(599), hang_up, reset, raw(b"nonsense\r\n\r\n"), cut]
    # A recording that gets on a little each time has three as well.
    cuts = [Serve(body=WAV, cut=100_000, etag=etag) for etag in ('"a"', None)]
    errors = []
    paths = []

    async def fail(order_id: str) -> None:
        with pytest.raises(FetchError) as error:
            await client.download_audio(order_id, tmp_path)
        errors.append(error.value)

    async with client_of(server, server) as client:
        for number, fault in enumerate(faults):
            server.on(f"/calls/{number}", fault)
            paths.append(f"/calls/{number}")
        for number, fault in enumerate([*faults[:4], *cuts], len(faults)):
            with_recording(server, fault, order_id=f"{number}")
            paths.append(f"/{number}.mp3")
        waits: dict[str, list[float]] = {path: [9.0, 9.0] for path in paths}
        # A busy machine may make a wait longer, but hardly three times.
        for _ in range(3):
            errors.clear()
            server.requests.clear()
            async with anyio.create_task_group() as group:
                for number in range(len(paths)):
                    group.start_soon(fail, f"{number}")
            assert len(errors) == len(paths) == 12
            for path in paths:
                first, second = gaps(server, path)
                assert first >= 0.45, path
                assert second >= 0.9, path
                waits[path] = list(map(min, waits[path], (first, second)))
            if all(one < 1.9 and two < 2.9 for one, two in waits.values()):
                break

    for path, (first, second) in waits.items():
        assert first < 1.9, path
        assert second < 2.9, path
    assert names(tmp_path) == set()


async def test_an_order_that_nobody_knows_is_told_at_once(
    server: FaultServer, tmp_path: Path
) -> None:
    server.on("/calls/7", status(404, "Retry-After: 1", body=b"canary"))

    async with client_of(server) as client:
        for call in (
            client.get_call_info("7"),
            client.download_audio("7", tmp_path / "out"),
        ):
            with pytest.raises(CallNotFoundError, match="order not found") as error:
                await call
            assert error.value.order_id == "7"
            assert not error.value.retryable

    assert len(server.requests) == 2
    assert names(tmp_path) == set()


async def test_another_refusal_is_told_at_once(
    server: FaultServer, tmp_path: Path
) -> None:
    async with client_of(server, server) as client:
        for code in (400, 401, 403, 405, 410, 422, 451):
            server.on("/calls/7", status(code))
            with pytest.raises(HttpStatusError) as error:
                await client.get_call_info("7")
            assert error.value.status == code
        for code in (401, 403, 404, 410):
            with_recording(server, status(code))
            with pytest.raises(HttpStatusError) as error:
                await client.download_audio("7", tmp_path)
            assert error.value.status == code
        for code in (300, 304):
            server.on("/calls/7", status(code, body=b"{}"))
            with pytest.raises(BadResponseError, match=str(code)):
                await client.get_call_info("7")

    assert len(server.asked("/calls/7")) == 7 + 4 + 2
    assert len(server.asked("/7.mp3")) == 4
    assert names(tmp_path) == set()


async def test_the_wait_that_a_server_asks_for_is_obeyed(
    server: FaultServer, tmp_path: Path
) -> None:
    busy = status(429, "Retry-After: 2")
    with_recording(server, busy, SERVE, order_id="7")
    url = server.on("/8.mp3", SERVE)
    server.on("/calls/8", busy, told({"recording_url": url}))

    async with client_of(server, server) as client, anyio.create_task_group() as group:
        for order_id in ("7", "8"):
            group.start_soon(client.download_audio, order_id, tmp_path)

    for path in ("/7.mp3", "/calls/8"):
        (gap,) = gaps(server, path)
        # On a busy machine somewhat longer; the longest wait there is would be 60 s.
        assert 1.95 <= gap < 20.0


async def test_a_wait_that_would_take_too_long_is_told_at_once(
    server: FaultServer,
) -> None:
    server.on("/calls/7", status(429, "Retry-After: 86400"))

    begin = time.monotonic()
    async with client_of(server) as client:
        with pytest.raises(HttpStatusError) as error:
            await client.get_call_info("7")

    assert (error.value.status, error.value.retry_after) == (429, 86_400)
    assert len(server.requests) == 1
    assert time.monotonic() - begin < 30


async def test_the_time_for_all_ends_it(server: FaultServer, tmp_path: Path) -> None:
    server.on("/calls/1", silence)
    with_recording(server, Serve(body=WAV, cut=150_000, stall=True), order_id="2")

    # A busy machine does not come to the recording so soon.
    for total_s in (0.4, 2.0, 10.0):
        server.requests.clear()
        options = quick(server, total_s=total_s)
        async with client_of(server, options=options) as client:
            for order_id in ("1", "2"):
                with pytest.raises(FetchTimeoutError) as error:
                    await client.download_audio(order_id, tmp_path)
                assert (error.value.limit, error.value.limit_s) == ("total", total_s)
        if len(server.requests) == 3:
            break

    assert len(server.requests) == 3
    assert names(tmp_path) == set()


def test_the_limits_are_those_of_the_contract() -> None:
    options = TelephonyClient(URL).options

    limits = (options.total_s, options.connect_s, options.read_s, options.attempts)
    assert limits == (300.0, 30.0, 60.0, 3)
    assert not TelephonyClient.OPTIONS.keep_partial
    assert not TelephonyClient(URL, options=DownloadOptions()).options.keep_partial


SECRETS = {"Authorization": "Bearer canary-key", "X-Api-Key": "canary-key"}


def secrets_of(server: FaultServer) -> list[str]:
    """Give the paths that secrets were sent to."""
    return [
        seen.target
        for seen in server.requests
        if "canary" in repr(seen.headers) or "authorization" in dict(seen.headers)
    ]


async def test_credentials_stay_with_the_origin(
    server: FaultServer, other: FaultServer, tmp_path: Path
) -> None:
    with_recording(server, SERVE, order_id="1")
    # The same path elsewhere, a redirect there, and the way back.
    server.on("/calls/2", told({"recording_url": other.on("/2.mp3", SERVE)}))
    server.on("/calls/3", told({"recording_url": server.url("/3.mp3")}))
    server.on("/3.mp3", redirect(other.url("/3.mp3")))
    other.on("/3.mp3", redirect(server.on("/back.mp3", SERVE)))

    async with client_of(server, server, other, headers=SECRETS) as client:
        for order_id in ("1", "2", "3"):
            await client.download_audio(order_id, tmp_path)

    assert secrets_of(other) == []
    assert secrets_of(server) == [
        *["/calls/1", "/1.mp3", "/calls/2", "/calls/3", "/3.mp3"]
    ]
    assert len(other.requests) == 2
    assert other.requests[0].header("accept") == "*/*"


async def test_user_and_password_of_the_base_url_are_credentials(
    server: FaultServer, other: FaultServer, tmp_path: Path
) -> None:
    with_recording(server, SERVE, order_id="1")
    server.on("/calls/2", told({"recording_url": other.on("/2.mp3", SERVE)}))
    base = f"http://user:p%40ss@{server.host}/calls"

    async with TelephonyClient(base, options=quick(server, other)) as client:
        for order_id in ("1", "2"):
            await client.download_audio(order_id, tmp_path)

    assert secrets_of(server) == ["/calls/1", "/1.mp3", "/calls/2"]
    assert secrets_of(other) == []


async def test_only_the_base_url_may_be_private(
    server: FaultServer, tmp_path: Path
) -> None:
    with Canary("127.0.0.1") as canary:
        for url in (
            server.on("/7.mp3", SERVE),
            f"http://127.0.0.1:{canary.port}/a.mp3",
            "http://127.0.0.1/a.mp3",
            "http://[::1]:8080/a.mp3",
            "http://169.254.169.254/latest/meta-data/",
        ):
            server.on("/calls/7", told({"recording_url": url}))
            async with client_of(server) as client:
                assert (await client.get_call_info("7")).recording_url == url
                with pytest.raises(BlockedUrlError):
                    await client.download_audio("7", tmp_path)
        for place in (f"http://127.0.0.1:{canary.port}/", "http://10.0.0.1/"):
            server.on("/calls/7", redirect(place))
            async with client_of(server, headers=SECRETS) as client:
                with pytest.raises(BlockedUrlError):
                    await client.get_call_info("7")
        assert canary.connects == 0

    assert server.asked("/7.mp3") == []
    assert len(server.requests) == 2 * 5 + 2
    assert names(tmp_path) == set()


async def test_a_recordings_url_that_is_none_is_refused(
    server: FaultServer, tmp_path: Path
) -> None:
    async with client_of(server) as client:
        for url in (
            "file:///etc/passwd",
            "a.mp3",
            "ftp://h/a",
            "http://h\\@g/",
            "\ud800",
        ):
            info = CallInfo(recording_url=url)
            with pytest.raises(InvalidUrlError):
                await client.download_audio("7", tmp_path, info)
        for url in ("", " \n"):
            with pytest.raises(NoRecordingError):
                await client.download_audio("7", tmp_path, CallInfo(recording_url=url))

    assert names(tmp_path) == set()


async def test_an_api_behind_tls_leads_to_no_plain_one(
    authority: Authority, server: FaultServer, tmp_path: Path
) -> None:
    with FaultServer(tls=authority.server("127.0.0.1")) as safe:
        with_recording(safe, SERVE)
        safe.on("/calls/8", redirect(server.on("/calls/8", told(CALL))))
        options = quick(safe, server, ssl_context=authority.trusting)
        async with client_of(safe, options=options, headers=SECRETS) as client:
            path, size = await client.download_audio("7", tmp_path)
            with pytest.raises(BlockedUrlError, match="https to http"):
                await client.get_call_info("8")

    assert (path, size) == (tmp_path / "7.mp3", len(WAV))
    assert server.requests == []


async def test_the_recording_is_kept_as_it_came(
    server: FaultServer, tmp_path: Path
) -> None:
    with_recording(server, SERVE)
    seen: list[DownloadProgress] = []
    folder = tmp_path / "a" / "b"

    async with client_of(server, server) as client:
        info = await client.get_call_info("7")
        path, size = await client.download_audio(
            "7", folder, info, progress=seen.append
        )
        again = await client.download_audio("7", str(folder))

    assert (path, size) == (folder / "7.mp3", len(WAV)) == again
    assert path.read_bytes() == WAV
    assert names(folder) == {"7.mp3"}
    assert (seen[-1].received, seen[-1].size) == (len(WAV), len(WAV))
    # The call that was handed over was not asked for again.
    assert len(server.asked("/calls/7")) == 2


@pytest.mark.parametrize(
    "answer",
    [
        page(b"<!doctype html><title>Log in</title>", "audio/mpeg"),
        page(b"", "audio/mpeg"),
        status(500),
        hang_up,
        Serve(body=WAV, cut=150_000),
        Serve(body=WAV, cut=150_000, reset=True, etag=None),
        redirect("http://10.0.0.1/a.mp3"),
    ],
    ids=["page", "empty", "500", "closed", "cut", "reset", "redirect"],
)
async def test_what_fails_leaves_what_was_there(
    answer: Answer, server: FaultServer, tmp_path: Path
) -> None:
    with_recording(server, answer)
    (tmp_path / "7.mp3").write_bytes(b"before")
    options = quick(server, attempts=1)

    async with client_of(server, options=options) as client:
        with pytest.raises((AudioError, FetchError)):
            await client.download_audio("7", tmp_path)

    assert names(tmp_path) == {"7.mp3"}
    assert (tmp_path / "7.mp3").read_bytes() == b"before"


async def cancel_at(
    server: FaultServer,
    folder: Path,
    seconds: float,
    *,
    when: Callable[[], object] = lambda: True,
) -> bool:
    """Cancel a download some time after something; tell whether before its end."""
    limiter = anyio.to_thread.current_default_thread_limiter()
    folder.mkdir()
    async with client_of(server, server) as client, anyio.create_task_group() as group:

        async def cancel() -> None:
            await until(when)
            await anyio.sleep(seconds)
            scope.cancel()

        # Not by a deadline, which would be known before.
        with anyio.CancelScope() as scope:
            group.start_soon(cancel)
            await client.download_audio("7", folder)
        group.cancel_scope.cancel()
    assert limiter.borrowed_tokens == 0
    assert names(folder) - {"7.mp3"} == set()
    assert scope.cancelled_caught == (names(folder) == set())
    return scope.cancelled_caught


async def test_a_cancelled_download_leaves_nothing(
    server: FaultServer, tmp_path: Path
) -> None:
    with_recording(server, Serve(body=WAV, rate=500_000, piece=5_000))

    times = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.35, 60.0]
    early = [
        await cancel_at(server, tmp_path / f"{index}", seconds)
        for index, seconds in enumerate(times)
    ]

    assert early[0]
    assert not early[-1]
    assert sum(early) >= 6
    assert server.open_connections() == 0


@pytest.mark.parametrize("stage", ["answer", "wait", "recording"])
async def test_each_stage_can_be_cancelled(
    stage: str, server: FaultServer, tmp_path: Path
) -> None:
    stall = Serve(body=WAV, cut=150_000, stall=True)
    with_recording(server, stall)
    if stage != "recording":
        server.on("/calls/7", silence if stage == "answer" else status(503))

    path = "/7.mp3" if stage == "recording" else "/calls/7"
    begin = time.monotonic()
    assert await cancel_at(
        server, tmp_path / "out", 0.2, when=lambda: server.asked(path)
    )

    assert time.monotonic() - begin < 30
    assert server.open_connections() == 0
    assert len(server.asked("/7.mp3")) == (stage == "recording")


def chain(error: BaseException) -> str:
    """Give all that an error and what is behind it say."""
    said = "".join(traceback.format_exception(error))
    left: list[BaseException | None] = [error]
    while left:
        if one := left.pop():
            said += f"{one!s} {one!r} {one.args!r} {vars(one)!r}"
            left += [one.__cause__, one.__context__]
    return said


async def test_no_secret_is_told(
    server: FaultServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("", "httpx", "httpcore", "voicepipe", "asyncio", "anyio", "tenacity"):
        caplog.set_level(logging.DEBUG, logger=name)
    signed = f"http://canary-user:canary-pass@{server.host}/7.mp3?sig=canary-signature"
    private = "http://canary-user:canary-pass@10.0.0.1:99/7.mp3?sig=canary-signature"
    answers: list[Answer] = [
        told({"recording_url": signed}),
        told({"recording_url": private}),
        told({"recording_url": signed.replace("http:", "canary-scheme:")}),
        status(500, body=b"canary-body"),
        status(403, "WWW-Authenticate: canary-body", body=b"canary-body"),
        status(404, body=b"canary-body"),
        page(b"canary-body", "application/json"),
        told(["canary-body"]),
        redirect("http://canary-user:canary-pass@10.0.0.1/?sig=canary-location"),
        redirect("canary-scheme://canary-user"),
        raw(b"HTTP/1.1 canary-body\r\n\r\n"),
        hang_up,
    ]
    server.on("/7.mp3", SERVE)
    base = f"http://canary-user:canary-pass@{server.host}/calls?key=canary-query"
    options = quick(server, attempts=1)
    said = []
    async with TelephonyClient(base, headers=SECRETS, options=options) as client:
        said += [repr(client), repr(client.options)]
        for number, answer in enumerate(answers):
            server.on(f"/calls/{number}", answer)
            try:
                said.append(repr(await client.get_call_info(f"{number}")))
                said.append(repr(await client.download_audio(f"{number}", tmp_path)))
            except Exception as exc:  # noqa: BLE001
                said.append(f"error {chain(exc)}")
    said += [caplog.text, *(repr(vars(record)) for record in caplog.records)]

    told_of = [text for text in said if "canary" in text]
    assert told_of == []
    # The log was listened to, and what is looked for was sent.
    assert "GET http" in caplog.text
    assert "canary-query" in repr(server.requests)
    assert "canary-signature" in repr(server.requests)
    assert len(secrets_of(server)) >= 12
    assert len([text for text in said if text.startswith("error ")]) == 11


def test_a_call_shows_its_recording_without_secrets() -> None:
    assert "recording_url='https://media.example.com/a.mp3'" in repr(INFO)
    assert "recording_url=''" in repr(CallInfo())
    assert call_info_from_json(CALL) == INFO
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        INFO.call_sid = "x"  # type: ignore[misc]
