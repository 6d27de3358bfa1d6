"""Where in the lines of a conversation there is what has to go."""

from __future__ import annotations

from collections import deque
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

import attrs

from voicepipe.analysis.redaction.cues import Cue, cue_before, is_counted
from voicepipe.analysis.redaction.digits import numbers_in
from voicepipe.analysis.redaction.emails import emails_in
from voicepipe.analysis.redaction.ibans import ibans_in
from voicepipe.analysis.redaction.numerals import ALL, FIRST_WORDS, Languages
from voicepipe.analysis.redaction.options import RedactionKind
from voicepipe.analysis.redaction.runs import FILLERS, Atom, runs_of
from voicepipe.analysis.redaction.tokens import Token, tokens_of


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


MOST_BETWEEN = 6
"""Words of others over which a number goes on; digits and fillers are free; ours."""

MOST_PAUSE_S = 20.0
"""Seconds between a speaker's segments over which a number goes on; ours."""

LEAST_ECHO = 3
"""Digits of a number that are read back, so that they go as well; ours."""

ECHO_LINES = 2
"""Lines after a number in which it may be read back, a digit more at least; ours."""

ECHOES_OF = 8
"""Latest numbers that a line is compared with, so that time stays linear; ours."""

Place: TypeAlias = tuple[int, int, int]
"""A line, and a stretch of its characters: first, last but one."""


@attrs.frozen(kw_only=True)
class Line:
    """
    What one speaker said without a break.

    Attributes:
        text: The words.
        speaker: Who it was; lines of equal ones belong together.
        start: First second.
        end: Last second.
    """

    text: str
    speaker: object = None
    start: float = 0.0
    end: float = 0.0


@attrs.frozen(kw_only=True)
class Find:
    """
    Something that has to go.

    Attributes:
        kind: What it is.
        places: Where it is: a stretch of each line that it runs over.
        digits: Its digits, as far as they are known.
        echo: Whether it only repeats part of what has been said before.
    """

    kind: RedactionKind
    places: tuple[Place, ...]
    digits: str = ""
    echo: bool = False


def find(
    lines: Sequence[Line], *, languages: Languages = ALL, strict: bool = False
) -> list[Find]:
    """
    Find all that has to go; the time it takes grows in line with the text.

    Args:
        lines: In the order in which they were said.
        languages: Whose number words are understood.
        strict: Whether this is a log, where most numbers are nobody's.
    """
    tokens = [tokens_of(line.text, number) for number, line in enumerate(lines)]
    search = _Search(tokens, languages, strict=strict)
    for stream in _streams(lines, tokens):
        search.look(stream)
    found = search.found
    return found + list(_echoes(tokens, found, languages))


def _streams(
    lines: Sequence[Line], tokens: Sequence[list[Token]]
) -> Iterator[list[Token]]:
    """Give each speaker's tokens, severed where somebody else took over."""
    numbers_of: dict[object, list[int]] = {}
    for number, line in enumerate(lines):
        numbers_of.setdefault(line.speaker, []).append(number)
    said = [0]
    for each in tokens:
        said.append(said[-1] + sum(map(_is_foreign, each)))
    for numbers in numbers_of.values():
        stream: list[Token] = []
        before = numbers[0]
        for number in numbers:
            others = said[number] - said[min(before + 1, number)]
            pause_s = lines[number].start - lines[before].end
            if tokens[number] and (others > MOST_BETWEEN or pause_s > MOST_PAUSE_S):
                tokens[number][0].severed = True
            stream += tokens[number]
            before = number
        yield stream


def _is_foreign(token: Token) -> bool:
    """Say whether a token is a word that is no part of reading out a number."""
    return token.kind == "word" and token.text not in FIRST_WORDS | FILLERS


class _Search:
    """What has been found so far; that is marked as gone at once."""

    def __init__(
        self, tokens: list[list[Token]], languages: Languages, *, strict: bool
    ) -> None:
        self._tokens = tokens
        self._languages = languages
        self._strict = strict
        self.found: list[Find] = []

    def look(self, stream: list[Token]) -> None:
        """Find what is in one speaker's words."""
        for token in stream:
            token.severed |= self._strict and token.broken
            if token.kind == "email":
                self._take("email", [token])
        for begin, end in emails_in(stream):
            self._take("email", stream[begin:end])
        for begin, end in ibans_in(stream, self._languages):
            self._take("iban", stream[begin:end])
        # All rows first: what is taken out of one must not change the next.
        for run in list(runs_of(stream, self._languages)):
            for kind, begin, end in numbers_in(run, self._cue, strict=self._strict):
                self._take_digits(kind, run[begin:end])

    def _cue(self, atoms: Sequence[Atom]) -> Cue:
        if is_counted(self._tokens, atoms[-1].last):
            return "other"
        return cue_before(self._tokens, atoms[0].first, strict=self._strict)

    def _take(self, kind: RedactionKind, tokens: Sequence[Token]) -> None:
        self._put(kind, [(token, token) for token in tokens], "")

    def _take_digits(self, kind: RedactionKind, atoms: Sequence[Atom]) -> None:
        ends = [(atom.first, atom.last) for atom in atoms]
        lead = atoms[0].lead
        closed = any(")" in atom.between for atom in atoms[1:])
        if lead is not None and (closed or lead.text != "("):
            ends.insert(0, (lead, lead))
        self._put(kind, ends, "".join(atom.digits for atom in atoms))

    def _put(
        self, kind: RedactionKind, ends: list[tuple[Token, Token]], digits: str
    ) -> None:
        places = []
        # "Double" may end a line, and its digit begin the next.
        tokens = [token for pair in ends for token in pair]
        for line, group in groupby(tokens, key=lambda token: token.line):
            parts = list(group)
            first, last = parts[0], parts[-1]
            places.append((line, first.start, last.end))
            for token in self._tokens[line][first.place : last.place + 1]:
                token.solid = True
        self.found.append(Find(kind=kind, places=tuple(places), digits=digits))


def _echoes(
    tokens: Sequence[list[Token]],
    found: Sequence[Find],
    languages: Languages,
) -> Iterator[Find]:
    """Find where digits of a number are read back, while it is told or soon after."""
    waiting = deque(sorted((f for f in found if f.digits), key=lambda f: f.places[0]))
    recent: deque[Find] = deque(maxlen=ECHOES_OF)
    for number, line_tokens in enumerate(tokens):
        while waiting and waiting[0].places[0][0] < number:
            recent.append(waiting.popleft())
        near = [each for each in recent if number <= each.places[-1][0] + ECHO_LINES]
        if not near:
            continue
        for run in runs_of(line_tokens, languages):
            digits = "".join(atom.digits for atom in run)
            for each in near:
                least = LEAST_ECHO + (number > each.places[-1][0])
                if len(digits) >= least and digits in each.digits:
                    place = (number, run[0].first.start, run[-1].last.end)
                    yield Find(kind=each.kind, places=(place,), digits="", echo=True)
                    break
