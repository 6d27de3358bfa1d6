"""The unfinished file: beside its target, locked, and found again after a crash."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from voicepipe.errors import DiskFullError
from voicepipe.io.atomic import DiskErrors, sync_directory
from voicepipe.io.download.resume import Remote
from voicepipe.stream.sniff import HEAD_BYTES, sniff


if sys.platform != "win32":
    import fcntl


if TYPE_CHECKING:
    from collections.abc import Sequence


# Written between two flushes to disk: what a power cut may cost.
_SYNC_BYTES = 1 << 26

_HASH_BYTES = 1 << 20

# For a file of this size room is looked for before it is written.
_LARGE_BYTES = 1 << 20

_VERSION = 1

# What file systems say that cannot lock.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EINVAL})

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Partial:
    """
    The bytes of a download so far, under a hidden name beside the target.

    Whoever holds it has its lock, which the system takes back when the process ends,
    however it ends. A state file beside it tells which version of which URL the bytes
    are of. After a crash of the process all bytes written are good; after one of the
    machine those that had been flushed. Windows has no such lock: there two processes
    must not download to one target.

    All methods block, and none may run beside another.

    Args:
        target: The name that the file is to have.
        digest: Which URL it comes from.
        label: What to call the recording in errors.
        audio: Refuse what does not begin like a recording.

    Attributes:
        path: The unfinished file.
        have: Bytes that are there.
        remote: The version they are of; ``None`` where nobody knows.
        is_stale: Whether another process has had it, and finished it or given it up.

    Raises:
        OSError: If the folder is missing or cannot be written to, or the target is
            something else than a file.
    """

    def __init__(self, target: Path, digest: str, label: str, *, audio: bool) -> None:
        """Open the file; it is not locked yet."""
        _check_target(target)
        name = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:32]
        self.path: Path = target.parent / f".voicepipe-{name}.part"
        self.have: int = 0
        self.remote: Remote | None = None
        self.is_stale: bool = False
        self._target = target
        self._digest = digest
        self._label = label
        self._audio = audio
        self._state_path = self.path.with_suffix(".json")
        self._disk_errors = DiskErrors(target)
        self._has_state = False
        self._is_mine = False
        self._is_sound = True
        self._seen: dict[str, Any] = {}
        self._sha256 = hashlib.sha256()
        self._synced = 0
        with self._disk_errors:
            self._fd: int | None = _open(self.path)

    @property
    def is_closed(self) -> bool:
        """Whether it was let go of."""
        return self._fd is None

    @property
    def _file(self) -> int:
        assert self._fd is not None, "it was let go of"  # noqa: S101
        return self._fd

    def lock(self) -> bool:
        """Take it and read what is there; false if it is taken, or stale."""
        if not _try_lock(self._file):
            # What the other one says of itself tells later what it has finished.
            self._seen = self._read_state() or self._seen
            return False
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            found = None
        if found is None or not os.path.samestat(found, os.fstat(self._file)):
            self.is_stale = True
            return False
        self._is_mine = True
        self._restore(found.st_size)
        return True

    def finished_by_other(self) -> tuple[Remote, int, str] | None:
        """
        Tell what another process has made of it while this one waited for it.

        Returns:
            The version, its bytes and their SHA-256, if the file is the target now and
            came from the same URL.
        """
        if self._seen.get("url") != self._digest:
            return None
        try:
            if not os.path.samestat(self._target.lstat(), os.fstat(self._file)):
                return None
        except FileNotFoundError:
            return None
        size = os.fstat(self._file).st_size
        return Remote(**self._seen["remote"]), size, self._hash(size).hexdigest()

    def _read_state(self) -> dict[str, Any] | None:
        """Read the state file; ``None`` where it is missing, or not of this kind."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            state: dict[str, Any] = json.loads(self._state_path.read_text("utf-8"))
            Remote(**state["remote"])
            if state["version"] == _VERSION and isinstance(state["synced"], int):
                return state
        return None

    def _restore(self, size: int) -> None:
        if not size:
            # Only who was killed before the first byte has left one.
            self._state_path.unlink(missing_ok=True)
            return
        state = self._read_state()
        self._has_state = True
        if state is None or state["url"] != self._digest:
            self.begin(None)
            return
        remote = Remote(**state["remote"])
        have = size if state["boot"] == _boot_id() else min(size, state["synced"])
        if have > (have if remote.size is None else remote.size):
            self.begin(None)
            return
        os.ftruncate(self._file, have)
        self._sha256 = self._hash(have)
        self.have, self.remote = have, remote
        self._synced = min(state["synced"], have)

    def _hash(self, size: int) -> hashlib._Hash:
        """Read from the beginning; the file's position is behind that then."""
        found = hashlib.sha256()
        os.lseek(self._file, 0, os.SEEK_SET)
        while size > 0 and (data := os.read(self._file, min(size, _HASH_BYTES))):
            found.update(data)
            size -= len(data)
        return found

    def begin(self, remote: Remote | None) -> None:
        """
        Drop what is there, and begin with the first byte of a version.

        Raises:
            OSError: If that cannot be done.
        """
        with self._disk_errors:
            self._drop_state()
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
        self.have = self._synced = 0
        self._sha256 = hashlib.sha256()
        self.remote = remote

    def append(self, pieces: Sequence[bytes], *, is_last: bool) -> None:
        """
        Write what has come; unless it is the last, let a next time go on from there.

        Raises:
            NotAudioError: Before anything is written, if the file does not begin like a
                recording; ``EmptyAudioError`` and ``UnsupportedAudioError`` as well.
            DiskFullError: If there is no space left.
            OSError: If the file cannot be written.
        """
        is_first = self.have == 0
        # One piece: each call into hashing or the system hands the interpreter's lock
        # to the event loop, and getting it back costs more than copying.
        data = b"".join(pieces)
        if is_first and (pieces or is_last):
            if self._audio:
                sniff(data[:HEAD_BYTES], source=self._label)
            self._look_for_room()
        with self._disk_errors:
            self._is_sound = False
            self._write(data)
            if self.have - self._synced >= _SYNC_BYTES:
                os.fsync(self._file)
                self._synced = self.have
                self._write_state(durable=True)
            elif is_first and not is_last:
                self._write_state(durable=False)
            self._is_sound = True

    def _look_for_room(self) -> None:
        size = self.remote.size if self.remote else None
        if size is None or size < _LARGE_BYTES or not hasattr(os, "fstatvfs"):
            return
        room = os.fstatvfs(self._file)
        if room.f_bavail * room.f_frsize < size:
            code = errno.ENOSPC
            raise DiskFullError(code, os.strerror(code), os.fspath(self._target))

    def _write(self, data: bytes) -> None:
        self._sha256.update(data)
        left = memoryview(data)
        while left:
            written = os.write(self._file, left)
            self.have += written
            left = left[written:]

    def _write_state(self, *, durable: bool) -> None:
        if self.remote is None or self.remote.validator is None:
            return
        state = {
            "version": _VERSION,
            "url": self._digest,
            "remote": attrs.asdict(self.remote),
            "synced": self._synced,
            "boot": _boot_id(),
        }
        new = self._state_path.with_suffix(".new")
        # Created, so that no link is followed that somebody has put there.
        new.unlink(missing_ok=True)
        with new.open("x", encoding="utf-8") as file:
            json.dump(state, file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        new.replace(self._state_path)
        self._has_state = True

    def _drop_state(self) -> None:
        if self._has_state:
            self._state_path.unlink(missing_ok=True)
            self._has_state = False

    def last_byte(self) -> bytes:
        """Give the last byte that is there."""
        os.lseek(self._file, self.have - 1, os.SEEK_SET)
        return os.read(self._file, 1)

    def sha256(self) -> str:
        """Give the SHA-256 of what is there, in hexadecimal."""
        return self._sha256.hexdigest()

    def finish(self, *, durable: bool) -> None:
        """
        Give the file its name, and let go of it.

        Raises:
            DiskFullError: If there is no space left.
            OSError: If flushing or renaming fails.
        """
        with self._disk_errors:
            if durable:
                os.fsync(self._file)
            # Renamed while it is locked: who waits for it finds it under its name.
            self.path.replace(self._target)
            self._drop_state()
            if durable:
                sync_directory(self._target.parent)
        self.close()

    def keep(self) -> None:
        """Let go of it and leave it for the next time, if it can be gone on with."""
        if self._fd is None:
            return
        has_validator = self.remote is not None and self.remote.validator is not None
        if self.have and has_validator and self._is_sound:
            with contextlib.suppress(OSError):
                if not self._has_state:
                    self._write_state(durable=False)
                self.close()
                return
        self.discard()

    def discard(self) -> None:
        """Remove it, and let go of it."""
        if self._fd is None:
            return
        if self._is_mine:
            with contextlib.suppress(OSError):
                self._drop_state()
                self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of it."""
        # Never twice, even if two threads come: the number may be another's by then.
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def _check_target(target: Path) -> None:
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        code = errno.EISDIR
        raise IsADirectoryError(code, os.strerror(code), os.fspath(target))
    # A link is replaced, not followed.
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise OSError(errno.EINVAL, "neither a file nor a link", os.fspath(target))


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    file = os.open(path, flags, 0o666)
    found = os.fstat(file)
    # Its name can be known before: what somebody else has put there is left alone.
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(file)
        raise OSError(errno.EEXIST, "not a file of ours", os.fspath(path))
    return file


def _try_lock(file: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_LOCKS:
            raise
    return True


@functools.cache
def _boot_id() -> str:
    """Tell this run of the machine from others; without that, of the process."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        # After any crash only flushed bytes count then.
        return secrets.token_hex(8)
