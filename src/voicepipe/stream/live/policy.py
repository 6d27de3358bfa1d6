"""When to decode live sound, and what is certain of what comes of it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from voicepipe.stream.live.agreement import LocalAgreement
from voicepipe.stream.live.endpoint import Endpointer, SpeechEnded
from voicepipe.stream.live.options import LiveOptions
from voicepipe.stream.live.segment import OpenSegment


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    from voicepipe.stream.live.words import LiveText, LiveWord


PAUSE_S = 0.25
"""
In a pause of this length, seconds, what was said is decoded to its last word.

If the pause becomes an end, this decode was the last one.
"""

TAIL_S = 0.3
"""Silence behind the last word that goes into a last decode, seconds."""

CUT_S = 0.13
"""A pause of this length, seconds, is a place where sound can be cut: four scores."""

LONG_S = 8.0
"""A longer window is cut between words, seconds, where there is no pause in it."""

CONTEXT = 2
"""Committed words that are heard again where a window is cut between words."""

LAST_S = 2.0
"""What is kept of a full window without words, seconds."""

LOAD = 1.5
"""New sound before the next decode, in times of how long the last one took."""

Why: TypeAlias = Literal["step", "pause", "full", "final"]


@attrs.frozen(kw_only=True)
class DecodeRequest:
    """
    A stretch of sound to decode.

    Attributes:
        start: Its first frame.
        end: The frame after its last one.
        why: There is new speech (``"step"``), its speaker pauses (``"pause"``), the
            window is as long as it may be (``"full"``), or an utterance has ended
            (``"final"``).
    """

    start: int
    end: int
    why: Why

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for text that will not change, or memory for room."""
        return self.why in {"full", "final"}


class LivePolicy:
    """
    Makes live text of one channel; pure: no clock, no engine.

    Scores of speech go in, requests to decode come out, and the words that an engine
    gave for them go in. When to decode depends on the sound alone, to the frame, unless
    decodes take long: then the next one is asked for later. So the same sound gives the
    same text however it arrives, as long as the engine keeps up.

    - Nothing is decoded while nobody speaks.
    - While somebody does, every ``step_s`` of sound, ``max_window_s`` or half of
      ``max_lag_s``, whichever is least; in each pause of ``PAUSE_S``.
    - Words on which two decodes agree are committed; see ``LocalAgreement``.
    - After ``endpoint_s`` of silence all words are committed, and the segment is final.
      The last decode is asked for only if there was speech after the one before it.
    - Sound before the last committed words is not decoded again: it is cut in the last
      pause before them, or between words where the window is long.
    - A window of ``max_window_s`` is committed but for its last word, and cut: no
      decode is longer.
    - A segment of ``max_window_s`` ends with its last committed word.

    Args:
        rate: Frames per second, Hz.
        hop: Frames of each score.
        options: How live text is made.
    """

    def __init__(
        self, rate: int, hop: int, *, options: LiveOptions | None = None
    ) -> None:
        """Begin in silence."""
        options = options or LiveOptions()
        self._rate, self._hop = rate, hop
        # Who pushes waits at ``max_lag_s``: a decode must be due before that.
        self._slowest = round(min(options.max_window_s, options.max_lag_s / 2) * rate)
        self._step = min(round(options.step_s * rate), self._slowest)
        self._interval = self._step
        self._window_max = round(options.max_window_s * rate)
        self._pause = round(PAUSE_S * rate)
        self._tail = round(TAIL_S * rate)
        self._cut = round(CUT_S * rate)
        self._long = round(LONG_S * rate)
        self._last = round(LAST_S * rate)
        self._speech = Endpointer(rate, hop, endpoint_s=options.endpoint_s)
        self._agreement = LocalAgreement(rate)
        self._segment = OpenSegment()
        self._scores: deque[float] = deque()
        self._length: int | None = None  # of the stream, once it has ended
        self._asked: DecodeRequest | None = None
        self._window: int | None = None  # its first frame, while somebody speaks
        self._decoded = 0  # sound before it has been decoded, or is silence
        self._quiets: deque[tuple[int, int]] = deque()  # where it can be cut
        self._quiet: int | None = None  # first frame of the present silence

    @property
    def keep_from(self) -> int:
        """Sound before this frame is not asked for any more."""
        if self._asked is not None:
            return self._asked.start
        return self._speech.reach if self._window is None else self._window

    @property
    def covered(self) -> int:
        """Sound before this frame is decoded, or silence."""
        if self._window is not None and self._speech.last_speech > self._decoded:
            return max(self._decoded, self._window)
        return self._speech.heard

    @property
    def heard(self) -> int:
        """Frames whose scores have been gone through."""
        return self._speech.heard

    @property
    def busy(self) -> bool:
        """Whether a decode has been asked for and not been answered."""
        return self._asked is not None

    def push(self, scores: npt.NDArray[np.float32], /) -> None:
        """Take the scores of the next hops of sound."""
        self._scores.extend(scores.tolist())

    def end(self, length: int) -> None:
        """Say that the stream has ended, and how many frames it has."""
        self._length = length

    def advance(self) -> tuple[tuple[LiveText, ...], DecodeRequest | None]:
        """
        Go through the scores until something is to be decoded.

        Returns:
            What is new, and the next request; ``None`` if more sound is needed, the
            stream is over, or a request has not been answered.
        """
        if self.busy:
            return (), None
        texts: list[LiveText] = []
        # A full window may have ended before what is here.
        self._ask_if_due()
        while self._scores and not self.busy:
            texts.extend(self._hear(self._scores.popleft()))
        over = self._length is not None and not self.busy
        if over and self._window is not None:
            texts.extend(self._ended())
        return tuple(texts), self._asked

    def decoded(
        self, words: Sequence[LiveWord], /, *, took: int = 0
    ) -> tuple[LiveText, ...]:
        """
        Take the words of the decode that was asked for.

        Args:
            words: In order, their times in frames of the stream.
            took: Frames that have passed from the request until now: the interval
                grows with it.

        Returns:
            What is new.

        Raises:
            ValueError: If nothing was asked for.
        """
        asked, self._asked = self._asked, None
        if asked is None or self._window is None:
            msg = "no decode was asked for"
            raise ValueError(msg)
        self._interval = min(max(self._step, round(LOAD * took)), self._slowest)
        self._decoded = asked.end
        complete = asked.why in {"pause", "final"}
        self._segment.add(self._agreement.hear(words, end=asked.end, complete=complete))
        if asked.why == "final":
            return tuple(self._close())
        if asked.why == "full":
            self._segment.add(self._agreement.commit(self._forced(asked.end)))
        self._trim(asked.end, full=asked.why == "full")
        return tuple(self._tell())

    def _hear(self, score: float) -> Iterator[LiveText]:
        """Go on by one score."""
        for event in self._speech.hear(score):
            if isinstance(event, SpeechEnded):
                yield from self._ended()
                return
            self._window = self._decoded = event.frame
            self._quiets.clear()
            self._quiet = None
        if self._window is not None:
            self._mark_quiet()
            self._ask_if_due()

    def _mark_quiet(self) -> None:
        """Remember where there was a pause."""
        last, now = self._speech.last_speech, self._speech.heard
        if last < now:
            self._quiet = last
        elif self._quiet is not None:
            if now - self._hop - self._quiet >= self._cut:
                self._quiets.append((self._quiet, now - self._hop))
            self._quiet = None

    def _ask_if_due(self) -> None:
        window = self._window
        last, now = self._speech.last_speech, self._speech.heard
        new = now - self._decoded
        if window is None or last <= self._decoded:
            return
        if now - window >= self._window_max:
            # It may have become longer in silence, in which nothing is asked for.
            self._ask("full", window + self._window_max)
        elif now - last >= self._pause and 2 * new >= self._interval:
            self._ask("pause", now)
        elif new >= self._interval:
            self._ask("step", now)

    def _ended(self) -> Iterator[LiveText]:
        last = self._speech.last_speech
        if last > self._decoded:
            self._ask("final", min(self._speech.heard, last + self._tail))
        else:
            yield from self._close()

    def _ask(self, why: Why, end: int) -> None:
        if self._length is not None:
            end = min(end, self._length)  # the last score reaches past the end
        start = self._window or 0
        self._asked = DecodeRequest(start=min(start, end), end=end, why=why)

    def _close(self) -> Iterator[LiveText]:
        """End the utterance; all its words are certain now."""
        self._segment.add(self._agreement.commit(len(self._agreement.tail)))
        self._agreement.clear()
        self._window = None
        yield from self._segment.close()

    def _tell(self) -> Iterator[LiveText]:
        if self._segment.frames >= self._window_max:
            yield from self._segment.close()
        yield from self._segment.told(self._agreement.tail)

    def _forced(self, end: int) -> int:
        """Tell how many words of the tail a full window commits: up to a late pause."""
        tail = self._agreement.tail
        half = end - self._window_max // 2
        pauses = [place for place in self._places() if place > half]
        until = pauses[-1] if pauses else max(half, tail[-1].middle if tail else 0)
        return sum(word.middle < until or word.start < half for word in tail)

    def _trim(self, end: int, *, full: bool) -> None:
        """Begin the window as late as no word that is not certain can be cut."""
        window = self._window or 0
        known, tail = self._agreement.known, self._agreement.tail
        places = [window]
        if known:
            first = tail[0].start if tail else end
            places += [place for place in self._places() if place <= first]
            if end - max(places) > self._long and len(known) >= CONTEXT:
                places.append(known[-CONTEXT].start)
        if full:
            words = bool(known or tail)
            places.append(end - (self._window_max // 2 if words else self._last))
        self._window = max(places)
        self._agreement.forget(self._window)
        while self._quiets and self._quiets[0][1] <= self._window:
            self._quiets.popleft()

    def _places(self) -> list[int]:
        """Give the frames at which the window can be cut: in the midst of pauses."""
        quiets = [*self._quiets]
        if self._quiet is not None and self._speech.heard - self._quiet >= self._cut:
            quiets.append((self._quiet, self._speech.heard))
        return [max((a + b) // 2, b - self._tail) for a, b in quiets]
