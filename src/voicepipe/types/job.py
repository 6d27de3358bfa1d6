"""What a job store keeps about one recording."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Literal, TypeAlias

import attrs

from voicepipe.types.analysis import Analysis, TalkMetrics
from voicepipe.types.transcript import Transcript


JobStatus: TypeAlias = Literal["uploaded", "processing", "done", "error"]
"""``uploaded``: known, not asked for. ``processing``: to be claimed, or claimed."""

JobField: TypeAlias = Literal[
    "conversation_type", "summary", "key_points", "language", "clean_transcript"
]
"""What of a job's results a person may put right by hand."""

JobEdit: TypeAlias = str | tuple[str, ...] | None
"""A person's text, for ``key_points`` one for each of them; ``None`` for nothing."""


def _frozen(edits: Mapping[JobField, JobEdit]) -> Mapping[JobField, JobEdit]:
    return MappingProxyType(dict(edits))


@attrs.frozen(kw_only=True)
class JobProgress:
    """
    How far an attempt has come.

    Attributes:
        stage: What is being done, such as ``"transcribe"``; at most 32 characters.
        fraction: Share of the whole job that is done, in [0, 1].
    """

    stage: str = attrs.field(validator=attrs.validators.max_len(32))
    fraction: float = attrs.field(
        validator=[attrs.validators.ge(0.0), attrs.validators.le(1.0)]
    )


@attrs.frozen(kw_only=True)
class Job:
    """
    One recording's way through the pipeline; every change is a new value.

    Attributes:
        id: The store's number for it.
        source: Name of the recording: a path, or what the caller called it.
        name: What people call it, such as an uploaded file's own; ``None`` without.
        status: Where it stands.
        attempt: How often it has been claimed; the fencing token of the current claim.
        tries: How many of these claims count since it was last queued: what a cap on
            retries looks at. A claim that was given back does not count.
        key: The caller's idempotency key, ``None`` without one.
        created_at: When it was added, UTC.
        updated_at: When it last changed, UTC.
        worker: Name of the worker that holds the claim, ``None`` without one.
        lease_until: When the claim expires unless extended, UTC; ``None`` without one.
        retry_at: When it may be claimed again after a failure, UTC; ``None`` for now.
        progress: How far the current claim has come, ``None`` while nothing is told.
        transcript: The result of transcription, ``None`` until done.
        metrics: The talk metrics, ``None`` until done.
        analysis: The result of analysis, ``None`` until done or without an analyzer.
        edits: What a person has put in the place of results, by field.
        error: One line that says why it failed, ``None`` otherwise.
    """

    id: int
    source: str
    name: str | None = None
    status: JobStatus
    attempt: int = 0
    tries: int = 0
    key: str | None = None
    created_at: datetime
    updated_at: datetime
    worker: str | None = None
    lease_until: datetime | None = None
    retry_at: datetime | None = None
    progress: JobProgress | None = None
    transcript: Transcript | None = None
    metrics: TalkMetrics | None = None
    analysis: Analysis | None = None
    edits: Mapping[JobField, JobEdit] = attrs.field(factory=dict, converter=_frozen)
    error: str | None = None
