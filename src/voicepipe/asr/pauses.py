"""Cutting segments where their speaker pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from voicepipe.types import Segment


def split_at_pauses(segments: Iterable[Segment], pause_s: float) -> Iterator[Segment]:
    """
    Cut segments where two of their words are ``pause_s`` or more apart.

    Another speaker's turn may lie in the pause. All text stays, in its order.

    Args:
        segments: Those without words stay whole.
        pause_s: Seconds from the end of a word to the start of the next.
    """
    for segment in segments:
        words = segment.words
        cuts = [
            place
            for place in range(1, len(words))
            if words[place].start - words[place - 1].end >= pause_s
        ]
        begins = places_of([word.text for word in words], segment.text)
        if not cuts or begins is None:
            yield segment
            continue
        for first, last in zip([0, *cuts], [*cuts, len(words)], strict=True):
            begin = begins[first] if first else 0
            end = begins[last] if last < len(words) else len(segment.text)
            yield attrs.evolve(
                segment,
                start=words[first].start,
                end=words[last - 1].end,
                text=segment.text[begin:end].strip(),
                words=words[first:last],
            )


def places_of(words: Sequence[str], text: str) -> list[int] | None:
    """Give where each word begins in a text; ``None`` if they are not its words."""
    begins = []
    at = 0
    for word in words:
        found = text.find(word, at)
        if found < 0:
            return None
        begins.append(found)
        at = found + len(word)
    return begins
