"""What a job store keeps about one recording."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

import attrs

from voicepipe.types.analysis import Analysis, TalkMetrics
from voicepipe.types.transcript import Transcript


JobStatus: TypeAlias = Literal["uploaded", "processing", "done", "error"]
"""``uploaded``: known, not asked for. ``processing``: to be claimed, or claimed."""


@attrs.frozen(kw_only=True)
class Job:
    """
    One recording's way through the pipeline; every change is a new value.

    Attributes:
        id: The store's number for it.
        source: Name of the recording: a path, or what the caller called it.
        status: Where it stands.
        attempt: How often it has been claimed; the fencing token of the current claim.
        created_at: When it was added, UTC.
        updated_at: When it last changed, UTC.
        worker: Name of the worker that holds the claim, ``None`` without one.
        lease_until: When the claim expires unless extended, UTC; ``None`` without one.
        retry_at: When it may be claimed again after a failure, UTC; ``None`` for now.
        transcript: The result of transcription, ``None`` until done.
        metrics: The talk metrics, ``None`` until done.
        analysis: The result of analysis, ``None`` until done or without an analyzer.
        error: One line that says why it failed, ``None`` otherwise.
    """

    id: int
    source: str
    status: JobStatus
    attempt: int = 0
    created_at: datetime
    updated_at: datetime
    worker: str | None = None
    lease_until: datetime | None = None
    retry_at: datetime | None = None
    transcript: Transcript | None = None
    metrics: TalkMetrics | None = None
    analysis: Analysis | None = None
    error: str | None = None
