"""
Transcribes recordings of one folder over HTTP.

    RECORDINGS=/srv/calls uvicorn fastapi_app:app
    curl -X POST localhost:8000/calls/monday.mp3
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import fastapi
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from voicepipe import (
    AudioError,
    ChannelDiarizer,
    ExtractiveAnalyzer,
    JobNotFoundError,
    Pipeline,
    PocketSphinxTranscriber,
    SqlJobStore,
    VoicepipeError,
)


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


RECORDINGS = Path(os.environ.get("RECORDINGS", "recordings"))

# A name, not a path: what could lead out of the folder does not match.
Name = Annotated[str, fastapi.Path(pattern=r"^[\w-]+\.(flac|m4a|mp3|ogg|wav)$")]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Make the store and the pipeline once, for as long as the server runs."""
    engine = PocketSphinxTranscriber()
    async with SqlJobStore(RECORDINGS / "jobs.db") as store:
        diarizer = ChannelDiarizer()
        pipeline = Pipeline(engine, ExtractiveAnalyzer(), store, diarizer=diarizer)
        yield {"pipeline": pipeline, "store": store}
    engine.close()


app = FastAPI(title="Calls", lifespan=lifespan)


@app.post("/calls/{name}")
async def run_call(name: Name, request: Request) -> dict[str, Any]:
    """Run one recording of the folder and wait for the result."""
    call = await request.state.pipeline.run(RECORDINGS / name, name=name)
    return {
        "job": call.job.id,
        "seconds": call.duration,
        "type": call.analysis.conversation_type,
        "summary": call.analysis.summary_text,
        "talk_ratio": {each.speaker: each.talk_ratio for each in call.metrics.speakers},
        "text": call.transcript.to_txt(),
    }


@app.get("/jobs/{job_id}")
async def show_job(job_id: int, request: Request) -> dict[str, Any]:
    """Tell where a job stands."""
    job = await request.state.store.get(job_id)
    return {"status": job.status, "error": job.error and told(job.error)}


@app.exception_handler(VoicepipeError)
async def tell(_: Request, error: VoicepipeError) -> JSONResponse:
    """Say whose fault it is: the recording's, nobody's for long, or ours."""
    if isinstance(error, JobNotFoundError):
        status = 404
    elif isinstance(error, AudioError):
        status = 422
    else:
        status = 503 if error.retryable else 500
    return JSONResponse({"detail": told(str(error))}, status)


@app.exception_handler(FileNotFoundError)
async def tell_missing(_: Request, error: FileNotFoundError) -> JSONResponse:
    """Say that there is no such recording."""
    return JSONResponse({"detail": told(str(error))}, 404)


def told(message: str) -> str:
    """Leave out where the folder is: who asks need not know."""
    return message.replace(f"{RECORDINGS}{os.sep}", "")
