"""What is said before digits, and tells what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from voicepipe.analysis.redaction.wordlists import WORDS


if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.analysis.redaction.tokens import Token


Cue: TypeAlias = Literal["phone", "card", "number", "other", ""]
"""
``number``: some number is spoken of, nobody knows which. ``other``: none that is looked
for, such as an order number or a price.
"""

REACH = 14
"""Words before digits that are looked at; ours."""

REACH_IN_LOGS = 3
"""The same in logs, where neighbours have less to do with each other; ours."""

_PHONE_IN_LOGS = frozenset(WORDS["phone_in_logs"])

_PHONE = _PHONE_IN_LOGS | frozenset(WORDS["phone"])

_CARD = frozenset(WORDS["card"])

_NUMBER = frozenset(WORDS["number"])

_OTHER = frozenset(WORDS["other"])

_CURRENCIES = frozenset("$\u20ac\u00a3\u20b9\u00a5") | {"eur", "gbp", "inr", "usd"}
"""What is written before an amount or behind it."""

_UNITS = frozenset(WORDS["units"]) | _CURRENCIES | {"%"}


def cue_before(lines: Sequence[Sequence[Token]], first: Token, *, strict: bool) -> Cue:
    """
    Give the nearest cue before digits, also from what the other one has asked.

    Args:
        lines: All lines' tokens, in the order in which they were said.
        first: The first of the digits' tokens.
        strict: Whether this is a log.
    """
    found: Cue = ""
    line, place = first.line, first.place
    for _ in range(REACH_IN_LOGS if strict else REACH):
        word, line, place = _word_before(lines, line, place, strict=strict)
        if not word:
            break
        cue = _cue(word, strict=strict)
        if cue == "number" or not cue:
            found = found or cue
            continue
        return cue
    return found


def _cue(word: str, *, strict: bool) -> Cue:
    if word in _OTHER:
        return "other"
    if word in (_PHONE_IN_LOGS if strict else _PHONE):
        return "phone"
    if word in _CARD:
        return "card"
    return "number" if word in _NUMBER else ""


def _word_before(
    lines: Sequence[Sequence[Token]], line: int, place: int, *, strict: bool
) -> tuple[str, int, int]:
    """Give the nearest word before a place, and its own; none beyond what is solid."""
    while line >= 0:
        while place > 0:
            place -= 1
            token = lines[line][place]
            if token.solid or (strict and token.broken):
                return "", line, place
            if token.kind == "word":
                return token.text, line, place
        line -= 1
        place = len(lines[line]) if line >= 0 else 0
        if strict:
            break
    return "", line, place


def is_counted(lines: Sequence[Sequence[Token]], last: Token) -> bool:
    """Say whether a unit follows digits: dollars, bytes, people."""
    line = lines[last.line]
    unit, behind = [*line[last.place + 1 : last.place + 3], None, None][:2]
    if unit is None or unit.solid or unit.text not in _UNITS:
        return False
    before_amount = behind is not None and behind.kind in {"number", "wall"}
    return not (before_amount and unit.text in _CURRENCIES)
