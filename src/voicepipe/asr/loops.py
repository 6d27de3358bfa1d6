"""Finding phrases that an engine says over and over, and people did not, as a guard."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import attrs
import numpy as np

from voicepipe.asr.pauses import places_of
from voicepipe.asr.spans import Spans, overlap


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from voicepipe.types import Segment


LONGEST = 24
"""Words of the longest phrase that is looked for: a long sentence."""

PAUSE_S = 1.0
"""A pause of this length, seconds, ends a loop: engines do not stop for breath."""

FEW_TIMES = 4
"""Times in a row, from which one or two words may be a loop: "no no no" is not."""

PHRASE_TIMES = 3
"""Times in a row, from which a phrase of three words or more may be a loop."""

PACKED_WORDS = 10.0
"""
Words a second that nobody says; very fast speakers reach 6 to 7.

An engine's loop has as many words as fit into its output, whatever the sound.
"""

EMPTY_S = 0.03
"""A word of this length or less, seconds, was not heard at all."""

COMPRESSION = 2.4
"""Text that shrinks more than this is repetition: OpenAI's own limit for Whisper."""

MANY_TIMES = 6
"""Times in a row that nobody says a phrase of three words without a pause."""

VERY_MANY_TIMES = 32
"""Times in a row that nobody says one or two words without a pause."""


@attrs.frozen
class _Token:
    """A word to compare: its segment, and its place in it."""

    owner: int
    place: int
    key: str
    start: float
    end: float


def without_loops(
    segments: Iterable[Segment], speech: Spans | None = None
) -> tuple[tuple[Segment, ...], int]:
    """
    Cut phrases that were said over and over down to one, where nobody said them.

    People repeat themselves: "no no no", "five five five", "yes" to every question. So
    a phrase of 1 to ``LONGEST`` words that comes ``FEW_TIMES`` in a row
    (``PHRASE_TIMES`` from three words on), within a segment or across them, is cut only
    where one sign more says that the engine was stuck:

    - packed: more words a second than anybody can say;
    - empty: half of its words have no length;
    - silent: voice activity hears nobody in most of it;
    - endless: it goes on without a pause longer than people do (``MANY_TIMES``, one or
      two words ``VERY_MANY_TIMES``), and the text compresses as only loops do.

    Args:
        segments: One track's, in the order in which they were said. Times of words are
            those of the engine: mend them afterwards.
        speech: Where voice activity hears somebody, seconds; ``None`` if unknown.

    Returns:
        The segments that are left, and how many loops were cut.
    """
    whole = tuple(segments)
    tokens = [t for owner, s in enumerate(whole) for t in _tokens(owner, s)]
    cut: set[tuple[int, int]] = set()
    count = 0
    for stretch in _stretches(tokens):
        for start, size, times in _runs([token.key for token in stretch]):
            run = stretch[start : start + size * times]
            if _is_loop(run, size, speech):
                cut.update((token.owner, token.place) for token in run[size:])
                count += 1
    left = (_without(s, owner, cut) for owner, s in enumerate(whole)) if cut else whole
    return tuple(segment for segment in left if segment.text), count


def _tokens(owner: int, segment: Segment) -> Iterator[_Token]:
    if segment.words:
        for place, word in enumerate(segment.words):
            yield _Token(owner, place, _key(word.text), word.start, word.end)
        return
    texts = segment.text.split()
    step = (segment.end - segment.start) / max(1, len(texts))
    for place, text in enumerate(texts):
        start = segment.start + step * place
        yield _Token(owner, place, _key(text), start, start + step)


def _key(text: str) -> str:
    bare = "".join(char for char in text.casefold() if char.isalnum())
    return bare or text


def _stretches(tokens: Sequence[_Token]) -> Iterator[list[_Token]]:
    stretch: list[_Token] = []
    for token in tokens:
        if stretch and token.start - stretch[-1].end >= PAUSE_S:
            yield stretch
            stretch = []
        stretch.append(token)
    if stretch:
        yield stretch


def _runs(keys: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Give the start, the phrase's size and the times of each repetition in a row."""
    numbers: dict[str, int] = {}
    ids = np.array([numbers.setdefault(key, len(numbers)) for key in keys])
    taken = np.zeros(len(ids), bool)
    for size in range(1, min(LONGEST, len(ids) // PHRASE_TIMES) + 1):
        least = FEW_TIMES if size <= 2 else PHRASE_TIMES
        for start, length in _true_runs(ids[:-size] == ids[size:]):
            times = length // size + 1
            # What a shorter phrase explains is not a longer one, said less often.
            if times >= least and not taken[start : start + size * times].any():
                taken[start : start + size * times] = True
                yield start, size, times


def _true_runs(flags: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Give the start and the length of each row of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    for start, end in edges.reshape(-1, 2).tolist():
        yield start, end - start


def _is_loop(run: Sequence[_Token], size: int, speech: Spans | None) -> bool:
    start, end = run[0].start, run[-1].end
    length = end - start
    packed = len(run) > PACKED_WORDS * length
    empty = 2 * sum(token.end - token.start <= EMPTY_S for token in run) >= len(run)
    silent = speech is not None and 2 * overlap(speech, start, end) < length
    return packed or empty or silent or _is_endless(run, size)


def _is_endless(run: Sequence[_Token], size: int) -> bool:
    limit = VERY_MANY_TIMES if size <= 2 else MANY_TIMES
    text = " ".join(token.key for token in run).encode()
    return len(run) >= limit * size and len(text) > COMPRESSION * len(
        zlib.compress(text)
    )


def _without(segment: Segment, owner: int, cut: set[tuple[int, int]]) -> Segment:
    """Leave words out of a segment, and out of its text."""
    parts = [word.text for word in segment.words] or segment.text.split()
    kept = [place for place in range(len(parts)) if (owner, place) not in cut]
    if len(kept) == len(parts):
        return segment
    text = _left(segment.text, parts, kept)
    words = tuple(segment.words[place] for place in kept) if segment.words else ()
    end = words[-1].end if words else segment.end
    return attrs.evolve(segment, text=text, words=words, end=max(segment.start, end))


def _left(text: str, parts: Sequence[str], kept: Sequence[int]) -> str:
    """Give what is left of a text, with the spaces that it has, or has not."""
    begins = places_of(parts, text)
    if begins is None:
        return " ".join(parts[place] for place in kept)
    ends = [*begins[1:], len(text)]
    return "".join(text[begins[place] : ends[place]] for place in kept).strip()
