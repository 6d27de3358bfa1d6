"""Which parts of a track are sent together, and when what was heard there was said."""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

from voicepipe.stream.vad import SpeechSpan
from voicepipe.stream.windows import SilenceCutter


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


Pcm: TypeAlias = npt.NDArray[np.int16]
"""Samples of a track, shape ``(n,)``."""


RATE = 16_000
"""Rate of the sound that is sent, Hz: Whisper's own."""

PAD_S = 0.4
"""Seconds around speech that are sent with it, as faster-whisper does by default."""

PAUSE_S = 2.0
"""Shorter pauses, seconds, are sent too: sentences, and rhythm, stay whole."""

_LEAST_S = 0.2
"""What is shorter is filled up with silence: services refuse less than 0.1 s."""

_HALVED_S = 2.0
"""What is shorter is not divided any more, seconds."""

_BLOCK_FRAMES = 10 * RATE


def _go_on() -> None:
    """Let the work go on."""


@attrs.frozen(kw_only=True)
class Piece:
    """
    Parts of a track that are sent as one file, one behind the other.

    Attributes:
        parts: In frames of the track, in order, apart, none of them empty.
    """

    parts: tuple[SpeechSpan, ...]

    @property
    def frames(self) -> int:
        """Frames that are sent."""
        return sum(part.end - part.start for part in self.parts)

    @property
    def seconds(self) -> float:
        """Seconds of sound that are sent."""
        return self.frames / RATE

    def sounds(self, track: Pcm) -> list[Pcm]:
        """Give what is to be sent, one behind the other; no copies."""
        sounds = [track[part.start : part.end] for part in self.parts]
        missing = round(_LEAST_S * RATE) - self.frames
        if missing > 0:
            sounds.append(np.zeros(missing, np.int16))
        return sounds

    def halves(
        self, track: Pcm, check: Callable[[], object] = _go_on
    ) -> tuple[Piece, Piece] | None:
        """
        Divide it in a quiet place; ``None`` if it is too short for that.

        Args:
            track: What it is of.
            check: Called every ten seconds of sound; what it raises breaks it off.
        """
        if self.seconds < _HALVED_S:
            return None
        cut = _quietest(
            np.concatenate(self.sounds(track)),
            self.frames // 4,
            3 * self.frames // 4,
            check,
        )
        before, after = [], []
        for part, begin in zip(self.parts, self._begins, strict=True):
            middle = min(max(part.start + cut - begin, part.start), part.end)
            if middle > part.start:
                before.append(SpeechSpan(part.start, middle))
            if middle < part.end:
                after.append(SpeechSpan(middle, part.end))
        return Piece(parts=tuple(before)), Piece(parts=tuple(after))

    def part_of(self, start: float, end: float) -> int:
        """Give the place of the part in which most of a stretch of the file lies."""
        first = self._place(start)
        last = max(first, self._place(end, at_end=True))
        begins = [*self._begins, self.frames]
        return max(
            range(first, last + 1),
            key=lambda at: (
                min(begins[at + 1], end * RATE) - max(begins[at], start * RATE)
            ),
        )

    def moments(self, start: float, end: float) -> tuple[float, float]:
        """
        Give the times in the track of a stretch of the file, seconds.

        Args:
            start: First second in the file, at least 0.
            end: Last second; what is behind the file's end is at its end.
        """
        first = self._moment(start, self._place(start))
        last = self._moment(end, self._place(end, at_end=True))
        return first, max(first, last)

    def within(self, start: float, end: float) -> tuple[float, float]:
        """Give the same for a word, which is said in one part: most of it counts."""
        at = self.part_of(start, end)
        first = self._moment(start, at)
        return first, max(first, self._moment(end, at))

    def _moment(self, seconds: float, at: int) -> float:
        part = self.parts[at]
        frame = part.start + seconds * RATE - self._begins[at]
        return min(max(frame, part.start), part.end) / RATE

    def _place(self, seconds: float, *, at_end: bool = False) -> int:
        find = bisect.bisect_left if at_end else bisect.bisect_right
        found = find(self._begins, seconds * RATE) - 1
        return min(max(found, 0), len(self.parts) - 1)

    @property
    def _begins(self) -> list[int]:
        """Where in the file each part begins."""
        sizes = (part.end - part.start for part in self.parts[:-1])
        return list(itertools.accumulate(sizes, initial=0))


def pieces_of(
    track: Pcm,
    speech: Iterable[SpeechSpan],
    *,
    max_s: float,
    together: bool,
    check: Callable[[], object] = _go_on,
) -> list[Piece]:
    """
    Divide what is to be sent.

    Args:
        track: Samples, shape ``(n,)``.
        speech: What is to be sent, if with a bit around it; in order, apart.
        max_s: Longest piece, seconds. What is longer is cut in quiet places.
        together: Whether a piece may have several parts, with long pauses left out
            between them.
        check: Called every ten seconds of sound; what it raises breaks it off.
    """
    longest = max(1, int(max_s * RATE))
    parts = [
        part
        for span in _wide(speech, len(track))
        for part in _cut(track, span, longest, check)
    ]
    if not together:
        return [Piece(parts=(part,)) for part in parts]
    pieces: list[list[SpeechSpan]] = []
    room = 0
    for part in parts:
        if part.end - part.start > room:
            pieces.append([])
            room = longest
        pieces[-1].append(part)
        room -= part.end - part.start
    return [Piece(parts=tuple(piece)) for piece in pieces]


def _wide(speech: Iterable[SpeechSpan], frames: int) -> list[SpeechSpan]:
    """Add what is around speech, and what is between where that is little."""
    pad, pause = round(PAD_S * RATE), round(PAUSE_S * RATE)
    wide: list[SpeechSpan] = []
    for span in speech:
        start, end = max(0, span.start - pad), min(frames, span.end + pad)
        if wide and start - wide[-1].end < pause:
            wide[-1] = SpeechSpan(wide[-1].start, end)
        else:
            wide.append(SpeechSpan(start, end))
    return wide


def _cut(
    track: Pcm, span: SpeechSpan, longest: int, check: Callable[[], object]
) -> Iterator[SpeechSpan]:
    start = span.start
    while span.end - start > longest:
        # Not at the very end: no piece is left that holds half a word.
        last = min(longest, 3 * (span.end - start) // 4)
        cut = start + _quietest(track[start : start + last], last // 2, last, check)
        yield SpeechSpan(start, cut)
        start = cut
    yield SpeechSpan(start, span.end)


def _quietest(sound: Pcm, first: int, last: int, check: Callable[[], object]) -> int:
    """Give the frame from one to another at which it is quietest."""
    if last - first < 2:
        return last
    cutter = SilenceCutter(RATE, max_s=(last - first) / RATE, min_s=1 / RATE)
    windows: list[npt.NDArray[np.float32]] = []
    for at in range(first, last, _BLOCK_FRAMES):
        check()
        block = sound[at : min(at + _BLOCK_FRAMES, last), np.newaxis]
        windows += cutter.push(block.astype(np.float32) / np.float32(32768.0))
    return first + len(windows[0])
