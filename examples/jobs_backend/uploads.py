"""
The uploaded recordings: files with unguessable names in one folder.

A recording is complete, and its job known, before it takes its name: until then it is
``.{name}.part``. What is killed between leaves a part; one that has a job takes its
name when it is first wanted, and others are swept. A recording goes the same way back:
it is a part before its job is deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Self

import attrs


if TYPE_CHECKING:
    from collections.abc import Iterable


_NAME = re.compile(r"([0-9a-f]{32})-([0-9a-f]{32})\.([a-z0-9]{1,8})", re.ASCII)

PEAKS = ".peaks.json"
SILENCED = ".redacted.wav"
_BESIDE: Final = (PEAKS, SILENCED)

MEDIA_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mp3": "audio/mpeg",
    "aac": "audio/aac",
    "m4a": "audio/mp4",
    "webm": "audio/webm",
}
"""By the ending that a recording is stored with, which its content decides."""


@attrs.frozen
class Stored:
    """
    A recording in the folder.

    Attributes:
        source: As the job has it: the folder as it was written, and the name.
        name: The file's name.
    """

    source: str
    name: str

    @property
    def digest(self) -> str:
        """What tells its content from another's: half of its SHA-256, in hex."""
        found = _NAME.fullmatch(self.name)
        return found[2] if found else ""


class Uploads:
    """
    The folder.

    All of it blocks as the disk does: call it in a thread.

    Args:
        folder: ``UPLOAD_FOLDER`` as it was written; it must be there.
    """

    def __init__(self, folder: str) -> None:
        """Keep where it is, whatever becomes of the working directory."""
        self._written = folder.rstrip("/") or "/"
        self.folder: Path = Path(folder).absolute()

    def new(self) -> Part:
        """
        Begin a recording.

        Raises:
            OSError: If no file can be made.
        """
        return Part(self.unused_part())

    def unused_part(self) -> Path:
        """Give a path that nobody has; what is left there is swept."""
        return self.folder / f".{secrets.token_hex(16)}.part"

    def stored(self, name: str) -> Stored:
        """Give what a job calls a file of this name."""
        return Stored(f"{self._written}/{name}", name)

    def known(self, source: str) -> Stored:
        """Give the recording that a job names, whether it is there or not."""
        return Stored(source, source.rpartition("/")[2])

    def path(self, source: str, ending: str = "") -> Path:
        """
        Give where a job's recording is, or what is kept beside it.

        Only names that this folder has given lead to a file of it.

        Args:
            source: The job's.
            ending: ``PEAKS``, ``SILENCED``, or nothing.

        Raises:
            FileNotFoundError: If the name is not one of the folder's.
        """
        name = self.known(source).name
        if not _NAME.fullmatch(name):
            raise FileNotFoundError(name)
        stem = name.partition(".")[0] if ending else name
        path = self.folder / f"{stem}{ending}"
        if not ending and not path.exists():
            with contextlib.suppress(OSError):
                self._part(name).replace(path)
        return path

    def put_beside(self, source: str, ending: str, part: Path) -> None:
        """
        Let a whole file be what is kept beside a recording, unless that is deleted.

        Args:
            source: The job's.
            ending: ``SILENCED``; peaks of what was there go.
            part: The file; it is moved.

        Raises:
            OSError: If that fails.
        """
        path = self.path(source, ending)
        part.replace(path)
        self.path(source, PEAKS).unlink(missing_ok=True)
        name = self.known(source).name
        if not (self._part(name).exists() or (self.folder / name).exists()):
            # Whoever deletes has done with the recording, and maybe with this.
            path.unlink(missing_ok=True)
        _sync(self.folder)

    def stand_in(self, source: str, part: Part) -> None:
        """
        Let a recording be that of a job whose own is not there.

        It is still a part, as the job may be deleted meanwhile.

        Raises:
            OSError: If it cannot be moved.
        """
        if not self.path(source).exists():
            part.keep_as(self._part(self.known(source).name))

    def set_aside(self, sources: Iterable[str]) -> None:
        """
        Make jobs' recordings parts again: they go even if ``delete`` never comes.

        Raises:
            OSError: If one cannot be renamed.
        """
        for source in sources:
            name = self.known(source).name
            if _NAME.fullmatch(name):
                with contextlib.suppress(FileNotFoundError):
                    (self.folder / name).replace(self._part(name))
        with contextlib.suppress(FileNotFoundError):
            _sync(self.folder)

    def delete(self, sources: Iterable[str]) -> None:
        """
        Delete jobs' recordings and what is kept beside them; what is gone is fine.

        Raises:
            OSError: If one cannot be deleted.
        """
        for source in sources:
            name = self.known(source).name
            if not _NAME.fullmatch(name):
                continue
            stem = name.partition(".")[0]
            for path in (
                # First: it may just be given the name.
                self._part(name),
                # Before the rest: see ``put_beside``.
                self.folder / name,
                *(self.folder / f"{stem}{ending}" for ending in _BESIDE),
            ):
                path.unlink(missing_ok=True)

    def old_parts(self, age_s: float) -> list[Path]:
        """Give the parts that nobody has written to for so long."""
        oldest = time.time() - age_s
        return [p for p in self.folder.glob(".*.part") if _changed(p) < oldest]

    def adopt(self, parts: Iterable[Path], sources: set[str]) -> int:
        """
        Delete parts and what is beside, but give those their names that jobs wait for.

        Args:
            parts: As ``old_parts`` gives them.
            sources: All jobs'.

        Returns:
            How many were deleted.
        """
        names = {self.known(source).name for source in sources}
        gone = 0
        for part in parts:
            name = part.name.removeprefix(".").removesuffix(".part")
            with contextlib.suppress(OSError):
                if name in names:
                    part.replace(self.folder / name)
                else:
                    part.unlink()
                    gone += 1
                    self.delete([name])
        return gone

    def delete_older(self, age_s: float, spared: set[str]) -> int:
        """
        Delete recordings that were stored so long ago and have no job any more.

        Args:
            age_s: Seconds since a file was last changed.
            spared: The sources of all jobs.
        """
        oldest = time.time() - age_s
        stems = {self.known(source).name.partition(".")[0] for source in spared}
        gone = 0
        for path in self.folder.iterdir():
            stem = path.name.partition(".")[0]
            if len(stem) != 65 or stem in stems or _changed(path) >= oldest:
                continue
            with contextlib.suppress(OSError):
                path.unlink()
                gone += 1
        return gone

    def _part(self, name: str) -> Path:
        return self.folder / f".{name}.part"


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()


class Part:
    """
    A recording on its way in; leaving the ``with`` block removes what is unfinished.

    Args:
        path: Where it is written; must not exist.

    Attributes:
        size: Bytes so far.
    """

    def __init__(self, path: Path) -> None:
        """Make the file."""
        self._path = path
        self._digest = hashlib.sha256()
        self._file: BinaryIO = path.open("xb")
        self._kept = False
        self.size: int = 0

    @property
    def path(self) -> Path:
        """Where it is now."""
        return self._path

    @property
    def digest(self) -> str:
        """Half of its SHA-256, in hex, as names have it."""
        return self._digest.hexdigest()[:32]

    def write(self, pieces: Iterable[bytes]) -> None:
        """
        Add some bytes.

        Raises:
            OSError: If the disk is full, say.
        """
        for piece in pieces:
            self._digest.update(piece)
            self._file.write(piece)
            self.size += len(piece)

    def close(self) -> None:
        """
        Flush it to disk.

        Raises:
            OSError: If that fails.
        """
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def name_it(self, extension: str) -> str:
        """Choose its name, and give it; the file is still a part."""
        name = f"{secrets.token_hex(16)}-{self.digest}.{extension}"
        part = self._path.with_name(f".{name}.part")
        self._path.replace(part)
        self._path = part
        _sync(part.parent)
        return name

    def keep(self) -> None:
        """Let the recording have its name, for good."""
        name = self._path.name.removeprefix(".").removesuffix(".part")
        with contextlib.suppress(FileNotFoundError):
            # A worker may have wanted it already.
            self._path.replace(self._path.with_name(name))
        self._kept = True
        _sync(self._path.parent)

    def keep_as(self, path: Path) -> None:
        """Let the recording have another name for good."""
        self._path.replace(path)
        self._kept = True
        _sync(path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        if not self._kept:
            self._path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Make names last through a power cut, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tidy_name(name: str) -> str:
    """Give a client's name for its file as people may see it; it is never a path."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(c if c.isprintable() else " " for c in last)
    return " ".join(shown.split())[-255:]
