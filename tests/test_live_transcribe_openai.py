"""OpenAI's own Python client, unchanged, against the server of live transcription."""

from __future__ import annotations

import contextlib
import io
import math
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import openai
import pytest
import soundfile
from live_runner import WAIT_S, LiveServer, errors_in, speech, wav, webm
from make_audio import encode
from openai.types.audio import Transcription, TranscriptionVerbose
from openai_service import KEY as SERVICE_KEY
from openai_service import RATE, OpenAIService, sentence, spoken


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fault_server import Exchange


KEY = "sk-of-our-own"
SAID = speech()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("live")
    with LiveServer(folder, VOICEPIPE_API_KEY=KEY, MAX_UPLOAD_MB="2") as server:
        yield server


@contextlib.contextmanager
def asking(
    server: LiveServer, key: str = KEY, retries: int = 0
) -> Iterator[openai.OpenAI]:
    # The proxies of the environment are not for this machine.
    with (
        openai.DefaultHttpxClient(trust_env=False) as http,
        openai.OpenAI(
            api_key=key,
            base_url=f"{server.url}/v1",
            http_client=http,
            max_retries=retries,
        ) as client,
    ):
        yield client


@pytest.fixture
def client(server: LiveServer) -> Iterator[openai.OpenAI]:
    with asking(server) as client:
        yield client


def transcribe(client: openai.OpenAI, data: bytes = b"", **more: Any) -> Any:
    file = ("call.wav", data or wav(SAID))
    return client.audio.transcriptions.create(
        **{"model": "whisper-1", "file": file, **more}
    )


def test_json_is_what_one_gets_without_asking(client: openai.OpenAI) -> None:
    found = transcribe(client, language="en", prompt="A call.", temperature=0.2)

    assert isinstance(found, Transcription)
    assert errors_in(found.text, SAID.text) == 0.0
    assert found.usage is not None
    assert found.usage.to_dict() == {
        "type": "duration",
        "seconds": math.ceil(SAID.duration),
    }


def test_text_is_the_text(client: openai.OpenAI) -> None:
    found = transcribe(client, response_format="text")

    assert found == f"{SAID.text}\n"


def test_subtitles_are_subtitles(client: openai.OpenAI) -> None:
    srt = transcribe(client, response_format="srt")
    vtt = transcribe(client, response_format="vtt")

    assert srt.startswith("1\n00:00:00,")
    assert vtt.startswith("WEBVTT\n\n00:00:00.")
    for text in (srt, vtt):
        lines = [line for line in text.splitlines() if line[:1].isalpha()]
        said = " ".join(line for line in lines if line != "WEBVTT")
        assert errors_in(said, SAID.text) == 0.0


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        (None, {"segments"}),
        (["segment"], {"segments"}),
        (["word"], {"words"}),
        (["word", "segment"], {"segments", "words"}),
    ],
)
def test_verbose_json_has_the_times_that_were_asked_for(
    client: openai.OpenAI, asked: list[str] | None, parts: set[str]
) -> None:
    more = {} if asked is None else {"timestamp_granularities": asked}
    found = transcribe(client, response_format="verbose_json", **more)

    # Not as the client takes it, which takes anything.
    strict = TranscriptionVerbose.model_validate(found.to_dict(), strict=True)
    assert errors_in(strict.text, SAID.text) == 0.0
    assert strict.language == "en"
    assert strict.duration == pytest.approx(SAID.duration, abs=0.001)
    assert {part for part in ("segments", "words") if getattr(strict, part)} == parts
    for place, segment in enumerate(strict.segments or ()):
        assert segment.id == place
        assert 0 <= segment.start < segment.end <= SAID.duration
        assert segment.avg_logprob <= 0
    if strict.words:
        for word, truth in zip(strict.words, SAID.words, strict=True):
            assert word.word == truth.text
            assert word.start == pytest.approx(truth.start, abs=0.4)


def test_a_stream_is_the_same_text(client: openai.OpenAI) -> None:
    events = list(transcribe(client, stream=True))

    assert {event.type for event in events[:-1]} == {"transcript.text.delta"}
    assert events[-1].type == "transcript.text.done"
    assert "".join(event.delta for event in events[:-1]) == events[-1].text
    assert errors_in(events[-1].text, SAID.text) == 0.0


@pytest.mark.parametrize("form", ["webm", "mp3", "flac"])
def test_other_forms_are_heard_too(
    client: openai.OpenAI, form: Any, tmp_path: Path
) -> None:
    if form == "flac":
        path = tmp_path / "said.flac"
        soundfile.write(path, SAID.samples, 16_000)
        data = path.read_bytes()
    elif form == "webm":
        data = webm(SAID)
    else:
        data = encode(form, SAID.samples[:, np.newaxis], 16_000)

    assert errors_in(transcribe(client, data).text, SAID.text) <= 0.06


def test_a_file_without_speech_has_no_text(client: openai.OpenAI) -> None:
    silent = speech("thank you")
    quiet = wav(type(silent)(np.zeros_like(silent.samples), ()))

    assert transcribe(client, quiet).text == ""
    assert transcribe(client, quiet, response_format="srt") == ""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!doctype html><html><body>log in</body></html>" * 50, "HTML"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "call.wav"),
        (b"ffconcat version 1.0\nfile '/etc/hostname'\n" * 20, "call.wav"),
        (bytes(range(256)) * 400, "call.wav"),
    ],
)
def test_a_file_that_is_no_recording_is_a_bad_request(
    client: openai.OpenAI, data: bytes, words: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        transcribe(client, data)

    assert caught.value.type == "invalid_request_error"
    assert (caught.value.param, caught.value.code) == ("file", "invalid_audio")
    assert words in caught.value.message


def test_an_empty_file_is_a_bad_request(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b""))

    assert caught.value.param == "file"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"response_format": "xml"}, "response_format"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        (
            {
                "response_format": "verbose_json",
                "timestamp_granularities": ["phoneme"],
            },
            "timestamp_granularities",
        ),
    ],
)
def test_a_bad_parameter_is_named(
    client: openai.OpenAI, more: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        transcribe(client, **more)

    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")


def test_a_form_without_a_file_is_a_bad_request(server: LiveServer) -> None:
    answer = httpx.post(
        f"{server.url}/v1/audio/transcriptions",
        data={"model": "whisper-1"},
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=WAIT_S,
        trust_env=False,
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "file"


def test_a_wrong_key_is_not_let_in(server: LiveServer) -> None:
    with (
        asking(server, "sk-wrong") as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        transcribe(client)

    assert caught.value.code == "invalid_api_key"
    assert "sk-wrong" not in server.log()
    assert KEY not in server.log()


def test_a_file_that_is_too_large_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        transcribe(client, wav(SAID) + bytes(3 << 20))

    assert caught.value.status_code == 413
    assert caught.value.type == "invalid_request_error"


def test_an_unknown_path_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("another")

    assert caught.value.type == "invalid_request_error"


def test_the_model_is_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["whisper:model"]


def test_more_files_than_may_wait_are_told_to_come_again(tmp_path: Path) -> None:
    words = sentence(1.0, 0, 6)
    file = io.BytesIO()
    soundfile.write(file, spoken(words, 5.0), RATE, format="WAV", subtype="PCM_16")
    texts: list[str] = []
    refused: list[openai.RateLimitError] = []
    goes_on = threading.Event()

    def wait(exchange: Exchange) -> None:
        exchange.wait(goes_on)
        service.transcribe(exchange)

    with (
        OpenAIService() as service,
        LiveServer(
            tmp_path,
            MAX_WAITING_REQUESTS="1",
            VOICEPIPE_TRANSCRIBER="openai:whisper-1",
            OPENAI_API_KEY=SERVICE_KEY,
            OPENAI_BASE_URL=service.base,
        ) as server,
        asking(server) as client,
    ):

        def ask() -> None:
            texts.append(transcribe(client, file.getvalue()).text)

        service.answers(wait)
        first = threading.Thread(target=ask)
        first.start()
        while not server.health()["waiting_files"]:
            time.sleep(0.05)
        for _ in range(2):
            with pytest.raises(openai.RateLimitError) as caught:
                ask()
            refused.append(caught.value)
        goes_on.set()
        first.join()
        ask()

    for error in refused:
        assert error.response.headers["retry-after"] == "5"
        assert error.code == "rate_limit_exceeded"
    assert texts == [" ".join(word.text for word in words) + "."] * 2


def test_an_engine_that_fails_is_an_internal_error(tmp_path: Path) -> None:
    # A service that nobody serves: such an engine fails at each call.
    with (
        LiveServer(
            tmp_path,
            VOICEPIPE_TRANSCRIBER="openai:whisper-1",
            OPENAI_BASE_URL="http://127.0.0.1:9/v1",
        ) as server,
        asking(server) as client,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        transcribe(client)

    assert caught.value.status_code == 503
    assert caught.value.type == "server_error"
    assert "127.0.0.1:9" not in caught.value.message
