from __future__ import annotations

import json
import logging
import socket
import threading
import traceback
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from fault_answers import chunked, hang_up, http_date, raw, redirect, reset, silence
from fault_answers import status as answered
from fault_server import Canary
from gemini_hostile import CALL
from gemini_service import KEY, MODEL, PATH, GeminiService, honest, response
from upload_server import after

from voicepipe.analysis.gemini.analyzer import GeminiAnalyzer
from voicepipe.analysis.gemini.options import GeminiOptions
from voicepipe.errors import AnalysisError, FetchError
from voicepipe.types import Segment, Transcript


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fault_server import Exchange


TRANSCRIPT = Transcript.of(
    (
        Segment(start=float(at), end=at + 0.9, text=text, speaker="Speaker00")
        for at, text in enumerate((*CALL, "This phrase is for nobody else to read."))
    ),
    duration=9.0,
    model="test",
)


@pytest.fixture
def server() -> Iterator[GeminiService]:
    with GeminiService() as started:
        yield started


def gemini(server: GeminiService, *, key: str = KEY, **options: Any) -> GeminiAnalyzer:
    model = options.pop("model", MODEL)
    chosen = GeminiOptions(base_url=server.base, **options)
    return GeminiAnalyzer(model, api_key=key, options=chosen)


def said(number: int, message: str, *headers: str, **error: Any) -> Any:
    body = json.dumps({"error": {"code": number, "message": message, **error}}).encode()
    head = "Content-Type: application/json"
    return after(answered(number, head, *headers, body=body))


async def told(
    server: GeminiService, *answers: Callable[[Exchange], None], **options: Any
) -> AnalysisError:
    """Give the error that comes of it when the server always answers like this."""
    server.on(PATH, *answers)
    with pytest.raises(AnalysisError) as caught:
        await gemini(server, **options).analyze(TRANSCRIPT)
    assert caught.value.model == f"gemini:{MODEL}"
    assert isinstance(caught.value.__cause__, FetchError)
    assert caught.value.retryable == caught.value.__cause__.retryable
    assert server.paid == 0
    return caught.value


async def test_a_wrong_key_says_so_at_once(server: GeminiService) -> None:
    with pytest.raises(AnalysisError, match="the API key is not accepted") as caught:
        await gemini(server, key="AIzaSyWrongWrong").analyze(TRANSCRIPT)

    assert "API key not valid" in str(caught.value)
    assert caught.value.reason == "refused"
    assert not caught.value.retryable
    assert len(server.requests) == 1


async def test_a_wrong_model_says_so_at_once(server: GeminiService) -> None:
    with pytest.raises(AnalysisError, match="no such service or model") as caught:
        await gemini(server, model="gemini-0").analyze(TRANSCRIPT)

    assert caught.value.model == "gemini:gemini-0"
    assert len(server.requests) == 1


async def test_a_host_that_is_not_there_is_told(server: GeminiService) -> None:
    # Nobody listens, and nobody else gets the port.
    with socket.socket() as gone:
        gone.bind(("127.0.0.1", 0))
        server.base = f"http://127.0.0.1:{gone.getsockname()[1]}"
        with pytest.raises(
            AnalysisError, match=r"cannot be reached.*no connection"
        ) as one:
            await gemini(server, attempts=1).analyze(TRANSCRIPT)

    assert one.value.retryable
    assert one.value.reason == "unavailable"


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (206, "the request is refused"),
        (400, "the request is refused"),
        (401, "the API key is not accepted"),
        (403, "the API key does not allow it"),
        (404, "no such service or model"),
        (413, "window_chars"),
        (501, "the service failed"),
    ],
)
async def test_what_another_attempt_cannot_help_is_not_tried_again(
    server: GeminiService, code: int, meaning: str
) -> None:
    error = await told(server, said(code, "That is  wrong,\n because."))

    assert meaning in str(error)
    assert f"answered with {code}: That is wrong, because." in str(error)
    assert error.reason == "refused"
    assert not error.retryable
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [408, 429, 500, 503])
async def test_what_may_pass_is_tried_again(server: GeminiService, code: int) -> None:
    server.answers(said(code, "busy"))

    found = await gemini(server).analyze(TRANSCRIPT)

    assert found.report is not None
    assert found.report.calls == server.paid == 1
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        hang_up,
        reset,
        raw(b"HTTP/1.1 200 OK\r\nContent-"),
        raw(b"\x00\xff nonsense\r\n"),
    ],
)
async def test_a_broken_connection_is_tried_again(
    server: GeminiService, answer: Callable[[Exchange], None]
) -> None:
    server.answers(after(answer))

    found = await gemini(server).analyze(TRANSCRIPT)

    assert found.summary
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        raw(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"candidates":'),
        raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            chunked(b'{"candidates"'),
        ),
        # Nothing but the text itself shows that it is cut.
        raw(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"candidates":'),
    ],
)
async def test_an_answer_that_is_cut_may_be_paid_for(
    server: GeminiService, answer: Callable[[Exchange], None]
) -> None:
    server.answers(after(answer))
    found = await gemini(server).analyze(TRANSCRIPT)
    assert found.report is not None
    assert found.report.calls == 2

    server.on(PATH, after(answer))
    with pytest.raises(AnalysisError, match="no usable answer in 3 calls") as caught:
        await gemini(server).analyze(TRANSCRIPT)
    assert caught.value.reason == "unusable"
    assert not caught.value.retryable
    assert len(server.requests) == 2 + 3


async def test_the_wait_that_is_asked_for_is_kept(server: GeminiService) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"}
    server.answers(
        said(429, "slow down", "Retry-After: 2"), said(429, "slower", details=[info])
    )

    await gemini(server).analyze(TRANSCRIPT)

    first, second, third = server.requests
    # And not for ever; a busy machine takes its time.
    assert 2.0 <= second.at - first.at < 60.0
    assert 1.5 <= third.at - second.at < 60.0


async def test_a_wait_longer_than_all_may_take_is_not_begun(
    server: GeminiService,
) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3600s"}
    for answer in (
        said(429, "come back later", "Retry-After: 3600"),
        said(429, "come back later", f"Retry-After: {http_date(-3600)}"),
        said(429, "come back later", details=[info]),
    ):
        error = await told(server, answer)
        assert "too many requests" in str(error)
        assert error.reason == "unavailable"
        assert error.retryable
    assert len(server.requests) == 3


async def test_attempts_end(server: GeminiService) -> None:
    error = await told(server, said(503, "The model is overloaded."), attempts=2)

    assert "the service failed" in str(error)
    assert "The model is overloaded." in str(error)
    assert error.retryable
    assert len(server.requests) == 2


async def test_a_service_that_says_nothing_is_given_up(server: GeminiService) -> None:
    error = await told(server, after(silence), timeout_s=0.3, attempts=2)

    assert "longer than 0.3 s" in str(error)
    assert error.reason == "unavailable"
    assert error.retryable
    # On a machine that stands still an attempt may be over before it has begun.
    assert len(server.requests) <= 2
    assert server.open_connections() == 0


async def test_a_service_that_said_nothing_once_is_asked_again(
    server: GeminiService,
) -> None:
    server.answers(after(silence))

    found = await gemini(server, timeout_s=3.0, attempts=9).analyze(TRANSCRIPT)

    assert found.summary
    assert len(server.requests) >= 2


async def test_all_attempts_together_have_their_time(server: GeminiService) -> None:
    with anyio.fail_after(60):
        error = await told(
            server, after(silence), timeout_s=600.0, total_s=0.5, attempts=9
        )

    assert "longer than 0.5 s" in str(error)
    assert error.retryable
    assert len(server.requests) <= 1


async def test_no_redirect_is_followed(server: GeminiService) -> None:
    with Canary("127.0.0.1") as canary:
        target = f"http://127.0.0.1:{canary.port}/"
        for code in (301, 302, 307, 308):
            error = await told(server, after(redirect(target, code)))
            assert "base_url right" in str(error)
            assert not error.retryable

        assert canary.connects == 0
    assert len(server.requests) == 4


async def test_a_web_page_is_told_at_once(server: GeminiService) -> None:
    page = b" \n<!DOCTYPE html><html><title>Welcome</title>"
    server.on(PATH, after(answered(200, body=page)))

    with pytest.raises(AnalysisError, match=r"a web page; is base_url right") as caught:
        await gemini(server).analyze(TRANSCRIPT)

    assert not caught.value.retryable
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"error": {"message": "plain"}}', "400: plain"),
        (b'[{"error": {"message": "of a stream"}}]', "400: of a stream"),
        (b'{"error": "only text"}', "400: only text"),
        (b"just text\r\n", "400: just text"),
        (b"<html><body>400 Bad Request", "400"),
        (b'{"error": {"message": null, "details": {"a": 1}}}', "400"),
        (b'{"error": {"message": ["a"], "details": ["b"]}}', "400"),
        (b"[]", "400"),
        (b"[1, 2]", "400"),
        (b"null", "400"),
        (b"", "400"),
        (b"[" * 100_000, "400"),
        (b'{"a":' * 50_000, "400"),
        (b"\xff\x00\x1b[31mred", "400: \ufffd[31mred"),
        (b'{"error": {"message": "\xe2\x80\xaeabc\\u2066\\ud800"}}', "400: abc"),
        (b'{"error": {"message": "a", "details": [{"retryDelay": 7}]}}', "400: a"),
    ],
    ids=range(16),
)
async def test_a_service_is_quoted_in_any_of_its_forms(
    server: GeminiService, body: bytes, shown: str
) -> None:
    error = await told(server, after(answered(400, body=body)))

    assert str(error).endswith(shown)


async def test_a_long_quotation_is_cut(server: GeminiService) -> None:
    error = await told(server, said(400, "xy" * 100_000))

    assert len(str(error)) < 500


async def test_a_message_that_quotes_the_call_is_not_shown(
    server: GeminiService,
) -> None:
    error = await told(server, said(400, f"I cannot read '{CALL[3][10:40]}'."))

    assert "(its message quotes the request)" in str(error)
    assert CALL[3][10:20] not in str(error)


@pytest.mark.parametrize(
    "message",
    [
        f"bad key {KEY}",
        f"{KEY}{KEY}",
        f"you sent {KEY[:8]}*****{KEY[-4:]}, which is wrong",
        f"you sent g4teway-s3cret and {KEY[:20]}",
        "[6] This phrase is for nobody else to read.",
    ],
)
async def test_secrets_and_words_are_nowhere_to_be_read(
    server: GeminiService, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {"X-Gateway": "g4teway-s3cret"}
    shared = gemini(server, headers=headers)
    shown = [repr(shared), str(vars(shared)), repr(shared.caching)]
    nonsense = after(answered(200, body=message.encode()))
    for answer in (*(said(code, message) for code in (400, 401, 404, 500)), nonsense):
        server.on(PATH, answer)
        with pytest.raises(AnalysisError) as caught:
            await gemini(server, headers=headers, attempts=1).analyze(TRANSCRIPT)
        shown += traceback.format_exception(caught.value)
        error: BaseException | None = caught.value
        while error is not None:
            shown += [repr(error), str(error.args)]
            error = error.__context__
    server.answers()
    await shared.analyze(TRANSCRIPT)

    assert "POST http" in caplog.text
    for text in (*shown, caplog.text):
        assert KEY[:12] not in text
        assert KEY[-4:] not in text
        assert "g4teway-s3cret" not in text
        assert "phrase is for nobody" not in text
        assert "birthday cake" not in text


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.03, 0.5])
async def test_a_cancelled_analysis_leaves_nothing_and_the_next_one_works(
    seconds: float, server: GeminiService
) -> None:
    await gemini(server).analyze(TRANSCRIPT)
    server.on(PATH, after(silence))
    shared = gemini(server)
    limiter = anyio.to_thread.current_default_thread_limiter()

    begin = anyio.current_time()
    with anyio.move_on_after(seconds) as scope:
        await shared.analyze(TRANSCRIPT)

    assert scope.cancelled_caught
    # A service that is waited for takes 300 s.
    assert anyio.current_time() - begin < seconds + 60
    assert limiter.borrowed_tokens == 0
    assert shared._limiter().borrowed_tokens == 0
    assert server.open_connections() == 0
    server.answers()
    assert (await shared.analyze(TRANSCRIPT)).summary


async def test_a_cancelled_long_call_breaks_all_windows_off(
    server: GeminiService,
) -> None:
    server.on(PATH, after(silence))
    analyzer = gemini(server, window_chars=1_000, calls_at_once=4)
    long = Transcript.of(
        (Segment(start=float(at), end=at + 1.0, text=CALL[at % 6]) for at in range(99)),
        duration=99.0,
        model="test",
    )

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                while len(server.requests) < 4:  # noqa: ASYNC110 - another thread's
                    await anyio.sleep(0.01)
                await anyio.sleep(0.2)  # in which a fifth might come
                scope.cancel()

            group.start_soon(cancel)
            await analyzer.analyze(long)

    assert scope.cancelled_caught
    assert len(server.requests) == 4
    assert server.open_connections() == 0


async def test_a_slow_answer_keeps_no_thread_of_others(server: GeminiService) -> None:
    watched = threading.Event()

    def slow(exchange: Exchange) -> None:
        asked = server.question(exchange)
        exchange.wait(watched)
        server.pay(exchange, json.dumps(response(json.dumps(honest(asked)))).encode())

    server.on(PATH, slow)
    limiter = anyio.to_thread.current_default_thread_limiter()
    analyzer = gemini(server)
    waiting: list[float] = []

    async def watch() -> None:
        while not server.asked:  # noqa: ASYNC110 - another task's doing
            await anyio.sleep(0.01)
        waiting.append(limiter.borrowed_tokens)
        watched.set()

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await analyzer.analyze(TRANSCRIPT)

    assert waiting == [0]
