"""Phrases that an engine says over and over: agreement says nothing about them."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Sequence


LONGEST = 12
"""Words of the longest phrase that is looked for."""

FEW_TIMES = 4
"""Times in a row from which one or two words may be a loop: "no no no" is not."""

PHRASE_TIMES = 3
"""Times in a row from which a longer phrase may be one."""


def before_loop(keys: Sequence[str]) -> int:
    """
    Tell how many words stand before the repetitions of the first possible loop.

    An engine that is stuck says the same with each decode, and so agrees with itself.
    The phrase's first time counts as said.

    Args:
        keys: Words to compare, in order.

    Returns:
        All of them where no phrase is repeated.
    """
    least = len(keys)
    for size in range(1, min(LONGEST, len(keys) // PHRASE_TIMES) + 1):
        wanted = size * ((FEW_TIMES if size <= 2 else PHRASE_TIMES) - 1)
        row = 0
        for at in range(size, len(keys)):
            row = row + 1 if keys[at] == keys[at - size] else 0
            if row >= wanted:
                least = min(least, at + 1 - row)
                break
    return least
