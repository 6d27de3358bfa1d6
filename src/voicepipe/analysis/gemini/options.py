"""How Gemini is to be asked."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import validators

from voicepipe.analysis.conversation import CONVERSATION_TYPES, OTHER
from voicepipe.net.headers import checked_headers
from voicepipe.net.urls import parse_url


CLEAN_WINDOW_CHARS = 24_000
"""
Characters of a transcript that are read, and written anew, in one call; ours.

Half an hour of talk. As tokens it is 6,000 in English, at most about 24,000 in scripts
with a token for each character: with the marks around each line well below the 65,536
that Gemini 2.5 can write.
"""

WINDOW_CHARS = 400_000
"""
The same where nothing is written anew, seven hours of talk; ours.

A million tokens, which is what Gemini 2.5 can read, would be more than twice as much.
"""

_positive: Any = validators.gt(0)

_LANGUAGE = re.compile(r"[A-Za-z][A-Za-z ()-]{1,39}")
_VERSION = re.compile(r"[A-Za-z0-9]{1,20}")


def _check_url(_: object, __: object, value: str) -> None:
    url = parse_url(value)
    if url.authorization is not None or "?" in value or "#" in value:
        raise ValueError("base_url must have no user, password, query or fragment")


def _check_headers(_: object, __: object, value: Mapping[str, str]) -> None:
    checked_headers(value)


def _check_types(_: object, __: object, value: tuple[str, ...]) -> None:
    if not value or any(not label.strip() for label in value):
        raise ValueError("conversation_types must be labels, at least one")


@attrs.frozen(kw_only=True)
class GeminiOptions:
    """
    What an analysis by Gemini is to hold, and what calls may take.

    Attributes:
        language: Language of summary and key points, as an ISO 639-1 code or an English
            name; ``None`` for that of the conversation. Clean lines stay in the
            language that was spoken.
        summary_sentences: Most sentences of the summary, 0 or more.
        key_points: Most key points, 0 or more.
        conversation_types: The labels to choose from; ``"other"`` is always one.
        clean: Whether the transcript is made readable too, a line for each segment. It
            is most of what is paid for: as much is written as was said.
        clean_change: Most of a line's words that may be left out, as a share, 0 to 1;
            half as many may be put in. Where more is changed the words of the
            transcript stand.
        window_chars: Characters of the transcript in one call, at least 1,000; ``None``
            for ``CLEAN_WINDOW_CHARS``, or ``WINDOW_CHARS`` without ``clean``.
        max_windows: Most calls that the transcript itself may take; a longer one is
            refused before anything is paid.
        temperature: 0 to 2, ``None`` for the model's own.
        max_output_tokens: Most tokens of one answer, thoughts included; ``None`` for
            what the model allows.
        thinking_budget: Most tokens of thoughts, 0 for none, -1 to let the model
            choose; ``None`` for the model's own.
        base_url: Where the service is, before the version. The caller's own and
            trusted: it may be http, lead to a private address and to any port.
        api_version: Which version of the API.
        headers: Sent with every request, such as a gateway's key; never shown.
        timeout_s: Longest time for one request, seconds.
        total_s: Longest time for one call with all attempts and waits, seconds. Where
            the service asks to wait longer than that, the error comes at once.
        connect_s: Longest wait for a connection, seconds.
        attempts: Requests for one call while the service gives no answer at all:
            overloaded, unreachable, too slow.
        calls_at_once: Calls at the same time, of all analyses together.
        ssl_context: Whom to trust; ``None`` for the certificates that come with httpx.

    Raises:
        InvalidUrlError: If the base URL is none.
        ValueError: If a number is out of its range, a label empty, or a header cannot
            be sent.
    """

    language: str | None = attrs.field(
        default=None,
        validator=validators.optional(validators.matches_re(_LANGUAGE)),
    )
    summary_sentences: int = attrs.field(default=5, validator=validators.ge(0))
    key_points: int = attrs.field(default=5, validator=validators.ge(0))
    conversation_types: tuple[str, ...] = attrs.field(
        default=(*CONVERSATION_TYPES, OTHER), converter=tuple, validator=_check_types
    )
    clean: bool = True
    clean_change: float = attrs.field(
        default=0.5, validator=[validators.ge(0.0), validators.le(1.0)]
    )
    window_chars: int | None = attrs.field(
        default=None, validator=validators.optional(validators.ge(1_000))
    )
    max_windows: int = attrs.field(default=64, validator=validators.ge(1))
    temperature: float | None = attrs.field(
        default=None,
        validator=validators.optional([validators.ge(0.0), validators.le(2.0)]),
    )
    max_output_tokens: int | None = attrs.field(
        default=None, validator=validators.optional(_positive)
    )
    thinking_budget: int | None = attrs.field(
        default=None, validator=validators.optional(validators.ge(-1))
    )
    base_url: str = attrs.field(
        default="https://generativelanguage.googleapis.com", validator=_check_url
    )
    api_version: str = attrs.field(
        default="v1beta", validator=validators.matches_re(_VERSION)
    )
    headers: Mapping[str, str] = attrs.field(
        factory=dict, repr=False, validator=_check_headers
    )
    timeout_s: float = attrs.field(default=300.0, validator=_positive)
    total_s: float = attrs.field(default=900.0, validator=_positive)
    connect_s: float = attrs.field(default=10.0, validator=_positive)
    attempts: int = attrs.field(default=4, validator=validators.ge(1))
    calls_at_once: int = attrs.field(default=4, validator=validators.ge(1))
    ssl_context: ssl.SSLContext | None = attrs.field(default=None, repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """The types to choose from, ``"other"`` at their end."""
        others = dict.fromkeys(t for t in self.conversation_types if t != OTHER)
        return (*others, OTHER)
