"""
Fetch call audio by URL and store it as WAV, 16 kHz, mono, 16-bit.

``python main.py`` starts the service, and so does ``uvicorn main:app`` here.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import anyio.to_thread
from fastapi import FastAPI, Form, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from settings import SETTINGS

from voicepipe import (
    AudioError,
    BlockedUrlError,
    Downloader,
    FetchError,
    FetchTimeoutError,
    InvalidIdError,
    InvalidUrlError,
    Recording,
    TooLargeError,
    VoicepipeError,
    fetch_wav,
)
from voicepipe.servers.health import storage_facts
from voicepipe.servers.logs import setup_logging
from voicepipe.servers.protect import protect
from voicepipe.servers.retention import keep_for_days
from voicepipe.servers.run import ServeOptions, serve


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


_logger = logging.getLogger("training_downloader")

STORAGE = Path(SETTINGS.storage)
NAME = "voicepipe training-data downloader"
ROUTES = {
    "GET /": "this list",
    "GET /health": "whether files can be stored",
    "POST /download/single": "fetch one recording",
    "POST /download/dual": "fetch an agent's and a customer's recording",
    "GET /storage/info": "what is stored",
}

setup_logging(
    SETTINGS.log_dir,
    "audio_downloader.log",
    zone=SETTINGS.log_zone,
    secrets=[SETTINGS.server.api_key] if SETTINGS.server.api_key else [],
)


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Downloader]]:
    """Open what all requests share."""
    await anyio.to_thread.run_sync(make_storage)
    async with (
        Downloader(SETTINGS.downloads) as downloader,
        anyio.create_task_group() as group,
    ):
        group.start_soon(keep_for_days, STORAGE, SETTINGS.server.retention_days)
        yield {"downloader": downloader}
        group.cancel_scope.cancel()


api = FastAPI(
    title=NAME, version=importlib.metadata.version("voicepipe"), lifespan=lifespan
)


@api.get("/")
async def index() -> dict[str, Any]:
    """Tell what this is."""
    return {"service": NAME, "version": api.version, "routes": ROUTES}


@api.get("/health")
async def health() -> dict[str, Any]:
    """Tell whether files can be stored."""
    facts = await anyio.to_thread.run_sync(storage_facts, STORAGE)
    free = facts.free_bytes
    return {
        "status": "healthy" if facts.writable else "unhealthy",
        "storage_directory": SETTINGS.storage,
        "exists": facts.exists,
        "writable": facts.writable,
        "free_space_mb": None if free is None else megabytes(free),
    }


@api.post("/download/single")
async def download_single(
    request: Request,
    conversation_id: Annotated[str, Form()],
    audio_url: Annotated[str, Form()],
    speaker_label: Annotated[str, Form()] = "speaker",
) -> dict[str, Any]:
    """Fetch one recording."""
    stored = await store(request, conversation_id, audio_url, speaker_label)
    return {
        "status": "success",
        "conversation_id": conversation_id,
        "speaker_label": speaker_label,
        **stored,
    }


@api.post("/download/dual")
async def download_dual(
    request: Request,
    conversation_id: Annotated[str, Form()],
    audio_url_agent: Annotated[str, Form()],
    audio_url_customer: Annotated[str | None, Form()] = None,
) -> dict[str, Any]:
    """Fetch an agent's recording and, where there is one, the customer's."""
    wanted = {"agent": audio_url_agent}
    if audio_url_customer:
        wanted["customer"] = audio_url_customer
    downloads: dict[str, dict[str, Any]] = {}
    errors: dict[str, Exception] = {}

    async def fetch(speaker: str, url: str) -> None:
        try:
            stored = await store(request, conversation_id, url, speaker)
            downloads[speaker] = {"speaker": speaker, **stored, "status": "success"}
        except (VoicepipeError, OSError) as exc:
            errors[speaker] = exc
            _, detail = answer_of(exc)
            downloads[speaker] = {
                "speaker": speaker,
                "status": "error",
                "error": detail,
            }

    async with anyio.create_task_group() as group:
        for speaker, url in wanted.items():
            group.start_soon(fetch, speaker, url)
    if len(errors) == len(wanted):
        raise errors["agent"]
    return {
        "conversation_id": conversation_id,
        "status": "partial" if errors else "success",
        "total_files": len(wanted) - len(errors),
        "downloads": [downloads[speaker] for speaker in wanted],
    }


@api.get("/storage/info")
async def storage_info() -> dict[str, Any]:
    """Tell what is stored."""
    sizes = await anyio.to_thread.run_sync(stored_sizes)
    return {
        "storage_directory": SETTINGS.storage,
        "total_files": len(sizes),
        "total_size_mb": megabytes(sum(sizes.values())),
        "files": sorted(sizes),
    }


async def store(
    request: Request, conversation_id: str, url: str, speaker_label: str
) -> dict[str, Any]:
    """Fetch a recording into the storage folder."""
    recording = Recording(
        conversation_id=conversation_id, speaker_label=speaker_label, url=url.strip()
    )
    # Somebody may have tidied up.
    await anyio.to_thread.run_sync(make_storage)
    wav = await fetch_wav(request.state.downloader, recording, STORAGE)
    _logger.info(
        "stored %s: %.1f s, from %s",
        recording.filename,
        wav.file.duration,
        wav.source.url,
    )
    return {
        "filename": recording.filename,
        "filepath": f"{SETTINGS.storage.rstrip('/')}/{recording.filename}",
        "file_size_mb": megabytes(wav.size),
    }


def make_storage() -> None:
    """Make the folder, where it is missing."""
    STORAGE.mkdir(parents=True, exist_ok=True)


def stored_sizes() -> dict[str, int]:
    """Give the bytes of each stored file."""
    if not STORAGE.is_dir():
        return {}
    sizes = {}
    for path in STORAGE.glob("*.wav"):
        with contextlib.suppress(FileNotFoundError):
            sizes[path.name] = path.stat().st_size
    return sizes


def megabytes(size: int) -> float:
    """Give bytes in MB of 2^20, as the service always has."""
    return round(size / (1 << 20), 2)


def answer_of(error: Exception) -> tuple[int, str]:
    """Give the status and the text that an error is answered with."""
    wrong = (
        InvalidIdError,
        InvalidUrlError,
        BlockedUrlError,
        TooLargeError,
        AudioError,
    )
    if isinstance(error, wrong):
        return 400, str(error)
    if isinstance(error, FetchTimeoutError):
        return 504, str(error)
    if isinstance(error, FetchError):
        return 502, str(error)
    # Ours: paths and the like are for the log.
    reason = error.strerror if isinstance(error, OSError) else None
    return 500, f"the recording could not be stored: {reason or type(error).__name__}"


@api.exception_handler(VoicepipeError)
@api.exception_handler(OSError)
async def on_error(_: Request, error: Exception) -> JSONResponse:
    """Answer an error with what it means."""
    status, detail = answer_of(error)
    if status == 500:
        _logger.error("a request failed", exc_info=error)
    else:
        _logger.warning("a request failed: %s", detail)
    return JSONResponse({"detail": detail}, status)


@api.exception_handler(RequestValidationError)
async def on_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    """Answer a form that lacks something."""
    detail = "; ".join(
        f"{entry['loc'][-1]}: {entry['msg'].lower()}" for entry in error.errors()
    )
    return JSONResponse({"detail": detail}, 400)


app = protect(api, SETTINGS.server)


def main() -> int:
    """Run the service until it is told to stop."""
    parser = argparse.ArgumentParser(description=NAME)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    workers = parser.parse_args().workers
    return serve(
        app if workers == 1 else "main:app",
        SETTINGS.server,
        workers=workers,
        options=ServeOptions(several_workers=True),
    )


if __name__ == "__main__":
    sys.exit(main())
