"""16-bit WAV files, written so that a killed process costs next to nothing."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeAlias, cast

import numpy as np

from voicepipe.io.atomic import AtomicFile, DiskErrors, sync_directory
from voicepipe.io.wav.header import NOT_CLOSED, PCM
from voicepipe.stream.resample import MAX_CHANNELS, MAX_RATE, MIN_RATE
from voicepipe.types.audio import pcm16


if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    import numpy.typing as npt

    from voicepipe.types.audio import Samples


WavTarget: TypeAlias = "str | os.PathLike[str] | BinaryIO"
"""Where to write: a path, or an empty binary file object that can seek."""

HEADER_BYTES = 80
"""Length of the header: the samples follow."""

ROOM_BYTES = len(NOT_CLOSED)
"""Length of the JUNK chunk, which is that of a ds64 chunk without a table."""

MAX_RIFF_BYTES = 0xFFFEFFFF
"""
Largest size written in 32 bits.

A little below what 32 bits can hold: some writers say "not known" with sizes of up to
64 KiB below that, so readers do not believe them.
"""

# Frames converted in one go: one long write takes no more memory than a short one.
_BLOCK_FRAMES = 1 << 16


def make_header(*, rate: int, channels: int, data_bytes: int, closed: bool) -> bytes:
    """
    Make the 80 bytes in front of the samples.

    ``RIFF``, a ``JUNK`` chunk, ``fmt `` and ``data``. Where the size needs more than 32
    bits, ``RF64`` with a ``ds64`` chunk in the place of ``JUNK`` (EBU Tech 3306, 3.2);
    its number of frames is 0 until the file is closed.

    Args:
        rate: Frames per second, Hz.
        channels: Number of channels.
        data_bytes: Bytes of samples.
        closed: Whether they are all there will be.
    """
    frame = 2 * channels
    riff_bytes = HEADER_BYTES - 8 + data_bytes
    if riff_bytes <= MAX_RIFF_BYTES:
        top = struct.pack("<4sI", b"RIFF", riff_bytes)
        room = b"JUNK", bytes(ROOM_BYTES) if closed else NOT_CLOSED
        short_bytes = data_bytes
    else:
        top = struct.pack("<4sI", b"RF64", 0xFFFFFFFF)
        frames = data_bytes // frame if closed else 0
        room = b"ds64", struct.pack("<QQQI", riff_bytes, data_bytes, frames, 0)
        short_bytes = 0xFFFFFFFF
    form = struct.pack("<HHIIHH", PCM, channels, rate, rate * frame, frame, 16)
    return b"".join(
        (
            top,
            struct.pack("<4s4sI", b"WAVE", room[0], ROOM_BYTES),
            room[1],
            struct.pack("<4sI", b"fmt ", len(form)),
            form,
            struct.pack("<4sI", b"data", short_bytes),
        )
    )


class WavWriter:
    """
    Writes a 16-bit WAV file that is valid at every moment.

    If the process is killed, any reader opens the file; what was written in the last
    ``patch_s`` seconds before it is behind the end that the header gives, and
    ``recover`` brings it back. The header, 80 bytes, is replaced in place by one write
    and becomes that of an RF64 file past 4 GiB. A power cut is another matter: what is
    there after it is what ``sync`` has brought to disk.

    Synchronous: a write goes to the system's memory and takes microseconds, but a disk
    that stalls blocks it; in asynchronous code, call it in a worker thread. Not to be
    used from two threads at once.

    As a context manager it closes the file, also after an exception: what was written
    is then kept, except with ``atomic``.

    Args:
        target: Where to write. A path is created, and refused if it is there already;
            its directory must exist. A file object stays the caller's to close; give an
            unbuffered one to have the promises kept on a full disk too.
        rate: Frames per second, Hz, 4,000 to 192,000.
        channels: Number of channels, 1 to 8.
        atomic: Let the file appear under its name, and replace one of that name, only
            when it is closed; an exception in the ``with`` block removes it. If the
            process is killed it stays beside its name, as ``.voicepipe-….part``, and
            can be recovered there. Needs a path.
        fsync: Flush to disk when closing; with ``atomic`` that is always done.
        patch_s: Longest time between a patch of the header and the next write that
            patches it again, seconds; 0 for every write.

    Attributes:
        path: Where the file is or will be, ``None`` for a file object.
        rate: Frames per second, Hz.
        channels: Number of channels.

    Raises:
        FileExistsError: If the path is there already, without ``atomic``.
        DiskFullError: If there is no space left; no file is then left behind.
        OSError: If the file cannot be created.
        ValueError: If an argument is out of its range.

    Example:
        >>> with WavWriter("call.wav", rate=8_000) as wav:  # doctest: +SKIP
        ...     wav.write_pcm(packet)
    """

    def __init__(
        self,
        target: WavTarget,
        *,
        rate: int,
        channels: int = 1,
        atomic: bool = False,
        fsync: bool = False,
        patch_s: float = 0.1,
    ) -> None:
        """Create the file and write the header of one without samples."""
        _check(rate, channels, patch_s)
        self.path: Path | None = None
        self.rate: int = rate
        self.channels: int = channels
        self._frame_bytes = 2 * channels
        self._data_bytes = 0
        self._partial = b""
        self._patch_s = patch_s
        # The first write patches too.
        self._patch_at = 0.0
        self._fsync = fsync
        self._closed = False
        self._atomic: AtomicFile | None = None
        self._new_name = False
        self._opened = contextlib.ExitStack()
        if isinstance(target, str | os.PathLike):
            self.path = Path(target)
            self._errors = DiskErrors(self.path)
            self._file = self._open(self.path, atomic=atomic)
        elif atomic:
            raise ValueError("atomic needs a path")
        else:
            self._errors = DiskErrors(None)
            self._file = target
        self._begin()

    @property
    def frames(self) -> int:
        """Frames written so far."""
        return self._data_bytes // self._frame_bytes

    @property
    def partial_bytes(self) -> int:
        """Bytes kept of a frame that is not whole yet; closing drops them."""
        return len(self._partial)

    def write(self, samples: Samples | npt.NDArray[np.int16]) -> None:
        """
        Write samples; all of them or, after an error, none.

        Args:
            samples: Float32 in [-1, 1] or int16, shape ``(frames, channels)``.

        Raises:
            DiskFullError: If there is no space left. The file is valid, and the same
                call may be made again.
            OSError: If writing fails; otherwise as for ``DiskFullError``.
            TypeError: If the samples are neither floats nor int16.
            ValueError: If the shape is wrong, ``write_pcm`` has left a frame that is
                not whole, or the file is closed.
        """
        if samples.ndim != 2 or samples.shape[1] != self.channels:
            msg = f"samples must be (frames, {self.channels}), not {samples.shape}"
            raise ValueError(msg)
        if samples.dtype.kind != "f" and samples.dtype != np.int16:
            msg = f"samples must be floats in [-1, 1] or int16, not {samples.dtype}"
            raise TypeError(msg)
        if self._partial:
            raise ValueError("write_pcm has left a frame that is not whole")
        self._append(
            _bytes_of(samples[at : at + _BLOCK_FRAMES])
            for at in range(0, len(samples), _BLOCK_FRAMES)
        )

    def write_pcm(self, data: bytes | bytearray | memoryview) -> None:
        """
        Write 16-bit little-endian samples as they are, any number of bytes.

        Any cut of the bytes gives the same file: a frame that is not whole is kept in
        memory until the rest of it comes.

        Args:
            data: Bytes of samples, channels interleaved.

        Raises:
            DiskFullError: As ``write``, and so the others.
            OSError: If writing fails.
            ValueError: If the file is closed.
        """
        joined = self._partial + bytes(data) if self._partial else data
        given = np.frombuffer(joined, np.uint8)
        whole = len(given) - len(given) % self._frame_bytes
        self._append((given[:whole],) if whole else ())
        self._partial = given[whole:].tobytes()

    def sync(self) -> None:
        """
        Patch the header and flush everything to disk; takes milliseconds.

        What was written before is then safe from a power cut too.

        Raises:
            DiskFullError: If there is no space left.
            OSError: If flushing fails; what is on disk is then not known.
            ValueError: If the file is closed.
        """
        self._check_open()
        with self._errors:
            self._patch(self._data_bytes)
            self._flush()

    def close(self) -> None:
        """
        Write the final header and close the file; again is harmless.

        Raises:
            DiskFullError: If there is no space left. The file is closed and valid,
                without ``atomic``, and ``recover`` finishes it; with ``atomic`` it is
                removed and its name is as it was.
            OSError: If writing or flushing fails; otherwise as for ``DiskFullError``.
        """
        if self._closed:
            return
        self._closed = True
        with self._errors, self._opened:
            self._file.truncate(HEADER_BYTES + self._data_bytes)
            self._patch(self._data_bytes, closed=True)
            if self._atomic is not None:
                self._atomic.commit()
            elif self._fsync:
                self._flush()

    def discard(self) -> None:
        """
        Give the file up; does nothing after ``close``.

        With ``atomic`` nothing is left of it, and its name is as it was. Any other file
        is closed with what was written. Does not raise: what went wrong before is what
        the caller has to know.
        """
        with contextlib.suppress(OSError):
            if self._atomic is None:
                self.close()
            elif not self._closed:
                self._closed = True
                self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    def _open(self, path: Path, *, atomic: bool) -> BinaryIO:
        if not atomic:
            with self._errors:
                # Unbuffered: what a buffer could not write, it would try again later.
                file = self._opened.enter_context(path.open("xb", buffering=0))
            self._new_name = True
            return file
        self._atomic = self._opened.enter_context(AtomicFile(path))
        return cast("BinaryIO", self._atomic.file.raw)

    def _begin(self) -> None:
        try:
            with self._errors:
                self._put(np.frombuffer(self._header(0), np.uint8), 0)
        except BaseException:
            self._closed = True
            self._opened.close()
            if self._new_name and self.path is not None:
                self.path.unlink(missing_ok=True)
            raise

    def _append(self, pieces: Iterable[npt.NDArray[np.uint8]]) -> None:
        self._check_open()
        at = HEADER_BYTES + self._data_bytes
        try:
            with self._errors:
                for piece in pieces:
                    self._put(piece, at)
                    at += len(piece)
                if time.monotonic() >= self._patch_at:
                    self._patch(at - HEADER_BYTES)
        except BaseException:
            # A part of what does not count would look to ``recover`` as if it did.
            with contextlib.suppress(OSError):
                self._file.truncate(HEADER_BYTES + self._data_bytes)
            raise
        self._data_bytes = at - HEADER_BYTES

    def _patch(self, data_bytes: int, *, closed: bool = False) -> None:
        header = self._header(data_bytes, closed=closed)
        self._put(np.frombuffer(header, np.uint8), 0)
        self._patch_at = time.monotonic() + self._patch_s

    def _header(self, data_bytes: int, *, closed: bool = False) -> bytes:
        return make_header(
            rate=self.rate,
            channels=self.channels,
            data_bytes=data_bytes,
            closed=closed,
        )

    def _put(self, data: npt.NDArray[np.uint8], at: int) -> None:
        self._file.seek(at)
        done = 0
        while done < len(data):
            # An unbuffered file may take less than it is given.
            done += self._file.write(data[done:].data)
        self._file.flush()

    def _flush(self) -> None:
        os.fsync(self._file.fileno())
        if self._new_name and self.path is not None:
            sync_directory(self.path.parent)
            self._new_name = False

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the file is closed")


def _bytes_of(samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Convert to 16 bits, frame by frame whatever the order in memory."""
    return np.ascontiguousarray(pcm16(samples), "<i2").reshape(-1).view(np.uint8)


def _check(rate: int, channels: int, patch_s: float) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        msg = f"rate must be {MIN_RATE} to {MAX_RATE} Hz, not {rate}"
        raise ValueError(msg)
    if not 1 <= channels <= MAX_CHANNELS:
        msg = f"channels must be 1 to {MAX_CHANNELS}, not {channels}"
        raise ValueError(msg)
    if not patch_s >= 0:
        msg = f"patch_s must be at least 0, not {patch_s}"
        raise ValueError(msg)
