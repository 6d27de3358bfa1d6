"""
WAV files of sessions, written behind: each call opens one, adds to it and closes it.

So a thousand sessions need no descriptor, and a file is whole and readable between two
calls. They have the layout of ``WavWriter``. One that somebody has removed is made
again, as after a crash: what is missing is silence, all that follows stays at its time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import numpy as np

from voicepipe.io.atomic import DiskErrors, sync_directory
from voicepipe.io.capture.journal import flush, write_all
from voicepipe.io.wav.writer import HEADER_BYTES, make_header


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt


_log = logging.getLogger(__name__)

_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)

# Buffers that are written by one call; systems take 1,024 and more.
_MOST_PIECES = 512


@attrs.frozen(kw_only=True)
class SessionWav:
    """
    The WAV file of one session; all methods block.

    Args:
        path: Its name.
        rate: Frames per second, Hz.
        channels: Channels.

    Raises:
        DiskFullError: From all methods that write, if there is no space left.
        OSError: From all methods, if the file cannot be read or written.
    """

    path: Path
    rate: int
    channels: int

    def create(self, *, anew: bool = False) -> None:
        """
        Make it, without a frame.

        Args:
            anew: Replace one that is there.
        """
        flags = os.O_CREAT | (os.O_TRUNC if anew else os.O_EXCL)
        with self._open(flags) as fd:
            try:
                os.write(fd, self._header(0, closed=False))
            except BaseException:
                self.path.unlink(missing_ok=True)
                raise

    def frames(self) -> int:
        """Give the frames that there is room for in its length; it must be there."""
        size = self.path.lstat().st_size - HEADER_BYTES
        return max(0, size) // (2 * self.channels)

    def append(self, at: int, pieces: Sequence[npt.NDArray[np.int16]]) -> None:
        """
        Add samples; after an error it is as before.

        Args:
            at: Frames before them: what there is behind is replaced.
            pieces: Shape ``(frames, channels)``, C-contiguous.
        """
        with self._open_again() as fd:
            self._put(fd, at, pieces, closed=False)

    def finish(
        self, at: int, pieces: Sequence[npt.NDArray[np.int16]] = (), *, closed: bool
    ) -> None:
        """
        Add the last samples, bring it to its exact length and to disk.

        Args:
            at: Frames before them.
            pieces: As for ``append``.
            closed: Whether that is all there will be.
        """
        with self._open_again() as fd:
            frames = at + sum(map(len, pieces))
            self._put(fd, at, pieces, closed=False)
            os.ftruncate(fd, HEADER_BYTES + self._bytes(frames))
            if closed:
                _write_at_the_top(fd, self._header(frames, closed=True))
            flush(fd)
        sync_directory(self.path.parent)

    def sync(self) -> None:
        """Bring to disk what was added, but for its name."""
        # One that was removed has nothing to be brought there.
        with contextlib.suppress(FileNotFoundError), self._open() as fd:
            flush(fd)

    def _put(
        self,
        fd: int,
        at: int,
        pieces: Sequence[npt.NDArray[np.int16]],
        *,
        closed: bool,
    ) -> None:
        begin = HEADER_BYTES + self._bytes(at)
        try:
            if pieces:
                os.lseek(fd, begin, os.SEEK_SET)
            for first in range(0, len(pieces), _MOST_PIECES):
                some = pieces[first : first + _MOST_PIECES]
                write_all(fd, [_bytes_of(piece) for piece in some])
            frames = at + sum(map(len, pieces))
            _write_at_the_top(fd, self._header(frames, closed=closed))
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, begin)
            raise

    def _bytes(self, frames: int) -> int:
        return 2 * self.channels * frames

    def _header(self, frames: int, *, closed: bool) -> bytes:
        return make_header(
            rate=self.rate,
            channels=self.channels,
            data_bytes=self._bytes(frames),
            closed=closed,
        )

    @contextlib.contextmanager
    def _open_again(self) -> Iterator[int]:
        with self._open(os.O_CREAT) as fd:
            if not os.fstat(fd).st_size:
                _log.warning("%s was removed: what it had is lost", self.path)
                os.write(fd, self._header(0, closed=False))
            yield fd

    @contextlib.contextmanager
    def _open(self, flags: int = 0) -> Iterator[int]:
        with DiskErrors(self.path):
            fd = os.open(self.path, os.O_RDWR | flags | _FLAGS, 0o666)
            try:
                yield fd
            finally:
                os.close(fd)


def sync_wavs(wavs: Sequence[SessionWav]) -> list[OSError | None]:
    """Bring to disk what was added to some files; give the error of each."""
    errors: list[OSError | None] = []
    for wav in wavs:
        try:
            wav.sync()
            errors.append(None)
        except OSError as exc:
            errors.append(exc)
    try:
        for folder in {wav.path.parent for wav in wavs}:
            sync_directory(folder)
    except OSError as exc:
        return [exc for _ in wavs]
    return errors


def _write_at_the_top(fd: int, header: bytes) -> None:
    if sys.platform == "win32":
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, header)
    else:
        os.pwrite(fd, header, 0)


def _bytes_of(piece: npt.NDArray[np.int16]) -> memoryview:
    if sys.byteorder == "big":
        piece = piece.astype("<i2")
    return piece.reshape(-1).view(np.uint8).data
