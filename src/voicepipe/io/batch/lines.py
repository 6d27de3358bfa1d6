"""The lines of a text file, each of bounded length."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from voicepipe.errors import BatchError


if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO


MAX_ROW = 1 << 20
"""Most characters of one row: some hundred pages of text in its cells."""


class RowTooLongError(ValueError):
    """A row is longer than any row should be; the next call gives what follows."""


class Lines:
    """
    Gives lines with their ends, as ``csv.reader`` wants them.

    Args:
        file: Where to read from its beginning, in UTF-8 with or without a byte order
            mark; stays open.
        path: Its name, for errors.

    Attributes:
        number: Lines given so far.

    Raises:
        RowTooLongError: From ``next``, after ``MAX_ROW`` characters since
            ``begin_row``; the rest of the line is passed over.
        BatchError: From ``next``, if the file is not UTF-8.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        """Go to the beginning."""
        file.seek(0)
        self._file = file
        self._text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        self._path = path
        self._left = MAX_ROW
        self.number: int = 0

    def begin_row(self) -> None:
        """Begin to count anew."""
        self._left = MAX_ROW

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        line = self._read()
        if not line:
            raise StopIteration
        self.number += 1
        self._left -= len(line)
        if self._left < 0:
            while line and not line.endswith(("\n", "\r")):
                line = self._read()
            msg = f"it has more than {MAX_ROW:,} characters"
            raise RowTooLongError(msg)
        return line

    def close(self) -> None:
        """Leave the file open, for whoever opened it."""
        self._text.detach()

    def _read(self) -> str:
        try:
            return self._text.readline(MAX_ROW + 1)
        except UnicodeDecodeError as exc:
            msg = (
                f"{self._path.name} is not text in UTF-8 "
                f'(behind line {self.number}); save it as "CSV UTF-8" or convert it'
            )
            raise BatchError(msg) from exc
