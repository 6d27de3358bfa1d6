"""Directories flushed by many threads at the same time; names that come at the end."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from voicepipe.io import atomic
from voicepipe.io.atomic import AtomicFile, sync_directory


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Flushes:
    """
    Watches ``os.fsync`` of directories, and holds it up or makes it fail.

    Attributes:
        seen: Begin and end of each flush that succeeded, on one clock with ``tick``.
        errors: Raised by the next flushes, ``None`` for none.
        gate: Flushes wait for it.
        began: Set when one has begun.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []
        self.errors: Iterator[int | None] = itertools.repeat(None)
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Event()
        self._clock = itertools.count()
        self._real = os.fsync

    def tick(self) -> int:
        """Give the next number of the clock: one step, also between threads."""
        return next(self._clock)

    def fsync(self, file: int) -> None:
        """Stand in for ``os.fsync``."""
        if not stat.S_ISDIR(os.fstat(file).st_mode):
            self._real(file)
            return
        begin = self.tick()
        self.began.set()
        assert self.gate.wait(10)
        error = next(self.errors)
        if error is not None:
            raise OSError(error, os.strerror(error))
        self._real(file)
        self.seen.append((begin, self.tick()))


@pytest.fixture
def flushes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Flushes]:
    flushes = Flushes()
    monkeypatch.setattr(os, "fsync", flushes.fsync)
    yield flushes
    assert atomic._flushes == {}


class Asking(threading.Thread):
    """
    A thread that asks for a flush.

    Attributes:
        asked: When, on the clock of the flushes.
        returned: When it was told that all is well; ``None`` if it was not.
        error: What it was told otherwise.
    """

    def __init__(self, folder: Path, flushes: Flushes) -> None:
        super().__init__(daemon=True)
        self.asked = -1
        self.returned: int | None = None
        self.error: OSError | None = None
        self._folder = folder
        self._flushes = flushes

    def run(self) -> None:
        self.asked = self._flushes.tick()
        try:
            sync_directory(self._folder)
        except OSError as exc:
            self.error = exc
        else:
            self.returned = self._flushes.tick()

    def begin(self) -> Self:
        self.start()
        return self

    def is_right(self) -> bool:
        """Tell whether a flush began after it had asked, and ended before its end."""
        return self.returned is not None and any(
            self.asked < begin < end < self.returned
            for begin, end in self._flushes.seen
        )


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.001)


def users(folder: Path) -> int:
    flush = atomic._flushes.get(os.fspath(folder))
    return 0 if flush is None else flush.users


def crowd(folder: Path, flushes: Flushes, count: int) -> list[Asking]:
    """Have one thread in the midst of a flush, and others that ask meanwhile."""
    flushes.gate.clear()
    first = Asking(folder, flushes).begin()
    assert flushes.began.wait(60)
    others = [Asking(folder, flushes).begin() for _ in range(count)]
    until(lambda: users(folder) == 1 + count)
    return [first, *others]


def ended(threads: list[Asking]) -> None:
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_who_asks_during_a_flush_shares_the_next_one(
    tmp_path: Path, flushes: Flushes
) -> None:
    threads = crowd(tmp_path, flushes, 7)
    flushes.gate.set()
    ended(threads)

    # The one under way had begun before the seven asked: it is nothing to them.
    assert len(flushes.seen) == 2
    assert all(thread.is_right() for thread in threads)


def test_whoever_returns_was_flushed_after_it_had_asked(
    tmp_path: Path, flushes: Flushes
) -> None:
    calls: list[Asking] = []

    def ask() -> None:
        for _ in range(40):
            call = Asking(tmp_path, flushes)
            call.run()
            calls.append(call)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)

    assert len(calls) == 640
    assert all(call.is_right() for call in calls)
    assert len(flushes.seen) < 640


def test_calls_one_after_the_other_flush_each(tmp_path: Path, flushes: Flushes) -> None:
    calls = [Asking(tmp_path, flushes) for _ in range(3)]
    for call in calls:
        call.run()

    assert all(call.is_right() for call in calls)
    assert len(flushes.seen) == 3


def test_an_error_that_stays_is_told_to_all(tmp_path: Path, flushes: Flushes) -> None:
    flushes.errors = itertools.repeat(errno.EIO)
    threads = crowd(tmp_path, flushes, 5)
    flushes.gate.set()
    ended(threads)

    assert {getattr(thread.error, "errno", None) for thread in threads} == {errno.EIO}


@pytest.mark.parametrize("failing", [1, 2])
def test_nobody_takes_a_flush_that_failed_for_one(
    tmp_path: Path, flushes: Flushes, failing: int
) -> None:
    """Who would have shared it makes another one."""
    errors = [errno.EIO if number == failing else None for number in range(1, 4)]
    flushes.errors = itertools.chain(errors, itertools.repeat(None))
    threads = crowd(tmp_path, flushes, 5)
    flushes.gate.set()
    ended(threads)

    failed = [thread for thread in threads if thread.error is not None]
    assert len(failed) == 1
    assert all(thread.is_right() for thread in threads if thread not in failed)
    assert len(flushes.seen) == (1 if failing == 1 else 2)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EINVAL, errno.ENOTSUP])
def test_a_directory_that_cannot_be_flushed_is_left_alone(
    tmp_path: Path, flushes: Flushes, code: int
) -> None:
    flushes.errors = itertools.repeat(code)
    threads = crowd(tmp_path, flushes, 3)
    flushes.gate.set()
    ended(threads)

    assert [thread.error for thread in threads] == [None] * 4


def test_directories_do_not_wait_for_each_other(
    tmp_path: Path, flushes: Flushes
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    threads = crowd(tmp_path, flushes, 1)
    flushes.began.clear()
    aside = Asking(other, flushes).begin()

    # It comes as far as its own flush while the first one is still under way.
    assert flushes.began.wait(60)
    flushes.gate.set()
    ended([*threads, aside])

    assert all(thread.is_right() for thread in [*threads, aside])


def test_one_directory_by_two_names_is_one(
    tmp_path: Path, flushes: Flushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    threads = crowd(tmp_path, flushes, 1)
    relative = Asking(Path(), flushes).begin()
    until(lambda: users(tmp_path) == 3)
    flushes.gate.set()
    ended([*threads, relative])

    assert len(flushes.seen) == 2


def test_a_missing_directory_is_told(tmp_path: Path, flushes: Flushes) -> None:
    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "missing")


def test_a_file_is_on_disk_before_it_has_its_name_and_its_name_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    steps: list[tuple[int, bytes]] = []
    real = os.fsync

    def fsync(file: int) -> None:
        steps.append((os.fstat(file).st_ino, path.read_bytes()))
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    with AtomicFile(path) as target:
        target.file.write(b"new")
        target.commit()

    assert steps == [
        (path.stat().st_ino, b"old"),
        (tmp_path.stat().st_ino, b"new"),
    ]


def test_a_flush_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fsync(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with AtomicFile(path) as target:
        target.file.write(b"new")
        with pytest.raises(OSError, match="5"):
            target.commit()

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_is_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()

    with pytest.raises(IsADirectoryError):
        AtomicFile(folder)

    assert list(tmp_path.iterdir()) == [folder]
