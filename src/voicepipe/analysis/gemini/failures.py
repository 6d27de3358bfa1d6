"""What it means when Gemini gives no answer, without anything secret in it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from voicepipe.analysis.gemini.texts import visible
from voicepipe.errors import (
    AnalysisError,
    BadResponseError,
    FetchError,
    HttpStatusError,
)


if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.net.answer import Answer


# So much of a refusal is read, and shown.
_MAX_BYTES = 1 << 16
_MAX_SHOWN = 300

# So many characters in a row tell that a message quotes what it was sent.
_QUOTED_CHARS = 16

# A key, whole, begun, or with its middle in stars; a token of OAuth.
_KEYLIKE = re.compile(r"\S*\*{3,}\S*|\bAIza[\w-]{4,}|\bya29\.[\w.-]+|(?i:bearer)\s+\S+")

# As google.protobuf.Duration is written in JSON.
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")


class RefusalError(HttpStatusError):
    """
    The service has refused a request.

    Attributes:
        said: Its own words, shortened, without keys and without what it was sent.
        bad_key: Whether it says that the key is none.
    """

    def __init__(self, error: HttpStatusError, *, said: str, bad_key: bool) -> None:
        """Keep what the service says."""
        super().__init__(
            f"the service answered with {error.status}" + (f": {said}" if said else ""),
            url=error.url,
            status=error.status,
            retry_after=error.retry_after,
        )
        self.said: str = said
        self.bad_key: bool = bad_key


class LostAnswerError(FetchError):
    """The service has answered, and its answer did not come: it may be paid for."""


async def refusal(answer: Answer, secrets: Sequence[str], sent: bytes) -> RefusalError:
    """
    Read why a service has refused.

    Args:
        answer: Its answer, which is no success.
        secrets: What must not be shown.
        sent: The request, of which the material must not be shown either.
    """
    try:
        body = await answer.read(_MAX_BYTES)
    except FetchError:
        # What it says of it is lost; that it has refused is not.
        body = b""
    error = answer.error()
    message, details = _message(body)
    if error.retry_after is None:
        error.retry_after = _retry_delay(details)
    return RefusalError(
        error,
        said=_shown(message, secrets, sent),
        bad_key="API_KEY_INVALID" in json.dumps(details),
    )


def _message(body: bytes) -> tuple[str, list[object]]:
    """Give the message and the details of a ``google.rpc.Status``."""
    text = body.decode("utf-8", "replace")
    try:
        data = json.loads(text)
        # Answers that would have been a stream are lists.
        data = data[0] if isinstance(data, list) and data else data
    except (ValueError, RecursionError):
        # Not a page: what is in it is about somebody's web server.
        return ("" if "<" in text[:200] else text), []
    error = data.get("error") if isinstance(data, dict) else None
    if not isinstance(error, dict):
        return (error if isinstance(error, str) else ""), []
    message, details = error.get("message"), error.get("details")
    return (
        message if isinstance(message, str) else "",
        details if isinstance(details, list) else [],
    )


def _retry_delay(details: Sequence[object]) -> float | None:
    """Read a ``google.rpc.RetryInfo``: Gemini asks to wait there, in no header."""
    for detail in details:
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        found = _SECONDS.fullmatch(delay) if isinstance(delay, str) else None
        if found:
            return float(found[1])
    return None


def _shown(message: str, secrets: Sequence[str], sent: bytes) -> str:
    text = message[: 4 * _MAX_SHOWN]
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "[redacted]")
    text = _KEYLIKE.sub("[redacted]", visible(text))
    if _quotes(text, sent):
        return "(its message quotes the request)"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _quotes(text: str, sent: bytes) -> bool:
    """Tell whether a message has a stretch of the request's material in it."""
    material = json.dumps(json.loads(sent).get("contents"))
    said = json.dumps(text)[1:-1]
    return any(
        said[at : at + _QUOTED_CHARS] in material
        for at in range(len(said) - _QUOTED_CHARS + 1)
    )


def failure(error: FetchError, *, model: str) -> AnalysisError:
    """
    Say what a call that got no answer means for who wants an analysis.

    Args:
        error: Why, in the end.
        model: The analyzer's name.
    """
    return AnalysisError(
        _sentence(error),
        model=model,
        retryable=error.retryable,
        reason="unavailable" if error.retryable else "refused",
    )


def _sentence(error: FetchError) -> str:
    if isinstance(error, RefusalError):
        return f"{_meaning(error)}; {error}"
    if isinstance(error, BadResponseError) and not error.retryable:
        return f"{error} (is base_url right?)"
    return f"the service cannot be reached: {error}"


def _meaning(error: RefusalError) -> str:
    if error.bad_key or error.status == 401:
        return "the API key is not accepted"
    meanings = {
        403: "the API key does not allow it",
        404: "no such service or model: are base_url and the model's name right?",
        413: "the question is too large; a smaller window_chars may help",
        429: "too many requests, or nothing is left of the quota",
    }
    otherwise = "the request is refused" if error.status < 500 else "the service failed"
    return meanings.get(error.status, otherwise)
