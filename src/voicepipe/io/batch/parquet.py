"""Lists in Apache Parquet; all that is known of pyarrow is here."""

from __future__ import annotations

import base64
import contextlib
import itertools
import math
from typing import TYPE_CHECKING, Any

from voicepipe.errors import BatchError, MissingExtraError
from voicepipe.io.ahead import ahead
from voicepipe.io.batch.rows import Row, fault_of, to_names


if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from typing import BinaryIO


_ROWS = 256
_BUFFER_BYTES = 1 << 20


def rows(file: BinaryIO, path: Path) -> Generator[Row, None, None]:
    """
    Give the rows of a Parquet file, a few hundred at a time.

    Times, decimals and whatever else JSON has not become text, bytes base64, and
    numbers that are not finite ``None``.

    Args:
        file: Read from its beginning; stays open.
        path: Its name, for errors.

    Raises:
        BatchError: If it is no Parquet file, or lacks a column or has one twice.
        MissingExtraError: If pyarrow is not installed.
    """
    # Arrow keeps memory for each thread that it was used in: one is enough.
    with contextlib.closing(ahead(_batches(file, path), depth=2, alone=0)) as batches:
        for batch in batches:
            yield from batch


def _batches(file: BinaryIO, path: Path) -> Generator[list[Row], None, None]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as exc:
        raise MissingExtraError("pyarrow", extra="parquet") from exc
    file.seek(0)
    try:
        # By default it reads whole columns of a million rows at once.
        table = pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        names = to_names(table.schema_arrow.names)
        if fault := fault_of(names):
            msg = f"{path.name} cannot be used: {fault}"
            raise BatchError(msg)
        numbers = itertools.count(1)
        for batch in table.iter_batches(batch_size=_ROWS, use_threads=False):
            columns = [_values(column) for column in batch.columns]
            # Else some 20 MiB stay with it that nobody uses.
            pa.default_memory_pool().release_unused()
            yield [
                Row(next(numbers), dict(zip(names, cells, strict=True)))
                for cells in zip(*columns, strict=True)
            ]
    # ArrowInvalid is a ValueError, ArrowNotImplementedError a NotImplementedError.
    except (pa.ArrowException, OSError, ValueError, NotImplementedError) as exc:
        msg = f"{path.name} cannot be read as Parquet: {exc}".partition("\n")[0]
        raise BatchError(msg) from exc


def _values(column: Any) -> list[Any]:
    import pyarrow as pa

    kind = column.type
    # Python's own types have no nanoseconds; pyarrow then fails, or needs pandas.
    if pa.types.is_temporal(kind):
        column = column.cast(pa.string())
    return [_plain(value) for value in column.to_pylist()]


def _plain(value: Any) -> Any:
    """Give a value that JSON has."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value)
