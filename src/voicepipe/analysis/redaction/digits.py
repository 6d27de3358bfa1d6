"""Which of the digits in a row are a card's, and which a telephone's."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

from voicepipe.analysis.redaction.cards import (
    LONGEST,
    SHORTEST,
    cards_in,
    is_card,
    is_network,
)
from voicepipe.analysis.redaction.phones import LONGEST as MOST_OF_PHONES
from voicepipe.analysis.redaction.phones import (
    international,
    is_phone,
    looks_like_phone,
    windows,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from voicepipe.analysis.redaction.cues import Cue
    from voicepipe.analysis.redaction.runs import Atom


Hit: TypeAlias = tuple[Literal["card", "phone"], int, int]
"""What it is, its first atom and its last but one."""

WEAK = 2
"""Least strength of a break at which a row of digits may be two numbers; see below."""

_GROUPS = {(4, 6, 5), (4, 6, 4)}
"""How cards of 15 and 14 digits are written; others are in fours."""


def strength(between: str) -> int:
    """Say how much what is between two atoms parts them, 0 to 4."""
    if "|" in between:
        return 4
    if "f" in between:
        return 3
    if " " in between and any(mark in between for mark in ",.;?\u2026"):
        return 2
    return 1 if between else 0


def numbers_in(
    run: Sequence[Atom], cue_of: Callable[[Sequence[Atom]], Cue], *, strict: bool
) -> Iterator[Hit]:
    """
    Give cards and telephone numbers in a row of digits; none overlap.

    Args:
        run: A row of digits.
        cue_of: Says what was said round digits. It is asked as late as can be, so that
            what has been given already can be hidden from it.
        strict: Whether this is a log.
    """
    cards = sorted(_cards(run, cue_of, strict=strict))
    for begin, end in cards:
        yield "card", begin, end
    for begin, end in _gaps(cards, len(run)):
        for first, last in _phones(run[begin:end], cue_of, strict=strict):
            yield "phone", begin + first, begin + last


def _cards(
    run: Sequence[Atom], cue_of: Callable[[Sequence[Atom]], Cue], *, strict: bool
) -> list[tuple[int, int]]:
    def is_one(atoms: Sequence[Atom]) -> bool:
        size = sum(len(atom.digits) for atom in atoms)
        if not SHORTEST <= size <= LONGEST or atoms[0].plus or _are_years(atoms):
            return False
        digits = _digits(atoms)
        if strict:
            return is_card(digits) and is_network(digits) and _is_grouped(atoms)
        cue = cue_of(atoms)
        if cue == "card":
            # An engine mishears digits: where a card is spoken of, they need not check.
            return len(set(digits)) > 1
        if _is_open(atoms[-1]) and not is_card(digits):
            # "Sixty three" at the end may be 60 and 3: their number is odd.
            digits = f"{digits[:-1]}0{digits[-1]}"
        return is_card(digits) and (cue != "other" or is_network(digits))

    size = sum(len(atom.digits) for atom in run)
    if size < SHORTEST or (size <= MOST_OF_PHONES and cue_of(run) == "phone"):
        return []
    whole = list(_pieces(run, 0, len(run), is_one))
    return whole + [
        (begin + first, begin + last)
        for begin, end in _gaps(whole, len(run))
        for first, last in cards_in(run[begin:end])
        if not strict or _is_grouped(run[begin + first : begin + last])
    ]


def _phones(
    run: Sequence[Atom], cue_of: Callable[[Sequence[Atom]], Cue], *, strict: bool
) -> Iterator[tuple[int, int]]:
    end = international(run)
    if end:
        yield 0, end
        for first, last in (
            _phones(run[end:], cue_of, strict=strict) if run[end:] else ()
        ):
            yield end + first, end + last
        return
    whole = []
    for piece in _pieces(
        run, 0, len(run), lambda atoms: is_phone(atoms, cue_of, strict=strict)
    ):
        whole.append(piece)
        yield piece

    for begin, end in _gaps(whole, len(run)):
        least = 0
        for first, last in windows(run[begin:end]):
            atoms = run[begin + first : begin + last]
            if first < least or not looks_like_phone(atoms, strict=strict):
                continue
            # A cue may speak of the row's beginning, or of its end: none is needed.
            if cue_of(atoms) != "other":
                yield begin + first, begin + last
                least = last


def _pieces(
    run: Sequence[Atom], begin: int, end: int, test: Callable[[Sequence[Atom]], bool]
) -> Iterator[tuple[int, int]]:
    """Give what passes a test: the whole, or else its parts, and so on."""
    if test(run[begin:end]):
        yield begin, end
        return
    breaks = [strength(atom.between) for atom in run[begin + 1 : end]]
    most = max(breaks, default=0)
    if most < WEAK:
        return
    bounds = [
        begin,
        *(begin + 1 + at for at, each in enumerate(breaks) if each == most),
        end,
    ]
    for first, last in pairwise(bounds):
        yield from _pieces(run, first, last, test)


def _gaps(hits: Sequence[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """Give the stretches between hits that are in order."""
    at = 0
    for begin, end in [*hits, (size, size)]:
        if begin > at:
            yield at, begin
        at = end


def _is_grouped(atoms: Sequence[Atom]) -> bool:
    """Say whether digits are written, or said, as those of one card number are."""
    if any(atom.spoken for atom in atoms):
        return True
    sizes = tuple(len(atom.digits) for atom in atoms)
    fours = set(sizes[:-1]) <= {4} and sizes[-1] <= 4
    alike = len({atom.between for atom in atoms[1:]}) <= 1
    tidy = len(atoms) == 1 or atoms[1].between in {" ", "-"}
    known = len(sizes) == 1 or fours or sizes in _GROUPS or set(sizes) == {1}
    return alike and tidy and known


def _are_years(atoms: Sequence[Atom]) -> bool:
    """Say whether these are years: 1997, 1999, 2002, 2004."""
    return all(
        len(atom.digits) == 4 and atom.digits[:2] in {"19", "20"} for atom in atoms
    )


def _is_open(atom: Atom) -> bool:
    """Say whether two words stand for two digits, or for three."""
    return atom.first is not atom.last and atom.digits[-1] != "0" != atom.digits[0]


def _digits(atoms: Sequence[Atom]) -> str:
    return "".join(atom.digits for atom in atoms)
