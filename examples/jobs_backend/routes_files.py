"""The routes of a job's files: sound, waveform, and the transcript's formats."""

from __future__ import annotations

import contextlib
import re
import stat
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Literal

import anyio
import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from jobs_json import clean_text
from problems import Refused, problems
from routes_jobs import JobId  # noqa: TC002 - FastAPI reads it
from settings import SETTINGS
from sound import waveform
from starlette.datastructures import Headers
from uploads import MEDIA_TYPES, PEAKS, SILENCED
from work import DECODE

from voicepipe import AudioError, JobNotFoundError


if TYPE_CHECKING:
    import os
    from pathlib import Path

    from backend import Backend
    from starlette.types import Message, Receive, Scope, Send

    from voicepipe import Job


router = APIRouter(prefix="/api/jobs/{job_id}", tags=["files"])

_FORMATS = {
    "txt": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "json": "application/json",
    "rttm": "text/plain; charset=utf-8",
}

# What a stranger has sent is shown as nothing but sound.
_SAFE = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cache-control": "private, no-cache",
}
_NO_FILE = "the recording is not there any more"


async def _recording(backend: Backend, job: Job) -> tuple[Path, os.stat_result]:
    """
    Give the sound that may be heard, and what the disk says of it.

    Raises:
        Refused: 404 if it is gone, 409 if it has not been silenced yet.
        JobNotFoundError: If the job is gone meanwhile.
    """
    ending = SILENCED if SETTINGS.redact else ""
    in_thread = anyio.to_thread.run_sync
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        path = await in_thread(backend.uploads.path, job.source, ending)
        facts = await in_thread(path.stat)
        if stat.S_ISREG(facts.st_mode):
            return path, facts
    await backend.head(job.id)
    if SETTINGS.redact and job.status != "done":
        raise Refused(409, "the recording can be heard when the job is done")
    raise Refused(404, _NO_FILE)


class Sound(FileResponse):
    """A file, whole or by ranges; what is not there of it is an error like any."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Send it.

        Raises:
            Refused: If the request's ``Range`` is none, or beyond the end; if the file
                is gone meanwhile.
        """
        held: list[Message] = []

        async def send_sound(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= HTTPStatus.BAD_REQUEST:
                    found = Headers(raw=message["headers"]).get("content-range")
                    headers = None if found is None else {"content-range": found}
                    raise Refused(status, "the recording has no such range", headers)
                # Until the file is open it can be gone; what is sent stays sent.
                held.append(message)
                return
            while held:
                await send(held.pop())
            await send(message)

        try:
            await super().__call__(scope, receive, send_sound)
        except FileNotFoundError as exc:
            raise Refused(404, _NO_FILE) from exc


@router.api_route(
    "/audio",
    methods=["GET"],
    response_class=FileResponse,
    responses={
        200: {"content": {"audio/*": {}}},
        206: {"content": {"audio/*": {}}},
        **problems(400, 404, 409, 416, 422),
    },
)
@router.head("/audio", include_in_schema=False)
async def audio(request: Request, job_id: JobId, *, download: bool = False) -> Response:
    """Give the recording, whole or by ranges; `download=true` as a file."""
    backend: Backend = request.state.backend
    job = await backend.head(job_id)
    path, facts = await _recording(backend, job)
    extension = path.suffix.removeprefix(".")
    return Sound(
        path,
        media_type=MEDIA_TYPES.get(extension, "application/octet-stream"),
        filename=f"{_stem(job)}.{extension}",
        content_disposition_type="attachment" if download else "inline",
        headers=_SAFE,
        stat_result=facts,
    )


@router.get("/waveform", responses=problems(404, 409, 422))
async def peaks(request: Request, job_id: JobId) -> Response:
    """
    Give what a picture of the sound needs.

    `peaks` has for each channel at most 2,000 values in [0, 1], of equal stretches.
    `truncated` and `damaged` tell whether the recording is.
    """
    backend: Backend = request.state.backend
    job = await backend.head(job_id)
    path, _ = await _recording(backend, job)
    target = backend.uploads.path(job.source, PEAKS)
    try:
        async with backend.decoding:
            data = await waveform(path, target, DECODE)
    except AudioError as exc:
        exc.source = None
        raise Refused(422, f"the recording cannot be decoded: {exc}") from exc
    except FileNotFoundError as exc:
        raise Refused(404, _NO_FILE) from exc
    try:
        await backend.head(job_id)
    except JobNotFoundError:
        # Deleted meanwhile: nothing of it may stay.
        await anyio.to_thread.run_sync(backend.uploads.delete, [job.source])
        raise
    headers = {"cache-control": "private, max-age=86400"}
    return Response(data, media_type="application/json", headers=headers)


@router.get(
    "/transcript",
    response_class=Response,
    responses={
        200: {"content": {kind.partition(";")[0]: {} for kind in _FORMATS.values()}},
        **problems(404, 409, 422),
    },
)
async def transcript(
    request: Request,
    job_id: JobId,
    *,
    form: Annotated[
        Literal["txt", "srt", "vtt", "json", "rttm"], Query(alias="format")
    ] = "txt",
    download: bool = False,
) -> Response:
    """
    Give the transcript in a format.

    `txt` is the clean transcript, as edited; the others are what was heard.
    """
    job = await request.state.backend.store.get(job_id)
    if job.transcript is None:
        raise Refused(409, "there is no transcript yet")
    text = await anyio.to_thread.run_sync(_written, job, form)
    kind = "attachment" if download else "inline"
    name = re.sub(r"[^\w. -]", "_", _stem(job), flags=re.ASCII)
    return Response(
        text,
        media_type=_FORMATS[form],
        headers={
            "content-disposition": f'{kind}; filename="{name}.{form}"',
            "x-content-type-options": "nosniff",
        },
    )


def _written(job: Job, form: str) -> str:
    found = job.transcript
    assert found is not None  # noqa: S101 - the caller has looked
    match form:
        case "srt":
            return found.to_srt()
        case "vtt":
            return found.to_vtt()
        case "json":
            return found.to_json()
        case "rttm":
            return found.to_rttm(f"job-{job.id}")
        case _:
            return clean_text(job) + "\n"


def _stem(job: Job) -> str:
    name = job.name or f"job-{job.id}"
    return name.rpartition(".")[0] or name
