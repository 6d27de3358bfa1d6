"""How a hosted engine is to be asked."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Literal

import attrs
from attrs import validators

from voicepipe.asr.openai.limits import ResponseFormat
from voicepipe.net.headers import checked_headers
from voicepipe.net.urls import parse_url, redact_url


_positive: Any = validators.gt(0)


def _check_url(_: object, __: object, value: str) -> None:
    parse_url(value)


def _check_headers(_: object, __: object, value: Mapping[str, str]) -> None:
    checked_headers(value)


@attrs.frozen(kw_only=True)
class OpenAIOptions:
    """
    Which service is asked, and how.

    Attributes:
        base_url: Where the service is, up to ``/v1``: ``/audio/transcriptions`` is put
            behind it. The caller's own and trusted: it may be http, lead to a private
            address and to any port. User and password in it are sent, a query stays at
            the end; none of them is shown.
        headers: Sent with every request, such as ``OpenAI-Project`` or Azure's
            ``api-key``; never shown.
        language: ISO 639-1 code of what is spoken, ``None`` to let the service find
            out, which it does for each piece.
        prompt: Names and words that are likely to come, sent with every piece.
        temperature: 0 to 1, ``None`` for the service's own.
        response_format: How the service is to answer, ``None`` for the best that the
            model can do as far as is known: ``"verbose_json"`` with the times of words
            for ``whisper-1`` and for models of others, ``"json"`` without any times for
            OpenAI's other models.
        word_times: Ask for the times of words where answers have times.
        max_request_bytes: Most bytes of one request, at least 128 KiB; ``None`` for the
            model's own limit, 25 MiB as far as is known.
        max_audio_s: Longest sound of one request, seconds; ``None`` for what OpenAI's
            models take: 1,400 s, less 10 s for rounding.
        untimed_s: The same where answers have no times, if less: a segment is then as
            long as what was said in the sound of one request.
        voice_activity: Send only what may be speech, with 0.4 s around it. What is sent
            costs money, and engines invent text where nobody speaks. The transcript's
            report is empty without it.
        upload_format: ``"flac"`` (lossless, about half the bytes) or ``"wav"``.
        timeout_s: Longest time for one request, seconds.
        total_s: Longest time for one piece with all attempts and waits, seconds. Where
            a service asks to wait longer than that, the error comes at once.
        connect_s: Longest wait for a connection, seconds.
        attempts: Requests for one piece, where a failure may be a passing one. Whoever
            runs the service may charge for one whose answer is lost.
        requests_at_once: Requests at the same time, of all calls together.
        ssl_context: Whom to trust; ``None`` for the certificates that come with httpx.

    Raises:
        InvalidUrlError: If the base URL is none.
        ValueError: If a number is out of its range, or a header cannot be sent.
    """

    base_url: str = attrs.field(
        default="https://api.openai.com/v1", repr=redact_url, validator=_check_url
    )
    headers: Mapping[str, str] = attrs.field(
        factory=dict, repr=False, validator=_check_headers
    )
    language: str | None = None
    prompt: str | None = None
    temperature: float | None = attrs.field(
        default=None,
        validator=validators.optional([validators.ge(0.0), validators.le(1.0)]),
    )
    response_format: ResponseFormat | None = attrs.field(
        default=None,
        validator=validators.optional(
            validators.in_(("json", "text", "verbose_json", "diarized_json"))
        ),
    )
    word_times: bool = True
    max_request_bytes: int | None = attrs.field(
        default=None, validator=validators.optional(validators.ge(1 << 17))
    )
    max_audio_s: float | None = attrs.field(
        default=None, validator=validators.optional(validators.ge(1.0))
    )
    untimed_s: float = attrs.field(default=30.0, validator=validators.ge(1.0))
    voice_activity: bool = True
    upload_format: Literal["flac", "wav"] = attrs.field(
        default="flac", validator=validators.in_(("flac", "wav"))
    )
    timeout_s: float = attrs.field(default=300.0, validator=_positive)
    total_s: float = attrs.field(default=900.0, validator=_positive)
    connect_s: float = attrs.field(default=10.0, validator=_positive)
    attempts: int = attrs.field(default=4, validator=validators.ge(1))
    requests_at_once: int = attrs.field(default=4, validator=validators.ge(1))
    ssl_context: ssl.SSLContext | None = attrs.field(default=None, repr=False)
