"""One call of the transcriber: windows, channels, and who is told what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.from_thread
import anyio.to_thread
import attrs
import numpy as np

from voicepipe.asr.guards import guarded
from voicepipe.asr.pauses import split_at_pauses
from voicepipe.asr.tracks import speaker_label
from voicepipe.asr.whisper.decode import Watch, decode
from voicepipe.asr.whisper.model import RATE
from voicepipe.asr.whisper.speech import heard_in
from voicepipe.asr.whisper.windows import frames_of, windows
from voicepipe.tasks import task_group
from voicepipe.types import TranscriptionReport


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voicepipe.asr.whisper.model import WhisperEngine
    from voicepipe.asr.whisper.options import WhisperOptions
    from voicepipe.asr.whisper.speech import Speech
    from voicepipe.types import Audio, Samples, Segment


@attrs.define
class _Signal:
    """What is known of one channel so far."""

    channel: int | None
    segments: list[Segment] = attrs.field(factory=list)
    spans: list[tuple[float, float]] = attrs.field(factory=list)
    share: float = 0.0  # of the present window that is done


class WhisperCall:
    """
    Transcribes one recording; for one use.

    Args:
        engine: The model.
        options: What to ask.
        turns: Who may work at the same time.
        progress: Called on the event loop with the share that is done.
    """

    def __init__(
        self,
        engine: WhisperEngine,
        options: WhisperOptions,
        turns: anyio.CapacityLimiter,
        progress: Callable[[float], None] | None,
    ) -> None:
        """Begin with what is asked; a model of one language needs no detection."""
        self._engine = engine
        self._options = options
        self._turns = turns
        self._progress = progress
        languages = engine.languages
        self.language: str | None = (
            languages[0] if len(languages) == 1 else options.language
        )
        self._known = anyio.Event()
        self._leader = 0
        self._signals: list[_Signal] = []
        self._frames = 0  # of the windows that are done
        self._window_frames = 0  # of the present one
        self._total = 1  # of all windows
        self._told = 0.0

    async def run(
        self, audio: Audio, channels: Sequence[int | None]
    ) -> tuple[list[Segment], TranscriptionReport]:
        """
        Transcribe channels, one signal each.

        Args:
            audio: Any rate, any number of channels.
            channels: Which; ``None`` for all as one signal.

        Raises:
            TranscriptionError: If the engine fails.
        """
        self._signals = [_Signal(channel) for channel in channels]
        self._total = frames_of(audio) or 1
        mixed = self._options.channels == "mix"
        chosen = None if mixed else [channel or 0 for channel in channels]
        cut = windows(audio, chosen, self._options.window_s)
        while channels:
            window = await anyio.to_thread.run_sync(next, cut, None)
            if window is None:
                break
            self._window_frames = len(window)
            await self._hear(window)
            self._frames += len(window)
        segments, reports = await anyio.to_thread.run_sync(
            self._guarded, audio.duration
        )
        self._tell(1.0)
        return segments, TranscriptionReport.sum(reports) or TranscriptionReport()

    async def _hear(self, window: Samples) -> None:
        """Transcribe all channels of a window, side by side."""
        speeches: list[Speech | None] = [None] * len(self._signals)

        async def listen(place: int) -> None:
            speeches[place] = await anyio.to_thread.run_sync(
                self._find, window[:, place : place + 1], limiter=self._turns
            )

        if self._options.vad:
            async with task_group() as group:
                for place in range(len(self._signals)):
                    group.start_soon(listen, place)
            amounts = [speech.frames if speech else 0 for speech in speeches]
            # The language is that of the channel which says the most.
            self._leader = amounts.index(max(amounts))
        else:
            amounts = [len(window)] * len(self._signals)
            self._leader = await anyio.to_thread.run_sync(_loudest, window)
        offset = self._frames / RATE
        async with task_group() as group:
            for place, speech in enumerate(speeches):
                signal = self._signals[place]
                signal.share = 0.0 if amounts[place] else 1.0
                for start, end in speech.spans if speech else ():
                    signal.spans.append((start + offset, end + offset))
                if amounts[place]:
                    sound = window[:, place : place + 1]
                    group.start_soon(self._decode, place, sound, speech)

    def _find(self, sound: Samples) -> Speech:
        batched = self._options.batch_size is not None
        longest_s = self._engine.piece_s if batched else float("inf")
        return heard_in(sound, self._options.speech, longest_s)

    async def _decode(self, place: int, sound: Samples, speech: Speech | None) -> None:
        if self.language is None and place != self._leader:
            await self._known.wait()
        signal = self._signals[place]
        watch = Watch(
            language=self._detected,
            progress=self._watched(signal),
            check=anyio.from_thread.check_cancelled,
        )

        def work() -> list[Segment]:
            return decode(
                self._engine,
                sound,
                speech,
                options=self._options,
                language=self.language,
                watch=watch,
            )

        segments = await anyio.to_thread.run_sync(work, limiter=self._turns)
        offset = self._frames / RATE
        signal.segments.extend(_later(segment, offset) for segment in segments)
        self._note(signal, 1.0)

    def _detected(self, language: str) -> None:
        """Tell the other channels, from the worker thread of the first one."""
        if self.language is None:
            self.language = language
            anyio.from_thread.run_sync(self._known.set)

    def _watched(self, signal: _Signal) -> Callable[[float], object]:
        if self._progress is None:  # each turn to the event loop costs time
            return lambda _: None
        return lambda share: anyio.from_thread.run_sync(self._note, signal, share)

    def _note(self, signal: _Signal, share: float) -> None:
        """Take in how much of the present window is done on one channel."""
        signal.share = max(signal.share, share)
        mean = sum(one.share for one in self._signals) / len(self._signals)
        done = self._frames + mean * self._window_frames
        self._tell(min(0.999, done / self._total))

    def _tell(self, share: float) -> None:
        if self._progress is not None and share > self._told:
            self._told = share
            self._progress(share)

    def _guarded(
        self, duration: float
    ) -> tuple[list[Segment], list[TranscriptionReport]]:
        """Apply the guards to each channel, and say whose it is."""
        options = self._options
        segments: list[Segment] = []
        reports = []
        for signal in self._signals:
            kept, report = guarded(
                signal.segments,
                signal.spans if options.vad else None,
                duration,
                words=options.word_times,
                repeats=options.drop_repeats,
                unspoken=options.drop_unspoken,
            )
            reports.append(report)
            segments.extend(
                attrs.evolve(
                    segment,
                    channel=signal.channel,
                    speaker=speaker_label(signal.channel),
                )
                for segment in split_at_pauses(kept, options.pause_s)
            )
        return segments, reports


def _loudest(window: Samples) -> int:
    """Give the channel that says the most, for where nobody listens for speech."""
    return int(np.argmax([np.var(channel) for channel in window.T]))


def _later(segment: Segment, by: float) -> Segment:
    """Move a segment by so many seconds."""
    if by == 0.0:
        return segment
    return attrs.evolve(
        segment,
        start=segment.start + by,
        end=segment.end + by,
        words=tuple(
            attrs.evolve(word, start=word.start + by, end=word.end + by)
            for word in segment.words
        ),
    )
