"""Which headers a caller may send."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Mapping


# What decides how a message is framed, where it goes, or what comes back; h11 and this
# module set these.
_OWN_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "host",
        "if-range",
        "range",
        "te",
        "transfer-encoding",
        "upgrade",
    }
)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*", re.ASCII)


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """
    Give headers that can be sent, names in lower case.

    Raises:
        ValueError: If a name or value cannot be sent, or is not the caller's to set.
            The message does not hold values.
    """
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            msg = (
                f"the header {name!r} cannot be sent: ASCII only, no control character"
            )
            raise ValueError(msg)
        if name.lower() in _OWN_HEADERS:
            msg = f"the header {name!r} is not the caller's to set"
            raise ValueError(msg)
        checked[name.lower()] = value
    return checked
