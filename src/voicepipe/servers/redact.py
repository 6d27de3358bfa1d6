"""What must not be read in a log is taken out of its lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from voicepipe.analysis.redaction.text import redact_log


if TYPE_CHECKING:
    from collections.abc import Iterable


GONE = "[redacted]"
"""What stands in a secret's place."""

# Quotation marks stay in: a password may hold one, and what is lost is a bit of text.
_URL = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*)://([^\s<>]+)")

_PLAIN_AUTHORITY = re.compile(r"(?:[^:/?#]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?(?=[/?#]|$)")

# A path with a query, as in a request line.
_QUERY = re.compile(r"(/[^\s?\"'<>]*)\?[^\s<>\"']+")

_NAMED = re.compile(
    r"(?i)\b((?:[a-z]+[_-])*(?:token|api[_-]?key|secret|password|passwd|signature))"
    r"([\"']?\s*[=:]\s*(?:b?[\"'])?)(?!\s)[^\s\"'&,;)}\]]+"
)

_AUTHORIZATION = re.compile(
    r"(?i)(authorization[\"']?\s*[:=,]\s*(?:b(?=[\"']))?)(\"[^\"]*\"|'[^']*'|[^\r\n]*)"
)

_BEARER = re.compile(r"(?i)\b(bearer)\s+[^\s\"',;]+")

# Line ends and terminal codes; what turns text round; halves of characters.
_CONTROLS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Redactor:
    """
    Takes secrets out of texts.

    URLs lose user name, password, query and fragment, request targets their query;
    what stands behind ``Authorization``, ``Bearer``, ``token=`` and their like goes,
    and the known secrets wherever they stand. So do numbers of payment cards, IBANs,
    e-mail addresses and telephone numbers, written or said; ``[card]`` and the like
    stand in their place. Ids, sizes, times, addresses and ports stay: a telephone
    number is known by its plus, its form or the word before it, a card by its check
    digit and its network.

    Args:
        secrets: Texts to take out, such as the server's own key.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Prepare for these secrets."""
        # The longest first: one may be the beginning of another.
        known = sorted({s for s in secrets if s}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """Give the text without its secrets."""
        if self._known is not None:
            text = self._known.sub(GONE, text)
        text = _AUTHORIZATION.sub(rf"\1{GONE}", text)
        text = _BEARER.sub(rf"\1 {GONE}", text)
        text = _URL.sub(_bare_url, text)
        text = _QUERY.sub(rf"\1?{GONE}", text)
        return redact_log(_NAMED.sub(rf"\1\2{GONE}", text))


def _bare_url(match: re.Match[str]) -> str:
    scheme, rest = match.groups()
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        rest = rest[authority.rindex("@") + 1 :]
    elif "@" in rest and not _PLAIN_AUTHORITY.match(rest):
        # A password with a slash in it: no valid URL, and still a password.
        rest = rest[rest.rindex("@") + 1 :]
    cut = re.split(r"[?#]", rest, maxsplit=1)
    return f"{scheme}://{cut[0]}" + (f"?{GONE}" if len(cut) > 1 else "")


def escape_controls(text: str) -> str:
    r"""Write control characters as ``\n`` or ``\u202e``: one line stays one line."""
    return _CONTROLS.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if "\ud800" <= char <= "\udfff":
        return f"\\u{ord(char):04x}"
    return char.encode("unicode_escape").decode("ascii")
