"""A file that appears under its name only when it is whole."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from voicepipe.errors import DiskFullError


if TYPE_CHECKING:
    import io
    from types import TracebackType


# What a system says where there is no space left, or no quota of it.
_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})

# What a system says where a directory cannot be opened, or not flushed.
_NO_DIRECTORY_SYNC = frozenset({errno.EACCES, errno.EINVAL, errno.ENOTSUP})


class DiskErrors:
    """
    A ``with`` block, entered as often as needed, that tells a full disk by its type.

    Args:
        filename: What is written; ``None`` where it has no name.

    Raises:
        DiskFullError: At the end of the block, for an ``OSError`` that says so.
    """

    def __init__(self, filename: str | os.PathLike[str] | None) -> None:
        """Keep the name."""
        self._filename = None if filename is None else os.fspath(filename)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, OSError) or isinstance(error, DiskFullError):
            return
        code = error.errno
        if code is not None and code in _FULL:
            raise DiskFullError(code, os.strerror(code), self._filename) from error


class AtomicFile:
    """
    A new file that takes its name, and the place of any file of that name, at the end.

    Written beside its target, flushed to disk and renamed, so that whoever opens the
    name sees the old file or the new one, and a crash leaves one of the two. A symbolic
    link at the target is replaced; what it points to stays as it is. Leaving the
    ``with`` block without ``commit`` removes the unfinished file; only a process that
    is killed leaves it behind, as ``.voicepipe-….part``.

    Args:
        path: The target; its directory must exist.

    Attributes:
        path: The target.
        file: The unfinished file, open for reading and writing.

    Raises:
        DiskFullError: If there is no space for one more file.
        OSError: If the directory is missing or cannot be written to, or the target is
            a directory.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Create the unfinished file."""
        self.path: Path = Path(path)
        if self.path.is_dir() and not self.path.is_symlink():
            raise IsADirectoryError(
                errno.EISDIR, os.strerror(errno.EISDIR), str(self.path)
            )
        # A fresh name, so that two writers of one target do not meet.
        name = f".voicepipe-{secrets.token_hex(8)}.part"
        self._part = self.path.parent / name
        self._disk_errors = DiskErrors(self.path)
        with self._disk_errors:
            self.file: io.BufferedRandom = self._part.open("x+b")
        self._committed = False

    def commit(self) -> None:
        """
        Flush to disk and give the file its name.

        Raises:
            DiskFullError: If there is no space left; the target is then as it was.
            OSError: If flushing or renaming fails; the target is then as it was, unless
                only the directory could not be flushed.
        """
        with self._disk_errors:
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
            self._part.replace(self.path)
            self._committed = True
            sync_directory(self.path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # What the disk says against the last of a file that goes away helps nobody.
        with contextlib.suppress(OSError):
            self.file.close()
        if not self._committed:
            self._part.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """
    Make a new name, or a rename, last through a power cut, where the platform can.

    Threads that ask for the same directory at the same time share one flush, as long as
    it begins after all of them have asked.

    Raises:
        OSError: If flushing the directory fails.
    """
    if os.name != "posix":
        return
    key = os.path.abspath(path)  # noqa: PTH100 - links need not be followed
    with _flushes_lock:
        flush = _flushes.setdefault(key, _Flush())
        flush.users += 1
        needed = flush.begun + 1
    try:
        with flush.lock:
            if flush.done < needed:
                flush.begun += 1
                number = flush.begun
                _flush_directory(path)
                flush.done = number
    finally:
        with _flushes_lock:
            flush.users -= 1
            if not flush.users:
                del _flushes[key]


class _Flush:
    """The flushes of one directory, counted."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = self.begun = self.done = 0


_flushes: dict[str, _Flush] = {}
_flushes_lock = threading.Lock()


def _flush_directory(path: Path) -> None:
    try:
        directory = os.open(path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as exc:
        if exc.errno not in _NO_DIRECTORY_SYNC:
            raise
