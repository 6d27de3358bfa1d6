"""The list of what is to be fetched, opened and read as often as needed."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Self

from voicepipe.errors import BatchError
from voicepipe.io.batch import delimited, jsonlines, parquet


if TYPE_CHECKING:
    import os
    from collections.abc import Generator

    from voicepipe.io.batch.rows import Row
    from voicepipe.io.batch.values import ListFormat


_READERS = {"csv": delimited.rows, "jsonl": jsonlines.rows, "parquet": parquet.rows}

_FORMATS: dict[str, ListFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


class Listing:
    """
    A list in a file; for worker threads, one at a time.

    The file stays open: whoever saves another one under its name in the meantime, as
    editors do, changes nothing here.

    Args:
        path: A regular file.
        form: How it is written; ``None`` to tell by its name.

    Raises:
        BatchError: If it cannot be opened, or nobody can tell how it is written.
    """

    def __init__(self, path: str | os.PathLike[str], form: ListFormat | None) -> None:
        """Open the file."""
        self.path: Path = Path(path)
        known = form or _FORMATS.get(self.path.suffix.lower())
        if known is None:
            msg = (
                f"nobody can tell how {self.path.name} is written: name it "
                f"{', '.join(_FORMATS)}, or give BatchOptions.format"
            )
            raise BatchError(msg)
        self._read = _READERS[known]
        try:
            # A pipe would be waited for here, and cannot be read twice.
            if not stat.S_ISREG(self.path.stat().st_mode):
                msg = f"the list {self.path.name} is no regular file"
                raise BatchError(msg)
            self._file = self.path.open("rb")
        except OSError as exc:
            msg = f"the list {self.path.name} cannot be read: {exc.strerror}"
            raise BatchError(msg) from exc

    def rows(self) -> Generator[Row, None, None]:
        """
        Give all rows from the beginning; not again before the last time was closed.

        Raises:
            BatchError: If the list as a whole cannot be used.
            MissingExtraError: If its format needs a package that is not installed.
        """
        try:
            yield from self._read(self._file, self.path)
        except OSError as exc:
            msg = f"the list {self.path.name} cannot be read: {exc.strerror}"
            raise BatchError(msg) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
