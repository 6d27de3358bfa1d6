"""Payment card numbers among digits."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voicepipe.analysis.redaction.runs import Atom


SHORTEST, LONGEST = 13, 19
"""Digits of a card number (ISO/IEC 7812-1 has at most 19; old Visa cards have 13)."""

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

# First digits as far as they are needed, and lengths, of the networks' numbers.
_NETWORKS = (
    (4, 4, (13, 16, 19)),  # Visa
    (51, 55, (16,)),  # Mastercard
    (2221, 2720, (16,)),
    (34, 34, (15,)),  # American Express
    (37, 37, (15,)),
    (36, 36, (14, 16, 19)),  # Diners Club
    (38, 39, (14, 16, 19)),
    (300, 305, (14, 16, 19)),
    (3095, 3095, (14, 16, 19)),
    (3528, 3589, (16, 17, 18, 19)),  # JCB
    (6011, 6011, (16, 17, 18, 19)),  # Discover
    (644, 659, (16, 17, 18, 19)),
    (62, 62, (16, 17, 18, 19)),  # UnionPay
    (81, 82, (16, 17, 18, 19)),  # UnionPay, RuPay
    (60, 60, (16,)),  # RuPay
    (508, 508, (16,)),
    (353, 353, (16,)),
    (356, 356, (16,)),
    (5018, 5018, (13, 14, 15, 16, 17, 18, 19)),  # Maestro
    (5020, 5020, (13, 14, 15, 16, 17, 18, 19)),
    (5038, 5038, (13, 14, 15, 16, 17, 18, 19)),
    (5893, 5893, (13, 14, 15, 16, 17, 18, 19)),
    (6304, 6304, (13, 14, 15, 16, 17, 18, 19)),
    (6759, 6763, (13, 14, 15, 16, 17, 18, 19)),
    (2200, 2204, (16, 17, 18, 19)),  # Mir
    (9792, 9792, (16,)),  # Troy
)

_LIKELY = (16, 15, 19, 14, 18, 17)
"""
Lengths in the order in which they are tried among other digits.

Nobody issues 13 any more, and telephone numbers with a prefix have as many.
"""


def luhn(digits: str) -> bool:
    """Say whether the last digit is the check digit (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        total += _DOUBLED[int(digit)] if place % 2 else int(digit)
    return total % 10 == 0


def is_network(digits: str) -> bool:
    """Say whether a network has numbers with this beginning and length."""
    return any(
        len(digits) in lengths and first <= int(digits[: len(str(first))]) <= last
        for first, last, lengths in _NETWORKS
    )


def is_card(digits: str) -> bool:
    """Say whether these digits, and no others, have the form of a card number."""
    fits = SHORTEST <= len(digits) <= LONGEST and len(set(digits)) > 1
    # A leading zero is for airlines only (ISO/IEC 7812-1, 5.2), or a dialling prefix.
    return fits and digits[0] != "0" and luhn(digits)


def cards_in(atoms: Sequence[Atom]) -> Iterator[tuple[int, int]]:
    """
    Give the first and the last but one atom of each card number that is in a row.

    Others may be before and behind it, so that only what a network issues is believed.
    """
    digits = "".join(atom.digits for atom in atoms)
    ends = list(accumulate(len(atom.digits) for atom in atoms))
    sums = _sums(digits)
    at = 0
    while at < len(atoms):
        if atoms[at].plus:
            at += 1
            continue
        begin = ends[at - 1] if at else 0
        for length in _LIKELY:
            end = begin + length
            if end > len(digits) or not _checks(sums, begin, end):
                continue
            last = bisect_left(ends, end)
            if ends[last] == end and is_network(digits[begin:end]):
                yield at, last + 1
                at = last
                break
        at += 1


def _sums(digits: str) -> tuple[list[int], list[int]]:
    """Give running sums, with digits at even places doubled, and with the others."""
    even, odd = [0], [0]
    for place, digit in enumerate(map(int, digits)):
        even.append(even[-1] + (digit if place % 2 else _DOUBLED[digit]))
        odd.append(odd[-1] + (_DOUBLED[digit] if place % 2 else digit))
    return even, odd


def _checks(sums: tuple[list[int], list[int]], begin: int, end: int) -> bool:
    # The last digit is not doubled.
    running = sums[end % 2]
    return (running[end] - running[begin]) % 10 == 0
