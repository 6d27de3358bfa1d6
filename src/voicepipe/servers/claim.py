"""A folder that one process at a time may use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from voicepipe.errors import MissingExtraError, SettingsError


if TYPE_CHECKING:
    import os


class FolderClaim:
    """
    A ``with`` block during which no other process has the same claim.

    For apps that keep in memory what they know of a folder's files: however they were
    started in several processes, only one serves. The claim ends with the process, also
    when it is killed. It leaves a file ``.voicepipe.lock`` in the folder.

    Args:
        folder: Must exist.

    Raises:
        MissingExtraError: If ``portalocker``, of ``concurrent-log-handler``, is not
            installed.
        OSError: If the folder cannot be written to.
        SettingsError: On entering, if another process has the claim.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Keep the folder's name."""
        self._path = Path(folder) / ".voicepipe.lock"
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        try:
            import portalocker  # noqa: PLC0415 - not all need it
        except ImportError as exc:
            raise MissingExtraError("portalocker", extra="servers") from exc
        file = self._path.open("ab")
        try:
            flags = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
            portalocker.lock(file, flags)
        except portalocker.LockException as exc:
            file.close()
            folder = self._path.parent
            raise SettingsError(
                "workers", f"must be 1: another process serves {folder}"
            ) from exc
        self._file = file
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
