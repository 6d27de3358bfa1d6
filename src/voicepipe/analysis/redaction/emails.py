"""E-mail addresses that are said: *john dot smith at example dot com*."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.analysis.redaction.numerals import PHRASES
from voicepipe.analysis.redaction.wordlists import WORDS


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voicepipe.analysis.redaction.tokens import Token


AT = frozenset(WORDS["at"])
"""What the ``@`` is called, in ``plain`` form."""

DOT = frozenset(WORDS["dot"])
"""What the dot is called, in ``plain`` form."""

JOINTS = frozenset(WORDS["joints"])
"""What else holds the parts of an address together, in ``plain`` form."""

# Behind a dot these are no words. The last four are for examples (RFC 2606).
_ENDINGS = frozenset(WORDS["endings"])

# Before "at" these are the rest of a sentence, and no name.
_SENTENCE = frozenset(WORDS["sentence"])

_DIGITS = frozenset(word for phrase in PHRASES for word in phrase)

_MOST_WORDS = 2
"""Words of a domain that the engine writes apart: *g mail*, *my company*; ours."""

_LONGEST_SPELLED = 4
"""Letters of an ending that is spelled: *i n f o*."""

_MOST_TOKENS = 48
"""Tokens of a name or a domain that are looked at, so that time stays linear; ours."""


def emails_in(tokens: Sequence[Token]) -> Iterator[tuple[int, int]]:
    """Give the first and the last but one token of each spoken address."""
    before = 0
    for at, token in enumerate(tokens):
        if at < before or token.solid or token.severed or token.text not in AT:
            continue
        end = _domain(tokens, at + 1)
        begin = _local(tokens, at, before) if end else at
        if end and begin < at:
            yield begin, end
            before = end


def _local(tokens: Sequence[Token], at: int, least: int) -> int:
    """Give the first token of the name before an ``at``, or ``at``."""
    least = max(least, at - _MOST_TOKENS)
    begin = _unit(tokens, at, least)
    while begin < at and begin - 2 >= least and not tokens[begin].severed:
        joint = tokens[begin - 1]
        if joint.solid or joint.severed or joint.text not in JOINTS | DOT:
            break
        before = _unit(tokens, begin - 1, least)
        if before == begin - 1:
            break
        begin = before
    return begin


def _unit(tokens: Sequence[Token], end: int, least: int) -> int:
    """Give the first token of a word, or of letters and digits, that ends here."""
    begin, letters = end, 0
    while begin > least:
        comma = begin < end and begin - 1 > least and tokens[begin - 1].text == ","
        if not _is_spelled(tokens[begin - 1 - comma]):
            break
        begin -= 1 + comma
        letters += len(tokens[begin].text) == 1 and tokens[begin].kind == "word"
        if tokens[begin].severed:
            break
    if letters == 1 and begin == end - 1 and tokens[begin].text in _SENTENCE:
        return end
    whole = letters or (begin < end and tokens[begin].severed)
    if not whole and begin > least and _is_name(tokens[begin - 1]):
        return begin - 1
    # Digits alone are a time or a price: "forty two at example dot com".
    return begin if letters else end


def _is_name(token: Token) -> bool:
    named = token.kind == "word" and len(token.text) > 1 and not token.solid
    return named and token.text not in _SENTENCE | AT | DOT | JOINTS


def _is_spelled(token: Token) -> bool:
    if token.solid:
        return False
    if token.kind == "number":
        return True
    return token.kind == "word" and (len(token.text) == 1 or token.text in _DIGITS)


def _domain(tokens: Sequence[Token], at: int) -> int | None:
    """Give the place behind the domain that begins here, if there is one."""
    end, last = None, min(len(tokens), at + _MOST_TOKENS)
    while True:
        at = _label(tokens, at, last)
        if at + 1 >= last or not _is_dot(tokens[at]):
            return end
        at += 1
        ending = _ending(tokens, at, last)
        if ending:
            end = ending


def _label(tokens: Sequence[Token], at: int, last: int) -> int:
    """Give the place behind the words, letters and digits of one part of a domain."""
    words = 0
    while at < last and not (tokens[at].solid or tokens[at].severed):
        if tokens[at].text in DOT:
            break
        named = tokens[at].kind != "sign"
        words += named and not _is_spelled(tokens[at]) and tokens[at].text not in JOINTS
        named |= tokens[at].text in JOINTS or tokens[at].text == ","
        if words > _MOST_WORDS or not named:
            break
        at += 1
    return at


def _is_dot(token: Token) -> bool:
    return token.text in DOT and not (token.solid or token.severed)


def _ending(tokens: Sequence[Token], at: int, last: int) -> int | None:
    """Give the place behind ``com``, ``c o m`` and the like."""
    text, end = "", None
    for place in range(at, min(at + _LONGEST_SPELLED, last)):
        if tokens[place].solid or tokens[place].severed or tokens[place].kind != "word":
            break
        text += tokens[place].text
        if text in _ENDINGS:
            end = place + 1
        if len(tokens[place].text) > 1:
            break
    return end
