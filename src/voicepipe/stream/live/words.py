"""What the commit policy works with: words in frames, and text of words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs


if TYPE_CHECKING:
    from collections.abc import Iterable


@attrs.frozen(kw_only=True)
class LiveWord:
    """
    A word of a live stream.

    Attributes:
        start: First frame, from the start of the stream.
        end: The frame after the last one; ``start <= end``.
        text: As it is written, without spaces around it.
        spaced: Whether a space stands before it, unless it is the first.
        probability: The engine's confidence in [0, 1], ``None`` if it has none.
    """

    start: int
    end: int
    text: str
    spaced: bool = True
    probability: float | None = None

    @property
    def key(self) -> str:
        """The word for comparisons: without case and punctuation."""
        bare = "".join(char for char in self.text.casefold() if char.isalnum())
        return bare or self.text

    @property
    def middle(self) -> int:
        """The frame in its middle: what its engine is surest of."""
        return (self.start + self.end) // 2


@attrs.frozen(kw_only=True)
class LiveText:
    """
    What is believed of one segment.

    Attributes:
        segment: Its number in the stream, from 0.
        start: Its first frame.
        end: The frame after its last one; ``start <= end``.
        words: Its words.
        committed: How many of them will never change.
        final: Whether nothing of it will.
    """

    segment: int
    start: int
    end: int
    words: tuple[LiveWord, ...]
    committed: int
    final: bool


def text_of(words: Iterable[LiveWord]) -> str:
    """Write words as text."""
    return "".join(" " * word.spaced + word.text for word in words).strip()
