"""What of a text can be seen."""

from __future__ import annotations

import unicodedata


# Between letters of Indian scripts and of emoji they make a difference.
_JOINERS = frozenset("\u200c\u200d")


def visible(text: str, most: int | None = None) -> str:
    """
    Give a text on one line without what cannot be seen.

    Controls, halves of characters, marks of direction, unassigned and private
    characters are left out, also the invisible letters in which text is hidden from
    people and not from models. What is left can be stored, shown and sent.

    Args:
        text: Any text.
        most: Most characters; what is longer ends with an ellipsis.
    """
    # More than is kept: blanks go, and never all of an endless text.
    line = " ".join((text if most is None else text[: 4 * most]).split())
    if not line.isprintable():
        line = "".join(
            char
            for char in line
            if char in _JOINERS or unicodedata.category(char)[0] != "C"
        )
        line = " ".join(line.split())
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"
