"""
A server that plays the Gemini API, strictly, and the model behind it.

The model is honest: it quotes what it was given. Told otherwise it says what it is
told, however wrong, so that what is believed of it can be checked.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
from upload_server import UploadExchange, UploadServer


if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_server import Exchange


Json: TypeAlias = dict[str, Any]

KEY = "AIzaSyB4f7Qx2mVt9Lb31ZsR8kWnP0cD6eG5hJ2"
MODEL = "gemini-2.5-flash"
PATH = f"/v1beta/models/{MODEL}:generateContent"

_FENCED = re.compile(
    r"<<<(?P<kind>window|points) (?P<nonce>[0-9a-f]{32})\n"
    r"(?P<material>.*)\n"
    r"(?P=kind) (?P=nonce)>>>\n",
    re.DOTALL,
)
_SAID = re.compile(r"\[(\d+)\] (?:(Speaker\d\d): )?(.*)")
_NOTED = re.compile(r"\[(\d+(?:, \d+)*)\] (.+)|Part \d+ of \d+")

_CONFIG = {
    "maxOutputTokens",
    "responseJsonSchema",
    "responseMimeType",
    "temperature",
    "thinkingConfig",
}


@attrs.frozen(kw_only=True)
class Asked:
    """
    One question.

    Attributes:
        kind: ``"window"`` or ``"points"``.
        nonce: Of the fence.
        lines: The material.
        ids: The segments that may be cited.
        clean: Whether clean lines are wanted.
        body: All that was sent.
        headers: With their names in lower case.
    """

    kind: str
    nonce: str
    lines: tuple[str, ...]
    ids: tuple[int, ...]
    clean: bool
    body: Json
    headers: dict[str, str]


class RefusedError(Exception):
    """The request is not as the API wants it."""

    def __init__(self, status: int, message: str, code: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details


class GeminiService(UploadServer):
    """
    The API, on a port of its own.

    Attributes:
        asked: The questions that it took, in the order in which they came.
        paid: Answers that somebody would have to pay for: all with status 200.
        model: What answers a question, as the object of the schema or as text.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked: list[Asked] = []
        self.paid = 0
        self.model: Callable[[Asked], Json | str] = honest
        self.base = self.url("")
        self.answers()

    def answers(self, *first: Callable[[Exchange], None]) -> None:
        """Say how it answers at first; then as it should."""
        self.on(PATH, *first, self.generate)

    def generate(self, exchange: Exchange) -> None:
        """Answer as Gemini would."""
        try:
            asked = self.question(exchange)
        except RefusedError as exc:
            error: Json = {
                "code": exc.status,
                "message": str(exc),
                "status": exc.code,
                "details": [exc.details] if exc.details else [],
            }
            send(exchange, exc.status, json.dumps({"error": error}).encode())
            return
        said = self.model(asked)
        text = said if isinstance(said, str) else json.dumps(said)
        self.pay(exchange, json.dumps(response(text, asked)).encode())

    def question(self, exchange: Exchange) -> Asked:
        """Read a request; refuse what the API would."""
        assert isinstance(exchange, UploadExchange)
        body = exchange.take()
        headers = dict(exchange.seen.headers)
        exchange.uploaded.body = b""
        if headers.get("x-goog-api-key") != KEY:
            raise RefusedError(
                400,
                "API key not valid. Please pass a valid API key.",
                "INVALID_ARGUMENT",
                reason="API_KEY_INVALID",
            )
        asked = _understood(json.loads(body), headers)
        self.asked.append(asked)
        return asked

    def pay(self, exchange: Exchange, body: bytes, *headers: str) -> None:
        """Give an answer that is paid for."""
        self.paid += 1
        send(exchange, 200, body, *headers)


def send(exchange: Exchange, status: int, body: bytes, *headers: str) -> None:
    """Send JSON."""
    exchange.stay = True
    length = f"Content-Length: {len(body)}"
    exchange.head(status, "Content-Type: application/json", length, *headers)
    exchange.body(body)


def response(text: str, asked: Asked | None = None, **candidate: Any) -> Json:
    """Give a ``GenerateContentResponse`` with a text."""
    sent = len("\n".join(asked.lines)) if asked else 0
    return {
        "candidates": [
            {
                "content": {"parts": [{"text": text}], "role": "model"},
                "finishReason": "STOP",
                "index": 0,
                **candidate,
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 100 + sent // 4,
            "candidatesTokenCount": len(text) // 4,
            "thoughtsTokenCount": 7,
            "totalTokenCount": 107 + (sent + len(text)) // 4,
        },
        "modelVersion": MODEL,
        "responseId": "4f7Qx2mVt9",
    }


def honest(asked: Asked) -> Json:
    """Quote what was said, and leave its hesitations out."""
    said: dict[int, str] = {}
    for line in asked.lines:
        found = (_SAID if asked.kind == "window" else _NOTED).fullmatch(line)
        if found and found[1]:
            ids = [int(one) for one in found[1].split(", ")]
            said[ids[0]] = f"{said.get(ids[0], '')} {found[found.lastindex]}".strip()
    points = [{"text": text, "segment_ids": [at]} for at, text in said.items() if text]
    text = " ".join(said.values()).lower()
    answer: Json = {
        "conversation_type": "order" if "order" in text else "other",
        "language": "en",
        "summary": points[:3],
        "key_points": points[-2:],
    }
    if asked.clean:
        answer["clean_lines"] = [
            {"id": at, "text": re.sub(r"(?i)\b(um|uh),? ?", "", said[at])}
            for at in said
        ]
    return answer


def _understood(body: Json, headers: dict[str, str]) -> Asked:
    if unknown := set(body) - {"contents", "systemInstruction", "generationConfig"}:
        # No tools, above all.
        raise _invalid(f"Unknown names: {sorted(unknown)}")
    config = body["generationConfig"]
    if unknown := set(config) - _CONFIG:
        raise _invalid(f"Unknown names in generation_config: {sorted(unknown)}")
    if config["responseMimeType"] != "application/json":
        raise _invalid("response_mime_type must be application/json")
    schema = config["responseJsonSchema"]
    if set(schema) != {"type", "properties", "required", "propertyOrdering"}:
        raise _invalid("response_json_schema is none")
    [content] = body["contents"]
    [part] = content["parts"]
    if content["role"] != "user" or set(part) != {"text"}:
        raise _invalid("contents must be one text")
    found = _FENCED.fullmatch(part["text"])
    if not found:
        raise _invalid("the material stands in no fence")
    lines = tuple(found["material"].split("\n"))
    return Asked(
        kind=found["kind"],
        nonce=found["nonce"],
        lines=lines,
        ids=tuple(_ids(found["kind"], lines)),
        clean="clean_lines" in schema["properties"],
        body=body,
        headers=headers,
    )


def _ids(kind: str, lines: tuple[str, ...]) -> list[int]:
    """Find the ids; a line that is none would be the fence's fault."""
    ids: list[int] = []
    for line in lines:
        found = (_SAID if kind == "window" else _NOTED).fullmatch(line)
        if not found or "<<" in line or ">>" in line or not _is_seen(line):
            raise _invalid(f"a line is out of its form: {line[:200]!r}")
        ids += [int(one) for one in (found[1] or "").split(", ") if one]
    return ids


def _is_seen(line: str) -> bool:
    return line.replace("\u200c", "").replace("\u200d", "").isprintable()


def _invalid(message: str) -> RefusedError:
    return RefusedError(400, message, "INVALID_ARGUMENT")
