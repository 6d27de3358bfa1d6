"""The recommended transcriber: Whisper models by faster-whisper."""

from __future__ import annotations

import importlib.util
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread
import attrs
from anyio.lowlevel import RunVar

from voicepipe.asr.tracks import channels_of
from voicepipe.asr.whisper.call import WhisperCall
from voicepipe.asr.whisper.find import model_folder
from voicepipe.asr.whisper.model import WhisperEngine
from voicepipe.asr.whisper.options import WhisperOptions, WhisperSetup
from voicepipe.errors import MissingExtraError
from voicepipe.types import Transcript


if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from voicepipe.types import Audio


_logger = logging.getLogger(__name__)


@attrs.define
class _OfLoop:
    """What belongs to one event loop."""

    loading: anyio.Lock
    turns: anyio.CapacityLimiter


_OF_LOOP: RunVar[WeakKeyDictionary[WhisperTranscriber, _OfLoop]] = RunVar("of_loop")
"""An event loop keeps its variables for as long as it runs: one for all instances."""


class WhisperTranscriber:
    """
    Transcribes with a Whisper model, by faster-whisper.

    The first call loads the model, and downloads it if it is not on this machine; later
    ones, and all tasks, threads and event loops, share it. Each signal of a call is
    transcribed in a worker thread, ``WhisperSetup.workers`` at a time for each event
    loop; the caller's event loop stays free.

    The text is that of faster-whisper with ``vad_filter=True`` and the same options,
    but for what the guards take out: phrases that only the model heard repeated, and
    text where nobody speaks. ``Transcript.report`` says how often they did, and for how
    much of the speech there is text. Words always have times that can be.

    Args:
        model: Size of the model (``"tiny"``, ``"base"``, ``"small"``, ``"medium"``,
            ``"large-v3"``, ``"turbo"``, with ``".en"`` for English only, and others),
            ``"owner/name"`` on Hugging Face, or a folder with a model in CTranslate2's
            form.
        setup: What to run it on.
        options: What to ask of it.

    Raises:
        MissingExtraError: If ``faster-whisper`` is not installed.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "small",
        *,
        setup: WhisperSetup | None = None,
        options: WhisperOptions | None = None,
    ) -> None:
        """Load nothing yet."""
        if importlib.util.find_spec("faster_whisper") is None:
            raise MissingExtraError("faster-whisper", extra="whisper")
        # A string may be either; what a path object names is a folder.
        self._model = model if isinstance(model, str) else Path(model)
        self._name = f"whisper:{_short(self._model)}"
        self._setup = setup or WhisperSetup()
        self._options = options or WhisperOptions()
        self._engine: WhisperEngine | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        """Show the model."""
        return f"WhisperTranscriber({str(self._model)!r})"

    async def load(self) -> None:
        """
        Load the model now, so that a server finds out at its start.

        Raises:
            ModelUnavailableError: If it is neither on this machine nor to be had,
                or does not load. Without a network this takes seconds.
            ValueError: If it does not know the language of the options.

        Cancellation: at once; a download or loading goes on in its thread. A process
        that ends meanwhile waits for that thread: for minutes, where a large model is
        being downloaded.
        """
        await self._loaded()

    async def transcribe(
        self, audio: Audio, /, *, progress: Callable[[float], None] | None = None
    ) -> Transcript:
        """
        Transcribe audio of any rate and any number of channels.

        Args:
            audio: One channel for each speaker, or a mix; see ``Transcriber``.
            progress: Called on the event loop with the share of the audio that is done,
                in (0, 1], ever larger, and at the end with 1.

        Returns:
            Segments with words. Channels that differ give segments with ``channel`` and
            ``speaker``; a single signal gives neither.

        Raises:
            ModelUnavailableError: As ``load`` does, if nothing is loaded yet.
            TranscriptionError: If the engine fails.
            ValueError: If the model does not know the language of the options, or the
                rate is not 4,000 to 192,000 Hz.

        Cancellation: when the segments at work have ended, a few seconds on a small
        machine; the model is whole.
        """
        engine, turns = await self._loaded()
        if self._options.channels == "mix":
            channels: tuple[int | None, ...] = (None,) if audio.frames else ()
        else:
            channels = await anyio.to_thread.run_sync(channels_of, audio)
        call = WhisperCall(engine, self._options, turns, progress)
        segments, report = await call.run(audio, channels)
        coverage = report.coverage
        if coverage is not None and coverage < self._options.min_coverage:
            _logger.warning(
                "%s has text for %.0f %% of %.1f s of speech only",
                self._name,
                100 * coverage,
                report.speech_s,
            )
        return Transcript.of(
            segments,
            duration=audio.duration,
            model=self._name,
            language="en" if self._options.task == "translate" else call.language,
            report=report,
        )

    def close(self) -> None:
        """Let go of the model; calls under way keep it, the next one loads it anew."""
        self._engine = None

    async def _loaded(self) -> tuple[WhisperEngine, anyio.CapacityLimiter]:
        own = self._own()
        engine = self._engine
        if engine is None:
            async with own.loading:
                engine = self._engine or await self._load()
        self._check_language(engine)
        return engine, own.turns

    def _own(self) -> _OfLoop:
        of_loop = _OF_LOOP.get(None)
        if of_loop is None:
            of_loop = WeakKeyDictionary()
            _OF_LOOP.set(of_loop)
        own = of_loop.get(self)
        if own is None:
            workers, _ = self._setup.shared_out()
            own = _OfLoop(anyio.Lock(), anyio.CapacityLimiter(workers))
            of_loop[self] = own
        return own

    async def _load(self) -> WhisperEngine:
        folder = await model_folder(self._model, self._name, self._setup)
        return await anyio.to_thread.run_sync(
            self._load_from, folder, abandon_on_cancel=True
        )

    def _check_language(self, engine: WhisperEngine) -> None:
        language = self._options.language
        if language is not None and language not in engine.languages:
            known = ", ".join(engine.languages)
            msg = (
                f"{self._name} does not know the language {language!r}; it has {known}"
            )
            raise ValueError(msg)

    def _load_from(self, folder: Path) -> WhisperEngine:
        with self._lock:  # another thread's event loop may be at it
            if self._engine is None:
                self._engine = WhisperEngine(folder, self._name, self._setup)
            return self._engine


def _short(model: str | Path) -> str:
    """Give the last part of a path, or the name."""
    return Path(model).name or str(model)
