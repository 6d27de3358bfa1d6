"""Rows of a list as all formats give them, and the columns that they must have."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


ID, URL, LABEL, CHANNEL = "conversation_id", "audio_url", "speaker_label", "channel"
SIDES = {"agent": "audio_url_agent", "customer": "audio_url_customer"}
"""The speakers of a row with a recording for each of them."""

_KNOWN = frozenset({ID, URL, LABEL, CHANNEL, *SIDES.values()})


class Row(NamedTuple):
    """
    One row of a list.

    Attributes:
        number: Its line in the file, the last one if it has several; in Parquet its
            place, from 1. Grows from row to row.
        cells: What it holds, by the columns' names; ``None`` if it cannot be read.
        error: Why it cannot.
    """

    number: int
    cells: Mapping[str, object] | None
    error: str = ""


def to_names(written: Iterable[object]) -> list[str]:
    """
    Give the columns' names: trimmed, those known here in lower case.

    A column without a name, as pandas writes for its index, becomes ``column_1``.
    """
    names = []
    for place, name in enumerate(written, 1):
        trimmed = str(name).strip()
        folded = trimmed.casefold()
        names.append(folded if folded in _KNOWN else trimmed or f"column_{place}")
    return names


def fault_of(names: Iterable[str]) -> str:
    """Say what is wrong with the columns of a list or a row; nothing if all is well."""
    counts = Counter(name.casefold() for name in names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        return f"it has the column {_short(twice[0])} twice"
    if ID not in counts:
        return f"it has no column {ID!r}"
    sides = [name for name in SIDES.values() if name in counts]
    if URL in counts and sides:
        return f"it has both {URL!r} and {sides[0]!r}; one of the two ways is enough"
    if URL not in counts and not sides:
        return f"it has no column {URL!r}, {SIDES['agent']!r} or {SIDES['customer']!r}"
    return ""


def _short(name: str) -> str:
    return repr(name if len(name) <= 40 else f"{name[:40]}…")
