"""
Conversations as jobs: a recording in; transcript, speakers and meaning out.

``python main.py`` starts the service, and so does ``uvicorn main:app`` here.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from backend import Backend, metrics
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from form import OTHER_BYTES
from problems import Refused, on_error, on_http, on_invalid, on_job, on_refused
from routes_files import router as files
from routes_jobs import router as jobs
from settings import SETTINGS
from starlette.exceptions import HTTPException
from work import EXIT_S

from voicepipe import JobError, SqlJobStore, StoreError, VoicepipeError
from voicepipe.servers.bodies import BodyLimit, BodyRules
from voicepipe.servers.health import storage_facts
from voicepipe.servers.logs import setup_logging
from voicepipe.servers.metrics import CONTENT_TYPE
from voicepipe.servers.protect import AppRules, protect
from voicepipe.servers.run import ServeOptions, serve


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voicepipe.servers.asgi import Receive, Scope, Send


NAME = "voicepipe jobs"
STATIC = Path(__file__).parent / "static"

# The largest body of a request that brings no recording.
BODY_BYTES = 16 << 20

# The page needs nothing from elsewhere, and nobody may put it into theirs.
PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; media-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

setup_logging(
    None,
    "",
    zone="UTC",
    level="DEBUG" if SETTINGS.debug else "INFO",
    secrets=SETTINGS.secrets,
)
for chatty in ("faster_whisper", "python_multipart"):
    logging.getLogger(chatty).setLevel(logging.WARNING)


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Backend]]:
    """Open what all requests share."""
    SETTINGS.make_folders()
    async with Backend.open() as backend:
        metrics.gauge("working", "Jobs worked on here", lambda: backend.working)
        metrics.gauge("listeners", "Streams of events", lambda: len(backend.changes))
        metrics.gauge(
            "degraded",
            "Whether an engine stands in",
            lambda: backend.engines is not None and backend.engines.opened.degraded,
        )
        yield {"backend": backend}


api = FastAPI(
    title=NAME,
    version=importlib.metadata.version("voicepipe"),
    description="A recording comes in as a job; `run` has it transcribed and read.",
    lifespan=lifespan,
)
api.mount("/static", StaticFiles(directory=STATIC, check_dir=False), "static")
api.include_router(jobs)
api.include_router(files)


@api.get("/", include_in_schema=False)
async def index() -> FileResponse:
    """Give the page."""
    return FileResponse(STATIC / "index.html", headers=PAGE_HEADERS)


@api.get("/health", tags=["service"])
async def health(request: Request) -> dict[str, Any]:
    """Tell whether jobs are taken, and what works on them."""
    backend: Backend = request.state.backend
    engines = backend.engines
    facts = await anyio.to_thread.run_sync(storage_facts, SETTINGS.uploads)
    free = facts.free_bytes
    try:
        processing: int | None = await backend.processing()
    except StoreError:
        processing = None
    status = "healthy"
    if engines is not None and engines.opened.loading:
        status = "starting"
    if processing is None or not facts.writable:
        status = "unhealthy"
    return {
        "status": status,
        "transcriber": None if engines is None else engines.transcriber_name,
        "analyzer": None if engines is None else str(SETTINGS.analyzer.engine),
        "diarizer": None if engines is None else SETTINGS.diarizer.name,
        "degraded": engines is not None and engines.opened.degraded,
        "worker": "external" if engines is None else "embedded",
        "jobs": {"processing": processing, "working": backend.working},
        "redact": SETTINGS.redact,
        "extensions": SETTINGS.extensions,
        "max_upload_bytes": SETTINGS.max_upload_bytes,
        "free_space_mb": None if free is None else round(free / (1 << 20), 2),
    }


@api.get("/metrics", include_in_schema=False)
async def prometheus() -> Response:
    """Give the numbers for Prometheus."""
    return Response(metrics.text(), media_type=CONTENT_TYPE)


api.exception_handler(Refused)(on_refused)
api.exception_handler(RequestValidationError)(on_invalid)
api.exception_handler(HTTPException)(on_http)
api.exception_handler(JobError)(on_job)
api.exception_handler(VoicepipeError)(on_error)
api.exception_handler(OSError)(on_error)
api.exception_handler(Exception)(on_error)


_small = BodyLimit(
    api, BodyRules(max_bytes=BODY_BYTES, timeout_s=SETTINGS.body_s), error_key="error"
)


async def both(scope: Scope, receive: Receive, send: Send) -> None:
    """Let only uploads be large."""
    upload = scope["type"] == "http" and scope["method"] == "POST"
    if upload and scope["path"] == "/api/jobs":
        await api(scope, receive, send)
    else:
        await _small(scope, receive, send)


app = protect(
    both,
    SETTINGS.server,
    AppRules(
        error_key="error",
        open_prefixes=("/static/",),
        body=BodyRules(
            max_bytes=SETTINGS.max_upload_bytes + OTHER_BYTES,
            timeout_s=SETTINGS.body_s,
            min_rate=100_000,
        ),
    ),
)


async def check() -> None:
    """
    See whether there is a database that is ours.

    Raises:
        StoreError: If there is none.
    """
    async with SqlJobStore(SETTINGS.database):
        pass


def main() -> int:
    """Run the service until it is told to stop."""
    try:
        SETTINGS.make_folders()
        anyio.run(check)
    except (VoicepipeError, OSError, ValueError) as exc:
        sys.stderr.write(f"not started: {exc}\n")
        return 2
    return serve(app, SETTINGS.server, options=ServeOptions(grace_s=4, exit_s=EXIT_S))


if __name__ == "__main__":
    sys.exit(main())
