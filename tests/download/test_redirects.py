"""Where redirects lead, how far, and what is told to whom."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import anyio
import pytest
from downloading import fetch, limits, names
from fault_answers import Serve, redirect, status, wav_of

from voicepipe.errors import (
    BadResponseError,
    BlockedUrlError,
    ConnectionFailedError,
    FetchError,
    InvalidUrlError,
)


if TYPE_CHECKING:
    from pathlib import Path

    from authority import Authority
    from fault_server import FaultServer, Seen


WAV = wav_of(20_000)
SERVE = Serve(body=WAV)
SECRETS = {
    "Authorization": "Bearer abc",
    "X-Api-Key": "def",
    "Cookie": "session=ghi",
    "Accept": "audio/wav",
}
BASIC = "Basic " + base64.b64encode(b"user:p@ss").decode()


def told(seen: Seen) -> dict[str, str]:
    """Give which of the secrets a request held."""
    wanted = {name.lower() for name in SECRETS}
    return {name: value for name, value in seen.headers if name in wanted}


ALL_TOLD = {name.lower(): value for name, value in SECRETS.items()}


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "place", ["/b/c.wav?x=1", "c.wav?x=1", "../b/c.wav?x=1#y", "//{host}/b/c.wav?x=1"]
)
async def test_a_redirect_is_followed_and_keeps_what_the_caller_sends(
    code: int, place: str, server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/b/a.wav", redirect(place.format(host=server.host), code))
    server.on("/b/c.wav", SERVE)

    got = await fetch(limits(server), url, tmp_path / "a.wav", headers=SECRETS)

    assert (tmp_path / "a.wav").read_bytes() == WAV
    assert got.attempts == 1
    first, second = server.requests
    assert told(first) == told(second) == ALL_TOLD
    assert (second.method, second.target) == ("GET", "/b/c.wav?x=1")


async def test_five_redirects_are_followed_and_six_are_not(
    server: FaultServer, tmp_path: Path
) -> None:
    for hop in range(6):
        server.on(f"/{hop}", redirect(f"/{hop + 1}"))
    server.on("/6", SERVE)

    await fetch(limits(server), server.url("/1"), tmp_path / "a.wav")
    with pytest.raises(BadResponseError, match="redirects") as error:
        await fetch(limits(server), server.url("/0"), tmp_path / "b.wav")

    assert not error.value.retryable
    assert names(tmp_path) == {"a.wav"}
    assert len(server.requests) == 6 + 6


@pytest.mark.parametrize("limit", [0, 2])
async def test_the_number_of_redirects_is_the_callers(
    limit: int, server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", redirect("/a.wav"))

    with pytest.raises(BadResponseError):
        await fetch(limits(server, max_redirects=limit), url, tmp_path / "a.wav")

    assert len(server.requests) == limit + 1


@pytest.mark.parametrize("place", ["/a.wav", "", "?again=1", "/b.wav"])
async def test_a_loop_of_redirects_ends(
    place: str, server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", redirect(place))
    server.on("/b.wav", redirect("/a.wav"))

    with pytest.raises(BadResponseError):
        await fetch(limits(server), url, tmp_path / "a.wav")

    assert len(server.requests) == 6


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_what_the_caller_sends_stays_with_its_origin(
    code: int, server: FaultServer, other: FaultServer, tmp_path: Path
) -> None:
    """Another port is another origin, and the way back does not bring it again."""
    url = server.on("/a.wav", redirect(other.url("/b.wav"), code))
    other.on("/b.wav", redirect(server.url("/c.wav"), code))
    server.on("/c.wav", SERVE)

    await fetch(limits(server, other), url, tmp_path / "a.wav", headers=SECRETS)

    assert told(server.asked("/a.wav")[0]) == ALL_TOLD
    assert not {*told(other.requests[0])} - {"accept"}
    assert not {*told(server.asked("/c.wav")[0])} - {"accept"}
    assert other.requests[0].header("accept") != SECRETS["Accept"]


async def test_user_and_password_of_a_url_stay_with_its_origin(
    server: FaultServer, other: FaultServer, tmp_path: Path
) -> None:
    server.on("/a.wav", redirect("/b.wav"))
    server.on("/b.wav", redirect(other.url("/c.wav")))
    other.on("/c.wav", SERVE)
    url = f"http://user:p%40ss@{server.host}/a.wav"

    got = await fetch(limits(server, other), url, tmp_path / "a.wav")

    assert [seen.header("authorization") for seen in server.requests] == [BASIC] * 2
    assert other.requests[0].header("authorization") is None
    assert other.requests[0].header("host") == other.host
    assert got.url == server.url("/a.wav")


async def test_user_and_password_that_a_redirect_brings_are_not_sent(
    server: FaultServer, other: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", redirect(f"http://u:p@{other.host}/b.wav"))
    other.on("/b.wav", SERVE)

    await fetch(limits(server, other), url, tmp_path / "a.wav")

    assert other.requests[0].header("authorization") is None


async def test_a_header_goes_before_user_and_password_of_the_url(
    server: FaultServer, tmp_path: Path
) -> None:
    server.on("/a.wav", SERVE)
    url = f"http://user:p%40ss@{server.host}/a.wav"

    await fetch(limits(server), url, tmp_path / "a.wav", headers=SECRETS)

    assert server.requests[0].header("authorization") == "Bearer abc"


async def test_another_name_of_the_same_address_is_another_origin(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", redirect(f"http://localhost:{server.port}/b.wav"))
    server.on("/b.wav", SERVE)
    options = limits(allow_hosts=(server.host, f"localhost:{server.port}"))

    await fetch(options, url, tmp_path / "a.wav", headers=SECRETS)

    assert server.asked("/b.wav")[0].header("x-api-key") is None


async def test_a_second_attempt_begins_at_the_callers_url_with_its_headers(
    server: FaultServer, other: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", redirect(other.url("/b.wav?sig=1")))
    other.on("/b.wav", status(503), SERVE)

    await fetch(limits(server, other), url, tmp_path / "a.wav", headers=SECRETS)

    assert [told(seen) for seen in server.requests] == [ALL_TOLD] * 2
    assert all(seen.header("x-api-key") is None for seen in other.requests)


async def test_from_https_no_redirect_leads_to_http(
    tls_server: FaultServer,
    server: FaultServer,
    authority: Authority,
    tmp_path: Path,
) -> None:
    server.on("/b.wav", SERVE)
    url = tls_server.on("/a.wav", redirect(server.url("/b.wav")))
    options = limits(tls_server, server, ssl_context=authority.trusting)

    with pytest.raises(BlockedUrlError, match="https"):
        await fetch(options, url, tmp_path / "a.wav")

    assert server.connects == 0
    assert names(tmp_path) == set()


async def test_from_http_a_redirect_may_lead_to_https(
    tls_server: FaultServer,
    server: FaultServer,
    authority: Authority,
    tmp_path: Path,
) -> None:
    tls_server.on("/b.wav", SERVE)
    url = server.on("/a.wav", redirect(tls_server.url("/b.wav")))
    options = limits(tls_server, server, ssl_context=authority.trusting)

    await fetch(options, url, tmp_path / "a.wav", headers=SECRETS)

    assert (tmp_path / "a.wav").read_bytes() == WAV
    assert tls_server.requests[0].header("x-api-key") is None


@pytest.mark.parametrize(
    "place",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/a.wav",
        "gopher://127.0.0.1:70/_x",
        "data:audio/wav;base64,AAAA",
        "javascript:alert(1)",
        "unix:/run/docker.sock",
        "http://[::1",
        "http://a b/",
        "\\\\127.0.0.1\\a",
        "/\\127.0.0.1/a",
        "http://127.0.0.1:65536/",
        "http://127.0.0.1:-1/",
        "x" * 20_000,
    ],
)
async def test_a_redirect_to_no_url_is_refused(
    place: str, server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", redirect(place))

    with pytest.raises(FetchError) as error:
        await fetch(limits(server), url, tmp_path / "a.wav")

    # A name with a blank is a name that nobody knows.
    kinds = BlockedUrlError | InvalidUrlError | ConnectionFailedError
    assert isinstance(error.value, kinds)
    assert not error.value.retryable
    assert len(server.requests) == 1


async def test_a_redirect_with_a_body_that_never_ends_is_not_read(
    server: FaultServer, tmp_path: Path
) -> None:
    def endless(exchange: object) -> None:
        exchange.head(302, "Location: /b.wav", "Content-Length: 99999999")  # type: ignore[attr-defined]
        exchange.body(bytes(1_000))  # type: ignore[attr-defined]
        exchange.hold()  # type: ignore[attr-defined]

    url = server.on("/a.wav", endless)
    server.on("/b.wav", SERVE)

    options = limits(server, read_s=600, total_s=600, attempts=1)
    with anyio.fail_after(60):
        await fetch(options, url, tmp_path / "a.wav")

    assert (tmp_path / "a.wav").read_bytes() == WAV


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "b\r\nX-Injected: 1"},
        {"X-A": "b\n"},
        {"X-A\r\nB": "c"},
        {"X A": "b"},
        {"": "b"},
        {"X-A": "b\0"},
        {"X-A": "ä"},
        {"Range": "bytes=5-"},
        {"Host": "evil.example"},
        {"Accept-Encoding": "gzip"},
        {"Content-Length": "5"},
        {"Transfer-Encoding": "chunked"},
    ],
    ids=str,
)
async def test_a_header_that_would_change_the_request_is_refused(
    headers: dict[str, str], server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", SERVE)

    with pytest.raises(ValueError, match="header"):
        await fetch(limits(server), url, tmp_path / "a.wav", headers=headers)

    assert server.connects == 0
    assert names(tmp_path) == set()
