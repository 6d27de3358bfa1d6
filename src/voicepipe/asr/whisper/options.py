"""What one may ask of Whisper, and what it runs on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import attrs
from attrs import validators

from voicepipe.asr.silero.spans import SileroOptions


ENGINE_SPEECH = SileroOptions(min_speech_s=0.0, min_silence_s=2.0, pad_s=0.4)
"""What is cut out for the model in sequential mode; faster-whisper's own defaults."""

BATCHED_SPEECH = SileroOptions(min_speech_s=0.0, min_silence_s=0.16, pad_s=0.4)
"""The same in batched mode; faster-whisper's own defaults."""


@attrs.frozen(kw_only=True)
class WhisperOptions:
    """
    What to ask of a Whisper model.

    What is not here has the default of faster-whisper.

    Attributes:
        language: ISO 639-1 code such as ``"en"``. ``None`` detects it, once for each
            call, on the channel with the most speech; with ``vad=False``, on the
            loudest one.
        task: ``"translate"`` translates to English.
        beam_size: Hypotheses that are followed; 1 is faster and a little worse.
        batch_size: Pieces of up to 30 s that are decoded at once. ``None`` decodes one
            after the other, each beginning where the text before it ended. Batches are
            several times as fast on a graphics card, and a little worse: words near
            their borders.
        word_times: Whether to find the times of words. Without them a segment has
            Whisper's own times, which are rough.
        prompt: Text that goes before: spelling and style to follow.
        hotwords: Words to expect, in one string.
        temperatures: 0.0 is deterministic; the next is tried where a result looks
            wrong, and gives another text each time.
        condition_on_previous_text: Whether each piece sees the text before it. Styles
            hold better then, and so do errors: a phrase said over and over infects all
            that follows. So it is off, other than in faster-whisper.
        vad: Whether voice activity is cut out first and the model hears nothing else.
            Without it no guard that listens works, and ``report`` has no coverage.
        silero: When sound counts as speech for that; ``None`` is as in faster-whisper,
            which differs between the modes. Coverage is told by tighter rules.
        drop_repeats: Whether to cut down phrases that only the model heard repeated.
        drop_unspoken: Whether to drop text where nobody speaks.
        min_coverage: Share of the speech with text, below which a warning is logged.
        pause_s: A segment is cut where its words pause this long, seconds; infinite to
            leave segments as Whisper makes them, of up to 30 s.
        channels: ``"separate"`` takes each for a speaker, unless they are the same
            signal; ``"mix"`` transcribes their mean.
        window_s: Longest stretch given to the model at once, seconds: this bounds
            memory. Longer recordings are cut where it is quiet.

    Raises:
        ValueError: If a value is out of its range.
    """

    language: str | None = None
    task: Literal["transcribe", "translate"] = attrs.field(
        default="transcribe", validator=validators.in_(("transcribe", "translate"))
    )
    beam_size: int = attrs.field(default=5, validator=validators.ge(1))
    batch_size: int | None = attrs.field(
        default=None, validator=validators.optional(validators.ge(1))
    )
    word_times: bool = True
    prompt: str | None = None
    hotwords: str | None = None
    temperatures: tuple[float, ...] = attrs.field(
        default=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        converter=tuple,
        validator=[
            validators.min_len(1),
            validators.deep_iterable([validators.ge(0.0), validators.le(1.0)]),
        ],
    )
    condition_on_previous_text: bool = False
    vad: bool = True
    silero: SileroOptions | None = None
    drop_repeats: bool = True
    drop_unspoken: bool = True
    min_coverage: float = attrs.field(
        default=0.5, validator=[validators.ge(0.0), validators.le(1.0)]
    )
    pause_s: float = attrs.field(default=1.0, validator=validators.gt(0.0))
    channels: Literal["separate", "mix"] = attrs.field(
        default="separate", validator=validators.in_(("separate", "mix"))
    )
    window_s: float = attrs.field(default=600.0, validator=validators.ge(30.0))

    def __attrs_post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.batch_size is not None and not self.vad:
            msg = "batches are cut at pauses: batch_size needs vad=True"
            raise ValueError(msg)

    @property
    def speech(self) -> SileroOptions:
        """When sound counts as speech for the model."""
        if self.silero is not None:
            return self.silero
        return ENGINE_SPEECH if self.batch_size is None else BATCHED_SPEECH


@attrs.frozen(kw_only=True)
class WhisperSetup:
    """
    What a Whisper model runs on, and where it comes from.

    Attributes:
        device: ``"auto"`` takes a graphics card where there is one that works.
        device_index: Which graphics card, from 0.
        compute_type: CTranslate2's name of the arithmetic, such as ``"int8"``. ``None``
            is the best that the device has: 8-bit weights on a processor (about twice
            as fast as 32-bit floats, with the same words but for a few), 16-bit floats
            on a graphics card.
        workers: Signals transcribed at once, each in its own worker of CTranslate2.
            ``None`` is 2, for the two sides of a call, or 1 on a single core.
        cpu_threads: Threads of each worker. ``None`` shares the cores out.
        download_root: Folder to keep downloaded models in; Hugging Face's by default.
        offline: Whether to download nothing.

    Raises:
        ValueError: If a value is out of its range.
    """

    device: Literal["auto", "cpu", "cuda"] = attrs.field(
        default="auto", validator=validators.in_(("auto", "cpu", "cuda"))
    )
    device_index: int = attrs.field(default=0, validator=validators.ge(0))
    compute_type: str | None = None
    workers: int | None = attrs.field(
        default=None, validator=validators.optional(validators.ge(1))
    )
    cpu_threads: int | None = attrs.field(
        default=None, validator=validators.optional(validators.ge(1))
    )
    download_root: Path | None = attrs.field(
        default=None, converter=attrs.converters.optional(Path)
    )
    offline: bool = False

    def shared_out(self) -> tuple[int, int]:
        """Give the number of workers, and of threads for each, on this machine."""
        cores = _cores()
        workers = self.workers or min(2, cores)
        return workers, self.cpu_threads or max(1, cores // workers)


def _cores() -> int:
    """Give how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
