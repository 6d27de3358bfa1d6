"""What holds of a model's answer: nothing is believed that is not checked here."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs

from voicepipe.analysis.gemini.texts import visible
from voicepipe.types import Point


if TYPE_CHECKING:
    from collections.abc import Iterator


MAX_ANSWER_BYTES = 1 << 20
"""Bytes of the largest answer that is read; ours. A window's own is a tenth of it."""

MAX_POINT_CHARS = 600
"""Characters of one sentence or key point; ours. What is longer is cut."""

_MAX_LINE_CHARS = 1 << 16

# Levels of the service's own answer and of ours together are less than ten.
_MAX_DEPTH = 32

_LANGUAGE = re.compile(r"([a-z]{2})(?:[-_][A-Za-z0-9]{1,8})*")

# Finish reasons of the SDK's types, 3.4; what is not among them makes the answer none.
_FINISHED = frozenset({None, "STOP", "FINISH_REASON_UNSPECIFIED"})
_TOO_LONG = frozenset({"MAX_TOKENS", "CONTINUATION"})
_FILTERED = frozenset(
    {"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"}
    | {"ESCALATION", "PUP_LIMITED_DISABLED", "MODEL_ARMOR"}
)

Fault = Literal["blocked", "cut", "malformed"]
"""The filters stopped it; it did not come to its end; it is not what was asked for."""


@attrs.frozen(kw_only=True)
class Usage:
    """Tokens of one call, as the service counts them."""

    input_tokens: int = 0
    output_tokens: int = 0


class UnusableAnswerError(ValueError):
    """
    An answer holds nothing that can be believed; the message never quotes it.

    Attributes:
        fault: What is wrong with it.
        lasting: Whether the same question will have no better answer.
        usage: What it has cost.
    """

    def __init__(
        self,
        message: str,
        *,
        fault: Fault = "malformed",
        lasting: bool = False,
        usage: Usage | None = None,
    ) -> None:
        """Keep what is wrong."""
        super().__init__(message)
        self.fault: Fault = fault
        self.lasting: bool = lasting
        self.usage: Usage = usage or Usage()


@attrs.frozen(kw_only=True)
class Found:
    """
    What one answer says.

    Attributes:
        conversation_type: One of the labels.
        language: ISO 639-1 code, ``None`` where it cannot be told.
        summary: Points that cite what is there.
        key_points: The same.
        clean: Rewritten lines by the ids of their segments, not yet compared.
        dropped: Points that cited nothing real, or said nothing.
    """

    conversation_type: str
    language: str | None = None
    summary: tuple[Point, ...] = ()
    key_points: tuple[Point, ...] = ()
    clean: Mapping[int, str] = attrs.field(factory=dict)
    dropped: int = 0

    @property
    def points(self) -> tuple[Point, ...]:
        """Summary and key points."""
        return (*self.summary, *self.key_points)

    def to_json(self) -> str:
        """Write it as an answer that ``found_in`` reads."""

        def rows(points: Sequence[Point]) -> list[object]:
            return [
                {"text": p.text, "segment_ids": list(p.segment_ids)} for p in points
            ]

        lines = [{"id": at, "text": text} for at, text in self.clean.items()]
        return json.dumps(
            {
                "conversation_type": self.conversation_type,
                "language": self.language or "und",
                "summary": rows(self.summary),
                "key_points": rows(self.key_points),
                "clean_lines": lines,
                "dropped": self.dropped,
            }
        )


@attrs.frozen(kw_only=True)
class Wanted:
    """
    What an answer may hold.

    Attributes:
        ids: Segments that it may cite.
        labels: Types to choose from; what is none of them is the last one.
        summary: Most sentences.
        key_points: Most key points.
        clean: Whether clean lines must be there.
    """

    ids: Collection[int]
    labels: Sequence[str]
    summary: int
    key_points: int
    clean: bool


def answer_in(body: bytes, wanted: Wanted) -> tuple[Found, Usage]:
    """
    Read the service's answer to a question, and what it has cost.

    Raises:
        UnusableAnswerError: If there is nothing in it that can be believed.
    """
    text, usage = text_in(body)
    try:
        return found_in(text, wanted), usage
    except UnusableAnswerError as exc:
        exc.usage = usage
        raise


def text_in(body: bytes) -> tuple[str, Usage]:
    """
    Give the text of a ``GenerateContentResponse``, and what it has cost.

    Raises:
        UnusableAnswerError: If there is none that came to its end.
    """
    if body[:200].lstrip().startswith(b"<"):
        msg = "the answer is a web page; is base_url right?"
        raise UnusableAnswerError(msg, lasting=True)
    data = _parsed(body.decode("utf-8", "replace"))
    usage = _usage(data.get("usageMetadata"))
    feedback = data.get("promptFeedback")
    reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
    if reason is not None:
        msg = f"the service's filters stopped the question ({_shown(reason)})"
        raise UnusableAnswerError(msg, fault="blocked", lasting=True, usage=usage)
    candidates = _list(data.get("candidates"))
    candidate = candidates[0] if candidates else None
    if not isinstance(candidate, dict):
        raise UnusableAnswerError("the service gave no candidate", usage=usage)
    _check_finish(candidate.get("finishReason"), usage)
    content = candidate.get("content")
    parts = _list(content.get("parts") if isinstance(content, dict) else None)
    text = "".join(_said(parts, usage))
    if not text.strip():
        raise UnusableAnswerError("the service gave an empty answer", usage=usage)
    return text, usage


def _check_finish(value: object, usage: Usage) -> None:
    reason = value if isinstance(value, str | None) else ""
    if reason in _FINISHED:
        return
    if reason in _TOO_LONG:
        msg = "the answer was cut at the most tokens that are allowed"
        raise UnusableAnswerError(msg, fault="cut", usage=usage)
    if reason in _FILTERED:
        msg = f"the service's filters stopped the answer ({reason})"
        raise UnusableAnswerError(msg, fault="blocked", usage=usage)
    msg = f"the model did not come to an end ({_shown(reason)})"
    raise UnusableAnswerError(msg, usage=usage)


def _said(parts: Sequence[object], usage: Usage) -> Iterator[str]:
    for part in parts:
        if not isinstance(part, dict) or "functionCall" in part:
            msg = "the model called a function, and there is none"
            raise UnusableAnswerError(msg, usage=usage)
        text = part.get("text", "")
        if not isinstance(text, str):
            raise UnusableAnswerError("a part has a text that is none", usage=usage)
        if part.get("thought") is not True:
            yield text


def found_in(text: str, wanted: Wanted, *, kept: bool = False) -> Found:
    """
    Read what a model was asked for.

    Fields that were not asked for are passed over. What cites nothing real, or says
    nothing, is dropped and counted; what is too much is left out. Texts stay as they
    are, whatever they look like, but for unprintable characters and what is too long.

    Args:
        text: The model's answer, or what ``Found.to_json`` wrote.
        wanted: What may be in it.
        kept: Whether ``Found.to_json`` wrote it: it knows what was dropped before.

    Raises:
        UnusableAnswerError: If it is not JSON, or a field is missing or of another
            type.
    """
    data = _parsed(text)
    ids = frozenset(wanted.ids)
    dropped = data.get("dropped") if kept else 0
    summary, lost = _points(data.get("summary"), ids)
    key_points, lost_too = _points(data.get("key_points"), ids)
    label = _text(data.get("conversation_type"))
    language = _LANGUAGE.fullmatch(_text(data.get("language")))
    return Found(
        conversation_type=label if label in wanted.labels else wanted.labels[-1],
        language=language[1] if language else None,
        summary=summary[: wanted.summary],
        key_points=key_points[: wanted.key_points],
        clean=_lines(data.get("clean_lines"), ids) if wanted.clean else {},
        dropped=lost + lost_too + (dropped if type(dropped) is int else 0),
    )


def _points(value: object, ids: frozenset[int]) -> tuple[tuple[Point, ...], int]:
    points: list[Point] = []
    rows = _rows(value)
    for row in rows:
        text = visible(_text(row.get("text")), MAX_POINT_CHARS)
        cited = _list(row.get("segment_ids"), wanted=True)
        if any(type(one) is not int for one in cited):
            raise UnusableAnswerError("an id is no whole number")
        real = tuple(
            dict.fromkeys(one for one in cited if isinstance(one, int) and one in ids)
        )
        if text and real:
            points.append(Point(text=text, segment_ids=real))
    return tuple(points), len(rows) - len(points)


def _lines(value: object, ids: frozenset[int]) -> dict[int, str]:
    lines: dict[int, str] = {}
    twice: set[int] = set()
    for row in _rows(value):
        at, text = row.get("id"), _text(row.get("text"))
        if type(at) is not int:
            raise UnusableAnswerError("an id is no whole number")
        if at in lines:
            twice.add(at)
        if at in ids and len(text) <= _MAX_LINE_CHARS:
            lines[at] = visible(text, _MAX_LINE_CHARS)
    # Nobody knows which one is meant.
    return {at: text for at, text in lines.items() if at not in twice}


def _parsed(text: str) -> dict[str, Any]:
    """Read a JSON object: no value twice, no NaN, no depth, no number without end."""
    if len(text) > MAX_ANSWER_BYTES:
        raise UnusableAnswerError("the answer is too long")
    if _is_deep(text):
        raise UnusableAnswerError("the answer is too deep")
    try:
        data = json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse, parse_float=_number
        )
    except (ValueError, RecursionError):
        # Not as its cause: the parser's error holds the whole text.
        data = None
    if not isinstance(data, dict):
        raise UnusableAnswerError("the answer is no JSON object, or one that is cut")
    return data


# A text that is not closed ends with everything: no place is looked at twice.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|([\[{])|([\]}])', re.DOTALL)


def _is_deep(text: str) -> bool:
    """Tell whether brackets are nested too deep, those in texts not counted."""
    depth = 0
    for found in _BRACKETS.finditer(text):
        if found[1]:
            depth += 1
            if depth > _MAX_DEPTH:
                return True
        elif found[2]:
            depth -= 1
    return False


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    data = dict(pairs)
    if len(data) < len(pairs):
        raise ValueError("a field is there twice")
    return data


def _refuse(name: str) -> object:
    msg = f"{name} is no number"
    raise ValueError(msg)


def _number(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        raise ValueError("a number is too large")
    return value


def _usage(value: object) -> Usage:
    def count(name: str) -> int:
        number = value.get(name) if isinstance(value, dict) else None
        return number if type(number) is int and 0 <= number < 1 << 40 else 0

    return Usage(
        input_tokens=count("promptTokenCount"),
        output_tokens=count("candidatesTokenCount") + count("thoughtsTokenCount"),
    )


def _list(value: object, *, wanted: bool = False) -> list[object]:
    if isinstance(value, list):
        return value
    if wanted:
        raise UnusableAnswerError("a list is missing")
    return []


def _rows(value: object) -> list[dict[str, object]]:
    rows = [row for row in _list(value, wanted=True) if isinstance(row, dict)]
    if isinstance(value, list) and len(rows) < len(value):
        raise UnusableAnswerError("a list holds what does not belong there")
    return rows


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise UnusableAnswerError("a text is missing")
    return value


def _shown(value: object) -> str:
    """Give a name of the service's, if it is one."""
    if isinstance(value, str) and re.fullmatch("[A-Z_]{1,40}", value):
        return value
    return "no known reason"
