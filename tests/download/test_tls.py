"""A server that cannot prove who it is gets no request."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING

import pytest
from authority import Authority
from downloading import fetch, limits, names
from fault_answers import Serve, framed, silence, wav_of
from fault_server import Canary, FaultServer

from voicepipe.errors import (
    ConnectionFailedError,
    FetchError,
    FetchTimeoutError,
    VoicepipeError,
)


if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path


pytestmark = pytest.mark.usefixtures("both_ways")


WAV = wav_of(300_000)
PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


async def test_a_certificate_that_holds_is_accepted(
    tls_server: FaultServer, authority: Authority, tmp_path: Path
) -> None:
    url = tls_server.on("/a.wav", Serve(body=WAV, cut=100_000), Serve(body=WAV))
    options = limits(tls_server, ssl_context=authority.trusting)

    got = await fetch(options, url, tmp_path / "a.wav")

    assert (tmp_path / "a.wav").read_bytes() == WAV
    assert got.attempts == 2


BAD: dict[str, Callable[[Authority], ssl.SSLContext]] = {
    "expired": lambda authority: authority.server("127.0.0.1", not_after=PAST),
    "for another host": lambda authority: authority.server("other.example"),
    "for another address": lambda authority: authority.server("127.0.0.2"),
    "of an unknown authority": lambda _: Authority().server("127.0.0.1"),
    "signed by itself": lambda authority: authority.self_signed(),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_certificate_that_does_not_hold_is_refused(
    case: str, authority: Authority, tmp_path: Path
) -> None:
    with FaultServer(tls=BAD[case](authority)) as server:
        url = server.on("/a.wav", Serve(body=WAV))
        options = limits(server, ssl_context=authority.trusting, attempts=5)

        with pytest.raises(ConnectionFailedError, match="certificate") as told:
            await fetch(options, f"{url}?sig=1", tmp_path / "a.wav")

        assert not told.value.retryable
        assert told.value.url == url
        assert (server.requests, server.connects) == ([], 1)
        assert names(tmp_path) == set()


async def test_the_usual_authorities_do_not_know_the_tests_own(
    tls_server: FaultServer, tmp_path: Path
) -> None:
    url = tls_server.on("/a.wav", Serve(body=WAV))

    with pytest.raises(ConnectionFailedError, match="certificate"):
        await fetch(limits(tls_server), url, tmp_path / "a.wav")

    assert tls_server.requests == []


async def test_the_environment_adds_no_authority(
    tls_server: FaultServer,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = tmp_path / "authority.pem"
    authority.ca.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    url = tls_server.on("/a.wav", Serve(body=WAV))

    with pytest.raises(ConnectionFailedError, match="certificate"):
        await fetch(limits(tls_server), url, tmp_path / "a.wav")


async def test_a_server_without_tls_is_told(
    server: FaultServer, authority: Authority, tmp_path: Path
) -> None:
    server.on("/a.wav", Serve(body=WAV))
    url = f"https://{server.host}/a.wav"
    options = limits(server, ssl_context=authority.trusting, attempts=1, connect_s=0.4)

    with pytest.raises(FetchError):
        await fetch(options, url, tmp_path / "a.wav")

    assert server.requests == []


async def test_a_server_with_tls_that_is_asked_without_is_told(
    tls_server: FaultServer, tmp_path: Path
) -> None:
    url = f"http://{tls_server.host}/a.wav"

    with pytest.raises(FetchError):
        await fetch(limits(tls_server, attempts=1), url, tmp_path / "a.wav")

    assert names(tmp_path) == set()


async def test_a_handshake_that_never_ends_is_given_up(
    authority: Authority, tmp_path: Path
) -> None:
    """The connection is taken, and nothing is said."""
    with Canary("127.0.0.1") as listener:
        host = f"127.0.0.1:{listener.port}"
        options = limits(
            allow_hosts=(host,),
            ssl_context=authority.trusting,
            connect_s=0.4,
            attempts=1,
        )
        begin = time.monotonic()
        with pytest.raises(FetchTimeoutError) as told:
            await fetch(options, f"https://{host}/a.wav", tmp_path / "a.wav")

        assert (told.value.limit, told.value.limit_s) == ("connect", 0.4)
        assert time.monotonic() - begin < 50


async def test_a_body_that_is_cut_without_a_farewell_is_not_whole(
    tls_server: FaultServer, authority: Authority, tmp_path: Path
) -> None:
    """Without a length, a cut by somebody in between looks like the end."""
    url = tls_server.on("/a.wav", framed(WAV[:100_000]))
    options = limits(tls_server, ssl_context=authority.trusting, attempts=1)

    with pytest.raises(VoicepipeError):
        await fetch(options, url, tmp_path / "a.wav")

    assert not (tmp_path / "a.wav").exists()


async def test_a_silent_server_is_given_up_over_tls_too(
    tls_server: FaultServer, authority: Authority, tmp_path: Path
) -> None:
    url = tls_server.on("/a.wav", silence)
    options = limits(tls_server, ssl_context=authority.trusting, attempts=1, read_s=0.3)

    with pytest.raises(FetchTimeoutError) as told:
        await fetch(options, url, tmp_path / "a.wav")

    assert told.value.limit == "read"
