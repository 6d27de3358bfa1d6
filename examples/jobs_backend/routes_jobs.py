"""The routes of jobs themselves."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
import anyio.to_thread
from backend import Backend, metrics
from edits import Edits  # noqa: TC002 - FastAPI reads it
from events import MAX_LISTENERS, stream
from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from form import receive_file
from jobs_json import JobHead, JobJson, described, head
from problems import NO_JOB, Refused, problems
from redacting import allowed_text
from settings import SETTINGS
from sound import check_sound
from work import DECODE

from voicepipe import JobNotFoundError, JobStateError


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from uploads import Part, Stored

    from voicepipe import Job


router = APIRouter(prefix="/api", tags=["jobs"])

PAGE_SIZE = 1_000
_BIGGEST = 2**53
_STREAM_PAGE = 20
_KEY_CHARS = frozenset(string.printable) - frozenset(string.whitespace) | {" "}

JobId = Annotated[int, Path(ge=0, le=_BIGGEST)]
EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
}
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "the recording, with its name",
                        }
                    },
                }
            }
        },
    }
}

uploaded = metrics.count("uploads", "Recordings that were taken")
uploaded_bytes = metrics.count("uploaded_bytes", "Bytes of them")


@router.post(
    "/jobs",
    status_code=201,
    response_model=JobJson,
    responses={200: {"model": JobJson}, **problems(400, 408, 413, 415, 422, 507)},
    openapi_extra=_FORM,
)
async def upload(
    request: Request,
    *,
    run: bool = False,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """
    Take a recording: a form with a `file`.

    With `run=true` it is worked on at once. A request that is said again with the same
    `Idempotency-Key` and the same file gets the job of the first one, with 200.
    """
    backend: Backend = request.state.backend
    if idempotency_key is not None and not (
        0 < len(idempotency_key) <= 255 and _KEY_CHARS.issuperset(idempotency_key)
    ):
        raise Refused(400, "an Idempotency-Key has 1 to 255 printable characters")
    in_thread = anyio.to_thread.run_sync
    part = await in_thread(backend.uploads.new)
    found: list[tuple[Job, bool]] = []
    try:
        filename = await receive_file(
            request, part, SETTINGS.extensions, SETTINGS.max_upload_bytes
        )
        filename = allowed_text(filename)
        extension = await check_sound(part.path, DECODE)
        # In one piece: once there is a job, its file has to stay.
        with anyio.CancelScope(shield=True):
            stored = backend.uploads.stored(await in_thread(part.name_it, extension))
            found.append(
                await _added(backend, part, stored, filename, key=idempotency_key)
            )
    finally:
        with anyio.CancelScope(shield=True):
            await in_thread(part.__exit__)
    job, new = found[0]
    if run and job.status == "uploaded":
        job = await _queued(backend, job)
    return await _answer(job, 201 if new else 200)


async def _added(
    backend: Backend, part: Part, stored: Stored, filename: str, *, key: str | None
) -> tuple[Job, bool]:
    """Give the job of an upload, and whether it is a new one."""
    job = await backend.store.add(
        stored.source, queue=False, name=filename or None, key=key
    )
    if job.source == stored.source:
        await anyio.to_thread.run_sync(part.keep)
        uploaded.value += 1
        uploaded_bytes.value += part.size
        return job, True
    if backend.uploads.known(job.source).digest != part.digest:
        raise Refused(422, "this Idempotency-Key was used for another file")
    # Where the first answer of the database was lost, the recording went with it.
    await anyio.to_thread.run_sync(backend.uploads.stand_in, job.source, part)
    return job, False


async def _queued(backend: Backend, job: Job) -> Job:
    """Have a job worked on; if another request was faster, that is as well."""
    try:
        job = await backend.store.queue(job.id)
    except JobStateError:
        return await backend.store.get(job.id)
    backend.wake()
    return job


@router.get(
    "/jobs", response_model=list[JobJson] | list[JobHead], responses=problems(422)
)
async def list_jobs(
    request: Request,
    *,
    status: Literal["uploaded", "processing", "done", "error"] | None = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_SIZE)] = PAGE_SIZE,
    before: Annotated[int | None, Query(ge=0, le=_BIGGEST)] = None,
    results: bool = True,
) -> Response:
    """
    List jobs, the newest first.

    `before` is the id of the last job of the page before; where there may be more, the
    answer has a `Link` header to them. `results=false` leaves out what is long.
    """
    backend: Backend = request.state.backend
    found = await backend.store.list(
        status=status, limit=limit, before=before, results=False
    )
    headers = {}
    if len(found) == limit:
        url = request.url.include_query_params(before=found[-1].id)
        query = url.remove_query_params("token").query
        headers["link"] = f'<{url.path}?{query}>; rel="next"'
    if not results:
        return JSONResponse([head(job) for job in found], headers=headers)
    texts = _whole(backend, [job.id for job in found], status)
    return StreamingResponse(texts, media_type="application/json", headers=headers)


async def _whole(
    backend: Backend, job_ids: list[int], status: Any
) -> AsyncIterator[bytes]:
    """Give jobs with their results as a JSON array, a few at a time: they are long."""
    yield b"["
    separator, at = b"", 0
    while at < len(job_ids):
        page = await backend.store.list(
            status=status, limit=_STREAM_PAGE, before=job_ids[at] + 1
        )
        page = tuple(job for job in page if job.id >= job_ids[-1])
        if not page:
            break
        for job in page:
            yield separator + await anyio.to_thread.run_sync(_text, job)
            separator = b","
        while at < len(job_ids) and job_ids[at] >= page[-1].id:
            at += 1
    yield b"]"


def _text(job: Job) -> bytes:
    text = json.dumps(described(job), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


@router.delete("/jobs", responses=problems(422))
async def delete_jobs(request: Request, *, files: bool = False) -> dict[str, int]:
    """Delete all jobs, and with `files=true` their recordings too."""
    backend: Backend = request.state.backend
    deleted = 0
    async for page in backend.all_jobs():
        sources = [job.source for job in page] if files else []
        deleted += await backend.delete([job.id for job in page], sources)
    return {"deleted": deleted}


@router.get("/jobs/{job_id}", response_model=JobJson, responses=problems(404))
async def get_job(request: Request, job_id: JobId) -> Response:
    """Give a job."""
    return await _answer(await request.state.backend.store.get(job_id))


async def _answer(job: Job, status: int = 200) -> Response:
    # In a thread to its last byte: six hours of words are some megabytes.
    data = await anyio.to_thread.run_sync(_text, job)
    return Response(data, status, media_type="application/json")


@router.put(
    "/jobs/{job_id}",
    response_model=JobJson,
    responses=problems(400, 404, 409, 413, 422),
)
async def edit_job(request: Request, job_id: JobId, edits: Edits) -> Response:
    """
    Put right what a job says: any of the fields; what else is sent is not looked at.

    The job's next run replaces what was written here.
    """
    store = request.state.backend.store
    job = await store.get(job_id)
    changes = await anyio.to_thread.run_sync(edits.changes, job)
    # Also without any: a job that is being processed is not edited.
    return await _answer(await store.update(job_id, changes))


@router.delete("/jobs/{job_id}", responses=problems(404))
async def delete_job(request: Request, job_id: JobId) -> dict[str, int]:
    """Delete a job, its recording and all that was made of it."""
    backend: Backend = request.state.backend
    job = await backend.head(job_id)
    deleted = await backend.delete([job_id], [job.source])
    if not deleted:
        raise Refused(404, NO_JOB)
    return {"deleted": deleted}


@router.post(
    "/jobs/{job_id}/run",
    status_code=202,
    response_model=JobJson,
    responses={200: {"model": JobJson}, **problems(404, 409, 422, 503)},
)
async def run_job(request: Request, job_id: JobId, *, wait: bool = False) -> Response:
    """
    Have a job worked on, also again; with `wait=true` answer when it has ended.

    Whether it is then `done` or `error`, the job says.
    """
    backend: Backend = request.state.backend
    job = await backend.store.queue(job_id)
    backend.wake()
    if not wait:
        return await _answer(job, 202)
    ended = await _ended_or_left(request, backend, job_id)
    if ended is None:
        raise Refused(503, "the server stops; the job goes on when it is back")
    return await _answer(ended)


async def _ended_or_left(request: Request, backend: Backend, job_id: int) -> Job | None:
    """Wait for a job's end, but for nobody who has hung up."""
    found: list[Job | None] = [None]
    missing: list[JobNotFoundError] = []
    async with anyio.create_task_group() as group:

        async def wait() -> None:
            try:
                found[0] = await backend.ended(job_id)
            except JobNotFoundError as exc:
                missing.append(exc)
            group.cancel_scope.cancel()

        group.start_soon(wait)
        while (await request.receive())["type"] != "http.disconnect":
            pass
        group.cancel_scope.cancel()
    if missing:
        raise missing[0]
    return found[0]


@router.post(
    "/jobs/{job_id}/cancel", response_model=JobJson, responses=problems(404, 409)
)
async def cancel_job(request: Request, job_id: JobId) -> Response:
    """Stop working on a job; it ends in `error`, and can be run again."""
    backend: Backend = request.state.backend
    job = await backend.store.cancel(job_id)
    backend.wake()
    return await _answer(job)


@router.get("/events", response_class=StreamingResponse, responses=EVENT_STREAM)
async def all_events(
    request: Request, last_event_id: Annotated[str | None, Header()] = None
) -> Response:
    """
    Tell of every change, as server-sent events.

    `event: job` has a job without results, `event: deleted` its id. To miss nothing,
    listen first and ask for the list then.
    """
    return _events(request.state.backend, None, last_event_id)


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={**EVENT_STREAM, **problems(404, 503)},
)
async def job_events(
    request: Request,
    job_id: JobId,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Tell how a job is now, and of every change of it."""
    backend: Backend = request.state.backend
    del last_event_id  # it begins with how the job is
    await backend.head(job_id)
    return _events(backend, job_id, None)


def _events(backend: Backend, job_id: int | None, cursor: str | None) -> Response:
    if len(backend.changes) >= MAX_LISTENERS:
        raise Refused(503, f"{MAX_LISTENERS} listen already", {"retry-after": "5"})
    return StreamingResponse(
        stream(backend.changes, job_id, cursor or ""),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )
