"""Whether a WAV file is still the one that was written."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from pathlib import Path


class Written(NamedTuple):
    """
    What is known of a file from when it was written.

    Attributes:
        size: Bytes.
        mtime_ns: When it was last changed, by the file system's clock, nanoseconds.
        sha256: Of its content, in hexadecimal.
    """

    size: int
    mtime_ns: int
    sha256: str


def measure(path: Path, size: int, sha256: str) -> Written:
    """
    Look at a file that was just written, with that size and content.

    Raises:
        OSError: If it is not there.
    """
    # Not the size found: that of a file which somebody has changed since would fit.
    return Written(size, path.stat(follow_symlinks=False).st_mtime_ns, sha256)


def still(path: Path, written: Written, *, verify: bool) -> Written | None:
    """
    Look whether a file is still what it was.

    Size and time tell; where the time differs, as after copying, the content does.

    Args:
        path: The file.
        written: What it was.
        verify: Compare the content always.

    Returns:
        How it is now, maybe with another time; ``None`` if it is missing, unreadable,
        a link, or has another content.
    """
    try:
        found = path.stat(follow_symlinks=False)
        # Of a link: it has another size, and is not what was written here.
        if found.st_size != written.size:
            return None
        if verify or found.st_mtime_ns != written.mtime_ns:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != written.sha256:
                    return None
    except OSError:
        return None
    return written._replace(mtime_ns=found.st_mtime_ns)
