"""Texts as tokens: words, digits, marks, and what must not be looked into."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from voicepipe.analysis.redaction.numerals import plain
from voicepipe.analysis.redaction.options import KINDS, mark


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


TokenKind: TypeAlias = Literal["word", "number", "sign", "wall", "email"]
"""
``wall``: what is something else, such as a date: nothing goes on beyond it. ``email``:
an address as it is written.
"""

LONGEST_LOCAL = 64
"""Most characters before the ``@`` (RFC 5321, 4.5.3.1.1)."""

LONGEST_DOMAIN = 255
"""Most characters behind it (RFC 5321, 4.5.3.1.2)."""

# White space and a plus also as URLs and Python write them.
_PIECE = re.compile(r"%20|%2[Bb]|\\[nrt]|(?:[^\W_]|[\u0300-\u036f])+|\s+|.", re.DOTALL)

_WRITTEN = {"%20": " ", "%2b": "+", "\\n": "\n", "\\r": "\n", "\\t": " "}

_DIGITS = re.compile(r"(\d+)")

_AT = re.compile("@|%40")

# Without the marks that are allowed in theory, and end a word in texts.
_LOCAL = frozenset("._+%-'")

_DOMAIN = re.compile(
    r"(?:[^\W_](?:[\w-]{0,62}[^\W_])?\.)+(?:xn--[\w-]+|[^\W\d_]{2,63})"
)

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"

_SIGN = r"[$\u20ac\u00a3\u20b9\u00a5]"

_MONEY = rf"(?:{_SIGN}(?!\d)|%(?![0-9A-Fa-f]{{2}})|(?:USD|EUR|GBP|INR|Rs)\b)"

# Not the last digits of a longer number, as in "card 4111 1111 1111 1111 $50".
_ALONE = r"(?<![\w.,+\u2013-])(?<!\d\s)(?<!\d[,;.?\s]\s)"

# Thousands, in either of two ways.
_GROUPS = r"(?:(?:,\d{3}){1,3}(?:\.\d+)?|(?:\.\d{3}){1,3}(?:,\d+)?)"

# Each begins where nothing of its kind precedes, so that a long row of digits is looked
# at once and not from each of its digits.
_ELSEWHAT = re.compile(
    "|".join(
        [
            # What stands for what was taken out.
            *(re.escape(mark(kind)) for kind in KINDS),
            # UUIDs.
            r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
            # Dates: 2026-11-22, 22.11.2026, 11/22/26.
            r"(?<![\d./-])(?:19|20)\d\d([./-])[01]?\d\1[0-3]?\d(?![./-]?\d)",
            r"(?<![\d./-])[0-3]?\d([./-])[0-3]?\d\2(?:(?:19|20)\d\d|\d\d)(?![./-]?\d)",
            # Dates and times run together: 20261122T004142.
            r"(?<!\d)(?:19|20)\d{6}T\d{4,6}(?!\d)",
            # Times: 10:30, 10:30:15.250.
            r"(?<![\d:])\d{1,2}(?::\d\d){1,2}(?:[.,]\d{1,9})?(?![\d:])",
            # Versions: 2.1.13. American postcodes: 02110-1301.
            r"(?<![\w.])\d{1,2}\.\d{1,3}\.\d{1,3}(?!\w|[.-]\d)",
            r"(?<![\w.+-])\d{5}-\d{4}(?!\w|[.-]\d)",
            # IPv4 addresses, with a port or not.
            rf"(?<![\d.])(?:{_OCTET}\.){{3}}{_OCTET}(?!\d|\.\d)(?::\d{{1,5}})?(?!\d)",
            # Amounts: $1,234.50, 1.234.567,89, 12.50 EUR, 35 %.
            rf"{_SIGN}\d(?:[\d,.]{{0,14}}\d)?(?!\d)",
            rf"(?<!\d)(?<!\d\s){_SIGN}\s\d(?:[\d,.]{{0,14}}\d)?(?![.,\s-]?\d)",
            rf"(?<![\w.,+-])\d{{1,3}}{_GROUPS}(?![\w-]|[.,]\d)(?:\s?{_MONEY})?",
            # What is longer may be another number's, and the currency of what follows.
            rf"{_ALONE}\d{{1,3}}(?:[.,]\d\d?)?\s?{_MONEY}",
            rf"{_ALONE}\d[\d.,]{{0,10}}\d\s?{_MONEY}(?!\.?\s*\d)",
        ]
    )
)


@attrs.define(eq=False)
class Token:
    """
    A word, a row of digits, or a mark.

    Attributes:
        kind: What it is.
        text: In ``plain`` form; digits as ASCII.
        line: Number of the line it is in.
        place: Its number in the line.
        start: Its first character in the line.
        end: Its end in the line.
        spaced: Whether white space or a line's beginning is before it.
        broken: Whether the line breaks before it.
        severed: Whether nothing goes on from what was before it.
        solid: Whether nothing is found in it or beyond it: it is something else, or has
            been taken out.
    """

    kind: TokenKind
    text: str
    line: int
    place: int
    start: int
    end: int
    spaced: bool = False
    broken: bool = False
    severed: bool = False
    solid: bool = False


def tokens_of(text: str, line: int) -> list[Token]:
    """Give the tokens of a line."""
    found: list[Token] = []
    at = 0
    for start, end, kind in _wholes(text):
        _read(text, slice(at, start), line, found)
        spaced = start == 0 or text[start - 1].isspace()
        token = Token(kind, "", line, len(found), start, end, spaced=spaced)
        token.solid = True
        found.append(token)
        at = end
    _read(text, slice(at, len(text)), line, found)
    return found


def _read(text: str, part_of: slice, line: int, found: list[Token]) -> None:
    """Put the tokens of a stretch that has only words, digits and marks."""
    start = part_of.start
    spaced, broken = start == 0 or text[start - 1].isspace(), False
    for match in _PIECE.finditer(text, start, part_of.stop):
        piece, place = match[0], match.start()
        if piece[0] in "%\\":
            piece = _WRITTEN.get(piece.lower(), piece)
        if piece.isspace():
            spaced, broken = True, broken or "\n" in piece
            continue
        for kind, part in _parts(piece):
            # What is written in another way is longer than what it stands for.
            end = match.end() if kind == "sign" else place + len(part)
            form = _ascii(part) if kind == "number" else plain(part)
            token = Token(kind, form, line, len(found), place, end, spaced, broken)
            if form == "+" and found and not spaced:
                # Of a version or a sum: "2.4+20151223".
                token.solid = found[-1].kind in {"word", "number"}
            found.append(token)
            spaced, broken, place = False, False, end


def _parts(piece: str) -> Iterable[tuple[TokenKind, str]]:
    """Divide what has letters and digits."""
    if piece.isalpha():
        return (("word", piece),)
    if piece.isdecimal():
        return (("number", piece),)
    if len(piece) == 1 and not piece.isalnum():
        return (("sign", piece),)
    return (
        ("number" if part[0].isdecimal() else "word", part)
        for part in _DIGITS.split(piece)
        if part
    )


def _ascii(digits: str) -> str:
    return digits if digits.isascii() else "".join(str(int(c)) for c in digits)


def _wholes(text: str) -> list[tuple[int, int, TokenKind]]:
    """Give what is not divided, in order, without overlaps."""
    emails = list(_addresses(text))
    kept: list[tuple[int, int, TokenKind]] = [(*email, "email") for email in emails]
    nearest = 0
    for match in _ELSEWHAT.finditer(text):
        while nearest < len(emails) and emails[nearest][1] <= match.start():
            nearest += 1
        # An address goes before what is in it.
        if nearest == len(emails) or emails[nearest][0] >= match.end():
            kept.append((match.start(), match.end(), "wall"))
    return sorted(kept)


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    """Give the e-mail addresses that are written as such."""
    before = 0
    for at in _AT.finditer(text):
        domain = _DOMAIN.match(text, at.end(), at.end() + LONGEST_DOMAIN)
        if at.start() < before or not domain:
            continue
        begin, least = at.start(), max(before, at.start() - LONGEST_LOCAL)
        while begin > least and (
            text[begin - 1].isalnum() or text[begin - 1] in _LOCAL
        ):
            begin -= 1
        while begin < at.start() and not text[begin].isalnum():
            begin += 1
        if begin < at.start():
            yield begin, domain.end()
            before = domain.end()
