"""What a row of the list asks for: a recording for each file that is to be there."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from voicepipe.errors import InvalidIdError
from voicepipe.io.batch.rows import CHANNEL, ID, LABEL, SIDES, URL
from voicepipe.io.recordings import Recording, check_id, check_label
from voicepipe.net.urls import redact_url, url_digest
from voicepipe.stream.resample import MAX_CHANNELS


if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.io.batch.rows import Row
    from voicepipe.io.batch.values import BatchOptions


PLACES = len(SIDES)
"""Entries that a row may have; row ``n`` has the positions from ``n * PLACES``."""

_CHANNEL = re.compile(r"[0-9]{1,3}", re.ASCII)


class Entry(NamedTuple):
    """
    One recording of the list, or a row that asks for none that can be had.

    Attributes:
        position: Its place in the list; grows.
        recording: What to fetch; ``None`` for a row that cannot be done.
        fingerprint: Of all that decides about the WAV file's content; empty without a
            recording.
        about: What the manifest says of it, as JSON: no secrets of its URL.
        cause: What is wrong with the row, in a word.
        error: And in a sentence.
    """

    position: int
    recording: Recording | None
    fingerprint: bytes
    about: str
    cause: str = ""
    error: str = ""

    @property
    def key(self) -> str | None:
        """The file's name as file systems that take ``A`` for ``a`` see it."""
        return None if self.recording is None else self.recording.filename.lower()


class Entries:
    """
    Makes entries of rows.

    Args:
        options: How the batch is run.

    Attributes:
        metadata_names: The names of all metadata seen so far, in their order; at most
            ``MAX_NAMES``.
    """

    MAX_NAMES = 1_000
    """A list in which each row has names of its own has too many for one table."""

    def __init__(self, options: BatchOptions) -> None:
        """Begin with no metadata."""
        self._ignore_query = options.ignore_query
        decode = options.decode
        raw = decode.raw
        self._output = [
            options.rate,
            decode.allow_truncated,
            decode.allow_damaged,
            raw and [raw.rate, raw.channels, raw.encoding],
        ]
        self.metadata_names: dict[str, None] = {}

    def of(self, row: Row) -> Iterator[Entry]:
        """Give a row's entries: one at least, two where it has two sides."""
        at = row.number * PLACES
        if row.cells is None:
            # Nothing is told of it: where cells are shifted, any may be a secret.
            yield Entry(at, None, b"", "{}", "BadRow", row.error)
            return
        cells = dict(row.cells)
        known: dict[str, str] = {}
        try:
            known[ID] = check_id(cells.pop(ID))
            yield from self._entries(at, known[ID], cells)
        except (InvalidIdError, _BadCellError) as exc:
            cause = "BadRow" if isinstance(exc, _BadCellError) else type(exc).__name__
            yield Entry(at, None, b"", json.dumps(known), cause, str(exc))

    def _entries(
        self, at: int, conversation: str, cells: dict[str, object]
    ) -> list[Entry]:
        channel: int | None = None
        if URL in cells:
            label = cells.pop(LABEL, None)
            channel = _channel(cells.pop(CHANNEL, None))
            # What is empty says nothing; all else must be a label.
            label = "speaker" if label is None or label == "" else check_label(label)
            sides = {label: cells.pop(URL)}
        else:
            sides = {side: cells.pop(name, None) for side, name in SIDES.items()}
        metadata = self._metadata(cells)
        urls = {label: _text(url) for label, url in sides.items()}
        recordings = [
            Recording(
                conversation_id=conversation,
                url=url,
                speaker_label=label,
                channel=channel,
            )
            for label, url in urls.items()
            if url
        ]
        if not recordings:
            about = _about(conversation, metadata)
            return [Entry(at, None, b"", about, "NoUrl", "it has no URL")]
        return [
            self._entry(at + place, recording, metadata)
            for place, recording in enumerate(recordings)
        ]

    def _entry(self, position: int, recording: Recording, metadata: str) -> Entry:
        url = recording.url
        shown = redact_url(url)
        about = _about(
            recording.conversation_id,
            metadata,
            speaker_label=recording.speaker_label,
            channel=recording.channel,
            url=shown,
            url_sha256=url_digest(url),
        )
        decisive = [
            recording.conversation_id,
            recording.speaker_label,
            recording.channel,
            shown if self._ignore_query and shown.startswith("http") else url,
            self._output,
        ]
        fingerprint = hashlib.sha256(json.dumps(decisive).encode("ascii")).digest()
        return Entry(position, recording, fingerprint, about)

    def _metadata(self, cells: dict[str, object]) -> str:
        for name in cells:
            if len(self.metadata_names) < self.MAX_NAMES:
                self.metadata_names[name] = None
        try:
            # Only ASCII: JSON text may hold half a surrogate pair, a database not.
            # Python also reads NaN and Infinity, which JSON has not (RFC 8259, 6).
            return json.dumps(cells, allow_nan=False)
        except (ValueError, RecursionError) as exc:
            raise _BadCellError("its metadata is not JSON") from exc


class _BadCellError(ValueError):
    """A cell does not hold what it should."""


def _about(conversation: str, metadata: str, **rest: Any) -> str:
    about = {ID: conversation, **rest}
    return f'{json.dumps(about)[:-1]}, "metadata": {metadata}}}'


def _text(url: object) -> str:
    if url is None:
        return ""
    if not isinstance(url, str):
        msg = f"its URL must be text, not {type(url).__name__}"
        raise _BadCellError(msg)
    return url.strip()


def _channel(value: object) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and _CHANNEL.fullmatch(value):
        value = int(value)
    if type(value) is int and 0 <= value < MAX_CHANNELS:
        return value
    msg = f"its channel must be a number from 0 to {MAX_CHANNELS - 1}"
    raise _BadCellError(msg)
