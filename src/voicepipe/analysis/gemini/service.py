"""Asking Gemini: the one translator for the google-genai SDK."""

from __future__ import annotations

import functools
import importlib.util
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import anyio
import anyio.from_thread
import anyio.to_thread
import attrs
import httpx

from voicepipe.analysis.gemini.answer import MAX_ANSWER_BYTES
from voicepipe.analysis.gemini.failures import LostAnswerError, refusal
from voicepipe.analysis.gemini.options import GeminiOptions
from voicepipe.errors import (
    AnalysisError,
    FetchError,
    FetchTimeoutError,
    MissingExtraError,
)
from voicepipe.net.body import Body
from voicepipe.net.engine import HttpLimits
from voicepipe.net.http import HttpClient
from voicepipe.net.policy import UrlPolicy
from voicepipe.net.quiet import quiet
from voicepipe.net.retries import Patience
from voicepipe.net.urls import parse_url


if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from google.genai import Client

    from voicepipe.analysis.gemini.prompt import Question


_Send: TypeAlias = "Callable[[str, dict[str, str], bytes], Coroutine[Any, Any, bytes]]"

# Of the SDK's requests: what says how a message is framed is the connection's own.
_PASSED_ON = frozenset(
    {"content-type", "user-agent", "x-goog-api-client", "x-goog-api-key"}
    | {"x-server-timeout"}
)


@attrs.frozen(kw_only=True)
class Access:
    """
    Who asks which model.

    Attributes:
        name: The analyzer's name, as in ``Analysis.model``.
        model: The model's name at the service.
        api_key: The key; never shown.
        options: Where the service is, and what requests may take.
    """

    name: str
    model: str
    api_key: str = attrs.field(repr=False)
    options: GeminiOptions


class _Line(httpx.BaseTransport):
    """Sends what the SDK wants to send by connections of the event loop."""

    def __init__(self, send: _Send) -> None:
        self._send = send

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; runs in a worker thread."""
        headers = {
            name: value for name, value in request.headers.items() if name in _PASSED_ON
        }
        data = anyio.from_thread.run(
            self._send, str(request.url), headers, request.read()
        )
        return httpx.Response(200, content=data, request=request)


class Service:
    """
    Gemini, for one analysis; an async context manager.

    The SDK makes the requests, in a worker thread: its asynchronous client knows
    asyncio only. They are sent by the library's own connections, which limit, retry and
    can be cancelled, and answers come back unread: how they are read is not left to
    somebody who trusts them. Settings of the environment take no part.

    Args:
        access: Whom to ask.
        slots: How many calls there may be at the same time.
    """

    def __init__(self, access: Access, slots: anyio.CapacityLimiter) -> None:
        """Open nothing yet."""
        options = access.options
        self._access = access
        self._options = options
        self._slots = slots
        self._threads = anyio.CapacityLimiter(slots.total_tokens)
        self._client: Client | None = None
        self._making = anyio.Lock()
        self._http = HttpClient(
            UrlPolicy.trusting(parse_url(options.base_url)),
            HttpLimits(
                connections=options.calls_at_once,
                connections_per_host=options.calls_at_once,
                connect_s=options.connect_s,
                read_s=options.timeout_s,
            ),
            ssl_context=options.ssl_context,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(self, question: Question) -> bytes:
        """
        Give the model's answer to a question, unread.

        Raises:
            LostAnswerError: If there was an answer, and it did not come.
            FetchError: If there was none in the end.
            AnalysisError: If the SDK does not want to ask it.
        """
        limit_s = self._options.total_s
        async with self._slots:
            client = await self._made()
            with anyio.move_on_after(limit_s):
                patience = Patience(
                    attempts=self._options.attempts,
                    deadline=anyio.current_effective_deadline(),
                )
                return await patience.run(
                    functools.partial(self._attempt, client, question)
                )
        raise self._too_slow(limit_s)

    async def _made(self) -> Client:
        async with self._making:
            if self._client is None:
                # A second for the import: not the event loop's.
                self._client = await anyio.to_thread.run_sync(
                    self._make, limiter=self._threads
                )
            return self._client

    def _make(self) -> Client:
        """Make the SDK's client; runs in a worker thread."""
        try:
            return self._client_of_sdk()
        except Exception as exc:  # noqa: BLE001 - whatever an SDK may raise
            # Its text may hold the options.
            kind = type(exc).__name__
        raise self._unable(kind)

    def _client_of_sdk(self) -> Client:
        from google import genai
        from google.genai import types

        options = types.HttpOptions(
            base_url=self._options.base_url,
            api_version=self._options.api_version,
            timeout=max(1, round(1_000 * self._options.timeout_s)),
            httpx_client=httpx.Client(transport=_Line(self._send), trust_env=False),
            # Never used, and not made by the SDK with a trust store of its own.
            httpx_async_client=httpx.AsyncClient(
                transport=httpx.AsyncBaseTransport(), trust_env=False
            ),
        )
        return genai.Client(
            vertexai=False, api_key=self._access.api_key, http_options=options
        )

    async def _attempt(self, client: Client, question: Question) -> bytes:
        call = functools.partial(self._call, client, question)
        return await anyio.to_thread.run_sync(call, limiter=self._threads)

    def _call(self, client: Client, question: Question) -> bytes:
        """Let the SDK ask; runs in a worker thread."""
        try:
            with quiet():
                response = client.models.generate_content(
                    model=self._access.model,
                    contents=question.fenced(),
                    config=self._config(question),
                )
        except FetchError:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever an SDK may raise
            # Its text may hold what was sent.
            kind = type(exc).__name__
        else:
            body = getattr(response.sdk_http_response, "body", None)
            return (body or "").encode("utf-8", "replace")
        raise self._unable(kind)

    def _unable(self, kind: str) -> AnalysisError:
        msg = f"google-genai cannot ask ({kind}); is it too old, or too new?"
        return AnalysisError(msg, model=self._access.name, reason="refused")

    def _config(self, question: Question) -> Any:
        from google.genai import types

        options = self._options
        config: dict[str, Any] = {
            "system_instruction": question.instruction,
            "response_mime_type": "application/json",
            "response_json_schema": question.schema,
            "temperature": options.temperature,
            "max_output_tokens": options.max_output_tokens,
            # As it came: read by this package only.
            "should_return_http_response": True,
            "automatic_function_calling": {"disable": True},
        }
        if options.thinking_budget is not None:
            config["thinking_config"] = {"thinking_budget": options.thinking_budget}
        if "automatic_continuation" in types.GenerateContentConfig.model_fields:
            # Calls that nobody has counted.
            config["automatic_continuation"] = False
        return types.GenerateContentConfig.model_validate(config)

    async def _send(self, url: str, headers: Mapping[str, str], data: bytes) -> bytes:
        """Send a request and give the answer; runs on the event loop."""
        limit_s = self._options.timeout_s
        answered = False
        with anyio.move_on_after(limit_s):
            async with self._http.post(
                parse_url(url),
                {**headers, **self._options.headers},
                Body(content_type="application/json", parts=(data,)),
            ) as answer:
                if answer.status != 200:
                    own = (self._access.api_key, *self._options.headers.values())
                    raise await refusal(answer, own, data)
                answered = True
                try:
                    return await answer.read(MAX_ANSWER_BYTES)
                except FetchError as exc:
                    raise LostAnswerError(exc.args[0], url=exc.url) from exc
        if answered:
            msg = f"the answer did not end within {limit_s:g} s"
            raise LostAnswerError(msg, url=str(parse_url(url)))
        raise self._too_slow(limit_s)

    def _too_slow(self, limit_s: float) -> FetchTimeoutError:
        return FetchTimeoutError(
            f"it took longer than {limit_s:g} s",
            url=str(parse_url(self._options.base_url)),
            limit="total",
            limit_s=limit_s,
        )


def check_installed() -> None:
    """
    Look whether the SDK is there, without importing it.

    Raises:
        MissingExtraError: If it is not.
    """
    try:
        found = importlib.util.find_spec("google.genai")
    except ModuleNotFoundError:
        # Not even the name that Google's packages share.
        found = None
    if found is None:
        raise MissingExtraError("google-genai", extra="gemini")
