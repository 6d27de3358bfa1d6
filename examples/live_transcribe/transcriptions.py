"""
``POST /v1/audio/transcriptions``, as OpenAI's API has it: a file in, its text out.

https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

from __future__ import annotations

import json
import logging
import math
import zlib
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args

import anyio
import attrs
from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from openai_errors import openai_error
from settings import SETTINGS

from voicepipe import (
    AudioError,
    DecodeOptions,
    Pipeline,
    PipelineOptions,
    TranscriptionError,
    VoicepipeError,
)


if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine import Engine

    from voicepipe import Segment, Transcript


_logger = logging.getLogger("live_transcribe")

ResponseFormat: TypeAlias = Literal["json", "text", "srt", "verbose_json", "vtt"]
Granularity: TypeAlias = Literal["word", "segment"]

router = APIRouter(prefix="/v1", tags=["OpenAI"])

_OPTIONS = PipelineOptions(
    windows_at_once=1,
    decode=DecodeOptions(
        isolated=True,
        allow_truncated=True,
        allow_damaged=True,
        max_duration_s=SETTINGS.max_recording_s,
    ),
)

_RETRY_S = 5


@attrs.define
class _Queue:
    """How many files are transcribed or wait."""

    length: int = 0


queue = _Queue()


class Refused(Exception):  # noqa: N818 - an answer
    """
    A request that is answered with an error.

    Attributes:
        status: The HTTP status.
        body: The answer.
        headers: Added headers.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Keep them."""
        super().__init__(message)
        self.status: int = status
        self.body: dict[str, Any] = openai_error(
            status, message, param=param, code=code
        )
        self.headers: dict[str, str] | None = headers


@router.get("/models")
async def models(request: Request) -> dict[str, Any]:
    """List the only model."""
    name = request.state.engine.name
    model = {"id": name, "object": "model", "created": 0, "owned_by": "voicepipe"}
    return {"object": "list", "data": [model]}


@router.post("/audio/transcriptions", response_model=None)
async def transcriptions(
    request: Request,
    file: Annotated[UploadFile, File(description="the recording")],
    *,
    response_format: Annotated[str, Form()] = "json",
    granularities: Annotated[
        list[str] | None, Form(alias="timestamp_granularities[]")
    ] = None,
    stream: Annotated[bool, Form()] = False,
) -> Response:
    """
    Transcribe a file.

    ``model``, ``language``, ``prompt`` and ``temperature`` may be there and change
    nothing: which model hears, and in which language, the server's settings say.
    """
    wanted = _format(response_format)
    details = _granularities(granularities or [], wanted)
    transcript = await _transcribed(request, file)
    if transcript is None:
        return Response(status_code=499)  # nobody is there to read it
    if stream:
        return StreamingResponse(_events(transcript), media_type="text/event-stream")
    return _answered(transcript, wanted, details)


def _answered(
    transcript: Transcript, wanted: ResponseFormat, details: set[str]
) -> Response:
    match wanted:
        case "json":
            usage = {"type": "duration", "seconds": math.ceil(transcript.duration)}
            return JSONResponse({"text": _text(transcript), "usage": usage})
        case "verbose_json":
            return JSONResponse(_verbose(transcript, details))
        case "text":
            return PlainTextResponse(_text(transcript) + "\n")
        case "srt":
            return PlainTextResponse(transcript.to_srt())
        case "vtt":
            return PlainTextResponse(transcript.to_vtt(), media_type="text/vtt")


def _format(text: str) -> ResponseFormat:
    known: tuple[ResponseFormat, ...] = get_args(ResponseFormat)
    for name in known:
        if name == text:
            return name
    said = f"response_format must be one of {', '.join(known)}"
    raise Refused(400, said, param="response_format", code="unsupported_value")


def _granularities(wanted: list[str], kind: ResponseFormat) -> set[str]:
    param = "timestamp_granularities"
    if wanted and kind != "verbose_json":
        raise Refused(400, f"{param} wants response_format verbose_json", param=param)
    if not set(wanted) <= set(get_args(Granularity)):
        raise Refused(400, f"{param} must be word or segment", param=param)
    return set(wanted) or {"segment"}


async def _transcribed(request: Request, file: UploadFile) -> Transcript | None:
    """Transcribe a file; ``None`` if the client does not wait for it."""
    if queue.length >= SETTINGS.max_waiting:
        busy = f"{queue.length} files are transcribed or wait, which is the limit"
        raise Refused(429, busy, headers={"retry-after": str(_RETRY_S)})
    queue.length += 1
    found: list[Transcript | Exception] = []
    try:
        async with anyio.create_task_group() as group:

            async def work() -> None:
                try:
                    found.append(await _heard(request.state.engine, file))
                except (VoicepipeError, OSError) as exc:
                    found.append(exc)
                group.cancel_scope.cancel()

            group.start_soon(work)
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()
    finally:
        queue.length -= 1
    for outcome in found:
        if isinstance(outcome, Exception):
            raise refusal_of(outcome) from outcome
        return outcome
    return None


async def _heard(engine: Engine, file: UploadFile) -> Transcript:
    """Decode a file, half a minute ahead of the engine, and transcribe it."""
    name = (file.filename or "file")[:200]
    run = await Pipeline(engine, options=_OPTIONS).run(file.file, name=name)
    transcript = run.transcript
    segments = (attrs.evolve(one, speaker=None) for one in transcript.segments)
    return attrs.evolve(transcript, segments=tuple(segments))


def refusal_of(error: Exception) -> Refused:
    """Give what an error is answered with."""
    if isinstance(error, AudioError):
        return Refused(400, str(error), param="file", code="invalid_audio")
    _logger.error("a file could not be transcribed", exc_info=error)
    if isinstance(error, TranscriptionError) and error.retryable:
        headers = {"retry-after": str(_RETRY_S)}
        return Refused(503, "the engine has failed; try again later", headers=headers)
    # OpenAI's clients try again by themselves, unless they are told.
    return Refused(500, "the engine has failed", headers={"x-should-retry": "false"})


def _text(transcript: Transcript) -> str:
    return " ".join(" ".join(s.text.split()) for s in transcript.segments)


def _verbose(transcript: Transcript, details: set[str]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "task": "transcribe",
        "language": transcript.language or "unknown",
        "duration": round(transcript.duration, 3),
        "text": _text(transcript),
        "usage": {"type": "duration", "seconds": math.ceil(transcript.duration)},
    }
    if "word" in details:
        answer["words"] = [
            {"word": w.text, "start": round(w.start, 3), "end": round(w.end, 3)}
            for segment in transcript.segments
            for w in segment.words
        ]
    if "segment" in details:
        answer["segments"] = [_segment(segment) for segment in transcript.segments]
    return answer


def _segment(segment: Segment) -> dict[str, Any]:
    """
    Give a segment as OpenAI has it.

    Of what is Whisper's own and not known here, there is the value of no concern.
    """
    text = segment.text.encode()
    known = [w.probability for w in segment.words if w.probability]
    logprobs = [math.log(probability) for probability in known]
    return {
        "id": segment.id,
        "seek": round(segment.start * 100),
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": sum(logprobs) / len(logprobs) if logprobs else 0.0,
        "compression_ratio": len(text) / len(zlib.compress(text)) if text else 0.0,
        "no_speech_prob": 0.0,
    }


def _events(transcript: Transcript) -> Iterator[str]:
    """Give the text as a stream of events: all of it is known when it begins."""
    space = ""
    for segment in transcript.segments:
        yield _event("delta", delta=space + " ".join(segment.text.split()))
        space = " "
    yield _event("done", text=_text(transcript))


def _event(kind: str, **more: str) -> str:
    return f"data: {json.dumps({'type': f'transcript.text.{kind}', **more})}\n\n"
