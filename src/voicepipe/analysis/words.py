"""What counts as a word, and when two words are the same."""

from __future__ import annotations

import unicodedata


STEM_LETTERS = 5
"""
Letters by which two words are compared; ours.

Cutting words needs no knowledge of their language. Runs of 4 or 5 letters are also what
finds texts best in European languages (McNamee and Mayfield 2004).
"""

# Marks that join words in writing, not in speech; apostrophes in all their forms.
_SEPARATORS = str.maketrans(
    {**dict.fromkeys("-‐‑‒–—―/…_", " "), "’": "'", "‘": "'", "`": "'", "´": "'"}  # noqa: RUF001 - the marks themselves
)

# Written before an apostrophe they are words of their own: French, Italian, Catalan.
_ELIDED = frozenset(
    {"c", "d", "j", "l", "m", "n", "s", "t", "qu", "jusqu", "lorsqu", "puisqu", "un"}
    | {"all", "anch", "bell", "com", "dall", "dell", "dov", "nell", "quell", "quest"}
    | {"sull"}
)

_ASCII_EDGES = "".join(c for c in map(chr, range(128)) if not c.isalnum())


def words(text: str) -> list[str]:
    """
    Give the words of a text in the form in which they are compared.

    White space, hyphens, dashes and slashes separate words; in a script without spaces
    a whole stretch is one word. Case (``str.casefold``), typographic variants (NFKC),
    punctuation around a word and the English ``'s`` are dropped, elided articles are
    split off. What holds no letter or digit, such as an emoji, is no word.
    """
    found: list[str] = []
    for piece in text.translate(_SEPARATORS).split():
        form = _form(piece)
        head, mark, rest = form.partition("'")
        if mark and head in _ELIDED and rest:
            found += (head, rest)
        elif form:
            found.append(form.removesuffix("'s"))
    return found


def stem(word: str) -> str:
    """Cut a word to what its inflected forms share; numbers stay whole."""
    if word.isdigit():
        return word
    return (word[:-1] if len(word) > 3 and word[-1] == "s" else word)[:STEM_LETTERS]


def _form(piece: str) -> str:
    if piece.isascii():
        return piece.strip(_ASCII_EDGES).lower()
    # Casefolding the Turkish capital leaves a dot of its own behind the letter.
    form = unicodedata.normalize("NFKC", piece).casefold().replace("i\u0307", "i")
    start, end = 0, len(form)
    while start < end and not form[start].isalnum():
        start += 1
    # A vowel sign at the end belongs to the word; punctuation does not.
    while end > start and not (form[end - 1].isalnum() or _is_mark(form[end - 1])):
        end -= 1
    return form[start:end]


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")
