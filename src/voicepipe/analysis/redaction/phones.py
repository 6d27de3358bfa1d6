"""Telephone numbers among digits."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from voicepipe.analysis.redaction.cues import Cue
    from voicepipe.analysis.redaction.runs import Atom


SHORTEST, LONGEST = 7, 15
"""Digits of a telephone number (ITU-T E.164: at most 15; a local one has 7)."""

LEAST_AMONG_OTHERS = 9
"""Digits of a number that is known among others; seven are nothing special; ours."""

INTERNATIONAL = range(8, LONGEST + 2)
"""Digits behind a plus; one more than there may be, since many write *+44 (0) ...*."""

WHOLE = 10
"""Digits behind a plus that need no more; ours."""

TRUNK = range(9, 13)
"""Digits with the 0 before an area code, in countries that have one."""

_AMERICAN = {(3, 3, 4), (3, 7), (6, 4), (10,), (5, 5), (4, 3, 3), (4, 6)}
"""How ten digits are grouped, in India too (5 and 5, 4 and 6)."""

_LONG_DISTANCE = {(1, 3, 3, 4), (1, 10), (11,), (1, 3, 7), (4, 3, 4)}

_NINE = {(3, 3, 3), (3, 2, 2, 2)}
"""How nine digits are grouped, in Spain and Portugal."""


def international(atoms: Sequence[Atom]) -> int:
    """Give how many of the first atoms are a number with a plus, 0 for none."""
    if not atoms or not atoms[0].plus or atoms[0].digits[0] == "0":
        return 0
    size, end = 0, 0
    for atom in atoms:
        if size + len(atom.digits) not in range(INTERNATIONAL.stop):
            break
        # Behind a comma something else may follow a number that is whole.
        paused = any(mark in atom.between for mark in ",;?|f")
        written = end == 1 or (paused and not atom.spoken)
        if size >= WHOLE and written:
            break
        size += len(atom.digits)
        end += 1
    return end if size in INTERNATIONAL else 0


def is_phone(
    atoms: Sequence[Atom], cue_of: Callable[[Sequence[Atom]], Cue], *, strict: bool
) -> bool:
    """
    Say whether these digits, and no others, are a telephone number without a plus.

    Args:
        atoms: The digits, at least one.
        cue_of: Says what has been said round digits.
        strict: Whether this is a log, where most long numbers are something else.
    """
    size = sum(len(atom.digits) for atom in atoms)
    if not SHORTEST <= size <= LONGEST + 2 or _counts(atoms) or _are_listed(atoms):
        return False
    cue = cue_of(atoms)
    cued = _is_bracketed(atoms) or (cue == "phone" and size <= LONGEST)
    if cued or cue == "other":
        return cued
    told = not strict or any(atom.spoken for atom in atoms)
    return (told and cue == "number" and size <= LONGEST) or looks_like_phone(
        atoms, strict=strict
    )


def looks_like_phone(atoms: Sequence[Atom], *, strict: bool) -> bool:
    """Say whether digits look like a telephone number, whatever was said."""
    if _is_bracketed(atoms):
        return True
    if strict and not any(atom.spoken for atom in atoms):
        return _is_dashed(atoms)
    return _has_form(atoms)


def windows(atoms: Sequence[Atom], most: int = 6) -> Iterator[tuple[int, int]]:
    """
    Give the stretches in a row of digits that might be a number for themselves.

    Digits that stand one by one are not cut: nobody could say where.
    """
    for begin in range(len(atoms)):
        if len(atoms[begin].digits) == 1 and not atoms[begin].plus:
            continue
        for end in range(min(len(atoms), begin + most), begin, -1):
            size = sum(len(atom.digits) for atom in atoms[begin:end])
            if LEAST_AMONG_OTHERS <= size <= LONGEST + 2:
                yield begin, end


def _counts(atoms: Sequence[Atom]) -> bool:
    """Say whether somebody counts: one, two, three."""
    steps = {
        int(b.digits) - int(a.digits)
        for a, b in pairwise(atoms)
        if len(a.digits) <= 3 and len(b.digits) <= 3
    }
    return len(atoms) > 4 and len(steps) == 1 and steps != {0}


def _are_listed(atoms: Sequence[Atom]) -> bool:
    """Say whether numbers are told one after the other: 408, 425, 429."""
    sizes = {0 if atom.spoken else len(atom.digits) for atom in atoms}
    apart = all("," in atom.between for atom in atoms[1:])
    return len(atoms) > 1 and apart and len(sizes) == 1 and min(sizes) >= 3


def _is_bracketed(atoms: Sequence[Atom]) -> bool:
    """Say whether they are written as in *(555) 123-4567*."""
    sizes = _sizes(atoms)
    return sizes in {(3, 3, 4), (3, 7)} and ")" in atoms[1].between


def _is_dashed(atoms: Sequence[Atom]) -> bool:
    """Say whether they are written as in *555-123-4567* or *1.555.123.4567*."""
    sizes = _sizes(atoms)
    if sizes not in {(3, 3, 4), (1, 3, 3, 4)} or "".join(
        atom.digits for atom in atoms
    ).startswith("0"):
        return False
    between = {atom.between for atom in atoms[1:]}
    return between in ({"-"}, {"."})


def _has_form(atoms: Sequence[Atom]) -> bool:
    digits = "".join(atom.digits for atom in atoms)
    size, sizes = len(digits), _sizes(atoms)
    singly = _is_singly(atoms)
    if digits.startswith("00"):
        return size - 2 in INTERNATIONAL and digits[2] != "0"
    if digits[0] == "0":
        return size in TRUNK and (singly or atoms[0].spoken or len(sizes) <= 6)
    if size == 9:
        spanish = all(atom.languages == {"es"} for atom in atoms)
        return digits[0] in "679" and (spanish or sizes in _NINE)
    if size == 7:
        return sizes == (3, 4) and atoms[1].between.strip() == "-"
    between = "".join(atom.between for atom in atoms[1:])
    tidy = not ("-" in between and "." in between)
    tidy &= len(sizes) > 2 or "," not in between
    indian = size == 12 and digits.startswith("91") and digits[2] in "6789"
    american = size == 10 and digits[0] in "23456789" and sizes in _AMERICAN and tidy
    distant = size == 11 and digits[0] == "1" and digits[1] in "23456789"
    told = singly and size == 10 and digits[0] in "23456789"
    return (
        indian or american or told or (distant and (singly or sizes in _LONG_DISTANCE))
    )


def _is_singly(atoms: Sequence[Atom]) -> bool:
    """Say whether most digits were told one by one, as nobody tells an amount."""
    single = sum(
        len(a.digits)
        for a in atoms
        # "Double five" is two of them; "eight hundred" belongs to them.
        if len(set(a.digits)) == 1 or (a.spoken and a.digits.endswith("00"))
    )
    return 2 * single >= sum(len(a.digits) for a in atoms) and len(atoms) > 1


def _sizes(atoms: Sequence[Atom]) -> tuple[int, ...]:
    return tuple(len(atom.digits) for atom in atoms)
