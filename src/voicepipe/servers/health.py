"""What a server's health page says of its storage."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class StorageFacts:
    """
    The state of a folder that files are stored in.

    Attributes:
        folder: Its path, as it was given.
        exists: Whether it is there, and a folder.
        writable: Whether a file with something in it could be written.
        free_bytes: Space left for this user; ``None`` where the folder is missing.
    """

    folder: str
    exists: bool
    writable: bool
    free_bytes: int | None


def storage_facts(folder: str | os.PathLike[str]) -> StorageFacts:
    """
    Look at a folder, and write a file to it that is gone again at once.

    Permissions say little: a disk may be full, or have become read-only. Blocks as
    long as the disk does; call it in a thread.
    """
    exists = Path(folder).is_dir()
    free = None
    writable = False
    if exists:
        try:
            free = shutil.disk_usage(folder).free
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".voicepipe-") as file:
                file.write(b"\0")
                file.flush()
            writable = True
        except OSError:
            writable = False
    return StorageFacts(
        folder=os.fspath(folder), exists=exists, writable=writable, free_bytes=free
    )
