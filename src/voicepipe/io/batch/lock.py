"""One process at a time in a folder."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING, Self

from voicepipe.errors import BatchError


if sys.platform != "win32":
    import fcntl


if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO


# Where the file system knows no such locks.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


class FolderLock:
    """
    A lock that ends with the block, or with the process however it ends.

    The kernel keeps it, on a file that stays: one that was removed could be locked by
    two who have opened it before and after. Where there is no ``fcntl``, as on Windows,
    or the file system has no locks, this does nothing, and the ledger's own lock, which
    SQLite holds while the ledger is open, is what keeps others out.

    Args:
        path: The file.

    Raises:
        BatchError: If somebody else has it, in this process or another one; retryable.
        OSError: If the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock, or fail at once."""
        self._file = path.open("ab")
        try:
            _lock(self._file)
        except OSError as exc:
            self._file.close()
            if exc.errno not in {errno.EAGAIN, errno.EACCES}:
                raise
            raise in_use(path.parent) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def in_use(folder: Path) -> BatchError:
    """Make the error for a folder in which somebody else is at work."""
    msg = f"another batch is at work in {folder}"
    return BatchError(msg, retryable=True)


def _lock(file: BinaryIO) -> None:
    if sys.platform == "win32":
        return
    try:
        # Of the open file, not of the process: two batches in one program count too.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno not in _NO_LOCKS:
            raise
