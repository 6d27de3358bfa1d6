"""The one place that knows pyannote.audio: its pipelines as a diarizer."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from attrs import validators

from voicepipe.asr.tracks import speaker_label
from voicepipe.errors import DiarizationError, MissingExtraError
from voicepipe.stream.resample import Resampler
from voicepipe.types import Turn


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voicepipe.protocols import Stage
    from voicepipe.types import Audio, Samples


RATE = 16_000
"""Rate at which pyannote's models hear, Hz."""

DEFAULT = "pyannote/speaker-diarization-community-1"
"""The pipeline of pyannote.audio 4; its conditions must be accepted once."""

_EXTRA = "pyannote"

# What huggingface_hub raises, by the names in its classes' ancestry.
_GATED = {"GatedRepoError"}
_UNKNOWN = {"RepositoryNotFoundError", "EntryNotFoundError", "HFValidationError"}
_OFFLINE = {"LocalEntryNotFoundError", "OfflineModeIsEnabled"}
_NETWORK = {"TransportError", "ConnectionError", "TimeoutError", "ConnectError"}


@attrs.frozen(kw_only=True)
class PyannoteOptions:
    """
    What to ask of a pipeline.

    Attributes:
        speakers: How many speakers there are, where that is known.
        min_speakers: Fewest to find; ``None`` leaves it to the pipeline.
        max_speakers: Most to find; ``None`` leaves it to the pipeline.
        exclusive: Whether one speaker at a time is wanted, which fits words best.
            pyannote.audio 4 can do that; an older one gives overlapping turns anyhow.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``; ``None`` leaves a pipeline where it
            is, which is the processor for one that was just loaded.

    Raises:
        ValueError: If a number is below 1.
    """

    speakers: int | None = attrs.field(
        default=None, validator=validators.optional(validators.ge(1))
    )
    min_speakers: int | None = attrs.field(
        default=None, validator=validators.optional(validators.ge(1))
    )
    max_speakers: int | None = attrs.field(
        default=None, validator=validators.optional(validators.ge(1))
    )
    exclusive: bool = True
    device: str | None = None


class PyannoteDiarizer:
    """
    Tells speakers apart with a pipeline of pyannote.audio, version 3.3 or later.

    The sound goes to the pipeline in memory, mixed to mono at 16 kHz; 230 MB for an
    hour. All turns come at ``flush``; ``Speaker00`` is who speaks first. One pipeline
    hears one recording at a time: others wait.

    pyannote.audio 4 tells its makers how long recordings are, unless
    ``PYANNOTE_METRICS_ENABLED`` is off. This class turns it off where it is not set
    before pyannote is imported.

    Args:
        pipeline: A name on Hugging Face, a folder or ``config.yaml`` on this machine,
            or a pipeline object. Names and folders are loaded by ``load``, or at the
            first ``flush``.
        token: Hugging Face's, for a download; the one that ``huggingface_hub`` knows by
            itself (``HF_TOKEN``) by default. Never shown.
        options: What to ask of it.

    Raises:
        MissingExtraError: If pyannote.audio is not installed.
    """

    def __init__(
        self,
        pipeline: str | os.PathLike[str] | object = DEFAULT,
        *,
        token: str | None = None,
        options: PyannoteOptions | None = None,
    ) -> None:
        """Load nothing yet."""
        self._pipeline: Any = None
        self._source = ""
        if isinstance(pipeline, str | os.PathLike):
            if not _installed():
                raise MissingExtraError("pyannote.audio", extra=_EXTRA)
            self._source = os.fspath(pipeline)
            self.name: str = f"pyannote:{self._source}"
        else:
            self._pipeline = pipeline
            self.name = f"pyannote:{type(pipeline).__name__}"
        self._token = token
        self._options = options or PyannoteOptions()
        self._placed = False
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        """Show the pipeline."""
        return f"<PyannoteDiarizer {self.name}>"

    def load(self) -> None:
        """
        Load the pipeline now; blocks while it downloads.

        Raises:
            DiarizationError: If the pipeline is not to be had; the message tells why,
                and what to do.
        """
        with self._lock:
            self._load()

    def session(self, *, rate: int, channels: int) -> Stage[Audio, Turn]:
        """
        Begin one recording; see ``Diarizer``.

        Raises:
            ValueError: If the rate is not 4,000 to 192,000 Hz, or the channels are not
                1 to 8.
        """
        return _PyannoteSession(
            self, Resampler(rate, RATE, channels=channels, channels_out=1)
        )

    def diarize(self, samples: Samples, /) -> tuple[Turn, ...]:
        """
        Diarize one recording.

        Args:
            samples: Mono at 16 kHz, shape ``(frames, 1)``.

        Raises:
            DiarizationError: If the pipeline is not to be had, or fails.
        """
        if not len(samples):
            return ()
        asked = {
            "num_speakers": self._options.speakers,
            "min_speakers": self._options.min_speakers,
            "max_speakers": self._options.max_speakers,
        }
        given = {name: value for name, value in asked.items() if value is not None}
        with self._lock:
            self._load()
            waveform = _torch().from_numpy(np.ascontiguousarray(samples.T))
            file = {"waveform": waveform, "sample_rate": RATE, "uri": "audio"}
            try:
                output = self._pipeline(file, **given)
            except Exception as exc:  # of torch, numpy, or its own: no base in common
                msg = f"{self.name} failed: {type(exc).__name__}: {exc}"
                # Memory of a graphics card is shared: there may be more of it later.
                full = "out of memory" in str(exc).lower()
                raise DiarizationError(msg, model=self.name, retryable=full) from exc
        return tuple(_turns(self._annotation(output), len(samples) / RATE))

    def _annotation(self, output: Any) -> Any:
        """Give the turns inside what versions 3 and 4 answer with."""
        if hasattr(output, "itertracks"):
            return output
        names = ("exclusive_speaker_diarization", "speaker_diarization")
        for name in names if self._options.exclusive else reversed(names):
            found = getattr(output, name, None)
            if found is not None:
                return found
        msg = f"{self.name} answers with {type(output).__name__}, which has no turns"
        raise DiarizationError(msg, model=self.name)

    def _load(self) -> None:
        """Load the pipeline and place it; the caller holds the lock."""
        if self._pipeline is None:
            self._pipeline = self._loaded()
        if not self._placed and self._options.device is not None:
            try:
                self._pipeline.to(_torch().device(self._options.device))
            except Exception as exc:
                msg = f"{self.name} does not work on {self._options.device!r}: {exc}"
                raise DiarizationError(msg, model=self.name) from exc
        self._placed = True

    def _loaded(self) -> Any:
        try:
            make = _pipelines().from_pretrained
            # Version 4 renamed it.
            known = inspect.signature(make).parameters
            token = "token" if "token" in known else "use_auth_token"
            # Version 3 takes the file in a folder, and not the folder.
            source = Path(self._source, "config.yaml")
            pipeline = make(
                str(source) if source.is_file() else self._source,
                **{token: self._token},
            )
        except Exception as exc:
            raise self._unavailable(exc) from exc
        if pipeline is None:  # version 3, after having printed why
            raise self._unavailable(None)
        return pipeline

    def _unavailable(self, exc: Exception | None) -> DiarizationError:
        """Say why the pipeline is not here, and what to do."""
        kinds = {kind.__name__ for kind in type(exc).__mro__} if exc else _GATED
        retryable = False
        if kinds & _OFFLINE or kinds & _NETWORK:
            why = (
                "is not on this machine, and Hugging Face does not answer; download it "
                "where there is a network, and give its folder"
            )
            retryable = "OfflineModeIsEnabled" not in kinds
        elif kinds & _GATED or kinds & _UNKNOWN or _status(exc) in {401, 403}:
            why = (
                "cannot be downloaded: accept its conditions at "
                f"https://hf.co/{self._source} and give a token of the same account, "
                "as token= or HF_TOKEN; or give the folder of a copy"
            )
        else:
            why = f"does not load: {type(exc).__name__}: {exc}"
        msg = f"the pipeline {self._source!r} {why}"
        return DiarizationError(msg, model=self.name, retryable=retryable)


class _PyannoteSession:
    """One recording; a ``Stage`` from ``Audio`` to ``Turn``."""

    def __init__(self, diarizer: PyannoteDiarizer, resampler: Resampler) -> None:
        self._diarizer = diarizer
        self._resampler = resampler
        # Grows in place: pieces put together at the end would need twice the memory.
        self._sound = bytearray()

    def push(self, audio: Audio, /) -> tuple[Turn, ...]:
        """Take audio; gives nothing yet."""
        self._keep(self._resampler.push(audio.samples))
        return ()

    def flush(self) -> tuple[Turn, ...]:
        """End the recording; give all turns."""
        self._keep(self._resampler.flush())
        sound, self._sound = self._sound, bytearray()
        return self._diarizer.diarize(np.frombuffer(sound, np.float32)[:, np.newaxis])

    def _keep(self, pieces: Sequence[Samples]) -> None:
        for piece in pieces:
            self._sound += np.ascontiguousarray(piece, np.float32).data.cast("B")


def _turns(annotation: Any, duration: float) -> Iterator[Turn]:
    """Give the turns of pyannote's annotation, speakers as they appear."""
    tracks = sorted(
        (max(0.0, float(part.start)), min(duration, float(part.end)), str(label))
        for part, _, label in annotation.itertracks(yield_label=True)
    )
    order: dict[str, int] = {}
    for start, end, label in tracks:
        if end > start:
            speaker = order.setdefault(label, len(order))
            yield Turn(start=start, end=end, speaker=speaker_label(speaker) or "")


def _installed() -> bool:
    """Tell whether the package is here; ``pyannote`` alone is a namespace of many."""
    try:
        return importlib.util.find_spec("pyannote.audio") is not None
    except ModuleNotFoundError:
        return False


def _torch() -> Any:
    return importlib.import_module("torch")


def _pipelines() -> Any:
    """Give pyannote's ``Pipeline``, without what its import warns of."""
    os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "false")
    with warnings.catch_warnings():
        # That torchcodec is missing, say: it would read files, and there are none.
        warnings.simplefilter("ignore")
        return importlib.import_module("pyannote.audio").Pipeline


def _status(exc: Exception | None) -> int | None:
    """Give the HTTP status of an error, where it has one."""
    return getattr(getattr(exc, "response", None), "status_code", None)
