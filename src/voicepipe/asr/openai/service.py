"""Asking a service what it hears in a piece."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
import attrs

from voicepipe.asr.openai.answer import NoAnswerError, heard_in
from voicepipe.asr.openai.encode import encoded
from voicepipe.asr.openai.failures import RefusalError, failure, refusal
from voicepipe.asr.openai.multipart import form_with_file
from voicepipe.asr.openai.pieces import RATE
from voicepipe.errors import (
    BadResponseError,
    FetchError,
    FetchTimeoutError,
    TranscriptionError,
)
from voicepipe.net.engine import HttpLimits
from voicepipe.net.http import HttpClient
from voicepipe.net.policy import UrlPolicy
from voicepipe.net.retries import Patience
from voicepipe.net.urls import parse_url


if TYPE_CHECKING:
    from voicepipe.asr.openai.answer import Heard
    from voicepipe.asr.openai.options import OpenAIOptions
    from voicepipe.asr.openai.pieces import Pcm, Piece
    from voicepipe.net.body import Body
    from voicepipe.net.urls import Url


T = TypeVar("T")

_PATH = "/audio/transcriptions"

# An hour of speech with the times of its words takes less than 1 MiB.
_MAX_ANSWER_BYTES = 1 << 23

# What is around the file in a form, but for the prompt.
_FORM_BYTES = 1 << 13


@attrs.frozen(kw_only=True)
class Request:
    """
    What is the same in all requests to a service.

    Attributes:
        engine: The engine's name, as in ``Transcript.model``.
        fields: Of the form, in their order.
        headers: Credentials among them; never shown.
        secrets: What must be in no message; never shown.
        plain: Whether plain text is asked for.
        max_bytes: Most bytes of one request.
    """

    engine: str
    fields: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    secrets: tuple[str, ...] = attrs.field(repr=False)
    plain: bool
    max_bytes: int


class Service:
    """
    A service, for one recording; an async context manager.

    Args:
        request: What is the same in all requests.
        options: Where the service is, and what requests may take.
        slots: How many requests there may be at the same time.
    """

    def __init__(
        self, request: Request, options: OpenAIOptions, slots: anyio.CapacityLimiter
    ) -> None:
        """Open nothing yet."""
        self._request = request
        self._options = options
        self._slots = slots
        self._url = transcriptions_url(options.base_url)
        self._max_bytes = request.max_bytes
        self._max_frames = float("inf")
        self._http = HttpClient(
            UrlPolicy.trusting(self._url),
            HttpLimits(
                connections=options.requests_at_once,
                connections_per_host=options.requests_at_once,
                connect_s=options.connect_s,
                read_s=options.timeout_s,
            ),
            ssl_context=options.ssl_context,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def hear(self, track: Pcm, piece: Piece) -> list[tuple[Piece, Heard]]:
        """
        Ask what is said in a piece.

        One that turns out to be more than the service takes, of which it may know more
        than is known here, is divided until it is not.

        Raises:
            TranscriptionError: If the service has no answer in the end.
        """
        refused: RefusalError | None = None
        async with self._slots:
            body = await anyio.to_thread.run_sync(self._body, track, piece)
            if body.length <= self._max_bytes and piece.frames <= self._max_frames:
                try:
                    return [(piece, await self._ask(body))]
                except FetchError as exc:
                    if not isinstance(exc, RefusalError) or not exc.too_much:
                        raise self._failed(exc) from exc
                    refused = exc
                # The other pieces need not be refused first.
                if refused.status == 413:
                    self._max_bytes = min(self._max_bytes, body.length - 1)
                else:
                    self._max_frames = min(self._max_frames, piece.frames - 1)
            del body
        halves = await anyio.to_thread.run_sync(
            piece.halves, track, anyio.from_thread.check_cancelled
        )
        if halves is None:
            if refused is not None:
                raise self._failed(refused) from refused
            msg = f"{piece.seconds:g} s of sound are more than one request may hold"
            raise TranscriptionError(msg, model=self._request.engine)
        return [one for half in halves for one in await self.hear(track, half)]

    def _failed(self, error: FetchError) -> TranscriptionError:
        has_key = "authorization" in self._request.headers
        return failure(error, model=self._request.engine, has_key=has_key)

    def _body(self, track: Pcm, piece: Piece) -> Body:
        file = encoded(
            piece.sounds(track),
            RATE,
            self._options.upload_format,
            check=anyio.from_thread.check_cancelled,
        )
        return form_with_file(self._request.fields, file)

    async def _ask(self, body: Body) -> Heard:
        limit_s = self._options.total_s
        with anyio.move_on_after(limit_s):
            patience = Patience(
                attempts=self._options.attempts,
                deadline=anyio.current_effective_deadline(),
            )
            return await patience.run(functools.partial(self._attempt, body))
        raise self._too_slow(limit_s)

    async def _attempt(self, body: Body) -> Heard:
        limit_s = self._options.timeout_s
        with anyio.move_on_after(limit_s):
            async with self._http.post(
                self._url, self._request.headers, body
            ) as answer:
                if not 200 <= answer.status < 300:
                    raise await refusal(answer, self._request.secrets)
                data = await answer.read(_MAX_ANSWER_BYTES)
            read = functools.partial(heard_in, data, plain=self._request.plain)
            try:
                return await anyio.to_thread.run_sync(read)
            except NoAnswerError as exc:
                # Where the end of an answer does not show, it may just be cut.
                raise BadResponseError(
                    str(exc), url=str(self._url), retryable=not answer.framed
                ) from None
        raise self._too_slow(limit_s)

    def _too_slow(self, limit_s: float) -> FetchTimeoutError:
        return FetchTimeoutError(
            f"it took longer than {limit_s:g} s",
            url=str(self._url),
            limit="total",
            limit_s=limit_s,
        )


def transcriptions_url(base_url: str) -> Url:
    """Give where to ask; a query stays at the end."""
    path, mark, query = base_url.partition("#")[0].partition("?")
    path = path.rstrip("/").removesuffix(_PATH)
    return parse_url(f"{path}{_PATH}{mark}{query}")


def longest_s(max_bytes: int, max_audio_s: float, kind: str) -> float:
    """Give how many seconds of sound may fit into one request: never more do."""
    if kind != "wav":
        return max_audio_s
    return min(max_audio_s, (max_bytes - _FORM_BYTES) / (2 * RATE))
