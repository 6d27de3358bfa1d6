"""IBANs, written or spelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.analysis.redaction.runs import FILLERS, SEPARATORS, SIGNS_SAID, atom_at


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voicepipe.analysis.redaction.numerals import Languages
    from voicepipe.analysis.redaction.tokens import Token


_REGISTRY = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24"
    " DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27"
    " GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20"
    " LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24"
    " PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25"
    " SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)

LENGTHS = {entry[:2]: int(entry[2:]) for entry in _REGISTRY.split()}
"""Characters of each country's IBAN (SWIFT IBAN registry, ISO 13616)."""

BANK_LETTERS = 4
"""Letters of a bank's name that are said in one (the same registry)."""


def is_iban(text: str) -> bool:
    """Say whether a text without spaces is an IBAN (check digits of ISO 7064)."""
    if LENGTHS.get(text[:2]) != len(text) or not text[2:4].isdecimal():
        return False
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def ibans_in(
    tokens: Sequence[Token], languages: Languages
) -> Iterator[tuple[int, int]]:
    """Give the first and the last but one token of each IBAN."""
    at = 0
    while at < len(tokens):
        country, begin = _country(tokens, at)
        end = country and _end(tokens, begin, country, languages)
        if end:
            yield at, end
            at = end
        else:
            at += 1


def _country(tokens: Sequence[Token], at: int) -> tuple[str, int]:
    """Give the country whose code begins here, and the place behind it."""
    token = tokens[at]
    if not _is_letters(token):
        return "", at
    if not (token.spaced or at == 0 or tokens[at - 1].kind == "sign"):
        return "", at
    code, end = token.text.upper(), at + 1
    if len(code) == 1:
        while end < len(tokens) and tokens[end].text in SEPARATORS:
            end += 1
        if end < len(tokens) and _is_letters(tokens[end]):
            code, end = code + tokens[end].text.upper(), end + 1
    return (code, end) if code in LENGTHS else ("", at)


def _end(
    tokens: Sequence[Token], at: int, country: str, languages: Languages
) -> int | None:
    """Give the place behind the IBAN of which the country has been read."""
    text = country
    while at < len(tokens) and len(text) < LENGTHS[country]:
        token = tokens[at]
        atom = None if token.severed else atom_at(tokens, at, languages)
        if token.severed or token.solid:
            return None
        if atom is not None:
            text += atom.digits
            while tokens[at] is not atom.last:
                at += 1
        elif token.kind == "number":
            text += token.text  # a letter is written to it
        elif len(text) >= 4 and _is_part(token):
            text += token.text.upper()
        elif not _is_mark(token):
            return None
        # Two check digits are behind the country in every IBAN.
        if not text[2:4].isdecimal() and text[2:4]:
            return None
        at += 1
    return at if is_iban(text) else None


def _is_letters(token: Token) -> bool:
    return token.kind == "word" and not token.solid and token.text.isascii()


def _is_part(token: Token) -> bool:
    if not _is_letters(token):
        return False
    if len(token.text) == 1 or not token.spaced:
        return True
    return len(token.text) <= BANK_LETTERS and token.text not in FILLERS


def _is_mark(token: Token) -> bool:
    if token.kind == "sign":
        return token.text in SEPARATORS
    return token.kind == "word" and token.text in FILLERS | SIGNS_SAID
