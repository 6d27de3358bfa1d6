"""What callers give and get, as the database holds it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_args

import attrs

from voicepipe.errors import StoreError
from voicepipe.jobs.schema import LONGEST_KEY
from voicepipe.types import (
    Analysis,
    Job,
    JobField,
    JobProgress,
    TalkMetrics,
    Transcript,
)


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from voicepipe.types import JobEdit


LONGEST_LEASE_S = 1e9
"""About 30 years, so that no claim ends beyond the last day of ``datetime``."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIELDS = frozenset(get_args(JobField))


def utc_now() -> datetime:
    """Give this machine's time."""
    return datetime.now(UTC)


def microseconds(time: datetime) -> int:
    """
    Give a time as it is stored.

    Raises:
        ValueError: If it has no time zone.
    """
    if time.utcoffset() is None:
        msg = f"a time needs a time zone, such as datetime.now(UTC): {time}"
        raise ValueError(msg)
    return (time.astimezone(UTC) - _EPOCH) // _MICROSECOND


def lease_microseconds(lease_s: float) -> int:
    """
    Give a lease as it is stored.

    Raises:
        ValueError: If it is not positive, or longer than ``LONGEST_LEASE_S``.
    """
    if not 0.0 < lease_s <= LONGEST_LEASE_S:
        msg = f"lease_s must be in (0, {LONGEST_LEASE_S:.0f}], not {lease_s}"
        raise ValueError(msg)
    return timedelta(seconds=lease_s) // _MICROSECOND


def checked_limit(limit: int) -> int:
    """
    Give a limit back.

    Raises:
        ValueError: If it is less than 1.
    """
    if limit < 1:
        msg = f"limit must be at least 1, not {limit}"
        raise ValueError(msg)
    return limit


def checked_key(key: str) -> str:
    """
    Give a key back.

    Raises:
        ValueError: If it is no text of 1 to 255 characters.
    """
    if not 1 <= len(key) <= LONGEST_KEY:
        msg = f"a key has 1 to {LONGEST_KEY} characters, not {len(key)}"
        raise ValueError(msg)
    return checked_text(key)


def checked_text(text: str) -> str:
    """
    Give a text back that every database takes as it is.

    Raises:
        ValueError: If it holds a NUL, which PostgreSQL does not take, or half of a
            surrogate pair, which is no text.
    """
    if "\0" in text:
        raise ValueError("a text of a job must not hold a NUL character")
    text.encode()
    return text


def shown_text(text: str) -> str:
    """Give a reason with U+FFFD in the place of what no database takes."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


def checked_edits(edits: Mapping[JobField, JobEdit]) -> dict[JobField, JobEdit]:
    """
    Give edits as a dictionary of its own.

    Raises:
        ValueError: If there is no such field.
        TypeError: If a value is not of its field's kind.
    """
    for field, value in edits.items():
        if field not in _FIELDS:
            msg = f"a job has no field {field!r} to edit; it has {sorted(_FIELDS)}"
            raise ValueError(msg)
        if field == "key_points":
            good = isinstance(value, tuple) and all(isinstance(v, str) for v in value)
        else:
            good = isinstance(value, str)
        if not good and value is not None:
            msg = f"this is no value for {field!r}: {type(value).__name__}"
            raise TypeError(msg)
    return dict(edits)


def edits_to_text(edits: Mapping[JobField, JobEdit]) -> str:
    """Give edits as they are stored."""
    return json.dumps(edits)


def edits_of(text: str | None) -> dict[JobField, JobEdit]:
    """Read stored edits."""
    if text is None:
        return {}
    found = json.loads(text)
    return {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}


def progress_to_text(progress: JobProgress | None) -> str | None:
    """Give progress as it is stored."""
    return None if progress is None else json.dumps(attrs.asdict(progress))


def to_text(value: Transcript | TalkMetrics | Analysis | None) -> str | None:
    """
    Give a result as it is stored.

    Raises:
        ValueError: If it holds a number that is not finite.
    """
    return None if value is None else value.to_json()


def to_job(row: Mapping[str, Any]) -> Job:
    """
    Make a job of a row of ``jobs``, of all its columns or the small ones.

    Raises:
        StoreError: If its results are not what voicepipe wrote.
    """
    fields = dict(row)
    for name in ("created_at", "updated_at", "lease_until", "retry_at"):
        fields[name] = _time(fields[name])
    try:
        if fields["progress"] is not None:
            fields["progress"] = JobProgress(**json.loads(fields["progress"]))
        if "transcript" in fields:
            fields["transcript"] = _value(Transcript, fields["transcript"])
            fields["metrics"] = _value(TalkMetrics, fields["metrics"])
            fields["analysis"] = _value(Analysis, fields["analysis"])
            fields["edits"] = edits_of(fields["edits"])
    except (ValueError, TypeError, AttributeError) as exc:
        msg = f"the stored results of job {row['id']} cannot be read"
        raise StoreError(msg, job_id=row["id"]) from exc
    return Job(**fields)


def to_jobs(rows: Sequence[Mapping[str, Any]]) -> tuple[Job, ...]:
    """Make jobs of rows; see ``to_job``."""
    return tuple(map(to_job, rows))


V_co = TypeVar("V_co", covariant=True)


class _Readable(Protocol[V_co]):
    """A kind of value that reads itself from JSON."""

    def from_json(self, text: str) -> V_co: ...


def _value(kind: _Readable[V_co], text: str | None) -> V_co | None:
    return None if text is None else kind.from_json(text)


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + microseconds * _MICROSECOND
