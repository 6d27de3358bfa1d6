"""From the probabilities of speech to spans of it: the rules, without the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs import validators

from voicepipe.stream.vad import SpeechSpan


if TYPE_CHECKING:
    import numpy.typing as npt


RATE = 16_000
"""Rate at which the model hears, Hz."""

HOP = 512
"""Frames for each probability: 32 ms, what the model was trained on."""

SPLIT_SILENCE_S = 0.098
"""
A pause must be longer for speech past its greatest length to be cut there, seconds.

That of Silero's own script; four probabilities in a row.
"""

_END_BELOW = 0.15
_LEAST_END = 0.01


@attrs.frozen(kw_only=True)
class SileroOptions:
    """
    When the model's probabilities count as speech.

    The defaults are for the turns of a call. Whatever cuts sound for a recogniser wants
    longer pauses and wider margins: faster-whisper takes ``min_speech_s=0``,
    ``min_silence_s=2.0`` and ``pad_s=0.4``.

    Attributes:
        threshold: Probability from which on speech begins, and goes on after a pause.
        end_threshold: Probability below which a pause begins; ``None`` is 0.15 less
            than ``threshold``, at least 0.01.
        min_speech_s: What is not longer is no speech, seconds, before ``pad_s``. Notes
            of music can be taken for speech for less than 0.1 s; words last longer.
        max_speech_s: Longer speech is cut, seconds with ``pad_s`` on both sides: at its
            last pause of more than 0.098 s, or right there if it has none.
        min_silence_s: Shorter pauses do not end it, seconds.
        pad_s: What is added on both sides, seconds; less where the next speech is near:
            spans then meet in the middle of the pause.

    Raises:
        ValueError: If a value is out of its range.
    """

    threshold: float = attrs.field(
        default=0.5, validator=[validators.gt(0.0), validators.le(1.0)]
    )
    end_threshold: float | None = attrs.field(
        default=None,
        validator=validators.optional([validators.gt(0.0), validators.le(1.0)]),
    )
    min_speech_s: float = attrs.field(default=0.1, validator=validators.ge(0.0))
    max_speech_s: float = attrs.field(
        default=float("inf"), validator=validators.gt(0.0)
    )
    min_silence_s: float = attrs.field(default=0.25, validator=validators.ge(0.0))
    pad_s: float = attrs.field(default=0.1, validator=validators.ge(0.0))


class SpanFinder:
    """
    Turns probabilities, one for each 32 ms, into spans of speech as they come.

    The rules are those of Silero's own script as faster-whisper has them, and so are
    the spans; here they come as soon as nothing can change them: when the pause after
    them has lasted ``min_silence_s`` and twice ``pad_s``.

    Spans are in frames at 16 kHz, in order, never empty, and do not overlap.

    Args:
        options: When probabilities count as speech.
    """

    def __init__(self, options: SileroOptions | None = None) -> None:
        """Prepare the rules in frames."""
        options = options or SileroOptions()
        begin, end = options.threshold, options.end_threshold
        if end is None:
            end = max(begin - _END_BELOW, _LEAST_END)
        # As near to the model's own numbers as they can be compared.
        self._begin_at = float(np.float32(begin))
        self._end_below = float(np.float32(end))
        self._pad = round(RATE * options.pad_s)
        self._min_speech = round(RATE * options.min_speech_s)
        self._min_silence = round(RATE * options.min_silence_s)
        self._split_silence = round(RATE * SPLIT_SILENCE_S)
        self._max_speech = RATE * options.max_speech_s - HOP - 2 * self._pad
        self._at = 0  # the frame at which the next probability begins
        self._start: int | None = None  # of the speech that goes on
        self._quiet: int | None = None  # since when it pauses
        self._split: int | None = None  # the start of its last pause to be cut at
        self._resumed: int | None = None  # the end of that pause, once it has ended
        self._held: SpeechSpan | None = None  # has its start, and waits for its end
        self._ready: list[SpeechSpan] = []
        self._flushed = False

    def push(self, probabilities: npt.NDArray[np.float32], /) -> tuple[SpeechSpan, ...]:
        """
        Take probabilities; give the spans that nothing can change.

        Args:
            probabilities: Of speech, float32, shape ``(n,)``.

        Raises:
            ValueError: After ``flush``.
        """
        self._check_open()
        for probability in probabilities.tolist():
            self._listen(probability)
            self._settle()
            self._at += HOP
        return self._take()

    def flush(self, frames: int) -> tuple[SpeechSpan, ...]:
        """
        End the stream; give the remaining spans.

        Args:
            frames: Frames of the sound at 16 kHz; the last probabilities may reach past
                its end.

        Raises:
            ValueError: If there are not as many probabilities as such sound has, or if
                the stream has been flushed before.
        """
        self._check_open()
        if not max(0, self._at - HOP) <= frames <= self._at:
            count = self._at // HOP
            msg = f"{count} probabilities do not belong to {frames} frames"
            raise ValueError(msg)
        self._flushed = True
        start = self._start
        if start is not None and frames - start > self._min_speech:
            self._hold(start, frames)
        if self._held is not None:
            end = min(frames, self._held.end + self._pad)
            self._ready.append(SpeechSpan(self._held.start, end))
        return self._take()

    def _listen(self, probability: float) -> None:
        loud = probability >= self._begin_at
        if self._start is None:
            if loud:
                self._start = self._at
            return
        if loud and self._quiet is not None:
            self._quiet = None
            if self._split is not None and self._resumed is None:
                self._resumed = self._at
        if self._at - self._start > self._max_speech:
            self._close(self._at if self._split is None else self._split, check=False)
        if probability < self._end_below:
            self._pause()

    def _pause(self) -> None:
        if self._start is None:  # the speech has just been cut, and does not go on
            return
        if self._quiet is None:
            self._quiet = self._at
        lasted = self._at - self._quiet
        if lasted > self._split_silence:
            self._split, self._resumed = self._quiet, None
        if lasted >= self._min_silence:
            self._close(self._quiet, check=True)

    def _close(self, end: int, *, check: bool) -> None:
        """End the speech; where it had resumed after a cut, it begins again there."""
        assert self._start is not None  # noqa: S101 - for the type checker
        if not check or end - self._start > self._min_speech:
            self._hold(self._start, end)
        self._start = self._resumed
        self._quiet = self._split = self._resumed = None

    def _hold(self, start: int, end: int) -> None:
        """Keep a span until its end is known; the one before it has its own now."""
        before, pad = self._held, self._pad
        if before is not None:
            pause = start - before.end
            pad = min(pad, pause // 2)
            self._ready.append(SpeechSpan(before.start, before.end + pad))
        self._held = SpeechSpan(max(0, start - pad), end)

    def _settle(self) -> None:
        """Give the span that waits, when what follows is too far away to matter."""
        if self._held is None:
            return
        nearest = self._at if self._start is None else self._start
        if nearest - self._held.end >= 2 * self._pad:
            self._ready.append(SpeechSpan(self._held.start, self._held.end + self._pad))
            self._held = None

    def _take(self) -> tuple[SpeechSpan, ...]:
        spans, self._ready = tuple(self._ready), []
        return spans

    def _check_open(self) -> None:
        if self._flushed:
            msg = "the stream has been flushed"
            raise ValueError(msg)


def speech_spans(
    probabilities: npt.NDArray[np.float32],
    frames: int,
    options: SileroOptions | None = None,
) -> tuple[SpeechSpan, ...]:
    """
    Give all spans of speech of a sound whose probabilities are known.

    Args:
        probabilities: Of speech, one for each 512 frames, shape ``(n,)``.
        frames: Frames of the sound at 16 kHz.
        options: When probabilities count as speech.

    Raises:
        ValueError: If there are not as many probabilities as such sound has.
    """
    finder = SpanFinder(options)
    return (*finder.push(probabilities), *finder.flush(frames))
