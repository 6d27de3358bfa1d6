"""Which words of an engine's successive hypotheses are certain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from voicepipe.stream.live.loops import before_loop


if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.stream.live.words import LiveWord


EDGE_S = 0.2
"""
Words that end this near to the end of what was decoded may be cut: seconds.

Two decodes may agree on half a word, so both must have heard it whole. Where the sound
ends in a pause, none is cut.
"""

MISPLACED = 0.4
"""
What a word costs that lies on the wrong side of the last committed one; in full if its
middle is ``RAMP_S`` seconds away. A wrong word costs 1.
"""

RAMP_S = 0.3
"""An engine's times are off by some tenths of a second."""

SHORTEST_S = 0.02
"""A word is at least this long, seconds, where its engine's times say less."""


class LocalAgreement:
    """
    Commits words on which two decodes in a row agree, and never takes one back.

    Local agreement of two hypotheses (Liu et al. 2020; for Whisper, Macháček et al.
    2023): the longest common beginning of what two successive decodes say after the
    committed words becomes committed. Case and punctuation do not count; the newer
    spelling is kept. Repetitions that may be an engine's loop are not committed by
    agreement, nor words at the very edge of the sound.

    A decode begins before the last committed words, so that none is cut. Which of its
    words those are is found by comparing words first and times second: an engine's
    times are off by some tenths of a second.

    Args:
        rate: Frames per second of all times, Hz.
    """

    def __init__(self, rate: int) -> None:
        """Begin without words."""
        self._edge = round(EDGE_S * rate)
        self._ramp = RAMP_S * rate
        self._shortest = round(SHORTEST_S * rate)
        self._known: list[LiveWord] = []
        self._tail: tuple[LiveWord, ...] = ()
        self._until = 0
        self._heard_to = 0  # words before it the last decode heard whole

    @property
    def tail(self) -> tuple[LiveWord, ...]:
        """The words after the committed ones, as the last decode has them."""
        return self._tail

    @property
    def known(self) -> tuple[LiveWord, ...]:
        """The committed words that the next decode may hear again."""
        return tuple(self._known)

    @property
    def until(self) -> int:
        """The frame after the last committed word."""
        return self._until

    def hear(
        self, words: Sequence[LiveWord], *, end: int, complete: bool
    ) -> tuple[LiveWord, ...]:
        """
        Take what a decode says; give the words that are committed by it.

        Args:
            words: All of the decode's words, in order.
            end: The frame at which its sound ends.
            complete: Whether the sound ends in a pause.
        """
        new = tuple(words[self._heard_again(words) :])
        agreed = _agreed(self._tail, new)
        whole = min(self._heard_to, end - (0 if complete else self._edge))
        while agreed and new[agreed - 1].end > whole:
            agreed -= 1
        self._heard_to = end if complete else end - self._edge
        context = [word.key for word in self._known]
        certain = before_loop([*context, *(word.key for word in new)]) - len(context)
        self._tail = new
        return self.commit(max(0, min(agreed, certain)))

    def commit(self, count: int) -> tuple[LiveWord, ...]:
        """Commit the first words of the tail; give them, their times in order."""
        chosen = []
        for word in self._tail[:count]:
            start = max(word.start, self._until)
            self._until = max(word.end, start + self._shortest)
            chosen.append(attrs.evolve(word, start=start, end=self._until))
        self._tail = self._tail[count:]
        self._known.extend(chosen)
        return tuple(chosen)

    def forget(self, before: int) -> None:
        """Say that no decode will begin before a frame any more."""
        self._known = [word for word in self._known if word.middle > before]

    def clear(self) -> None:
        """Say that no decode will hear anything again; drop the tail."""
        self._known, self._tail = [], ()

    def _heard_again(self, words: Sequence[LiveWord]) -> int:
        """Tell how many of a decode's first words are committed already."""
        if not self._known:
            return 0
        costs = _distances(
            [word.key for word in self._known], [word.key for word in words]
        )
        late = [self._misplaced(word.middle - self._until) for word in words]
        early = [self._misplaced(self._until - word.middle) for word in words]
        for count in range(len(words) + 1):
            costs[count] += sum(late[:count]) + sum(early[count:])
        return min(range(len(costs)), key=costs.__getitem__)

    def _misplaced(self, by: int) -> float:
        return MISPLACED * min(1.0, max(0, by) / self._ramp)


def _agreed(old: Sequence[LiveWord], new: Sequence[LiveWord]) -> int:
    count = 0
    for one, other in zip(old, new, strict=False):
        if one.key != other.key:
            break
        count += 1
    return count


def _distances(known: Sequence[str], words: Sequence[str]) -> list[float]:
    """Give the edit distance of the known words to each beginning of the words."""
    row = [float(count) for count in range(len(words) + 1)]
    for word in known:
        above, row = row, [row[0] + 1.0]
        for at, other in enumerate(words):
            wrong = float(word != other)
            row.append(min(above[at] + wrong, above[at + 1] + 1.0, row[at] + 1.0))
    return row
