"""Secrets of URLs, headers and answers are in no log, error, value or file of ours."""

from __future__ import annotations

import base64
import logging
import traceback
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import pytest
from downloading import limits, until
from fault_answers import Serve, framed, page, raw, redirect, silence, status, wav_of

from voicepipe.errors import FetchError
from voicepipe.io.download.downloader import Downloader
from voicepipe.io.download.values import DownloadRequest


if TYPE_CHECKING:
    from pathlib import Path

    from authority import Authority
    from fault_answers import Answer
    from fault_server import FaultServer


WAV = wav_of(200_000)

CANARIES = {
    "user": "canary-user-1f",
    "password": "canary-pass-2e",
    "query": "canary-signature-3d",
    "fragment": "canary-fragment-4c",
    "header": "canary-bearer-5b",
    "cookie": "canary-cookie-6a",
    "location": "canary-location-79",
    "body": "canary-body-88",
    "answer": "canary-answer-97",
}
BASIC = base64.b64encode(b"canary-user-1f:canary-pass-2e").decode()
FORBIDDEN = [*CANARIES.values(), BASIC]

SECRET_PAGE = f"<html>{CANARIES['body']}</html>".encode()
COOKIE = f"Set-Cookie: session={CANARIES['cookie']}"
ANSWER = CANARIES["answer"].encode()
ELSEWHERE = f"?sig={CANARIES['location']}#{CANARIES['location']}"

ANSWERS: dict[str, Answer] = {
    "good": Serve(body=WAV, headers=(COOKIE,)),
    "redirect": redirect(f"/good{ELSEWHERE}", 302, COOKIE),
    "redirect to a private address": redirect(f"http://10.0.0.1/{ELSEWHERE}"),
    "redirect to a closed port": redirect(f"http://u:{ANSWER!r}@127.0.0.1:22/x"),
    "redirect to nothing": redirect(f"gopher://{CANARIES['location']}/"),
    "redirect to no URL": redirect(f"http://[{CANARIES['location']}"),
    "redirect to an unknown host": redirect(f"http://127.0.0.1:65536/{ELSEWHERE}"),
    "redirect for ever": redirect(f"{ELSEWHERE}"),
    "401": status(401, COOKIE, f"WWW-Authenticate: x {ANSWER!r}", body=SECRET_PAGE),
    "503": status(503, COOKIE, "Retry-After: 86400", body=SECRET_PAGE),
    "odd wait": status(403, f"Retry-After: {ANSWER!r}"),
    "login page": page(SECRET_PAGE, "text/html"),
    "JSON": page(b'{"token": "%b"}' % CANARIES["body"].encode(), "application/json"),
    "text": page(CANARIES["body"].encode(), "text/plain"),
    "cut": Serve(body=WAV, cut=100_000),
    "cut in the headers": raw(b"HTTP/1.1 200 OK\r\nX: " + ANSWER),
    "silence": silence,
    "nonsense": raw(ANSWER),
    "a bad status": raw(b"HTTP/1.1 " + ANSWER + b"\r\n\r\n"),
    "a bad header": raw(b"HTTP/1.1 200 OK\r\n" + ANSWER + b" x: y\r\n\r\n"),
    "a bad length": framed(WAV, f"Content-Length: {CANARIES['answer']}"),
    "a bad chunk": framed(ANSWER + b"\r\n", "Transfer-Encoding: chunked"),
    "a bad coding": status(200, f"Content-Encoding: {CANARIES['answer']}", body=WAV),
    "a bad transfer coding": framed(WAV, f"Transfer-Encoding: {CANARIES['answer']}"),
    "a bad range": status(206, f"Content-Range: {CANARIES['answer']}", body=WAV),
    "too long": framed(SECRET_PAGE * 10_000, "Content-Length: 1000"),
}


def chain(error: BaseException) -> list[str]:
    """Give all that an error and what is behind it say."""
    said = traceback.format_exception(error)
    left: list[BaseException | None] = [error]
    done: set[int] = set()
    while left:
        one = left.pop()
        if one is None or id(one) in done:
            continue
        done.add(id(one))
        said += [str(one), repr(one), repr(one.args), repr(vars(one))]
        left += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            left += one.exceptions
    return said


def found_in(texts: dict[str, str]) -> dict[str, list[str]]:
    """Give which canaries sing where."""
    hits = {
        name: [canary for canary in FORBIDDEN if canary in text]
        for name, text in texts.items()
    }
    return {name: canaries for name, canaries in hits.items() if canaries}


def on_disk(folder: Path) -> str:
    """Give names and contents of all files that are no recording."""
    said = [path.name for path in folder.iterdir()]
    said += [
        path.read_bytes().decode("latin-1")
        for path in folder.iterdir()
        if path.suffix != ".wav"
    ]
    return "\n".join(said)


def request_of(server: FaultServer, path: str, folder: Path) -> DownloadRequest:
    user = f"{CANARIES['user']}:{CANARIES['password']}"
    tail = f"sig={CANARIES['query']}#{CANARIES['fragment']}"
    return DownloadRequest(
        url=f"http://{user}@{server.host}{path}?{tail}",
        path=folder / f"{path.strip('/').replace(' ', '-')}.wav",
        headers={"X-Api-Key": CANARIES["header"], "Cookie": CANARIES["cookie"]},
    )


async def test_no_secret_is_told_of_any_download(
    server: FaultServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "voicepipe", "asyncio", "anyio", "tenacity"):
        caplog.set_level(logging.DEBUG, logger=name)
    texts: dict[str, str] = {}
    options = limits(server, attempts=1, max_redirects=1)
    requests = []
    for name, answer in ANSWERS.items():
        path = f"/{name}".replace(" ", "-")
        server.on(path, answer)
        requests.append(request_of(server, path, tmp_path))
    good = requests[0]
    texts["options"] = repr(options)

    def note(progress: Any) -> None:
        texts["progress"] = repr(progress)

    async def take(downloader: Downloader, some: list[DownloadRequest]) -> None:
        async with downloader.fetch_all(some) as outcomes:
            async for outcome in outcomes:
                name = outcome.request.path.stem
                texts[f"outcome of {name}"] = repr(outcome)
                if outcome.error is not None:
                    texts[f"error of {name}"] = "\n".join(chain(outcome.error))

    silent = [one for one in requests if one.path.stem == "silence"]
    async with Downloader(attrs.evolve(options, read_s=0.3)) as downloader:
        await take(downloader, silent)
    async with Downloader(options) as downloader:
        texts["downloader"] = repr(downloader)
        await take(downloader, [one for one in requests if one not in silent])
        texts["disk after errors"] = on_disk(tmp_path)
        await downloader.fetch(good.url, good.path, headers=good.headers, progress=note)
    texts["disk"] = on_disk(tmp_path)
    texts["log"] = caplog.text
    texts["records"] = "\n".join(repr(vars(record)) for record in caplog.records)
    out = capfd.readouterr()
    texts["output"] = out.out + out.err

    assert found_in(texts) == {}
    # The log was listened to, and the requests did hold what is looked for.
    assert "GET http" in texts["log"]
    assert len([name for name in texts if name.startswith("error")]) >= 20
    sent = repr(server.requests)
    assert all(CANARIES[name] in sent for name in ("query", "header", "cookie"))
    assert BASIC in sent
    assert '"validator"' in texts["disk after errors"]


@pytest.mark.parametrize(
    "url",
    [
        "http://{user}:{password}@10.0.0.1/a?{query}#{fragment}",
        "http://{user}:{password}@10.0.0.1:22/a?{query}#{fragment}",
        "http://{user}:{password}@127.0.0.1:65536/a?{query}",
        "http://{user}:{password}@[::1/a?{query}",
        "http://{user}:{password}@/a?{query}",
        "gopher://{user}:{password}@10.0.0.1/?{query}",
        "{user}:{password}@example.com/?{query}",
        "http://{user}:{password}@a\nb/?{query}",
        "http://{user}:{password}@a..b/?{query}",
        "http://{user}:{password}@xn--\xff/?{query}",
        "http://10.0.0.1\\{password}",
        "http://{user}:{password}\x00",
        "http://10.0.0.1/?{query}" + "a" * 20_000,
    ],
)
async def test_no_secret_of_a_url_that_is_refused_is_told(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = url.format(**CANARIES)
    request = DownloadRequest(url=url, path=tmp_path / "a.wav")

    async with Downloader(limits(attempts=1)) as downloader:
        with pytest.raises((FetchError, ValueError)) as told:
            await downloader.fetch(url, tmp_path / "a.wav")

    texts = {
        "error": "\n".join(chain(told.value)),
        "request": repr(request),
        "log": caplog.text,
    }
    assert found_in(texts) == {}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": f"{CANARIES['header']}\n"},
        {"X-A": f"{CANARIES['header']}ä"},
        {"Range": CANARIES["header"]},
    ],
    ids=["line end", "umlaut", "range"],
)
async def test_no_secret_of_a_header_that_is_refused_is_told(
    headers: dict[str, str],
    server: FaultServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    url = server.on("/a.wav", Serve(body=WAV))

    async with Downloader(limits(server)) as downloader:
        with pytest.raises(ValueError, match="header") as told:
            await downloader.fetch(url, tmp_path / "a.wav", headers=headers)

    assert found_in({"error": "\n".join(chain(told.value)), "log": caplog.text}) == {}


async def test_no_secret_is_told_over_tls(
    tls_server: FaultServer,
    authority: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    tls_server.on("/good", Serve(body=WAV))
    texts = {}
    for trusting in (authority.trusting, None):
        options = limits(tls_server, ssl_context=trusting, attempts=1)
        request = request_of(tls_server, "/good", tmp_path)
        url = request.url.replace("http:", "https:")
        async with Downloader(options) as downloader:
            try:
                got = await downloader.fetch(url, request.path, headers=request.headers)
                texts["download"] = repr(got)
            except Exception as exc:  # noqa: BLE001
                texts["error"] = "\n".join(chain(exc))
    texts["log"] = caplog.text

    assert {*texts} == {"download", "error", "log"}
    assert found_in(texts) == {}


async def test_no_secret_is_told_when_it_is_cancelled(
    server: FaultServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.on("/slow", Serve(body=WAV, cut=150_000, stall=True))
    request = request_of(server, "/slow", tmp_path)

    scope = anyio.CancelScope()
    async with (
        Downloader(limits(server)) as downloader,
        anyio.create_task_group() as group,
    ):
        transfer = downloader.transfer(request)

        async def cancel() -> None:
            await until(lambda: transfer._received == 150_000)
            scope.cancel()

        with scope:
            group.start_soon(cancel)
            async with transfer:
                pass

    assert scope.cancelled_caught
    disk = on_disk(tmp_path)
    assert '"validator"' in disk
    assert found_in({"log": caplog.text, "disk": disk}) == {}


async def test_the_engine_still_speaks_to_others(
    server: FaultServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Only what it says of requests of ours is kept back."""
    import httpx

    caplog.set_level(logging.DEBUG)
    server.on("/a.wav", Serve(body=WAV))
    async with Downloader(limits(server)) as downloader:
        await downloader.fetch(server.url("/a.wav"), tmp_path / "a.wav")
        before = len([one for one in caplog.records if one.name.startswith("http")])
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            await client.get(server.url("/a.wav"))

    after = len([one for one in caplog.records if one.name.startswith("http")])
    assert before == 0
    assert after > 5
