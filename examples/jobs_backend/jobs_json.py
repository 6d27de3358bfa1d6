"""A job as clients see it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import TypedDict


if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicepipe import Analysis, Job, JobEdit, JobField, Point, Segment


FIELDS: Mapping[str, JobField] = {
    "conversation_type": "conversation_type",
    "summary": "summary",
    "keypoints": "key_points",
    "language": "language",
    "clean_transcript": "clean_transcript",
}
"""What a person may change, and what the store calls it."""


class WordJson(TypedDict):
    """A word and its seconds."""

    start: float
    end: float
    text: str


class SegmentJson(TypedDict):
    """A stretch of one speaker's speech."""

    id: int
    start: float
    end: float
    speaker: str | None
    channel: int | None
    text: str
    words: list[WordJson]


class PointJson(TypedDict):
    """A statement and the segments that it rests on."""

    text: str
    segment_ids: list[int]


class ProgressJson(TypedDict):
    """How far the work has come; the fraction is of the whole job."""

    stage: str
    fraction: float


class ModelsJson(TypedDict):
    """Which engines gave the results."""

    transcriber: str
    analyzer: str | None


class JobHead(TypedDict):
    """A job without the results that are long."""

    id: int
    audio_path: str
    filename: str | None
    status: Literal["uploaded", "processing", "done", "error"]
    error_message: str | None
    created_at: str
    updated_at: str
    attempts: int
    progress: ProgressJson | None


class JobJson(JobHead):
    """A job with all results; what is not set is ``null``."""

    conversation_type: str | None
    summary: str | None
    keypoints: list[str] | None
    language: str | None
    clean_transcript: str | None
    segments: list[SegmentJson] | None
    duration: float | None
    summary_points: list[PointJson] | None
    key_points: list[PointJson] | None
    metrics: dict[str, Any] | None
    models: ModelsJson | None
    edited: list[str]


def head(job: Job) -> JobHead:
    """Give what is known without the results."""
    progress = job.progress if job.status == "processing" else None
    return {
        "id": job.id,
        "audio_path": job.source,
        "filename": job.name,
        "status": job.status,
        "error_message": job.error,
        "created_at": job.created_at.isoformat(),
        "updated_at": job.updated_at.isoformat(),
        "attempts": job.tries,
        "progress": None
        if progress is None
        else {"stage": progress.stage, "fraction": round(progress.fraction, 4)},
    }


def described(job: Job) -> JobJson:
    """Give all of it; for long calls, in a thread."""
    transcript, analysis = job.transcript, job.analysis
    shown = fields(job)
    return {
        **head(job),
        "conversation_type": shown["conversation_type"],
        "summary": shown["summary"],
        "keypoints": shown["keypoints"],
        "language": shown["language"],
        "clean_transcript": shown["clean_transcript"],
        "segments": None
        if transcript is None
        else [_segment(segment) for segment in transcript.segments],
        "duration": None if transcript is None else transcript.duration,
        "summary_points": None if analysis is None else _points(analysis.summary),
        "key_points": None if analysis is None else _points(analysis.key_points),
        "metrics": None if job.metrics is None else json.loads(job.metrics.to_json()),
        "models": None
        if transcript is None
        else {
            "transcriber": transcript.model,
            "analyzer": None if analysis is None else analysis.model,
        },
        "edited": [name for name, field in FIELDS.items() if field in job.edits],
    }


def fields(job: Job) -> dict[str, Any]:
    """Give what a person may change, as it is now: an edit goes before a result."""
    analysis, transcript = job.analysis, job.transcript
    edits: Mapping[JobField, JobEdit] = job.edits
    found: dict[str, Any] = dict.fromkeys(FIELDS)
    if transcript is not None:
        found["language"] = transcript.language
        found["clean_transcript"] = clean_text(job)
    if analysis is not None:
        found |= {
            "conversation_type": analysis.conversation_type,
            "summary": analysis.summary_text,
            "keypoints": [point.text for point in analysis.key_points],
            "language": analysis.language or found["language"],
        }
    for name, field in FIELDS.items():
        if field in edits:
            edit = edits[field]
            found[name] = list(edit) if isinstance(edit, tuple) else edit
    return found


def clean_text(job: Job) -> str:
    """Give the transcript in lines such as ``Speaker00: hello``."""
    edit = job.edits.get("clean_transcript")
    if isinstance(edit, str):
        return edit
    transcript = job.transcript
    if transcript is None:
        return ""
    if job.analysis is None or not job.analysis.clean_lines:
        return transcript.to_txt().rstrip("\n")
    return "\n".join(_clean_lines(job.analysis, transcript.segments))


def _clean_lines(analysis: Analysis, segments: tuple[Segment, ...]) -> list[str]:
    lines = []
    for line in analysis.clean_lines:
        text = " ".join(line.text.split())
        if text and 0 <= line.segment_id < len(segments):
            speaker = segments[line.segment_id].speaker
            lines.append(f"{speaker}: {text}" if speaker else text)
    return lines


def _segment(segment: Segment) -> SegmentJson:
    return {
        "id": segment.id,
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "speaker": segment.speaker,
        "channel": segment.channel,
        "text": segment.text,
        "words": [
            {"start": round(w.start, 3), "end": round(w.end, 3), "text": w.text}
            for w in segment.words
        ],
    }


def _points(points: tuple[Point, ...]) -> list[PointJson]:
    return [{"text": p.text, "segment_ids": list(p.segment_ids)} for p in points]
