"""Recordings of conversations: what they are called, fetched and standardized."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from voicepipe.errors import InvalidIdError, VoicepipeError
from voicepipe.io.download.values import Download, check_headers
from voicepipe.net.urls import redact_url
from voicepipe.types.audio import WavFile


# Letters, digits, "-" and "_", none of the two at the start: a name that means the same
# to every file system, shell and spreadsheet.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)

# Windows opens a device for these, whatever the folder and the suffix.
_DEVICES = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]", re.ASCII | re.IGNORECASE)


def check_id(value: object, *, what: str = "conversation_id") -> str:
    """
    Give an id that can be part of a file's name.

    Args:
        value: 1 to 128 letters, digits, ``-`` and ``_`` of ASCII, beginning with a
            letter or a digit. Nothing is replaced or cut: two ids never share a file,
            with one and the same label.
        what: What to call it in the error.

    Raises:
        InvalidIdError: If it is not.
    """
    return _checked(_ID, value, what, 128)


def check_label(value: object) -> str:
    """
    Give a speaker's label that can be part of a file's name.

    Args:
        value: As ``check_id``, of at most 64 characters.

    Raises:
        InvalidIdError: If it is not.
    """
    return _checked(_LABEL, value, "speaker_label", 64)


def _checked(pattern: re.Pattern[str], value: object, what: str, most: int) -> str:
    if not isinstance(value, str):
        msg = f"{what} must be text, not {type(value).__name__}"
        raise InvalidIdError(msg)
    if pattern.fullmatch(value) is None or _DEVICES.fullmatch(value):
        msg = (
            f"{what} must be 1 to {most} letters, digits, '-' and '_' (ASCII), "
            "beginning with a letter or a digit, and no device's name"
        )
        raise InvalidIdError(msg)
    return value


@attrs.frozen(kw_only=True)
class Recording:
    """
    One recording of a conversation, and who speaks in it.

    Attributes:
        conversation_id: See ``check_id``.
        url: Where it is; shown without user, password and query.
        speaker_label: Who speaks, such as ``"agent"``; at most 64 characters, of the
            same kind.
        channel: Take this channel alone, counted from 0; ``None`` for the mean of all.
        headers: Sent with the request, and to no other origin; never shown.

    Raises:
        InvalidIdError: If the id or the label cannot be part of a file's name.
        ValueError: If the channel is less than 0, or a header cannot be sent.
    """

    conversation_id: str = attrs.field(validator=lambda _, __, v: check_id(v))
    url: str = attrs.field(repr=redact_url)
    speaker_label: str = attrs.field(
        default="speaker", validator=lambda _, __, v: check_label(v)
    )
    channel: int | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(
            [attrs.validators.instance_of(int), attrs.validators.ge(0)]
        ),
    )
    headers: Mapping[str, str] = attrs.field(
        factory=dict, repr=False, validator=check_headers
    )

    @property
    def filename(self) -> str:
        """Its WAV file's name, ``{conversation_id}_{speaker_label}.wav``."""
        return f"{self.conversation_id}_{self.speaker_label}.wav"


@attrs.frozen(kw_only=True)
class FetchedWav:
    """
    A recording that was fetched and standardized.

    Attributes:
        recording: What was asked for.
        source: What was downloaded; its file is gone.
        file: The WAV file.
        size: Bytes of the WAV file.
        sha256: Of the WAV file, in hexadecimal.
    """

    recording: Recording
    source: Download
    file: WavFile
    size: int
    sha256: str


@attrs.frozen(kw_only=True)
class FetchOutcome:
    """
    What has become of one recording of many.

    Attributes:
        index: Its place among the recordings, from 0.
        recording: What was asked for.
        wav: What was written; ``None`` after an error.
        error: Why nothing was written; ``None`` if all is well.
    """

    index: int
    recording: Recording
    wav: FetchedWav | None = None
    error: VoicepipeError | OSError | None = None
