"""What a service's refusals mean, without anything secret in them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from voicepipe.asr.openai.redaction import without
from voicepipe.errors import (
    BadResponseError,
    FetchError,
    HttpStatusError,
    TooLargeError,
    TranscriptionError,
)


if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.net.answer import Answer


# So much of a refusal is read, and shown.
_MAX_BYTES = 1 << 16
_MAX_SHOWN = 300

# A key, whole or with its middle in stars, as OpenAI quotes it: "sk-ab***yz".
_KEYLIKE = re.compile(
    r"\S*\*{3,}\S*|\b(?:sk|gsk|pk|key)[-_][\w*-]{8,}|(?i:bearer)\s+\S+"
)

_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

# "audio duration 2158.5 seconds is longer than 1400 seconds which is the maximum for
# this model", OpenAI's refusal of what would have to be cut.
_TOO_LONG = re.compile(r"longer than [\d.]+ ?s(?:econds)?\b|too long\b", re.IGNORECASE)

# No money, and so none at the next attempt: OpenAI's codes.
_NO_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")


class RefusalError(HttpStatusError):
    """
    A service has refused a request.

    Attributes:
        said: The service's own words, shortened and without keys; ``""`` without any.
        too_much: Whether less sound may be taken.
    """

    def __init__(
        self, error: HttpStatusError, *, said: str, lasting: bool, too_much: bool
    ) -> None:
        """Keep what the service says."""
        super().__init__(
            f"the service answered with {error.status}" + (f": {said}" if said else ""),
            url=error.url,
            status=error.status,
            retry_after=error.retry_after,
        )
        self.said: str = said
        self.too_much: bool = too_much
        self.retryable: bool = self.retryable and not lasting


async def refusal(answer: Answer, secrets: Sequence[str]) -> RefusalError:
    """
    Read why a service has refused.

    Args:
        answer: Its answer, which is no success.
        secrets: What must not be shown.
    """
    try:
        body = await answer.read(_MAX_BYTES)
    except FetchError:
        # What it says of it is lost; that it has refused is not.
        body = b""
    message, code = _message(body)
    said = _shown(message, secrets)
    no_quota = answer.status == 429 and any(name in code for name in _NO_QUOTA)
    too_long = answer.status in {400, 422} and _TOO_LONG.search(message) is not None
    return RefusalError(
        answer.error(),
        said=said,
        lasting=no_quota or answer.header("x-should-retry") == "false",
        too_much=answer.status == 413 or too_long,
    )


def _message(body: bytes) -> tuple[str, str]:
    """Give a service's message and its codes: OpenAI's form, or one of the others."""
    text = body.decode("utf-8", "replace")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        # Not a page: what is in it is about somebody's web server.
        return ("" if "<" in text[:200] else text), ""
    code = ""
    for name in ("error", "detail", "message"):
        inner = data.get(name) if isinstance(data, dict) else None
        if isinstance(inner, dict):
            code = f"{inner.get('type')} {inner.get('code')}"
            inner = inner.get("message")
        if isinstance(inner, list):
            inner = json.dumps(inner)
        if isinstance(inner, str) and inner:
            return inner, code
    return "", code


def _shown(message: str, secrets: Sequence[str]) -> str:
    text = without(message, secrets)
    text = _KEYLIKE.sub("[redacted]", _UNPRINTABLE.sub(" ", text))
    text = " ".join(text.split())
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def failure(error: FetchError, *, model: str, has_key: bool) -> TranscriptionError:
    """
    Say what a request that failed means for who wants a transcript.

    Args:
        error: Why it failed, in the end.
        model: The engine's name.
        has_key: Whether a key was sent.
    """
    return TranscriptionError(
        _sentence(error, has_key=has_key), model=model, retryable=error.retryable
    )


def _sentence(error: FetchError, *, has_key: bool) -> str:
    if isinstance(error, RefusalError):
        return f"{_meaning(error, has_key=has_key)}; {error}"
    if isinstance(error, BadResponseError):
        return f"{error} (is base_url right?)" if not error.retryable else str(error)
    if isinstance(error, TooLargeError):
        return f"{error} is no transcript"
    return f"the service cannot be reached: {error}"


def _meaning(error: RefusalError, *, has_key: bool) -> str:
    nothing_there = "no such service or model: are base_url and the model's name right?"
    meanings = {
        401: "the API key is not accepted" if has_key else "an API key is wanted",
        403: "the API key does not allow it",
        404: nothing_there,
        405: nothing_there,
        413: "even a piece of two seconds is too much",
        429: "too many requests" if error.retryable else "nothing is left to pay with",
    }
    otherwise = "the request is refused" if error.status < 500 else "the service failed"
    return meanings.get(error.status, otherwise)
