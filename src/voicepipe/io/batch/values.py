"""How a batch is run, how far it has come, and what has become of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import attrs

from voicepipe.io.options import DEFAULTS, DecodeOptions
from voicepipe.stream.resample import MAX_RATE, MIN_RATE


ListFormat: TypeAlias = Literal["csv", "jsonl", "parquet"]
"""How a list is written."""

_at_least_one = attrs.validators.optional(attrs.validators.ge(1))


@attrs.frozen(kw_only=True)
class BatchOptions:
    """
    What to do of a list, and how.

    Attributes:
        limit: Do this many rows that are not done yet, the first ones of the list, and
            no more: 1 to try a list out. Rows that cannot be done at all, such as one
            with a bad id, do not count. ``None`` for all rows.
        workers: Helper processes that decode, each on a core; ``None`` for as many as
            there are cores.
        rate: Frames per second to write, 4,000 to 192,000.
        decode: What to accept of a recording.
        retry_failed: Do rows that have failed in an earlier run again, also where
            nothing suggests that they will succeed now.
        ignore_query: Take a URL whose query alone has changed for the same recording:
            signed links change with every list. By default it is fetched again.
        verify: Compare the checksum of every WAV file that is there, not only of those
            whose time has changed.
        format: How the list is written; ``None`` to tell by its name: ``.csv``,
            ``.tsv``, ``.txt``, ``.jsonl``, ``.ndjson``, ``.parquet``.

    Raises:
        ValueError: If a number is out of its range or there is no such format.
    """

    limit: int | None = attrs.field(default=None, validator=_at_least_one)
    workers: int | None = attrs.field(default=None, validator=_at_least_one)
    rate: int = attrs.field(
        default=16_000,
        validator=attrs.validators.and_(
            attrs.validators.ge(MIN_RATE), attrs.validators.le(MAX_RATE)
        ),
    )
    decode: DecodeOptions = DEFAULTS
    retry_failed: bool = True
    ignore_query: bool = False
    verify: bool = False
    format: ListFormat | None = attrs.field(
        default=None, validator=attrs.validators.in_((*get_args(ListFormat), None))
    )


@attrs.frozen(kw_only=True)
class BatchProgress:
    """
    How far a batch has come, in recordings.

    Attributes:
        done: Fetched in this run.
        skipped: There already, and whole.
        failed: Not to be had; a row that cannot be read counts as one.
        total: All that this run deals with; ``None`` while the list is being read.
    """

    done: int = 0
    skipped: int = 0
    failed: int = 0
    total: int | None = None


@attrs.frozen(kw_only=True)
class BatchSummary:
    """
    What has become of a batch; ``str`` of it is for people.

    Attributes:
        rows: Rows in the list, empty ones not counted.
        done: Recordings that were fetched in this run.
        skipped: Recordings that were there already, and whole.
        failed: Recordings that could not be had; a row that cannot be read counts as
            one.
        pending: Recordings that this run has left alone, because of its ``limit``.
        duplicates: Recordings that are in the list once more, and counted once.
        causes: How many failed for which reason: the name of an error's class, or of
            what is wrong with the row, ``"BadRow"``, ``"NoUrl"``, ``"NameCollision"``;
            the most frequent first.
        manifest_csv: The manifest as a table.
        manifest_jsonl: The manifest with one JSON object for each line.
    """

    rows: int
    done: int
    skipped: int
    failed: int
    pending: int
    duplicates: int
    causes: Mapping[str, int]
    manifest_csv: Path
    manifest_jsonl: Path

    def __str__(self) -> str:
        """Write a short report of several lines."""
        counts = [f"{self.done} done", f"{self.skipped} skipped"]
        counts.append(f"{self.failed} failed")
        if self.pending:
            counts.append(f"{self.pending} left for later")
        lines = [f"{self.rows} rows: {', '.join(counts)}"]
        lines += [f"  {count} x {cause}" for cause, count in self.causes.items()]
        if self.duplicates:
            lines.append(f"  {self.duplicates} listed twice, counted once")
        lines.append(f"manifest: {self.manifest_csv}, {self.manifest_jsonl}")
        return "\n".join(lines)
