"""Where a model's files are, and how to get them; never a wait without an end."""

from __future__ import annotations

import contextlib
import errno
import re
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from voicepipe.asr.whisper.model import repositories
from voicepipe.errors import ModelUnavailableError


if TYPE_CHECKING:
    from voicepipe.asr.whisper.options import WhisperSetup


PROBE_S = 5.0
"""Seconds in which Hugging Face must answer before a download begins."""

NEEDED = ("config.json", "model.bin", "tokenizer.json")
"""
Files of a model in CTranslate2's form, and of its tokenizer.

faster-whisper would fetch a missing tokenizer from the network.
"""

BANDS = "preprocessor_config.json"
"""
Says how many bands of sound a model hears; without it, it is taken to be 80.

Models made from large-v3 hear 128, and need it; many others come without.
"""

_FILES = (*NEEDED, BANDS, "vocabulary.*")

_OF_DISKS = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST),
        *(errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG, errno.EIO),
    }
)
"""What the errors of a download say when the disk is at fault, not the network."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


async def model_folder(model: str | Path, name: str, setup: WhisperSetup) -> Path:
    """
    Find a model on this machine, or download it.

    Args:
        model: A folder, one of faster-whisper's names, or ``owner/name`` on Hugging
            Face.
        name: What to call it in errors.
        setup: Where to keep downloads, and whether there may be any.

    Raises:
        ModelUnavailableError: If it is neither here nor to be had; at once where its
            folder or the cache cannot be read. Where nobody answers, this takes at
            most ``PROBE_S`` and a little.

    Cancellation: a download goes on in its thread and serves the next call; a process
    that ends waits for it.
    """
    here = await anyio.to_thread.run_sync(_given, model, name)
    if here is not None:
        return here
    store = _Store(str(model), name, setup)
    folder = await anyio.to_thread.run_sync(store.kept)
    if folder is not None:
        return folder
    with anyio.move_on_after(PROBE_S + 1.0) as patience:
        # Looking a host's name up has no time limit of its own.
        await anyio.to_thread.run_sync(store.probe, abandon_on_cancel=True)
    if patience.cancelled_caught:
        raise store.unavailable("nobody answers", retryable=True)
    return await anyio.to_thread.run_sync(store.fetch, abandon_on_cancel=True)


def _given(model: str | Path, name: str) -> Path | None:
    """Give the folder that the caller names; a string may be none."""
    folder = Path(model)
    try:
        if isinstance(model, str) and not stat.S_ISDIR(_mode(folder)):
            return None
        _check(folder, name)
    except OSError as exc:
        msg = f"the folder {str(folder)!r} cannot be read ({_reason(exc)})"
        raise ModelUnavailableError(msg, model=name) from exc
    return folder


def _check(folder: Path, name: str) -> None:
    """Refuse a folder that lacks a file."""
    there = stat.S_ISDIR(_mode(folder))
    missing = _missing(folder) if there else NEEDED
    if missing:
        what = f"has no {', '.join(missing)}" if there else "does not exist"
        msg = (
            f"the folder {str(folder)!r} {what}; a model in CTranslate2's form has "
            f"{', '.join(NEEDED)} and a vocabulary"
        )
        raise ModelUnavailableError(msg, model=name)


def _missing(folder: Path) -> list[str]:
    """
    Give the files that are not there.

    Raises:
        OSError: If that cannot be seen.
    """
    missing = [n for n in NEEDED if not stat.S_ISREG(_mode(folder / n))]
    # Not by a pattern: that passes over what it may not read.
    if not any(path.name.startswith("vocabulary.") for path in folder.iterdir()):
        missing.append("vocabulary.json")
    return missing


def _mode(path: Path) -> int:
    """
    Give the kind of a file, 0 where there is none.

    Raises:
        OSError: If that cannot be seen; pathlib says "no" then, or not, by its version.
    """
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        # The last is of a name that no file can have.
        return 0


class _Store:
    """Hugging Face's cache on this machine, and its servers."""

    def __init__(self, model: str, name: str, setup: WhisperSetup) -> None:
        self._model = model
        self._name = name
        self._root = setup.download_root
        self._offline = setup.offline

    def kept(self) -> Path | None:
        """
        Give the folder of a model that was downloaded before, without network.

        Raises:
            ModelUnavailableError: If there can be none, or the cache cannot be read.
        """
        from huggingface_hub.errors import HFValidationError

        known = repositories()
        if self._model not in known and not _REPOSITORY.fullmatch(self._model):
            msg = (
                f"there is no folder {self._model!r}, and no model of this name; "
                f"names are: {', '.join(known)}"
            )
            raise ModelUnavailableError(msg, model=self._name)
        try:
            folder = self._local()
            missing = [] if folder is None else self._missing(folder)
        except HFValidationError as exc:
            raise self.unavailable(_reason(exc)) from exc
        except Exception as exc:
            msg = (
                f"the model {self._model!r} may be on this machine, but its cache "
                f"{str(self._kept_in)!r} cannot be read ({_reason(exc)})"
            )
            raise ModelUnavailableError(msg, model=self._name) from exc
        if folder is not None and not missing:
            return folder
        if self._offline:
            lacks = f"it lacks {', '.join(missing)}, and " if missing else ""
            raise self.unavailable(f"{lacks}offline=True")
        return None

    def _missing(self, folder: Path) -> list[str]:
        """Give the files that a folder of this very model lacks; see ``_missing``."""
        missing = _missing(folder)
        known = self._repository in repositories().values()
        needs = known and "large-v3" in self._repository
        if needs and not stat.S_ISREG(_mode(folder / BANDS)):
            missing.append(BANDS)
        return missing

    def _local(self) -> Path | None:
        """
        Give the folder in the cache, which may be incomplete.

        Raises:
            Exception: If that cannot be seen; of many kinds.
        """
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            return self._snapshot(local=True)
        except LocalEntryNotFoundError:
            # It says so too of what it may not enter.
            with contextlib.suppress(FileNotFoundError):
                commit = (self._kept_in / "refs" / "main").read_text()
                _missing(self._kept_in / "snapshots" / commit)
            return None

    def probe(self) -> None:
        """
        Ask whether the model is there, with a time limit.

        A download would try again and again. Who gets no answer asks once more in what
        is left of that time: the connection may be one that was kept open, and closed
        by the other side just then (RFC 9112, 9.3.1).
        """
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

        until = time.monotonic() + PROBE_S
        for is_last in (False, True):
            left = max(0.1, until - time.monotonic())
            try:
                huggingface_hub.HfApi().model_info(self._repository, timeout=left)
            except RepositoryNotFoundError as exc:
                raise self.unavailable("it is not there, or not for you") from exc
            except Exception as exc:
                is_answer = isinstance(exc, HfHubHTTPError)
                if is_last or is_answer or time.monotonic() >= until:
                    raise self.unavailable(_reason(exc), retryable=True) from exc
            else:
                return

    def fetch(self) -> Path:
        """Download the model; this takes as long as it takes."""
        try:
            folder = self._snapshot(local=False)
        except Exception as exc:
            if isinstance(exc, OSError) and exc.errno in _OF_DISKS:
                msg = (
                    f"the model {self._model!r} was not downloaded: its cache "
                    f"{str(self._kept_in)!r} cannot be written ({_reason(exc)})"
                )
                raise ModelUnavailableError(msg, model=self._name) from exc
            raise self.unavailable(_reason(exc), retryable=True) from exc
        _check(folder, self._name)
        return folder

    def unavailable(
        self, reason: str, *, retryable: bool = False
    ) -> ModelUnavailableError:
        """Make the error, with the ways out."""
        msg = (
            f"the model {self._model!r} is not on this machine, and Hugging Face does "
            f"not give it ({reason}). Ways out: fetch it where there is a network with "
            f"`hf download {self._repository} --local-dir FOLDER`, and pass the folder "
            "as the model; set HF_ENDPOINT to a mirror, or HTTPS_PROXY to a proxy; or "
            "use PocketSphinxTranscriber, which needs no download"
        )
        return ModelUnavailableError(msg, model=self._name, retryable=retryable)

    @property
    def _repository(self) -> str:
        return repositories().get(self._model, self._model)

    @property
    def _kept_in(self) -> Path:
        """Where the cache has the model: huggingface_hub's "Understand caching"."""
        from huggingface_hub import constants

        root = Path(self._root or constants.HF_HUB_CACHE).expanduser()
        return root / f"models--{self._repository.replace('/', '--')}"

    def _snapshot(self, *, local: bool) -> Path:
        import huggingface_hub
        from tqdm.auto import tqdm

        class Quiet(tqdm):  # type: ignore[misc]
            """A library draws nothing on its caller's terminal."""

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **{**kwargs, "disable": True})

        folder = huggingface_hub.snapshot_download(
            self._repository,
            cache_dir=self._root,
            local_files_only=local,
            allow_patterns=list(_FILES),
            tqdm_class=Quiet,
        )
        return Path(folder)


def _reason(exc: BaseException) -> str:
    """Give the first line of what went wrong, at most 200 characters of it."""
    lines = str(exc).strip().splitlines()
    return f"{type(exc).__name__}: {lines[0][:200]}" if lines else type(exc).__name__
