"""
What schemathesis cannot know of the jobs backend: which jobs there are, and sound.

Without this nearly all it asks for is not there, and nearly all it uploads is refused.
It is loaded by its command line, in a process of its own: see
``test_jobs_backend_schema``.
"""

from __future__ import annotations

import io
import itertools
import os
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import schemathesis
import soundfile


if TYPE_CHECKING:
    from schemathesis import Case, HookContext


_http = httpx.Client(
    base_url=os.environ["JOBS_BACKEND_URL"], timeout=240, trust_env=False
)
_calls = itertools.count()


def _sound() -> bytes:
    target = io.BytesIO()
    soundfile.write(target, np.zeros(2_400), 8_000, format="WAV", subtype="PCM_16")
    return target.getvalue()


_SOUND = _sound()


def _job_ids() -> list[int]:
    """Give the newest jobs; if all have been deleted, there are new ones."""
    found: list[dict[str, Any]] = _http.get(
        "/api/jobs", params={"results": False, "limit": 4}
    ).json()
    while len(found) < 2:
        form = {"file": ("call.wav", _SOUND)}
        query = {"run": bool(found)}
        found.append(_http.post("/api/jobs", params=query, files=form).json())
    return [job["id"] for job in found]


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Let three of four good ids be a job's, and half of the files be sound."""
    del context, kwargs
    call = next(_calls)
    job_id = case.path_parameters.get("job_id")
    if call % 4 and isinstance(job_id, int) and 0 <= job_id <= 2**53:
        ids = _job_ids()
        case.path_parameters["job_id"] = ids[call % len(ids)]
    body: Any = case.body
    if call % 2 and isinstance(body, dict) and body.get("file"):
        with_sound: Any = {**body, "file": _SOUND}
        case.body = with_sound
