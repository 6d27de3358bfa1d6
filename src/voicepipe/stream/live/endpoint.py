"""From scores of speech to where utterances begin and end, as a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs


if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt


BEGIN = 0.5
"""Score from which on speech begins, as in Silero's own script."""

GO_ON = 0.35
"""Score from which on it goes on; the same script."""

MIN_SPEECH_S = 0.1
"""Shorter sounds begin no utterance, seconds: clicks, and notes of music."""

PRE_ROLL_S = 0.3
"""
Seconds kept before the first score of speech.

Detectors begin late in soft consonants, and engines want a little silence first.
"""


@attrs.frozen
class SpeechBegan:
    """
    An utterance has begun.

    Attributes:
        frame: Its first frame, pre-roll included.
    """

    frame: int


@attrs.frozen
class SpeechEnded:
    """
    An utterance has ended.

    Attributes:
        frame: The frame after the last one that sounded like speech.
    """

    frame: int


class Endpointer:
    """
    Finds utterances in scores of speech; a ``Stage``.

    An utterance begins when ``MIN_SPEECH_S`` of speech has been heard, and reaches back
    to its first frame and a little further, but never into the one before. It ends when
    nobody has spoken for ``endpoint_s``.

    Args:
        rate: Frames per second of the sound, Hz.
        hop: Frames of each score.
        endpoint_s: Shorter pauses do not end an utterance, seconds.
    """

    def __init__(self, rate: int, hop: int, *, endpoint_s: float = 0.6) -> None:
        """Begin in silence."""
        self._hop = hop
        self._pre_roll = round(PRE_ROLL_S * rate)
        self._min_speech = round(MIN_SPEECH_S * rate)
        self._endpoint = round(endpoint_s * rate)
        self._heard = 0  # frames
        self._loud = False
        self._first: int | None = None  # frame of the first speech of an utterance
        self._spoken = 0  # frames of speech in it
        self._last = 0  # the frame after its last speech
        self._ended = 0  # before it nothing begins any more
        self._begun = False
        self._flushed = False

    @property
    def heard(self) -> int:
        """Frames scored so far."""
        return self._heard

    @property
    def last_speech(self) -> int:
        """The frame after the last one that sounded like speech."""
        return self._last

    @property
    def reach(self) -> int:
        """First frame that an utterance yet to be told may begin with."""
        first = self._heard if self._first is None else self._first
        return max(self._ended, first - self._pre_roll)

    def push(
        self, scores: npt.NDArray[np.float32], /
    ) -> tuple[SpeechBegan | SpeechEnded, ...]:
        """
        Take scores; give what has begun and ended.

        Raises:
            ValueError: After ``flush``.
        """
        self._check_open()
        return tuple(event for score in scores.tolist() for event in self.hear(score))

    def hear(self, score: float) -> Iterator[SpeechBegan | SpeechEnded]:
        """
        Take one score; give what begins or ends with it, at most one of these.

        Raises:
            ValueError: After ``flush``.
        """
        self._check_open()
        start = self._heard
        self._heard += self._hop
        self._loud = score >= (GO_ON if self._loud else BEGIN)
        if self._loud:
            if self._first is None:
                self._first, self._spoken = start, 0
            self._spoken += self._hop
            self._last = self._heard
            if not self._begun and self._spoken >= self._min_speech:
                begin = self.reach
                self._begun = True
                yield SpeechBegan(begin)
        elif self._first is not None and self._heard - self._last >= self._endpoint:
            yield from self._end()

    def flush(self) -> tuple[SpeechBegan | SpeechEnded, ...]:
        """
        End the stream; give the end of what goes on.

        Raises:
            ValueError: If the stream has been flushed before.
        """
        self._check_open()
        self._flushed = True
        return tuple(self._end())

    def _end(self) -> Iterator[SpeechEnded]:
        begun, self._begun, self._first = self._begun, False, None
        if begun:
            self._ended = self._last
            yield SpeechEnded(self._last)

    def _check_open(self) -> None:
        if self._flushed:
            msg = "the stream has been flushed"
            raise ValueError(msg)
