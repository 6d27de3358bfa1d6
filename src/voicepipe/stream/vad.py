"""Voice activity by energy, as a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import numpy.typing as npt


if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.types.audio import Samples


HOP_S = 0.01
"""Seconds between decisions, as in most speech front ends."""

FLOOR_BEFORE_S = 3.0
"""Seconds of the past in which the quietest moment is the noise floor."""

FLOOR_AFTER_S = 1.0
"""Seconds of the future that count as well; decisions wait for them."""

LOWEST_FLOOR_DB = -65.0
"""The noise floor never counts as lower, dBFS: breath and dither are no speech."""

_TINY = 1e-12


@attrs.frozen(kw_only=True)
class VadOptions:
    """
    When sound counts as speech.

    Attributes:
        begin_db: Decibels above the noise floor at which speech begins.
        end_db: Decibels above the noise floor below which it ends.
        min_speech_s: Shorter sounds are no speech, seconds.
        min_silence_s: Shorter pauses do not end it, seconds.
    """

    begin_db: float = 12.0
    end_db: float = 8.0
    min_speech_s: float = 0.06
    min_silence_s: float = 0.25


@attrs.frozen
class SpeechSpan:
    """
    A stretch of speech, in frames from the start of the stream.

    Attributes:
        start: First frame.
        end: The frame after the last one.
    """

    start: int
    end: int


class EnergyVad:
    """
    Finds speech in one channel by its energy; a ``Stage``.

    The noise floor at each moment is the quietest moment around it (the idea of minimum
    statistics, Martin 2001), so that the recording's level does not matter and steady
    noise is no speech. What changes loudly is speech, also music, ringing and key
    tones: use a trained detector where those occur.

    Spans come about a second after their end, in order, apart, and never empty.

    Args:
        rate: Frames per second of the samples, Hz.
        options: When sound counts as speech.

    Raises:
        ValueError: If the rate gives less than one frame for each decision.
    """

    def __init__(self, rate: int, *, options: VadOptions | None = None) -> None:
        """Prepare the thresholds in units of decisions."""
        self._hop = round(rate * HOP_S)
        if self._hop < 1:
            msg = f"rate must be at least {1 / HOP_S:.0f} Hz, not {rate}"
            raise ValueError(msg)
        options = options or VadOptions()
        self._options = options
        self._before = round(FLOOR_BEFORE_S / HOP_S)
        self._after = round(FLOOR_AFTER_S / HOP_S)
        self._min_speech = round(options.min_speech_s / HOP_S)
        self._min_silence = max(1, round(options.min_silence_s / HOP_S))
        self._rest = np.zeros(0, np.float32)  # less than one hop
        self._levels = np.zeros(0)  # dB: the past, then what is not decided yet
        self._past = 0  # how many of the levels are past
        self._decided = 0  # hops decided since the start
        self._frames = 0  # frames pushed since the start
        self._begin: int | None = None  # hop at which the current speech began
        self._last = 0  # the hop after the last one that was loud enough
        self._flushed = False

    def push(self, samples: Samples, /) -> tuple[SpeechSpan, ...]:
        """
        Take samples; give the spans that are complete.

        Args:
            samples: Float32, shape ``(frames, 1)``.

        Raises:
            ValueError: If there is more than one channel, or after ``flush``.
        """
        self._check_open()
        if samples.ndim != 2 or samples.shape[1] != 1:
            msg = f"samples must be (frames, 1), not {samples.shape}"
            raise ValueError(msg)
        self._frames += len(samples)
        data = np.concatenate([self._rest, samples[:, 0]])
        hops = len(data) // self._hop
        self._rest = data[hops * self._hop :]
        self._listen(data[: hops * self._hop].reshape(hops, self._hop))
        return tuple(self._decide(len(self._levels) - self._past - self._after))

    def flush(self) -> tuple[SpeechSpan, ...]:
        """
        End the stream; give the remaining spans.

        Raises:
            ValueError: If the stream has been flushed before.
        """
        self._check_open()
        if len(self._rest):
            self._listen(self._rest[np.newaxis, :])
        spans = list(self._decide(len(self._levels) - self._past))
        self._flushed = True
        if self._begin is not None:
            spans.extend(self._close())
        return tuple(spans)

    def _listen(self, hops: npt.NDArray[np.float32]) -> None:
        power = np.mean(np.square(hops), axis=1, dtype=np.float64)
        self._levels = np.concatenate([self._levels, 10.0 * np.log10(power + _TINY)])

    def _decide(self, count: int) -> Iterator[SpeechSpan]:
        """Decide on so many levels; their future has been heard."""
        if count <= 0:
            return
        floors = np.maximum(self._floors(count), LOWEST_FLOOR_DB)
        above = self._levels[self._past : self._past + count] - floors
        for level in above.tolist():
            hop = self._decided
            self._decided += 1
            if level >= (
                self._options.begin_db if self._begin is None else self._options.end_db
            ):
                if self._begin is None:
                    self._begin = hop
                self._last = hop + 1
            elif self._begin is not None and hop + 1 - self._last >= self._min_silence:
                yield from self._close()
        drop = max(0, self._past + count - self._before)
        self._levels = self._levels[drop:]
        self._past += count - drop

    def _floors(self, count: int) -> npt.NDArray[np.float64]:
        """Give the least level around each undecided one."""
        width = self._before + 1 + self._after
        ahead = self._past + count + self._after - len(self._levels)
        padded = np.pad(
            self._levels,
            (self._before - self._past, max(0, ahead)),
            constant_values=np.inf,
        )
        around = np.lib.stride_tricks.sliding_window_view(padded, width)
        least: npt.NDArray[np.float64] = around[:count].min(axis=1)
        return least

    def _close(self) -> Iterator[SpeechSpan]:
        begin, self._begin = self._begin, None
        if begin is not None and self._last - begin >= self._min_speech:
            end = min(self._frames, self._last * self._hop)
            yield SpeechSpan(begin * self._hop, end)

    def _check_open(self) -> None:
        if self._flushed:
            msg = "the stream has been flushed"
            raise ValueError(msg)
