"""What a person writes in the place of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from jobs_json import FIELDS, fields
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from redacting import allowed_text


if TYPE_CHECKING:
    from voicepipe import Job, JobEdit, JobField


def _storable(text: str) -> str:
    """Refuse what no database takes, and no UTF-8 can say."""
    if "\0" in text:
        raise ValueError("must not have a NUL character in it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must not have half a character in it") from None
    return text


_Storable: TypeAlias = Annotated[str, AfterValidator(_storable)]
_Label: TypeAlias = Annotated[_Storable, Field(max_length=200)]
_Paragraph: TypeAlias = Annotated[_Storable, Field(max_length=100_000)]
_Whole: TypeAlias = Annotated[_Storable, Field(max_length=5_000_000)]


def _kept(value: str | list[str] | None) -> str | list[str] | None:
    """Give what is stored of a value: not what must not be."""
    if value is None:
        return None
    if isinstance(value, str):
        return allowed_text(value)
    return [allowed_text(text) for text in value]


class Edits(BaseModel):
    """Any of a job's fields; what else stands there is not looked at."""

    model_config = ConfigDict(extra="ignore")

    conversation_type: _Label | None = None
    summary: _Paragraph | None = None
    keypoints: Annotated[list[_Paragraph], Field(max_length=1_000)] | None = None
    language: _Label | None = None
    clean_transcript: _Whole | None = None

    def changes(self, job: Job) -> dict[JobField, JobEdit]:
        """Give what differs from what the job says: clients send all of a job back."""
        now = fields(job)
        found: dict[JobField, JobEdit] = {}
        for name in self.model_fields_set & FIELDS.keys():
            value = _kept(getattr(self, name))
            if value != now[name]:
                found[FIELDS[name]] = tuple(value) if isinstance(value, list) else value
        return found
