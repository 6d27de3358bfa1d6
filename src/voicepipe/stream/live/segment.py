"""The segment that is being spoken: its number, its words, and what was told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.stream.live.words import LiveText


if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.stream.live.words import LiveWord


class OpenSegment:
    """
    Collects a segment's committed words, and tells what is new.

    Segments are numbered in the order in which something is told of them first.
    """

    def __init__(self) -> None:
        """Begin with the first segment."""
        self._number = 0
        self._words: list[LiveWord] = []
        self._told: LiveText | None = None

    @property
    def frames(self) -> int:
        """Frames from its first committed word to its last."""
        return self._words[-1].end - self._words[0].start if self._words else 0

    def add(self, words: tuple[LiveWord, ...]) -> None:
        """Take words that were committed."""
        self._words.extend(words)

    def told(self, tail: tuple[LiveWord, ...]) -> Iterator[LiveText]:
        """Tell the segment, with a tail that is not certain, if there is news."""
        words = (*self._words, *tail)
        if words or self._told:
            text = self._text(words, final=False)
            if text != self._told:
                self._told = text
                yield text

    def close(self) -> Iterator[LiveText]:
        """
        Tell the segment for the last time, and begin the next one.

        One of which nothing was told, and that has no words, is none.
        """
        if self._words or self._told:
            yield self._text(tuple(self._words), final=True)
            self._number += 1
        self._words, self._told = [], None

    def _text(self, words: tuple[LiveWord, ...], *, final: bool) -> LiveText:
        start = words[0].start if words else self._told.start if self._told else 0
        return LiveText(
            segment=self._number,
            start=start,
            end=max(start, *(word.end for word in words)) if words else start,
            words=words,
            committed=len(self._words),
            final=final,
        )
