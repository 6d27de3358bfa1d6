"""Lists in CSV: RFC 4180, with commas, semicolons or tabs."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from voicepipe.errors import BatchError
from voicepipe.io.batch.lines import MAX_ROW, Lines, RowTooLongError
from voicepipe.io.batch.rows import ID, Row, fault_of, to_names


if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path
    from typing import BinaryIO


_DELIMITERS = ",;\t"


def rows(file: BinaryIO, path: Path) -> Generator[Row, None, None]:
    """
    Give the rows of a CSV file, without those that are empty.

    Args:
        file: Read from its beginning; stays open.
        path: Its name, for errors.

    Raises:
        BatchError: If the file is not UTF-8, or its first line lacks a column or has
            one twice.
    """
    # The limit is the interpreter's, so it is raised where it is lower and stays so.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW))
    delimiter = _delimiter(file, path)
    lines = Lines(file, path)
    try:
        # Strict: else a quote that nobody closes swallows the rest in silence.
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        names = _header(reader, path)
        while True:
            lines.begin_row()
            try:
                record = next(reader, None)
            except (csv.Error, RowTooLongError) as exc:
                yield Row(lines.number, None, str(exc))
                continue
            if record is None:
                return
            if not any(record):
                continue
            if len(record) != len(names):
                msg = f"it has {len(record)} cells, and the header {len(names)}"
                yield Row(lines.number, None, msg)
                continue
            yield Row(lines.number, dict(zip(names, record, strict=True)))
    finally:
        lines.close()


def _header(reader: Iterator[list[str]], path: Path) -> list[str]:
    try:
        names = to_names(next(reader, []))
    except (csv.Error, RowTooLongError) as exc:
        msg = f"the first line of {path.name} cannot be read: {exc}"
        raise BatchError(msg) from exc
    if fault := fault_of(names):
        msg = f"{path.name} cannot be used: {fault}"
        raise BatchError(msg)
    return names


def _delimiter(file: BinaryIO, path: Path) -> str:
    """Give what the first line is divided by: what lets the id be a column."""
    lines = Lines(file, path)
    try:
        first = next(lines, "")
        for delimiter in _DELIMITERS:
            reader = csv.reader([first], delimiter=delimiter)
            if ID in to_names(next(reader, [])):
                return delimiter
    except (csv.Error, RowTooLongError):
        pass
    finally:
        lines.close()
    return _DELIMITERS[0]
