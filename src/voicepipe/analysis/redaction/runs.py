"""Rows of digits that belong together, however they are written or said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from voicepipe.analysis.redaction.numerals import (
    ALL,
    FIRST_WORDS,
    LONGEST,
    PHRASES,
    TIMES,
    Languages,
    Spoken,
    times,
)
from voicepipe.analysis.redaction.wordlists import WORDS


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voicepipe.analysis.redaction.tokens import Token


MOST_FILLERS = 4
"""Fillers, or marks, in a row over which digits go on; ours."""

GLUED_DIGITS = 13
"""Digits that are looked at although letters are written to them: a card's least."""

FILLERS = frozenset(WORDS["fillers"])
"""Words that do not interrupt a number, in ``plain`` form."""

SIGNS_SAID = frozenset(WORDS["signs_said"])
"""Separators that are read out, in ``plain`` form."""

SEPARATORS = frozenset("+-.,()/?;\u2010\u2011\u2012\u2013\u2014\u2015\u2026\u00b7'\"*")
"""Marks that are between digits of one number."""

_STARTS = FIRST_WORDS | TIMES.keys()

_SAID = {
    **dict.fromkeys(FILLERS, "f"),
    **dict.fromkeys(SIGNS_SAID, "-"),
    "plus": "+",
}


@attrs.define(eq=False)
class Atom:
    """
    Digits that are not divided: a written row, or what one spoken number stands for.

    Attributes:
        digits: As ASCII.
        first: Its first token.
        last: Its last token.
        spoken: Whether it is in words.
        languages: Those of its words.
        between: What is before it, since the last one: marks, ``"f"`` for a filler,
            ``"|"`` for a new line, ``" "`` for space.
        plus: Whether a plus is before it.
        lead: The plus, or the bracket, that belongs to it.
    """

    digits: str
    first: Token
    last: Token
    spoken: bool = False
    languages: Languages = ALL
    between: str = ""
    plus: bool = False
    lead: Token | None = None


def runs_of(tokens: Sequence[Token], languages: Languages) -> Iterator[list[Atom]]:
    """
    Give the rows of digits, each as long as can be.

    Args:
        tokens: Of one speaker.
        languages: Whose number words are understood.
    """
    run, way = _Run(), _Way()
    at = 0
    while at < len(tokens):
        token = tokens[at]
        atom = atom_at(tokens, at, languages)
        goes_on = not token.severed
        if atom is not None:
            if not (goes_on and not way.plus and run.fits(atom)):
                yield from run.ended()
            run.add(atom, way)
            way = _Way()
            at = _behind(tokens, at, atom)
            continue
        if not goes_on:
            yield from run.ended()
            way = _Way()
        if not way.pass_by(token):
            yield from run.ended()
            way = _Way()
        at += 1
    yield from run.ended()


@attrs.define
class _Way:
    """What has been seen since the last digits."""

    between: str = ""
    fillers: int = 0
    plus: bool = False
    lead: Token | None = None

    def pass_by(self, token: Token) -> bool:
        """Take a token that is no digit; say whether a number may go on behind it."""
        piece = _between(token)
        self.fillers += piece == "f"
        if not piece or max(self.fillers, len(self.between)) > MOST_FILLERS:
            return False
        if piece == "+":
            self.between, self.plus, self.lead = "", True, token
        elif piece == "(":
            self.between += piece
            self.lead = self.lead or token
        else:
            self.between += piece
            self.plus &= piece == "f"
            self.lead = self.lead if self.plus else None
        return True


class _Run:
    """A row of digits that grows."""

    def __init__(self) -> None:
        self._atoms: list[Atom] = []
        self._languages = ALL

    def fits(self, atom: Atom) -> bool:
        """Say whether it is said in a language of the others."""
        return bool(self._languages & atom.languages)

    def add(self, atom: Atom, way: _Way) -> None:
        before = self._atoms[-1].last if self._atoms else None
        atom.between = way.between + (_space(atom.first, before) if before else "")
        atom.plus, atom.lead = way.plus, way.lead
        self._languages &= atom.languages
        self._atoms.append(atom)

    def ended(self) -> Iterator[list[Atom]]:
        """Give the row, if there is one, and begin another."""
        if self._atoms:
            yield self._atoms
        self._atoms, self._languages = [], ALL


def _behind(tokens: Sequence[Token], at: int, atom: Atom) -> int:
    while tokens[at] is not atom.last:
        at += 1
    return at + 1


def _space(token: Token, before: Token) -> str:
    """Say what white space there is before digits that are not the first."""
    if token.line != before.line:
        return "|"
    if token.broken:
        return "f"
    return " " if token.spaced else ""


def _between(token: Token) -> str:
    """Say what a token is between digits; nothing if it ends their row."""
    if token.solid or token.kind == "number":
        return ""
    if token.kind == "sign":
        return token.text if token.text in SEPARATORS else ""
    return _SAID.get(token.text, "")


def atom_at(tokens: Sequence[Token], at: int, languages: Languages) -> Atom | None:
    """Give the digits that begin at a token, ``None`` if none do."""
    token = tokens[at]
    if token.solid or (token.kind == "word" and token.text not in _STARTS):
        return None
    if token.kind == "number":
        short = len(token.text) < GLUED_DIGITS
        return None if short and _glued(tokens, at) else Atom(token.text, token, token)
    if token.kind != "word":
        return None
    count, tongues = times(token.text)
    if count > 1:
        return _repeated(tokens, at, count, tongues & languages)
    found = _phrase(tokens, at, languages)
    if found is None:
        return None
    last, said = found
    tongues = said.languages & languages
    return Atom(said.digits, token, last, spoken=True, languages=tongues)


def _repeated(
    tokens: Sequence[Token], at: int, count: int, languages: Languages
) -> Atom | None:
    """Give the digits of a phrase such as *double five*."""
    if not languages or at + 1 == len(tokens) or tokens[at + 1].severed:
        return None
    if times(tokens[at + 1].text)[0] > 1:
        return None
    atom = atom_at(tokens, at + 1, languages)
    if atom is None or len(atom.digits) != 1:
        return None
    return Atom(
        atom.digits * count,
        tokens[at],
        atom.last,
        spoken=True,
        languages=atom.languages & languages,
    )


def _glued(tokens: Sequence[Token], at: int) -> bool:
    """Say whether letters or an underscore are written to a row of digits."""
    before = at and not tokens[at].spaced and _is_letters(tokens[at - 1])
    behind = (
        at + 1 < len(tokens)
        and not tokens[at + 1].spaced
        and tokens[at + 1].line == tokens[at].line
        and _is_letters(tokens[at + 1])
    )
    return bool(before or behind)


def _is_letters(token: Token) -> bool:
    return token.kind == "word" or token.text == "_"


def _phrase(
    tokens: Sequence[Token], at: int, languages: Languages
) -> tuple[Token, Spoken] | None:
    """Give the longest number phrase that begins at a word, and its last token."""
    words: list[str] = []
    best: tuple[Token, Spoken] | None = None
    for token in tokens[at : at + 2 * LONGEST]:
        if token.solid or (words and (token.severed or token.broken)):
            break
        if token.line != tokens[at].line:
            break
        if token.kind == "sign" and token.text in "-\u2010\u2011" and words:
            if token.spaced:
                break
            continue
        if token.kind != "word" or len(words) == LONGEST:
            break
        words.append(token.text)
        said = PHRASES.get(tuple(words))
        if said and said.languages & languages:
            best = token, said
    return best
