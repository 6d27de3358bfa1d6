"""What must not be told is in no log, no error and no repr, at DEBUG either."""

from __future__ import annotations

import functools
import io
import json
import logging
import re
import sqlite3
import traceback
import wave
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio
import numpy as np
import pytest
from fault_answers import status
from gemini_service import GeminiService, response, send
from jobs_backend_runner import JobsServer
from openai_service import OpenAIService, audio, sentence
from openai_service import spoken as tones
from upload_server import UploadExchange, UploadServer

from voicepipe import (
    Audio,
    Downloader,
    DownloadOptions,
    OpenAIOptions,
    OpenAITranscriber,
    Pipeline,
    Segment,
    SqlJobStore,
    TelephonyClient,
    Transcript,
    VoicepipeError,
    Word,
)
from voicepipe.analysis.gemini.analyzer import GeminiAnalyzer
from voicepipe.analysis.gemini.options import GeminiOptions
from voicepipe.servers.logs import SafeFormatter, log_zone
from voicepipe.servers.redact import Redactor


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from fault_server import Exchange


KEY = "canary-key-5b1f77"
PASSWORD = "canary-password-90c2"
SIGNATURE = "canary-signature-1d4e"
PHRASE = "purple walruses whisper at midnight"
CARD = "4929 1234 5678 9015"
PHONE = "+49 151 23456789"
FORGED = "x\n2026-11-22 INFO forged\x1b[2J"

CANARIES = {
    "key": re.compile(KEY),
    "password": re.compile(PASSWORD),
    "signature": re.compile(SIGNATURE),
    "transcript": re.compile("purple|walrus", re.IGNORECASE),
    "card": re.compile(r"4929\D{0,3}1234|5678\D{0,3}9015"),
    "phone": re.compile(r"151\D{0,3}2345|2345\D{0,3}6789"),
}

NOISY = (
    *("voicepipe", "httpx", "httpcore", "google_genai", "google", "urllib3", "openai"),
    *("sqlalchemy", "sqlalchemy.engine", "sqlalchemy.pool", "sqlalchemy.orm"),
    *("websockets", "h11", "anyio", "asyncio", "trio", "tenacity", "cattrs"),
)


def hits(text: str) -> list[str]:
    """Give the canaries that are in a text."""
    return [name for name, canary in CANARIES.items() if canary.search(text)]


class Ears:
    """
    All that is logged, as it was meant and as a server writes it.

    Attributes:
        raw: Each record as anybody's own handler would write it.
        written: The same as ``voicepipe.servers`` does.
        told: Texts of errors and reprs.
    """

    def __init__(self) -> None:
        self.raw = io.StringIO()
        self.written = io.StringIO()
        self.told: list[str] = []
        plain = logging.StreamHandler(self.raw)
        plain.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        safe = logging.StreamHandler(self.written)
        # No secrets are made known: it has to do without.
        safe.setFormatter(SafeFormatter(log_zone("UTC"), Redactor()))
        self.handlers = (plain, safe)

    def listen(self, error: BaseException) -> None:
        """Keep all that an error tells, with all that led to it."""
        self.told += traceback.format_exception(error)
        seen: BaseException | None = error
        while seen is not None:
            self.told += (str(seen), repr(seen))
            if isinstance(seen, VoicepipeError):
                self.told.append(repr(vars(seen)))
            seen = seen.__cause__ or seen.__context__


@pytest.fixture
def ears() -> Iterator[Ears]:
    """Listen to all loggers at DEBUG; put them back behind the test."""
    heard = Ears()
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in NOISY)]
    levels = [logger.level for logger in loggers]
    for handler in heard.handlers:
        root.addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    yield heard
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    for handler in heard.handlers:
        root.removeHandler(handler)


def check(ears: Ears, *seen: object) -> None:
    """Say that nothing was told; what is called by us, and not what it returns."""
    ears.told += [repr(each) for each in seen] + [str(each) for each in seen]
    for text in (*ears.told, ears.raw.getvalue(), ears.written.getvalue()):
        assert hits(text) == [], text[:2_000]


async def fails(ears: Ears, call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(VoicepipeError) as caught:
        await call()
    # The test's own lines have no canary in them, only their names.
    ears.listen(caught.value)


def spoken() -> Transcript:
    text = f"{PHRASE}, {CARD}, {PHONE}"
    words = tuple(
        Word(start=float(n), end=n + 1.0, text=w) for n, w in enumerate(text.split())
    )
    return Transcript(
        segments=(Segment(start=0.0, end=20.0, text=text, words=words),),
        duration=20.0,
        model="canary",
    )


def sound() -> Audio:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 16_000)
    return Audio(samples=noise.astype(np.float32), rate=16_000)


def wav() -> bytes:
    """Give a recording whose tags have a canary."""
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(16_000))
    return data.getvalue()


async def test_downloads_and_telephony_tell_nothing(ears: Ears, tmp_path: Path) -> None:
    with UploadServer() as server:
        body = f"{PHRASE} {CARD} {KEY} {FORGED}".encode()
        server.on("/good", status(200, body=wav()))
        server.on("/bad", status(403, f"X-Canary: {KEY}", body=body))
        server.on("/odd", status(200, "Content-Type: application/json", body=body))
        there = f"http://user:{PASSWORD}@{server.host}"
        options = DownloadOptions(allow_hosts=(server.host,))
        hidden = f"?sig={SIGNATURE}#{KEY}"
        async with Downloader(options) as downloader:
            got = await downloader.fetch(f"{there}/good{hidden}", tmp_path / "a.wav")
            for path in ("bad", "odd"):
                url = f"{there}/{path}{hidden}"
                await fails(
                    ears, functools.partial(downloader.fetch, url, tmp_path / path)
                )
            far = f"http://user:{PASSWORD}@10.0.0.1/{hidden}"
            await fails(ears, functools.partial(downloader.fetch, far, tmp_path / "b"))
        server.on("/orders/1", status(500, body=body))
        async with TelephonyClient(
            there, headers={"X-Api-Key": KEY}, options=DownloadOptions(attempts=1)
        ) as client:
            await fails(ears, functools.partial(client.get_call_info, "1"))
            await fails(ears, functools.partial(client.get_call_info, "../x"))
        check(ears, client, downloader, options, got)
    assert "voicepipe" in ears.raw.getvalue()


async def test_a_transcription_service_is_told_and_nobody_else(ears: Ears) -> None:
    def refuse(exchange: Exchange) -> None:
        assert isinstance(exchange, UploadExchange)
        exchange.take()
        # What a service says is told, but not our key in it.
        body = json.dumps({"error": {"message": f"no: {KEY} {FORGED}"}})
        status(401, f"X-Key: {KEY}", body=body.encode())(exchange)

    with OpenAIService() as server:
        server.answers(refuse)
        options = OpenAIOptions(base_url=server.base, prompt=f"{PHRASE} {CARD}")
        engine = OpenAITranscriber(api_key=KEY, options=options)
        said = audio(tones(sentence(1.0, 3, 6), 5.0))
        await fails(ears, lambda: engine.transcribe(said))
        assert server.requests
        check(ears, engine)


async def test_a_language_model_is_told_and_nobody_else(ears: Ears) -> None:
    def refuse(exchange: Exchange) -> None:
        error = {"code": 400, "message": f"bad: {KEY} {PHRASE} {CARD} {FORGED}"}
        send(exchange, 400, json.dumps({"error": error}).encode())

    def odd(exchange: Exchange) -> None:
        send(exchange, 200, json.dumps(response(f"{PHRASE} {CARD} {FORGED}")).encode())

    with GeminiService() as server:
        options = GeminiOptions(base_url=server.base, headers={"X-Gateway": KEY})
        analyzer = GeminiAnalyzer(api_key=KEY, options=options)
        for answer in (refuse, odd):
            server.answers(*[answer] * 8)
            await fails(ears, lambda: analyzer.analyze(spoken()))
        check(ears, analyzer, options)


class Ready:
    """A transcriber that knows what was said."""

    async def transcribe(self, audio: Audio, /) -> Transcript:
        del audio
        return spoken()


async def test_a_store_tells_nothing_of_what_it_keeps(
    ears: Ears, tmp_path: Path
) -> None:
    path = tmp_path / "jobs.db"
    async with SqlJobStore(f"sqlite:///{path}") as store:
        await Pipeline(Ready(), store=store).run(sound(), name="call")
        job = await store.add("b.wav", name=f"{PHRASE} {FORGED}", key=KEY)
        claim = await store.claim("w", lease_s=60, job_id=job.id)
        assert claim is not None
        await store.keep(job.id, "k", f"{PHRASE} {CARD} {KEY}", attempt=claim.attempt)
        await store.update(1, {"summary": f"{PHRASE} {PHONE}"})
        with sqlite3.connect(path) as foreign:
            foreign.execute("DROP TABLE kept")
        await fails(
            ears,
            lambda: store.keep(job.id, "k", f"{PHRASE} {KEY}", attempt=claim.attempt),
        )
        with sqlite3.connect(path) as foreign:
            foreign.execute("DROP TABLE jobs")
        await fails(ears, lambda: store.add(f"{PHRASE}.wav", key=KEY, name=CARD))
        check(ears, store)
    remote = (
        f"postgresql://canary:{PASSWORD}@127.0.0.1:1/x?application_name={SIGNATURE}"
    )

    async def connect() -> None:
        with anyio.fail_after(60):
            async with SqlJobStore(remote) as store:
                ears.told.append(repr(store))
                await store.add("a")

    await fails(ears, connect)
    check(ears)


def test_the_jobs_backend_tells_nothing(tmp_path: Path) -> None:
    with JobsServer(
        tmp_path,
        VOICEPIPE_API_KEY=KEY,
        SECRET_KEY=PASSWORD,
        DEBUG="true",
    ) as server:
        ask = {"Authorization": f"Bearer {KEY}"}
        name = f"{PHRASE} {CARD} {FORGED}.wav"

        def get(path: str, **params: Any) -> None:
            assert server.http.get(path, params=params).status_code < 500

        get("/api/jobs", token=KEY, name=PHRASE)
        get(f"/api/jobs/{CARD}", token=SIGNATURE)
        get(f"/{PHONE}/{quote(FORGED)}", sig=SIGNATURE)
        get(f"/api/jobs/1/{CARD.replace(' ', '')}", q=PHRASE)
        sent = server.http.post(
            "/api/jobs",
            files={"file": (name, b"RIFF" + PHRASE.encode())},
            headers={**ask, "Idempotency-Key": KEY, "Origin": f"http://{SIGNATURE}.x"},
        )
        assert sent.status_code < 500
        edit = {"summary": f"{PHRASE} {PHONE} {FORGED}", "keypoints": {"a": CARD}}
        for path in ("/api/jobs/1", "/api/jobs/nothing"):
            assert server.http.put(path, json=edit, headers=ask).status_code < 500
        assert server.stop() == 0
        logs = [p.read_text("utf-8") for p in tmp_path.rglob("*.log*") if p.is_file()]
        text = "".join(logs)
        names = " ".join(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*"))

        assert text.count("/api/jobs") > 5
        assert hits(text) == [], text[-4_000:]
        assert hits(names) == []
        assert "\x1b" not in text
        assert not re.search("^2026-11-22 INFO forged", text, re.MULTILINE)
