"""Voice activity by a trained model, as a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.asr.silero.model import SpeechProbabilities
from voicepipe.asr.silero.spans import RATE, SpanFinder
from voicepipe.stream.resample import Resampler
from voicepipe.stream.vad import SpeechSpan


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from voicepipe.asr.silero.spans import SileroOptions
    from voicepipe.types.audio import Samples


class SileroVad:
    """
    Finds speech in one channel by the Silero model; a ``Stage``.

    The model ships inside faster-whisper (extra ``whisper``); nothing is downloaded. It
    was trained to tell speech from noise, music and tones: ringing and key tones on a
    telephone line are no speech to it. About 2 ms of processor time for each second of
    sound.

    The spans have the form of ``EnergyVad``'s: in frames of the given rate, in order,
    never empty, never past the end. They do not overlap; where ``pad_s`` is more than
    half of ``min_silence_s`` they may meet. A span comes when the pause after it has
    lasted ``min_silence_s`` and twice ``pad_s``.

    Args:
        rate: Frames per second of the samples, Hz, 4,000 to 192,000; the model hears
            16 kHz.
        options: When the model's probabilities count as speech.

    Raises:
        ValueError: If the rate is out of its range.
        MissingExtraError: If faster-whisper, or one with the model, is not installed.
        ModelUnavailableError: If the model in it is damaged, or of an unknown form.
    """

    def __init__(self, rate: int, *, options: SileroOptions | None = None) -> None:
        """Load the model, with the first of all streams."""
        self._rate = rate
        self._resampler = Resampler(rate, RATE)
        self._probabilities = SpeechProbabilities()
        self._finder = SpanFinder(options)
        self._frames = 0  # pushed since the start
        self._heard = 0  # the same at the model's rate, but for what the filter holds

    def push(self, samples: Samples, /) -> tuple[SpeechSpan, ...]:
        """
        Take samples; give the spans that are complete.

        Args:
            samples: Float32, shape ``(frames, 1)``.

        Raises:
            ValueError: If there is more than one channel, or after ``flush``.
        """
        pieces = self._resampler.push(samples)
        self._frames += len(samples)
        return tuple(self._listen(pieces))

    def flush(self) -> tuple[SpeechSpan, ...]:
        """
        End the stream; give the remaining spans.

        Raises:
            ValueError: If the stream has been flushed before.
        """
        spans = [*self._listen(self._resampler.flush())]
        for probabilities in self._probabilities.flush():
            spans.extend(self._own(self._finder.push(probabilities)))
        return (*spans, *self._own(self._finder.flush(self._heard)))

    def _listen(self, pieces: Iterable[Samples]) -> Iterator[SpeechSpan]:
        for piece in pieces:
            self._heard += len(piece)
            for probabilities in self._probabilities.push(piece):
                yield from self._own(self._finder.push(probabilities))

    def _own(self, spans: Iterable[SpeechSpan]) -> Iterator[SpeechSpan]:
        """Give spans in frames of the own rate; the last frame stays the last one."""
        for span in spans:
            end = span.end * self._rate // RATE
            if span.end == self._heard:
                end = self._frames
            yield SpeechSpan(span.start * self._rate // RATE, end)
