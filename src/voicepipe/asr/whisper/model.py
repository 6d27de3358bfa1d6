"""The one place that knows faster-whisper and CTranslate2: a model that hears."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from voicepipe.asr.guards import heard_segment, heard_word
from voicepipe.errors import ModelUnavailableError, TranscriptionError


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from voicepipe.asr.whisper.options import WhisperOptions, WhisperSetup
    from voicepipe.types import Segment


RATE = 16_000
"""Rate at which the model hears, Hz."""

_PREFERRED = {
    "cpu": ("int8", "int8_float32", "float32"),
    "cuda": ("float16", "bfloat16", "int8_float16", "int8", "float32"),
}

_logger = logging.getLogger(__name__)


class WhisperEngine:
    """
    A loaded model; many threads may use it at once.

    Args:
        folder: The model's files.
        name: What to call it in errors.
        setup: What to run it on.

    Attributes:
        name: What to call it in errors.
        workers: How many threads can be served at once.
        languages: ISO 639-1 codes of the languages that it knows.
        piece_s: Seconds that it hears at once.

    Raises:
        ModelUnavailableError: If the files are damaged or do not belong together, or
            the device does not work.
    """

    def __init__(self, folder: Path, name: str, setup: WhisperSetup) -> None:
        """Load the weights; this takes seconds."""
        import faster_whisper

        self.name: str = name
        workers, threads = setup.shared_out()
        self.workers: int = workers
        self._model: Any = None
        devices = _devices(setup)
        for device in devices:
            try:
                self._model = faster_whisper.WhisperModel(
                    str(folder),
                    device=device,
                    device_index=setup.device_index if device == "cuda" else 0,
                    compute_type=setup.compute_type or _compute_type(device, setup),
                    cpu_threads=threads,
                    num_workers=self.workers,
                    local_files_only=True,
                )
                if device == "cuda":
                    # Libraries that are missing show with the first use only.
                    self._model.encode(np.zeros((self._mels, 3_000), np.float32))
                break
            except Exception as exc:
                if device != devices[-1]:
                    _logger.warning("%s does not work on the graphics card", name)
                    _logger.debug("because of", exc_info=True)
                    continue
                msg = f"the model in {str(folder)!r} does not load on {device}: {exc}"
                raise ModelUnavailableError(msg, model=name) from exc
        self._check_bands(folder)
        self.languages: tuple[str, ...] = tuple(self._model.supported_languages)
        self.piece_s: float = float(self._model.feature_extractor.chunk_length)

    @property
    def _mels(self) -> int:
        return int(self._model.model.n_mels)

    def _check_bands(self, folder: Path) -> None:
        """Refuse a model that would be given another form of sound than it hears."""
        given = len(self._model.feature_extractor.mel_filters)
        if given != self._mels:
            msg = (
                f"the model in {str(folder)!r} hears {self._mels} bands of sound and "
                f"would be given {given}: its preprocessor_config.json is missing or "
                "wrong; fetch that file from where the model comes from"
            )
            raise ModelUnavailableError(msg, model=self.name)

    def hear(
        self,
        sound: npt.NDArray[np.float32],
        *,
        options: WhisperOptions,
        language: str | None,
        pieces: Sequence[tuple[int, int]],
    ) -> tuple[str, Iterator[Segment]]:
        """
        Begin to transcribe.

        Args:
            sound: At 16 kHz, shape ``(frames,)``.
            options: What to ask.
            language: Its code; ``None`` to detect it.
            pieces: First and last frame of what to decode in batches; unused without.

        Returns:
            The language, and the segments, in seconds of ``sound``; each is decoded
            when it is asked for.

        Raises:
            TranscriptionError: If the engine fails; the segments raise it too.
        """
        asked: dict[str, Any] = {
            "language": language,
            "task": options.task,
            "beam_size": options.beam_size,
            "temperature": list(options.temperatures),
            "condition_on_previous_text": options.condition_on_previous_text,
            "initial_prompt": options.prompt,
            "hotwords": options.hotwords,
            "word_timestamps": options.word_times,
            "vad_filter": False,
        }
        transcribe = self._model.transcribe
        if options.batch_size is not None:
            import faster_whisper

            # One for each call: it keeps the time of the last word.
            pipeline = faster_whisper.BatchedInferencePipeline(self._model)
            transcribe = pipeline.transcribe
            asked["batch_size"] = options.batch_size
            # Half a frame more, since it rounds towards zero.
            asked["clip_timestamps"] = [
                {"start": (start + 0.5) / RATE, "end": (end + 0.5) / RATE}
                for start, end in pieces
            ]
        try:
            segments, info = transcribe(sound, **asked)
        except Exception as exc:  # CTranslate2's errors have no other base in common
            raise self._failed(exc) from exc
        return str(info.language), self._segments(iter(segments))

    def _segments(self, segments: Iterator[Any]) -> Iterator[Segment]:
        while True:
            try:
                segment = next(segments)
            except StopIteration:
                return
            except Exception as exc:
                raise self._failed(exc) from exc
            yield heard_segment(
                segment.text,
                float(segment.start),
                float(segment.end),
                words=[
                    heard_word(
                        word.word,
                        float(word.start),
                        float(word.end),
                        probability=float(word.probability),
                    )
                    for word in segment.words or ()
                ],
            )

    def _failed(self, exc: Exception) -> TranscriptionError:
        msg = f"{self.name} failed: {exc}"
        # Memory of a graphics card is shared: there may be more of it later.
        full = "out of memory" in str(exc).lower()
        return TranscriptionError(msg, model=self.name, retryable=full)


def _devices(setup: WhisperSetup) -> tuple[str, ...]:
    """Give the devices to try, best first."""
    import ctranslate2

    if setup.device != "auto":
        return (setup.device,)
    return ("cuda", "cpu") if ctranslate2.get_cuda_device_count() else ("cpu",)


def _compute_type(device: str, setup: WhisperSetup) -> str:
    import ctranslate2

    index = setup.device_index if device == "cuda" else 0
    supported = ctranslate2.get_supported_compute_types(device, index)
    return next((t for t in _PREFERRED[device] if t in supported), "default")


def repositories() -> dict[str, str]:
    """Give the models' names, and where on Hugging Face each is."""
    from faster_whisper import utils

    return dict(utils._MODELS)  # noqa: SLF001 - it is nowhere else
