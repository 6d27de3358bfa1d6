"""One journal for all sessions of a folder: what is in it outlives the process."""

from __future__ import annotations

import contextlib
import functools
import logging
import mmap
import os
import secrets
import sys
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from voicepipe.io.atomic import DiskErrors, sync_directory
from voicepipe.io.capture.records import (
    END,
    HEAD_BYTES,
    Found,
    Head,
    Record,
    pack,
    scan,
)


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_log = logging.getLogger(__name__)

SEGMENT_BYTES = 1 << 25
"""Length at which a segment is followed by the next one."""

# Buffers and bytes written by one call; systems take 1,024 buffers and more.
_MOST_PIECES = 512
_MOST_BYTES = 1 << 23

_PREFIX = ".journal-"

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Journal:
    """
    The journal of a folder, for writing.

    ``append`` is for one thread, ``sync`` and ``remove_before`` for another one; all
    block. What ``append`` has written is in the system's memory, and on disk after the
    next ``sync``. What it has refused is not in the journal; where even that cannot be
    had, nothing more is written until it can.

    Args:
        folder: Where the segments are.
        number: Of the first segment.
        segment_bytes: Length at which a segment is followed by the next one.

    Attributes:
        number: Of the segment that is written.
        seed: What the checksums of its records begin with.
        steady: To be held while segments are read: to take away what is mapped into
            memory ends the process.

    Raises:
        DiskFullError: If there is no space for a first segment.
        OSError: If it cannot be made.
    """

    def __init__(
        self, folder: Path, number: int, *, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Begin a segment."""
        self.number: int = number
        self.seed: int = secrets.randbits(32)
        self.steady: threading.Lock = threading.Lock()
        self._folder = folder
        self._segment_bytes = self._least_bytes = segment_bytes
        self._first = number
        self._size = 0
        self._errors = DiskErrors(folder)
        self._full: list[int] = []
        self._is_new = True
        self._is_dirty = False
        self._is_torn = False
        self._is_closed = False
        self._not_synced: OSError | None = None
        self._files = threading.Lock()
        self._syncing = threading.Lock()
        with self._errors:
            self._fd = self._create(number)

    def make_room(self, size: int) -> None:
        """Let segments be as long as this, and not shorter than they were to be."""
        self._segment_bytes = max(self._least_bytes, size)

    @property
    def is_dirty(self) -> bool:
        """Whether something is not on disk yet."""
        return self._is_dirty

    def append(
        self,
        pieces: Sequence[bytes | memoryview],
        size: int,
        *,
        durable: bool = False,
    ) -> list[OSError | None] | None:
        """
        Write records, each whole or not at all.

        Args:
            pieces: Of each record what stands in front of its payload, packed with
                ``seed``, and the payload.
            size: Bytes of all of them.
            durable: Bring them to disk too; if that fails, none of them is written.

        Returns:
            For each record the error because of which it was not written; ``None`` if
            all of them were.
        """
        self._not_synced = None
        if self._size >= self._segment_bytes:
            self._rotate(durable=durable)
        begin = self._size
        errors = self._append_all(pieces, size)
        lost = self._secure(begin) if durable and self._size > begin else None
        if lost is not None:
            return [again(lost) for _ in errors]
        return errors if any(errors) else None

    def _append_all(
        self, pieces: Sequence[bytes | memoryview], size: int
    ) -> list[OSError | None]:
        errors: list[OSError | None] = []
        for group in _groups(pieces, size):
            error = self._append(group)
            if error is None:
                errors.extend([None] * (len(group) // 2))
            elif len(group) == 2:
                errors.append(error)
            else:
                # Where there is no room for all, there may be for the smaller ones.
                errors.extend(
                    self._append(group[at : at + 2]) for at in range(0, len(group), 2)
                )
        return errors

    def sync(self) -> None:
        """
        Bring to disk what was appended before.

        Raises:
            DiskFullError: If there is no space for it; what is on disk is then not
                known.
            OSError: If flushing fails; likewise.
        """
        with self._syncing:
            with self._files:
                full, self._full = self._full, []
                fd, is_new = self._fd, self._is_new
                self._is_new = self._is_dirty = False
            try:
                with self._errors:
                    for old in full:
                        flush(old)
                    flush(fd)
                    if is_new or full:
                        sync_directory(self._folder)
            except OSError as exc:
                # A system tells that once, and not always who has written.
                self._not_synced = exc
                with self._files:
                    self._full[:0] = full
                    self._is_new = self._is_dirty = True
                raise
            for old in full:
                os.close(old)

    def remove_before(self, number: int) -> None:
        """Remove the segments before one, the oldest first."""
        for old in range(self._first, number):
            segment_path(self._folder, old).unlink(missing_ok=True)
            self._first = old + 1

    def close(self) -> None:
        """Close its files; they stay. Again is harmless."""
        with self._syncing, self._files:
            for fd in self._full:
                os.close(fd)
            self._full = []
            if not self._is_closed:
                self._is_closed = True
                os.close(self._fd)

    def _append(self, pieces: Sequence[bytes | memoryview]) -> OSError | None:
        try:
            with self._errors:
                if self._is_torn:
                    self._cut(self._size)
                size = write_all(self._fd, pieces)
        except OSError as exc:
            with contextlib.suppress(OSError):
                self._cut(self._size)
            return exc
        self._size += size
        self._is_dirty = True
        return None

    def _secure(self, begin: int) -> OSError | None:
        """Bring to disk what was appended since, or take it away."""
        with contextlib.suppress(OSError):
            self.sync()
        error = self._not_synced
        if error is not None:
            with contextlib.suppress(OSError):
                self._cut(begin)
        return error

    def _cut(self, size: int) -> None:
        """Take away what is behind the records that count: it would, after a crash."""
        self._size = size
        self._is_torn = True
        with self.steady:
            os.ftruncate(self._fd, size)
        os.lseek(self._fd, size, os.SEEK_SET)
        self._is_torn = False

    def _rotate(self, *, durable: bool) -> None:
        """Begin the next segment, if there is room for it."""
        begin = self._size
        if self._append([pack(Record(END), self.seed), b""]) is not None:
            return
        # What follows on it counts only together with it.
        if durable and self._secure(begin) is not None:
            return
        try:
            fd = self._create(self.number + 1)
        except OSError as exc:
            _log.warning("no new segment of the journal: %s", exc)
            return
        with self._files:
            self._full.append(self._fd)
            self._fd = fd
            self.number += 1
            self._is_new = True

    def _create(self, number: int) -> int:
        head = Head(number=number, boot=boot_id(), seed=self.seed)
        path = segment_path(self._folder, number)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        fd = os.open(path, flags | _FLAGS, 0o666)
        try:
            size = write_all(fd, [head.pack()])
        except BaseException:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        self._size = size
        return fd


_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[Head, memoryview] | None]:
    """
    Map a segment into memory; ``None`` where it has no whole head.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        head = Head.unpack(file.read(HEAD_BYTES))
        if head is None:
            yield None
            return
        with (
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as view,
        ):
            yield head, view


def found_in(view: memoryview, head: Head) -> Iterator[Found]:
    """Give the records of a mapped segment."""
    return scan(view, head.seed)


def segments(folder: Path) -> list[tuple[int, Path]]:
    """Give the segments of a folder with their numbers, in order."""
    found = []
    for path in folder.glob(_PREFIX + "*"):
        number = path.name.removeprefix(_PREFIX)
        if number.isascii() and number.isdigit():
            found.append((int(number), path))
    return sorted(found)


def segment_path(folder: Path, number: int) -> Path:
    """Give the name of a segment."""
    return folder / f"{_PREFIX}{number:08d}"


def again(error: OSError) -> OSError:
    """Make the same error, for somebody else to raise."""
    return type(error)(error.errno, error.strerror, error.filename)


@functools.cache
def boot_id() -> bytes:
    """
    Tell this run of the machine from others; 16 bytes.

    Where nobody tells, of this process: after any crash only what was flushed to disk
    counts then.
    """
    try:
        return uuid.UUID(_BOOT_ID.read_text("ascii").strip()).bytes
    except (OSError, ValueError):
        return secrets.token_bytes(16)


def flush(fd: int) -> None:
    """Bring a file's bytes to disk."""
    # Its times need not be.
    getattr(os, "fdatasync", os.fsync)(fd)


def write_all(fd: int, pieces: Sequence[bytes | memoryview]) -> int:
    """
    Write pieces from where the file stands.

    Returns:
        Bytes written: all.

    Raises:
        OSError: If not all could be written.
    """
    total = sum(map(len, pieces))
    written = _write(fd, pieces)
    if written == total:
        return total
    rest = memoryview(b"".join(pieces))[written:]
    while rest:
        rest = rest[os.write(fd, rest) :]
    return total


def _write(fd: int, pieces: Sequence[bytes | memoryview]) -> int:
    if sys.platform == "win32":
        return os.write(fd, b"".join(pieces))
    return os.writev(fd, pieces)


def _groups(
    pieces: Sequence[bytes | memoryview], size: int
) -> Iterator[Sequence[bytes | memoryview]]:
    """Cut a batch into what one call writes."""
    if len(pieces) <= _MOST_PIECES and size <= _MOST_BYTES:
        yield pieces
        return
    begin = held = 0
    for at in range(0, len(pieces), 2):
        length = len(pieces[at]) + len(pieces[at + 1])
        if at > begin and (at - begin >= _MOST_PIECES or held + length > _MOST_BYTES):
            yield pieces[begin:at]
            begin, held = at, 0
        held += length
    yield pieces[begin:]
