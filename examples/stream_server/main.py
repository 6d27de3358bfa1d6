"""
Live audio in chunks over a WebSocket; one WAV file per session out.

``python main.py`` starts the service, and so does ``uvicorn main:app`` here.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
import anyio.to_thread
from audio_socket import audio_socket, metrics
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from replies import described
from settings import SETTINGS

from voicepipe import (
    CaptureStore,
    DiskFullError,
    SessionBusyError,
    SessionNotFoundError,
    VoicepipeError,
)
from voicepipe.servers.health import storage_facts
from voicepipe.servers.logs import setup_logging
from voicepipe.servers.metrics import CONTENT_TYPE
from voicepipe.servers.protect import AppRules, protect
from voicepipe.servers.run import ServeOptions, serve


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voicepipe import SessionInfo
    from voicepipe.servers.asgi import Receive, Scope, Send


_logger = logging.getLogger("stream_server")

NAME = "voicepipe streaming server"
STATIC = Path(__file__).parent / "static"
PAGE_SIZE = 1_000
RETENTION_EVERY_S = 3_600.0

# The page needs nothing from elsewhere, and nobody may put it into theirs.
CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; media-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)

setup_logging(
    None,
    "",
    zone="UTC",
    secrets=[SETTINGS.server.api_key] if SETTINGS.server.api_key else [],
)


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, CaptureStore]]:
    """Open the sessions' store, and at the end park what is being recorded."""
    async with (
        CaptureStore(SETTINGS.storage, SETTINGS.capture) as store,
        anyio.create_task_group() as group,
    ):
        metrics.gauge("sessions", "Active sessions", lambda: store.active)
        metrics.gauge(
            "pending_bytes",
            "Acknowledged bytes that are not in their WAV files yet",
            lambda: store.pending_bytes,
        )
        group.start_soon(keep_for_days, store, SETTINGS.server.retention_days)
        yield {"store": store}
        group.cancel_scope.cancel()


async def keep_for_days(store: CaptureStore, days: float) -> None:
    """Delete sessions that nobody has written for so many days, now and every hour."""
    while days > 0:
        try:
            await delete_older(store, days)
        except (VoicepipeError, OSError):
            _logger.exception("old sessions could not be looked for")
        await anyio.sleep(RETENTION_EVERY_S)


async def delete_older(store: CaptureStore, days: float) -> None:
    """Delete those sessions; one that cannot be deleted stays, and is logged."""
    oldest = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
    old = [info async for info in all_sessions(store) if info.updated_at < oldest]
    deleted, errors = 0, list[Exception]()
    for info in old:
        try:
            await store.delete(info.session_id)
            deleted += 1
        except (SessionNotFoundError, SessionBusyError):
            pass
        except (VoicepipeError, OSError) as exc:
            errors.append(exc)
    if deleted:
        _logger.info("deleted %d sessions older than %g days", deleted, days)
    if errors:
        # A disk that may only be read would else fill the log, with each of thousands.
        said = "%d of %d old sessions could not be deleted, one as follows"
        _logger.error(said, len(errors), len(old), exc_info=errors[0])


async def all_sessions(store: CaptureStore) -> AsyncIterator[SessionInfo]:
    """Give all sessions that are not active, page by page."""
    page = await store.list(limit=PAGE_SIZE)
    while page:
        for info in page:
            if info.status != "active":
                yield info
        page = await store.list(limit=PAGE_SIZE, before=page[-1].session_id)


api = FastAPI(
    title=NAME,
    version=importlib.metadata.version("voicepipe"),
    description="Sound comes in by WebSocket at `/api/ws/audio`; see AsyncAPI file.",
    lifespan=lifespan,
)
api.mount("/static", StaticFiles(directory=STATIC), "static")


@api.get("/", include_in_schema=False)
async def index() -> FileResponse:
    """Give the page."""
    return FileResponse(
        STATIC / "index.html", headers={"content-security-policy": CONTENT_SECURITY}
    )


@api.get("/health")
async def health(request: Request) -> dict[str, Any]:
    """Tell whether sessions can be recorded, and how many are."""
    facts = await anyio.to_thread.run_sync(storage_facts, SETTINGS.storage)
    free = facts.free_bytes
    return {
        "status": "healthy" if facts.writable else "unhealthy",
        "open_sessions": request.state.store.active,
        "max_sessions": SETTINGS.capture.max_sessions,
        "writable": facts.writable,
        "free_space_mb": None if free is None else round(free / (1 << 20), 2),
    }


@api.get("/metrics", include_in_schema=False)
async def prometheus() -> Response:
    """Give the numbers for Prometheus."""
    return Response(metrics.text(), media_type=CONTENT_TYPE)


@api.get("/api/audio/sessions")
async def list_sessions(
    request: Request,
    response: Response,
    *,
    limit: Annotated[int, Query(ge=1, le=PAGE_SIZE)] = PAGE_SIZE,
    before: Annotated[str | None, Query(max_length=64)] = None,
    status: Literal["active", "interrupted", "completed"] | None = None,
    user_id: Annotated[str | None, Query(max_length=256)] = None,
) -> list[dict[str, Any]]:
    """
    List sessions, the newest first.

    ``before`` is the last session of the page before; where there may be more, the
    answer has a ``Link`` header to them.
    """
    found = await request.state.store.list(
        limit=limit, before=before, status=status, user_id=user_id
    )
    if len(found) == limit:
        url = request.url.include_query_params(before=found[-1].session_id)
        query = url.remove_query_params("token").query
        response.headers["link"] = f'<{url.path}?{query}>; rel="next"'
    return [described(info) for info in found]


@api.get("/api/audio/sessions/{session_id}")
async def session_info(request: Request, session_id: str) -> dict[str, Any]:
    """Tell about a session."""
    return described(await request.state.store.info(session_id))


@api.post("/api/audio/sessions/{session_id}/close")
async def close_session(request: Request, session_id: str) -> dict[str, Any]:
    """Complete a session; again is harmless."""
    info = await request.state.store.close_session(session_id)
    return {"success": True, **described(info)}


@api.api_route("/api/audio/sessions/{session_id}/audio", methods=["GET", "HEAD"])
async def session_audio(
    request: Request, session_id: str, *, download: bool = False
) -> Response:
    """Give a recording that is not being written, whole or by ranges."""
    info = await request.state.store.info(session_id)
    if info.status == "active":
        return JSONResponse(
            {"error": "Session is active", "session_id": session_id}, 409
        )
    if not await anyio.Path(info.path).is_file():
        raise SessionNotFoundError(
            "the session has no file", session_id=info.session_id
        )
    return FileResponse(
        info.path,
        media_type="audio/wav",
        filename=info.path.name,
        content_disposition_type="attachment" if download else "inline",
    )


@api.exception_handler(SessionNotFoundError)
async def on_unknown(request: Request, _: Exception) -> JSONResponse:
    """Answer for a session that is not there."""
    session_id = request.path_params.get("session_id")
    wanted = session_id or request.query_params.get("before", "")
    return JSONResponse({"error": "Session not found", "session_id": wanted}, 404)


@api.exception_handler(RequestValidationError)
async def on_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    """Answer a parameter that is wrong."""
    said = "; ".join(
        f"{entry['loc'][-1]}: {entry['msg'].lower()}" for entry in error.errors()
    )
    return JSONResponse({"error": said}, 422)


@api.exception_handler(VoicepipeError)
@api.exception_handler(OSError)
async def on_error(_: Request, error: Exception) -> JSONResponse:
    """Answer what is our fault; paths and the like are for the log."""
    _logger.error("a request failed", exc_info=error)
    full = isinstance(error, DiskFullError)
    return JSONResponse({"error": "no space left" if full else "Internal error"}, 500)


async def both(scope: Scope, receive: Receive, send: Send) -> None:
    """Take WebSockets past FastAPI, whose layers cost something for each message."""
    if scope["type"] == "websocket":
        await audio_socket(scope, receive, send)
    else:
        await api(scope, receive, send)


app = protect(
    both,
    SETTINGS.server,
    AppRules(error_key="error", open_prefixes=("/static/",)),
)


def main() -> int:
    """Run the service until it is told to stop."""
    return serve(
        app,
        SETTINGS.server,
        options=ServeOptions(
            max_connections=SETTINGS.max_connections,
            ws_max_bytes=SETTINGS.max_message_bytes,
            ws_memory_bytes=SETTINGS.memory_bytes,
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
