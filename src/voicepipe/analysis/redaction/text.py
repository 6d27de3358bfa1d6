"""Redaction of texts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from voicepipe.analysis.redaction.emails import AT, DOT
from voicepipe.analysis.redaction.find import Line, find
from voicepipe.analysis.redaction.numerals import ALL, FIRST_WORDS, Languages
from voicepipe.analysis.redaction.options import RedactionOptions, mark


if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicepipe.analysis.redaction.options import RedactionKind


ROUNDS = 8
"""
How often a text is looked through; the second time hardly ever finds anything.

It makes redaction idempotent: what was taken out cannot change what is found.
"""


# A local telephone number has seven digits; what is between them is no word.
_SEVEN = re.compile(r"\d(?:[^\w\n]{0,4}\d){6}")

_LETTERS = re.compile("[a-z]+")


def redact_text(
    text: str,
    options: RedactionOptions | None = None,
    /,
    *,
    language: str | None = None,
) -> str:
    """
    Take card numbers, telephone numbers, e-mail addresses and IBANs out of a text.

    They may be written or said, as in "four one one one". A mark such as ``[card]``
    stands in their place. Redacted text is not changed again.

    Args:
        text: What somebody said or wrote.
        options: What goes; everything by default.
        language: ISO 639-1 code of its language, for spoken numbers. Without one, and
            for languages whose numbers are not known, all that are known are tried.

    Example:
        >>> redact_text("It's four double one one, 1111 1111 1111, and that's it.")
        "It's [card], and that's it."
    """
    kinds = (options or RedactionOptions()).kinds
    return _redacted(text, kinds, languages_of(language), strict=False)


def redact_log(text: str) -> str:
    """
    Take the same out of a log's text, but leave what is more likely something else.

    There, a card has a network's beginning and is written in one or in groups, and a
    telephone number has a plus, is written as ``555-123-4567``, is said in words, or
    stands behind a word such as ``phone``.
    """
    if not _may_have_any(text):
        return text
    return _redacted(text, RedactionOptions().kinds, ALL, strict=True)


def _may_have_any(text: str) -> bool:
    """Look quickly whether there is anything to look for: mostly there is not."""
    if "@" in text or "%40" in text or not text.isascii() or _SEVEN.search(text):
        return True
    words = _LETTERS.findall(text.lower())
    numbers = sum(word in FIRST_WORDS for word in words)
    return numbers >= 2 or not (AT.isdisjoint(words) or DOT.isdisjoint(words))


def languages_of(code: str | None) -> Languages:
    """Give the languages whose numbers are tried for a language."""
    tongue = (code or "").partition("-")[0].casefold()
    return frozenset({tongue}) if tongue in ALL else ALL


def replaced(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """Put other texts in the place of stretches, which are in order."""
    parts: list[str] = []
    at = 0
    for start, end, instead in spans:
        parts += (text[at:start], instead)
        at = end
    return "".join([*parts, text[at:]])


def _redacted(
    text: str, kinds: tuple[RedactionKind, ...], languages: Languages, *, strict: bool
) -> str:
    for _ in range(ROUNDS):
        found = find([Line(text=text)], languages=languages, strict=strict)
        spans = [
            (start, end, mark(each.kind))
            for each in found
            if each.kind in kinds
            for _, start, end in each.places
        ]
        if not spans:
            break
        text = replaced(text, sorted(spans))
    return text
