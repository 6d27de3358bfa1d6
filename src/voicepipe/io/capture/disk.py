"""What a store has on disk beside the WAV files: lock, index and journal."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from voicepipe.errors import BatchError, CaptureError
from voicepipe.io.atomic import DiskErrors
from voicepipe.io.batch.lock import FolderLock
from voicepipe.io.capture.index import Index
from voicepipe.io.capture.journal import Journal, segment_path, segments
from voicepipe.io.capture.live import Assembling
from voicepipe.io.capture.recovery import recover_sessions


if TYPE_CHECKING:
    from pathlib import Path

    from voicepipe.stream.packets.decoder import DecoderFactory


LOCK_NAME = ".capture.lock"


class Disk:
    """
    A folder, held by this process alone; blocks.

    Sessions of a process that did not close them are found again and parked.

    Args:
        folder: Where the files are; made if it is missing.
        isolated: Decode compressed sound in limited helper processes.

    Attributes:
        index: The sessions that are not active.
        journal: What becomes of those that are.
        make: Makes assemblers.

    Raises:
        CaptureError: If another process uses the folder, or the index is not ours.
        DiskFullError: If there is no space left.
        OSError: If the folder cannot be used.
    """

    def __init__(self, folder: Path, *, isolated: bool) -> None:
        """Take the folder, and bring in order what is in it."""
        with DiskErrors(folder), contextlib.ExitStack() as stack:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(FolderLock(folder / LOCK_NAME))
            except BatchError as exc:
                msg = f"another process captures in {folder}"
                raise CaptureError(msg) from exc
            decoders: DecoderFactory | None = None
            if isolated:
                # Processes only where they are wanted.
                from voicepipe.io.capture.decoders import (  # noqa: PLC0415
                    IsolatedDecoders,
                )

                decoders = stack.enter_context(contextlib.closing(IsolatedDecoders()))
            self.make: Assembling = Assembling(decoders)
            self.index: Index = Index(folder)
            stack.callback(self.index.close)
            number = recover_sessions(folder, self.index, self.make)
            self.journal: Journal = Journal(folder, number)
            stack.callback(self.journal.close)
            _remove_segments(folder, number)
            self._folder = folder
            self._stack = stack.pop_all()

    def close(self, *, is_empty: bool = False) -> None:
        """
        Let go of the folder.

        Args:
            is_empty: Whether all sessions are in the index: the journal is removed.
        """
        with self._stack:
            self.journal.close()
            if is_empty:
                _remove_segments(self._folder, self.journal.number + 1)


def _remove_segments(folder: Path, before: int) -> None:
    for number, _ in segments(folder):
        if number < before:
            segment_path(folder, number).unlink(missing_ok=True)
