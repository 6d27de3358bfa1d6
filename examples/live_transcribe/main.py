"""
Words while they are said: live transcription in the browser, and of files.

``python main.py`` starts the service, and so does ``uvicorn main:app`` here.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from engine import Engine
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from line import metrics, places
from live_socket import live_socket
from openai_errors import PREFIX, OpenAIErrors, openai_error
from settings import SETTINGS
from starlette.exceptions import HTTPException
from transcriptions import Refused, queue, router

from voicepipe import IsolatedDecoders
from voicepipe.servers.bodies import BodyRules
from voicepipe.servers.logs import setup_logging
from voicepipe.servers.metrics import CONTENT_TYPE
from voicepipe.servers.protect import AppRules, protect
from voicepipe.servers.run import ServeOptions, serve


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voicepipe import DecoderFactory
    from voicepipe.servers.asgi import Receive, Scope, Send


NAME = "voicepipe live transcription"
STATIC = Path(__file__).parent / "static"

# A form's own text, besides the file in it.
FORM_BYTES = 64 << 10

# The page needs nothing from elsewhere, and nobody may put it into theirs.
PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "permissions-policy": "microphone=(self)",
    "referrer-policy": "no-referrer",
}

setup_logging(
    None,
    "",
    zone="UTC",
    secrets=[
        s for s in (SETTINGS.server.api_key, SETTINGS.transcriber.openai_key) if s
    ],
)
# It tells of each decode, and live text wants one every second.
logging.getLogger("faster_whisper").setLevel(logging.WARNING)


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Engine | DecoderFactory]]:
    """Open what all clients share."""
    async with Engine.open(SETTINGS.transcriber) as engine:
        metrics.gauge("waiting_files", "Files at work or waiting", lambda: queue.length)
        metrics.gauge(
            "degraded", "Whether an engine stands in", lambda: engine.opened.degraded
        )
        decoders = IsolatedDecoders()
        try:
            yield {"engine": engine, "decoders": decoders}
        finally:
            await anyio.to_thread.run_sync(decoders.close)


api = FastAPI(
    title=NAME,
    version=importlib.metadata.version("voicepipe"),
    description="Sound comes in by WebSocket at `/ws`, files by OpenAI's API.",
    lifespan=lifespan,
)
api.mount("/static", StaticFiles(directory=STATIC), "static")
api.include_router(router)


@api.get("/", include_in_schema=False)
async def index() -> FileResponse:
    """Give the page."""
    return FileResponse(STATIC / "index.html", headers=PAGE_HEADERS)


@api.get("/health")
async def health(request: Request) -> dict[str, Any]:
    """Tell how many clients there are, and which engine hears."""
    opened = request.state.engine.opened
    return {
        "status": "starting" if opened.loading else "healthy",
        "active_connections": places.connections,
        "recordings": places.recordings,
        "max_recordings": SETTINGS.max_sessions,
        "waiting_files": queue.length,
        "engine": request.state.engine.name,
        "degraded": opened.degraded,
    }


@api.get("/metrics", include_in_schema=False)
async def prometheus() -> Response:
    """Give the numbers for Prometheus."""
    return Response(metrics.text(), media_type=CONTENT_TYPE)


@api.exception_handler(Refused)
async def on_refused(_: Request, refused: Refused) -> JSONResponse:
    """Answer a request that is not done."""
    return JSONResponse(refused.body, refused.status, refused.headers)


@api.exception_handler(RequestValidationError)
async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """Answer a form that lacks something."""
    first = error.errors()[0]
    param = str(first["loc"][-1])
    said = f"{param}: {first['msg'].lower()}"
    if request.url.path.startswith(PREFIX):
        return JSONResponse(openai_error(400, said, param=param), 400)
    return JSONResponse({"error": said}, 422)


@api.exception_handler(HTTPException)
async def on_http(_: Request, error: HTTPException) -> JSONResponse:
    """Answer what the framework refuses, such as an unknown path."""
    headers = None if error.headers is None else dict(error.headers)
    return JSONResponse({"error": str(error.detail)}, error.status_code, headers)


@api.exception_handler(Exception)
async def on_error(_: Request, __: Exception) -> JSONResponse:
    """Answer what is our fault; the server logs it."""
    return JSONResponse({"error": "Internal error"}, 500)


async def both(scope: Scope, receive: Receive, send: Send) -> None:
    """Take WebSockets past FastAPI, whose layers cost something for each message."""
    if scope["type"] == "websocket":
        await live_socket(scope, receive, send)
    else:
        await api(scope, receive, send)


app = OpenAIErrors(
    protect(
        both,
        SETTINGS.server,
        AppRules(
            error_key="error",
            open_prefixes=("/static/",),
            body=BodyRules(
                max_bytes=SETTINGS.max_upload_bytes + FORM_BYTES, min_rate=100_000
            ),
        ),
    )
)


def main() -> int:
    """Run the service until it is told to stop."""
    return serve(
        app,
        SETTINGS.server,
        options=ServeOptions(
            max_connections=SETTINGS.max_connections + 1_000,
            ws_max_bytes=SETTINGS.max_message_bytes,
            ws_memory_bytes=SETTINGS.memory_bytes,
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
