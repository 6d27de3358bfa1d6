"""
What a capture server says, read as values.

Its messages are JSON objects; fields that are not known are left alone. Nothing in them
is trusted: numbers are counted and texts are shown short, without control characters.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal, TypeAlias

import attrs


CLOSE_SESSION = '{"type": "control", "action": "close_session"}'
"""What a client says to complete its session."""

# An id goes into a path: UUIDs, and what else needs no quoting there.
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)

_LONGEST_TEXT = 200
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\uffff]+")


@attrs.frozen(kw_only=True)
class Taken:
    """
    How much of a session the server has: its first message, and each acknowledgement.

    Attributes:
        session_id: The session's id.
        chunk_count: Chunks that it has taken.
        bytes_received: Bytes that it has taken.
        message: In its words.
    """

    session_id: str
    chunk_count: int
    bytes_received: int
    message: str


@attrs.frozen(kw_only=True)
class Failed(Taken):
    """
    A chunk that was not taken; the counts are those without it.

    Attributes:
        error: Why, in a word; empty where the server does not say.
    """

    error: str


@attrs.frozen(kw_only=True)
class Completed(Taken):
    """The session is over."""

    duration_s: float | None
    file_path: str | None
    reason: str


@attrs.frozen(kw_only=True)
class Complaint:
    """
    Something that the server does not like, and may close the connection for.

    Attributes:
        error: What it says.
        expected: With a gap: bytes that it has.
    """

    error: str
    expected: int | None = None


ServerMessage: TypeAlias = Taken | Failed | Completed | Complaint


def read_message(text: str) -> ServerMessage | None:
    """
    Read one message.

    Returns:
        ``None`` for what says nothing that is known.

    Raises:
        ValueError: If it says something known in a form that is not; the message does
            not quote it.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("the server's message is not JSON") from None
    if not isinstance(fields, dict):
        raise ValueError("the server's message is no JSON object")  # noqa: TRY004
    status = fields.get("status")
    if status in ("active", "error", "completed"):
        return _report(fields, status)
    if isinstance(fields.get("error"), str):
        return _complaint(fields)
    return None


def check_session_id(value: Any) -> str:
    """
    Give an id that can stand in a path.

    Raises:
        ValueError: If it cannot.
    """
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("a session's id must be of letters, digits, '-' and '_'")
    return value


def shown(value: Any) -> str:
    """Give a server's text such that it can be shown: short, without line breaks."""
    text = value if isinstance(value, str) else ""
    text = _UNPRINTABLE.sub(" ", text).strip()
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def _report(
    fields: dict[str, Any], status: Literal["active", "error", "completed"]
) -> Taken | Failed | Completed:
    common: dict[str, Any] = {
        "session_id": check_session_id(fields.get("session_id")),
        "chunk_count": _count(fields, "chunk_count"),
        "bytes_received": _count(fields, "bytes_received"),
        "message": shown(fields.get("message")),
    }
    if status == "active":
        return Taken(**common)
    if status == "error":
        detail = shown(fields.get("detail"))
        if detail:
            common["message"] = detail
        return Failed(**common, error=shown(fields.get("error")))
    path = fields.get("file_path")
    return Completed(
        **common,
        duration_s=_seconds(fields.get("duration_seconds")),
        file_path=path if isinstance(path, str) else None,
        reason=shown(fields.get("reason")) or "closed",
    )


def _complaint(fields: dict[str, Any]) -> Complaint:
    error = shown(fields["error"])
    valid = fields.get("valid_values")
    if isinstance(valid, list):
        error = shown(f"{error} (valid: {', '.join(map(str, valid))})")
    expected = fields.get("expected_offset")
    known = isinstance(expected, int) and not isinstance(expected, bool)
    return Complaint(error=error, expected=expected if known else None)


def _count(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        msg = f"the server's message has no {name}"
        raise ValueError(msg)
    return value


def _seconds(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    # No number of JSON is too large for an integer; some are for a float.
    return float(value) if 0 <= value < 1e12 else None
