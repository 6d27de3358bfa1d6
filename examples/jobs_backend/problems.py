"""Errors as clients are told them: ``{"error": "…"}``."""

from __future__ import annotations

import errno
import logging
import traceback
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.responses import JSONResponse
from settings import SETTINGS
from starlette.routing import Match
from typing_extensions import TypedDict

from voicepipe import (
    DiskFullError,
    JobError,
    JobNotFoundError,
    JobStateError,
)


if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException


_logger = logging.getLogger("jobs_backend")

_RETRY_S = "5"
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


class Problem(TypedDict):
    """What every error looks like."""

    error: str


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Give what a route's description has of errors."""
    return {status: {"model": Problem} for status in statuses}


class Refused(Exception):  # noqa: N818 - an answer
    """
    A request that is answered with an error.

    Attributes:
        status: The HTTP status.
        message: For the client.
        headers: Added headers.
    """

    def __init__(
        self, status: int, message: str, headers: dict[str, str] | None = None
    ) -> None:
        """Keep them."""
        super().__init__(message)
        self.status: int = status
        self.message: str = message
        self.headers: dict[str, str] | None = headers


NO_JOB = "there is no such job"


async def on_refused(_: Request, refused: Refused) -> JSONResponse:
    """Answer a request that is not done."""
    return JSONResponse({"error": refused.message}, refused.status, refused.headers)


async def on_job(_: Request, error: JobError) -> JSONResponse:
    """Answer for a job that is not there, or not as it should be."""
    if isinstance(error, JobNotFoundError):
        return JSONResponse({"error": NO_JOB}, 404)
    if isinstance(error, JobStateError):
        return JSONResponse({"error": str(error)}, 409)
    _logger.error("the database failed", exc_info=error)
    return JSONResponse(
        {"error": "the database is not to be had; try again later"},
        503,
        {"retry-after": _RETRY_S},
    )


async def on_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    """Answer a parameter or a body that is wrong; a wrong id is no job's."""
    found = error.errors()
    if any(entry["loc"][0] == "path" for entry in found):
        return JSONResponse({"error": NO_JOB}, 404)
    said = "; ".join(f"{e['loc'][-1]}: {e['msg'].lower()}" for e in found[:5])
    return JSONResponse({"error": said}, 422)


async def on_http(request: Request, error: HTTPException) -> JSONResponse:
    """Answer what the framework refuses, such as an unknown path."""
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"allow": _allowed(request, headers)}
    return JSONResponse({"error": str(error.detail)}, error.status_code, headers)


def _allowed(request: Request, headers: Mapping[str, str]) -> str:
    """Give a path's methods: the framework names those of its first route only."""
    if "Allow" not in headers:
        # Not of a route, but of files.
        return "GET, HEAD"
    return ", ".join(
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    )


async def on_error(_: Request, error: Exception) -> JSONResponse:
    """Answer what is our fault; paths and the like are for the log."""
    full = isinstance(error, DiskFullError) or (
        isinstance(error, OSError) and error.errno == errno.ENOSPC
    )
    if full:
        _logger.error("no space left")
        return JSONResponse({"error": "no space left"}, 507)
    _logger.error("a request failed", exc_info=error)
    body: dict[str, Any] = {"error": "Internal error"}
    if SETTINGS.debug:
        body["traceback"] = traceback.format_exception(error)
    return JSONResponse(body, 500)
