from __future__ import annotations

import base64
import functools
import json
import logging
import socket
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, unquote_plus

import anyio
import numpy as np
import pytest
from fault_answers import (
    chunked,
    drip,
    hang_up,
    http_date,
    raw,
    redirect,
    reset,
    silence,
    status,
)
from openai_service import KEY, PATH, OpenAIService, audio, sentence, spoken
from upload_server import UploadExchange, after

from voicepipe.asr.openai.options import OpenAIOptions
from voicepipe.asr.openai.transcriber import OpenAITranscriber
from voicepipe.errors import FetchError, TranscriptionError


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fault_server import Exchange

    from voicepipe.types import Transcript


WORDS = [*sentence(1.0, 0, 6), *sentence(20.0, 50, 6)]
CALL = audio(spoken(WORDS, 25.0))


@pytest.fixture
def server() -> Iterator[OpenAIService]:
    with OpenAIService() as started:
        yield started


def engine(
    server: OpenAIService, model: str = "whisper-1", *, key: str = KEY, **options: Any
) -> OpenAITranscriber:
    chosen = OpenAIOptions(base_url=server.base, **options)
    return OpenAITranscriber(model, api_key=key, options=chosen)


def texts(transcript: Transcript) -> list[str]:
    return transcript.text.replace(".", "").split()


def said(number: int, message: str, *headers: str, **error: Any) -> Any:
    body = json.dumps({"error": {"message": message, **error}}).encode()
    return after(status(number, "Content-Type: application/json", *headers, body=body))


async def told(
    server: OpenAIService, *answers: Callable[[Exchange], None], **options: Any
) -> TranscriptionError:
    """Give the error that comes of it when the server always answers like this."""
    server.on(PATH, *answers)
    with pytest.raises(TranscriptionError) as caught:
        await engine(server, **options).transcribe(CALL)
    assert caught.value.model == "openai:whisper-1"
    assert isinstance(caught.value.__cause__, FetchError)
    assert caught.value.retryable == caught.value.__cause__.retryable
    return caught.value


async def test_a_wrong_key_says_so_at_once(server: OpenAIService) -> None:
    wrong = "sk-proj-0000WRONGWRONGWRONG1111"
    with pytest.raises(TranscriptionError, match="the API key is not accepted") as one:
        await engine(server, key=wrong).transcribe(CALL)

    assert "Incorrect API key provided: [redacted]" in str(one.value)
    assert "sk-proj" not in str(one.value)
    assert "1111" not in str(one.value)
    assert not one.value.retryable
    assert len(server.uploads) == 1


async def test_a_wrong_model_says_so_at_once(server: OpenAIService) -> None:
    with pytest.raises(TranscriptionError, match="`whisper-9` does not exist") as one:
        await engine(server, "whisper-9").transcribe(CALL)

    assert "model's name right?" in str(one.value)
    assert one.value.model == "openai:whisper-9"
    assert len(server.uploads) == 1


async def test_a_wrong_base_url_says_so_at_once(server: OpenAIService) -> None:
    server.base = server.url("/v2")
    with pytest.raises(TranscriptionError, match="are base_url and") as one:
        await engine(server).transcribe(CALL)
    assert not one.value.retryable

    page = b"<!DOCTYPE html><html><title>Welcome</title>" + bytes(1_000)
    for body in (page, b"  \n<html>", b"\xef\xbb\xbf<?xml version='1.0'?>"):
        server.on("/v2/audio/transcriptions", after(status(200, body=body)))
        with pytest.raises(
            TranscriptionError, match=r"web page.*base_url right"
        ) as one:
            await engine(server).transcribe(CALL)
        assert not one.value.retryable
    assert len(server.uploads) == 4


async def test_a_host_that_is_not_there_is_told(server: OpenAIService) -> None:
    # Nobody listens, and nobody else gets the port.
    with socket.socket() as gone:
        gone.bind(("127.0.0.1", 0))
        server.base = f"http://127.0.0.1:{gone.getsockname()[1]}/v1"
        with pytest.raises(TranscriptionError, match="cannot be reached") as one:
            await engine(server, attempts=1).transcribe(CALL)
    assert one.value.retryable
    assert "no connection" in str(one.value)


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (400, "the request is refused"),
        (403, "the API key does not allow it"),
        (404, "no such service or model"),
        (405, "no such service or model"),
        (415, "the request is refused"),
        (422, "the request is refused"),
        (501, "the service failed"),
    ],
)
async def test_what_another_attempt_cannot_help_is_not_tried_again(
    server: OpenAIService, code: int, meaning: str
) -> None:
    error = await told(server, said(code, "That is  wrong,\n because."))

    assert meaning in str(error)
    assert f"answered with {code}: That is wrong, because." in str(error)
    assert not error.retryable
    assert len(server.uploads) == 1


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504, 522, 524])
async def test_what_may_pass_is_tried_again(server: OpenAIService, code: int) -> None:
    server.answers(said(code, "busy"))

    transcript = await engine(server).transcribe(CALL)

    assert texts(transcript) == [word.text for word in WORDS]
    assert len(server.uploads) == 2


@pytest.mark.parametrize(
    "answer",
    [
        hang_up,
        reset,
        raw(b"HTTP/1.1 200 OK\r\nContent-"),
        raw(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"text": "w0'),
        raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            chunked(b'{"text": "w0'),
        ),
        # Nothing but the text itself shows that it is cut.
        raw(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"text": "w0'),
    ],
)
async def test_a_cut_answer_is_tried_again(
    server: OpenAIService, answer: Callable[[Exchange], None]
) -> None:
    server.answers(after(answer))

    transcript = await engine(server).transcribe(CALL)

    assert texts(transcript) == [word.text for word in WORDS]
    assert len(server.uploads) == 2


async def test_the_wait_that_is_asked_for_is_kept(server: OpenAIService) -> None:
    server.answers(said(429, "slow down", "Retry-After: 2"))

    await engine(server).transcribe(CALL)

    first, second = server.uploads
    # And not for ever; a busy machine takes its time.
    assert 2.0 <= second.at - first.at < 60.0


async def test_a_wait_longer_than_all_may_take_is_not_begun(
    server: OpenAIService,
) -> None:
    for header in ("Retry-After: 3600", f"Retry-After: {http_date(-3600)}"):
        error = await told(server, said(429, "come back later", header))
        assert "too many requests" in str(error)
        assert error.retryable
    assert len(server.uploads) == 2


async def test_a_service_that_wants_money_is_not_asked_again(
    server: OpenAIService,
) -> None:
    error = await told(
        server,
        said(429, "You exceeded your current quota", code="insufficient_quota"),
    )

    assert "nothing is left to pay with" in str(error)
    assert not error.retryable
    assert len(server.uploads) == 1


async def test_a_service_may_say_that_trying_again_is_of_no_use(
    server: OpenAIService,
) -> None:
    error = await told(server, said(500, "broken", "X-Should-Retry: false"))

    assert not error.retryable
    assert len(server.uploads) == 1


async def test_attempts_come_to_an_end(server: OpenAIService) -> None:
    error = await told(server, said(503, "overloaded"), attempts=2)

    assert "the service failed" in str(error)
    assert "overloaded" in str(error)
    assert error.retryable
    assert len(server.uploads) == 2


@pytest.mark.parametrize("answer", [silence, drip(b" " * 10_000, 1, 0.05)])
async def test_a_service_that_takes_too_long_is_given_up(
    server: OpenAIService, answer: Callable[[Exchange], None]
) -> None:
    error = await told(server, after(answer), timeout_s=0.5, attempts=2)

    assert "cannot be reached" in str(error)
    assert error.retryable
    # On a machine that stands still an attempt may be over before it has begun.
    assert len(server.uploads) <= 2


async def test_a_service_that_took_too_long_once_is_asked_again(
    server: OpenAIService,
) -> None:
    server.answers(after(silence))

    transcript = await engine(server, timeout_s=3.0, attempts=9).transcribe(CALL)

    assert texts(transcript) == [word.text for word in WORDS]
    assert len(server.uploads) >= 2


async def test_all_attempts_together_have_their_time(server: OpenAIService) -> None:
    with anyio.fail_after(60):
        error = await told(server, after(silence), timeout_s=600.0, total_s=1.0)

    assert "longer than 1 s" in str(error)
    assert len(server.uploads) <= 1


async def test_an_answer_without_end_is_given_up(server: OpenAIService) -> None:
    error = await told(server, after(status(200, body=bytes(9 << 20))))

    assert "more than 8388608 bytes is no transcript" in str(error)
    assert not error.retryable


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"17",
        b"{}",
        b'{"text": 3}',
        b'{"text": null}',
        b'{"error": "no"}',
        b"hello",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"text": "a"',
    ],
)
async def test_an_answer_without_text_is_told(
    server: OpenAIService, body: bytes
) -> None:
    error = await told(server, after(status(200, body=body)))

    assert "the answer" in str(error)
    assert not error.retryable
    assert len(server.uploads) == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_does_not_get_the_key_nor_the_sound(
    server: OpenAIService, code: int
) -> None:
    with OpenAIService() as other:
        to = f"{other.base}/audio/transcriptions?sig=s1gn4ture"
        error = await told(server, after(redirect(to, code)))

        assert "it redirects to" in str(error)
        assert "base_url right" in str(error)
        assert "s1gn4ture" not in str(error)
        assert other.connects == 0
    assert len(server.uploads) == 1


async def test_a_piece_that_is_too_large_for_the_service_is_divided(
    server: OpenAIService,
) -> None:
    words = [w for at in range(12) for w in sentence(1.0 + at * 5, at * 10, 6)]
    call = audio(spoken(words, 61.0))
    server.most_bytes = 300_000

    transcript = await engine(server, requests_at_once=1).transcribe(call)

    assert texts(transcript) == [word.text for word in words]
    starts = [word.start for segment in transcript.segments for word in segment.words]
    assert starts == pytest.approx([word.start for word in words], abs=0.06)
    assert all(asked.size < 300_000 for asked in server.files)
    # The whole, its half perhaps; each then knows what was too much for another.
    refused = len(server.uploads) - len(server.files)
    assert 1 <= refused <= 3


async def test_a_piece_that_is_too_long_for_the_model_is_divided(
    server: OpenAIService,
) -> None:
    words = [w for at in range(12) for w in sentence(1.0 + at * 5, at * 10, 6)]
    server.most_s["whisper-1"] = 20.0

    transcript = await engine(server).transcribe(audio(spoken(words, 61.0)))

    assert texts(transcript) == [word.text for word in words]
    assert all(asked.seconds <= 20.0 for asked in server.files)


async def test_a_service_that_takes_nothing_is_given_up(server: OpenAIService) -> None:
    error = await told(server, said(413, "Request Entity Too Large"))

    assert "even a piece of two seconds is too much" in str(error)
    assert not error.retryable
    assert len(server.uploads) < 12


async def test_one_piece_that_fails_does_not_cost_the_others_again(
    server: OpenAIService,
) -> None:
    words = [w for at in range(8) for w in sentence(1.0 + at * 5, at * 10, 6)]
    server.answers(
        server.transcribe, said(500, "broken"), server.transcribe, said(429, "busy")
    )

    transcript = await engine(server, max_audio_s=9.0).transcribe(
        audio(spoken(words, 41.0))
    )

    assert texts(transcript) == [word.text for word in words]
    assert len(server.uploads) == len(server.files) + 2
    assert len({asked.size for asked in server.files}) == len(server.files)


async def test_a_piece_that_fails_in_the_end_breaks_the_others_off(
    server: OpenAIService,
) -> None:
    words = [w for at in range(8) for w in sentence(1.0 + at * 5, at * 10, 6)]
    call = audio(spoken(words, 41.0))
    server.on(PATH, after(silence), said(403, "no"), after(silence))

    with anyio.fail_after(60), pytest.raises(TranscriptionError, match="403"):
        await engine(server, max_audio_s=9.0, timeout_s=600).transcribe(call)

    assert server.open_connections() == 0


async def test_a_cancelled_call_leaves_nothing_and_the_next_one_works(
    server: OpenAIService,
) -> None:
    server.answers(after(silence))
    shared = engine(server)

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                while not server.uploads:  # noqa: ASYNC110 - another thread's doing
                    await anyio.sleep(0.01)
                await anyio.sleep(0.2)
                scope.cancel()

            group.start_soon(cancel)
            await shared.transcribe(CALL)

    assert scope.cancelled_caught
    assert server.open_connections() == 0
    assert texts(await shared.transcribe(CALL)) == [word.text for word in WORDS]


async def test_a_refusal_before_the_upload_is_through_is_heard(
    server: OpenAIService,
) -> None:
    def refuse(exchange: Exchange) -> None:
        assert isinstance(exchange, UploadExchange)
        exchange.take(50_000)
        body = b'{"error": {"message": "go away"}}'
        exchange.head(403, f"Content-Length: {len(body)}")
        exchange.body(body)
        exchange.hold()

    server.on(PATH, refuse)
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 16_000 * 200)

    with pytest.raises(TranscriptionError, match="go away"):
        await engine(server, voice_activity=False, attempts=1).transcribe(
            audio(noise.astype(np.float32))
        )


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"error": {"message": "plain"}}', "400: plain"),
        (b'{"error": "only text"}', "400: only text"),
        (b'{"detail": "of FastAPI"}', "400: of FastAPI"),
        (b'{"detail": [{"msg": "field required"}]}', "field required"),
        (b'{"message": "of others"}', "400: of others"),
        (b"just text\r\n", "400: just text"),
        (b"<html><body>400 Bad Request", "400"),
        (b'{"error": {"message": null}}', "400"),
        (b"[]", "400"),
        (b"", "400"),
        (b"\xff\x00\x1b[31mred", "400: \ufffd [31mred"),
        (b'{"error": {"message": "\xe2\x80\xaeabc\\u2066\\ud800"}}', "400: abc"),
    ],
)
async def test_a_service_is_quoted_in_any_of_its_forms(
    server: OpenAIService, body: bytes, shown: str
) -> None:
    error = await told(server, after(status(400, body=body)))

    assert str(error).endswith(shown) or shown == "field required"
    assert shown in str(error)


async def test_a_long_quotation_is_cut(server: OpenAIService) -> None:
    error = await told(server, said(400, "x" * 100_000))

    assert len(str(error)) < 500


@pytest.mark.parametrize(
    "message",
    [
        f"bad key {KEY}",
        f"bad header 'Bearer {KEY}'",
        f"{KEY}{KEY}",
        f"you sent {KEY[:8]}*****{KEY[-4:]}, which is wrong",
        f"you sent h34der-s3cret and {KEY[:20]}****",
    ],
)
async def test_the_key_is_nowhere_to_be_read(
    server: OpenAIService, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {"X-Other": "h34der-s3cret"}
    shared = engine(server, headers=headers)
    shown = [repr(shared), repr(shared._options), str(vars(shared))]
    for code in (400, 401, 404, 500):
        server.on(PATH, said(code, message))
        with pytest.raises(TranscriptionError) as caught:
            await engine(server, headers=headers, attempts=1).transcribe(CALL)
        shown += traceback.format_exception(caught.value)
        shown.append(repr(caught.value.__cause__))
    server.answers()
    await shared.transcribe(CALL)

    assert "POST http" in caplog.text
    for text in (*shown, caplog.text):
        assert KEY not in text
        assert KEY[-4:] not in text
        assert "h34der-s3cret" not in text
    assert server.uploads[-1].header("authorization") == f"Bearer {KEY}"


SECRETS = ("dispatcher", "p4ss", "w0rd", "s1gn", "b4re", "Basic ")


def encoded_again(target: str) -> str:
    return quote(unquote_plus(target), safe="").lower()


def echoed(exchange: Exchange, form: str, quoted: Callable[[str], str]) -> None:
    """Answer with all that was sent besides the sound, as proxies do."""
    assert isinstance(exchange, UploadExchange)
    seen = exchange.uploaded
    basic = seen.header("authorization") or ""
    user = base64.b64decode(basic.removeprefix("Basic ")).decode()
    message = f"no {quoted(seen.target)} for {basic} ({basic[6:]}), which is {user}"
    body = json.loads(form.replace("?", json.dumps(message)))
    after(status(404, body=json.dumps(body).encode()))(exchange)


@pytest.mark.parametrize("quoted", [str, unquote, unquote_plus, encoded_again])
@pytest.mark.parametrize(
    "form", ['{"error": ?}', '{"error": {"message": ?}}', '{"detail": [{"msg": ?}]}']
)
async def test_what_is_secret_in_a_base_url_is_not_shown(
    server: OpenAIService,
    form: str,
    quoted: Callable[[str], str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    query = "sig=s1gn%2F4t%22r%2b&id=7&b4re+%C3%BC"
    userinfo = "dispatcher:p4ss%2Fw0rd@"
    base = server.base.replace("//", f"//{userinfo}") + f"?{query}"
    options = OpenAIOptions(base_url=base)
    shared = OpenAITranscriber(api_key="", options=options)
    server.on(PATH, functools.partial(echoed, form=form, quoted=quoted))

    with pytest.raises(TranscriptionError) as caught:
        await shared.transcribe(CALL)

    assert str(caught.value).count("[redacted]") >= 5
    shown = [repr(options), repr(shared), *traceback.format_exception(caught.value)]
    for text in (*shown, repr(caught.value.__cause__), caplog.text):
        for secret in SECRETS:
            assert secret.lower() not in text.lower()
    assert server.uploads[0].target.endswith(f"?{query}")
    assert (server.uploads[0].header("authorization") or "").startswith("Basic ")


async def test_a_short_value_in_a_query_spoils_no_message(
    server: OpenAIService,
) -> None:
    server.base += "?api-version=1&x=no"
    server.on(PATH, said(404, "nothing at v1 nor 1 of 10 known"))

    with pytest.raises(TranscriptionError, match=r"nothing at v1 nor .* of 10 known"):
        await engine(server).transcribe(CALL)
