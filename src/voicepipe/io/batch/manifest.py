"""The manifest: what the folder holds of the list, and where it comes from."""

from __future__ import annotations

import contextlib
import csv
import functools
import importlib.metadata
import io
import json
from typing import TYPE_CHECKING, Any

from voicepipe.io.atomic import AtomicFile, DiskErrors
from voicepipe.io.batch.entries import PLACES
from voicepipe.io.batch.files import measure
from voicepipe.io.batch.ledger import Result


if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from datetime import datetime
    from pathlib import Path

    from voicepipe.io.batch.entries import Entry
    from voicepipe.io.batch.ledger import Ledger, Listed
    from voicepipe.io.recordings import FetchedWav


CSV_NAME, JSONL_NAME = "manifest.csv", "manifest.jsonl"

_DISTRIBUTIONS = ("voicepipe", "av", "soxr", "numpy")

_COLUMNS = (
    "row",
    "conversation_id",
    "speaker_label",
    "channel",
    "status",
    "path",
    "url",
    "url_sha256",
    "etag",
    "content_type",
    "source_size",
    "source_sha256",
    "length_verified",
    "attempts",
    "bytes_resumed",
    "container",
    "codec",
    "intact",
    "wav_size",
    "wav_sha256",
    "rate",
    "channels",
    "frames",
    "duration_s",
    "fetched_at",
    *(f"{name}_version" for name in _DISTRIBUTIONS),
    "error_class",
    "error",
)

_METADATA = "metadata"

# A spreadsheet takes a cell that begins so for a formula, and runs it
# (owasp.org/www-community/attacks/CSV_Injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

# Entries that are taken from the ledger at once.
_ENTRIES = 256


@functools.cache
def versions() -> dict[str, str]:
    """Give the versions of what has a say in the samples."""
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[f"{name}_version"] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[f"{name}_version"] = "unknown"
    return found


def fetched(entry: Entry, wav: FetchedWav, path: Path, now: datetime) -> Result:
    """
    Describe a recording that was fetched.

    Args:
        entry: What was asked for.
        wav: What was written.
        path: Where.
        now: The time, with its zone.

    Raises:
        OSError: If the file is not there.
    """
    source, file, report = wav.source, wav.file, wav.file.report
    provenance = {
        "etag": source.etag,
        "content_type": source.content_type,
        "source_size": source.size,
        "source_sha256": source.sha256,
        "length_verified": source.length_verified,
        "attempts": source.attempts,
        "bytes_resumed": source.bytes_resumed,
        "container": report and report.container,
        "codec": report and report.codec,
        "intact": report and report.intact,
        "wav_size": wav.size,
        "wav_sha256": wav.sha256,
        "rate": file.rate,
        "channels": file.channels,
        "frames": file.frames,
        "duration_s": file.duration,
        "fetched_at": now.isoformat(timespec="seconds"),
        **versions(),
    }
    return Result(
        filename=path.name,
        fingerprint=entry.fingerprint,
        written=measure(path, wav.size, wav.sha256),
        provenance=json.dumps(provenance),
    )


def write(
    folder: Path, ledger: Ledger, metadata_names: Iterable[str]
) -> Generator[None, None, None]:
    """
    Write both manifests, each whole or not at all.

    Args:
        folder: Where.
        ledger: What to write.
        metadata_names: Which metadata get a column in the table.

    Raises:
        DiskFullError: If there is no space left.
        OSError: If a file cannot be written.
        BatchError: If the ledger cannot be read.
    """
    columns = _metadata_columns(metadata_names)
    with (
        DiskErrors(folder / CSV_NAME),
        AtomicFile(folder / CSV_NAME) as table,
        AtomicFile(folder / JSONL_NAME) as objects,
    ):
        # Half a surrogate pair, which JSON can spell, becomes an escape.
        text = io.TextIOWrapper(
            table.file, "utf-8", errors="backslashreplace", newline=""
        )
        try:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow([_cell(name) for name in (*_COLUMNS, *columns.values())])
            after = -1
            while some := ledger.listed(after, _ENTRIES):
                for item in some:
                    found = _object(item)
                    writer.writerow(_line(found, columns))
                    objects.file.write(json.dumps(found).encode("ascii") + b"\n")
                after = some[-1].position
                yield
            text.flush()
        finally:
            with contextlib.suppress(OSError):
                text.detach()
        table.commit()
        objects.commit()


def _object(item: Listed) -> dict[str, Any]:
    about = json.loads(item.about)
    found = dict.fromkeys(_COLUMNS)
    metadata = about.pop(_METADATA, {})
    found |= about
    found["row"] = item.position // PLACES
    found["status"] = "done" if item.status == "skipped" else item.status
    if item.written is not None:
        found["path"] = item.filename
        found |= json.loads(item.provenance or "{}")
    found["error_class"], found["error"] = item.cause, item.error
    return {**found, _METADATA: metadata}


def _line(found: dict[str, Any], columns: dict[str, str]) -> list[str]:
    metadata = found[_METADATA]
    own = [_cell(found[name]) for name in _COLUMNS]
    return own + [_cell(metadata.get(name)) for name in columns]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _metadata_columns(names: Iterable[str]) -> dict[str, str]:
    """Give each metadata's name the one of its column in the table."""
    taken = {name.casefold() for name in (*_COLUMNS, _METADATA)}
    columns = {}
    for name in names:
        column = name
        while column.casefold() in taken:
            column = f"{_METADATA}_{column}"
        taken.add(column.casefold())
        columns[name] = column
    return columns
