"""Giving words times that can be, as a guard."""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING

import attrs

from voicepipe.types import Segment, Word


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


LEAST_S = 1e-6
"""What is shorter has no length, seconds: engines count in milliseconds at best."""

ROOM_S = 0.05
"""Room that a word is given at least where there is some, seconds."""

CHAR_S = 0.065
"""Seconds that a character takes to say: 15 a second, an even pace of speech."""

SLACK_S = 0.5
"""How far outside of its segment a word may begin and be believed, seconds."""


@attrs.define(kw_only=True)
class _Item:
    """A word to be timed, or a whole segment where words are not asked for."""

    owner: int  # place of its segment
    text: str
    start: float
    end: float
    placed: bool  # whether it can begin where it says
    word: Word | None = None  # None where the engine gave none
    whole: bool = False  # stands for its whole segment


def mended(
    segments: Iterable[Segment], duration: float, *, words: bool = True
) -> tuple[tuple[Segment, ...], int]:
    """
    Give the words of one track times that can be: the order of the text holds.

    Every word then has ``0 <= start < end <= duration`` and ends before the next one
    begins, and a segment begins and ends with its words. As many words as possible stay
    where they are; those that contradict them find room between their neighbours, by
    their lengths. A segment without text is left out.

    Args:
        segments: In the order in which they were said.
        duration: Seconds of sound.
        words: Whether every segment must have words; where the engine gave none, its
            time is shared out among what stands between the spaces of its text.

    Returns:
        The segments, and how many words (segments, where they have none) have other
        times now.
    """
    if duration < LEAST_S:
        return (), 0
    whole = [segment for segment in map(_with_text, segments) if segment.text]
    items = [
        item
        for owner, segment in enumerate(whole)
        for item in _items(owner, segment, duration, words=words)
    ]
    before = [(item.start, item.end) for item in items]
    _place(items, whole, duration)
    changed = sum(
        (item.word is None and words) or (item.start, item.end) != old
        for item, old in zip(items, before, strict=True)
    )
    timed = itertools.groupby(items, key=lambda item: item.owner)
    return tuple(_rebuilt(whole[owner], list(of)) for owner, of in timed), changed


def _with_text(segment: Segment) -> Segment:
    text = segment.text.strip() or " ".join(w.text for w in segment.words).strip()
    return segment if text == segment.text else attrs.evolve(segment, text=text)


def _items(
    owner: int, segment: Segment, duration: float, *, words: bool
) -> Iterator[_Item]:
    spoken = [word for word in segment.words if word.text.strip()]
    first, last = segment.start - SLACK_S, segment.end + SLACK_S
    if segment.end <= segment.start:  # it tells nothing
        first, last = 0.0, duration
    latest = duration - LEAST_S
    for word in spoken:
        yield _Item(
            owner=owner,
            text=word.text,
            start=word.start,
            end=word.end,
            placed=first <= word.start <= min(last, latest),
            word=word,
        )
    if spoken:
        return
    for text in segment.text.split() if words else [segment.text]:
        yield _Item(
            owner=owner,
            text=text,
            start=segment.start,
            end=segment.end,
            placed=segment.start <= latest and not words,
            whole=not words,
        )


def _place(items: list[_Item], segments: Sequence[Segment], duration: float) -> None:
    """Give every item its times."""
    bounds = [(segment.start, segment.end) for segment in segments]
    fixed = _chain(items)
    for left, right in itertools.pairwise([*fixed, None]):
        assert left is not None  # noqa: S101 - for the type checker
        limit = duration if right is None else items[right].start
        items[left].end = min(items[left].end, limit)
    for left, right in itertools.pairwise([None, *fixed, None]):
        _between(items, bounds, (left, right), duration)


def _chain(items: Sequence[_Item]) -> list[int]:
    """Give the longest series of items with a length whose starts increase."""
    starts: list[float] = []  # least start with which a series of each length ends
    ends: list[int] = []
    before: dict[int, int | None] = {}
    for place, item in enumerate(items):
        if not item.placed or item.end - item.start < LEAST_S:
            continue
        length = bisect.bisect_right(starts, item.start - LEAST_S)
        before[place] = ends[length - 1] if length else None
        if length == len(starts):
            starts.append(item.start)
            ends.append(place)
        elif item.start < starts[length]:
            starts[length], ends[length] = item.start, place
    chain = []
    at = ends[-1] if ends else None
    while at is not None:
        chain.append(at)
        at = before[at]
    return chain[::-1]


def _between(
    items: Sequence[_Item],
    bounds: Sequence[tuple[float, float]],
    places: tuple[int | None, int | None],
    duration: float,
) -> None:
    """Place what lies between two items whose times hold."""
    left, right = (None if place is None else items[place] for place in places)
    loose = list(items[0 if places[0] is None else places[0] + 1 : places[1]])
    begin = 0.0 if left is None else left.end
    end = duration if right is None else right.start
    if right is not None:
        loose, right = _before(loose, right)
    if not loose:
        return
    if (left is None and right is None) or end - begin >= ROOM_S * len(loose):
        timed = {item.owner for item in (left, right) if item is not None}
        _settle(loose, bounds, (begin, end), timed)
        return
    # There is no room: whichever neighbour is longer for its text makes some.
    if right is None or (left is not None and _drawl(left) > _drawl(right)):
        assert left is not None  # noqa: S101 - for the type checker
        _share([left, *loose], left.start, end)
    else:
        _share([*loose, right], begin, right.end)


def _before(loose: list[_Item], right: _Item) -> tuple[list[_Item], _Item]:
    """
    Let an item share its time with those that begin where it does.

    Returns:
        The items that are left, and the one that comes after them now.
    """
    at = len(loose)
    while (
        at
        and loose[at - 1].placed
        and right.start - ROOM_S < loose[at - 1].start <= right.start
    ):
        at -= 1
    sharing = [*loose[at:], right]
    if right.end - right.start < ROOM_S * len(sharing):
        return loose, right
    _share(sharing, right.start, right.end)
    return loose[:at], sharing[0]


def _settle(
    loose: Sequence[_Item],
    bounds: Sequence[tuple[float, float]],
    room: tuple[float, float],
    timed: set[int],
) -> None:
    """Place items in a room that is large enough, inside their segments if possible."""
    begin, end = room
    least = min(ROOM_S, (end - begin) / len(loose))
    left = len(loose)
    for owner, of in itertools.groupby(loose, key=lambda item: item.owner):
        run = list(of)
        need = least * len(run)
        last = end - least * (left - len(run))
        wanted = max(bounds[owner][0], run[0].start if run[0].placed else 0.0)
        start = max(begin, min(wanted, last - need))
        stop = min(max(bounds[owner][1], start + need), last)
        if owner in timed:
            # Beside words that are timed, a lost one does not fill a whole pause.
            stop = min(stop, start + max(need, sum(map(_natural, run))))
        _share(run, start, stop)
        begin = stop
        left -= len(run)


def _share(items: Sequence[_Item], start: float, end: float) -> None:
    """Share a stretch out among items by their lengths."""
    sizes = list(itertools.accumulate(len(item.text) + 1 for item in items))
    ends = [start + (end - start) * size / sizes[-1] for size in sizes[:-1]]
    for item, begin, stop in zip(items, [start, *ends], [*ends, end], strict=True):
        item.start, item.end = begin, stop


def _drawl(item: _Item) -> float:
    """Tell how long an item is for its text."""
    return (item.end - item.start) / _natural(item)


def _natural(item: _Item) -> float:
    return max(ROOM_S, CHAR_S * len(item.text))


def _rebuilt(segment: Segment, items: Sequence[_Item]) -> Segment:
    start, end = items[0].start, items[-1].end
    if items[0].whole:
        return attrs.evolve(segment, start=start, end=end, words=())
    words = tuple(
        Word(
            start=item.start,
            end=item.end,
            text=item.text,
            probability=item.word.probability if item.word else None,
        )
        for item in items
    )
    return attrs.evolve(segment, start=start, end=end, words=words)
