"""Lists with one JSON object for each line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from voicepipe.io.batch.lines import Lines, RowTooLongError
from voicepipe.io.batch.rows import Row, fault_of, to_names


if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from typing import BinaryIO


def rows(file: BinaryIO, path: Path) -> Generator[Row, None, None]:
    """
    Give the rows of a file of JSON objects, without lines that are empty.

    Args:
        file: Read from its beginning; stays open.
        path: Its name, for errors.

    Raises:
        BatchError: If the file is not UTF-8.
    """
    lines = Lines(file, path)
    try:
        while True:
            lines.begin_row()
            try:
                line = next(lines, None)
            except RowTooLongError as exc:
                yield Row(lines.number, None, str(exc))
                continue
            if line is None:
                return
            if line.strip():
                yield _row(lines.number, line)
    finally:
        lines.close()


def _row(number: int, line: str) -> Row:
    try:
        value = _DECODER.decode(line)
    # ValueError also stands for a number of too many digits.
    except (ValueError, RecursionError):
        return Row(number, None, "it is not JSON")
    if not isinstance(value, _Members):
        return Row(number, None, "it is no JSON object")
    names = to_names(name for name, _ in value)
    if fault := fault_of(names):
        return Row(number, None, fault)
    cells = (_plain(member) for _, member in value)
    return Row(number, dict(zip(names, cells, strict=True)))


class _Members(list[tuple[str, Any]]):
    """The members of an object in their order, the same name twice included."""


def _plain(value: Any) -> Any:
    if isinstance(value, _Members):
        return {name: _plain(member) for name, member in value}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_Members)
