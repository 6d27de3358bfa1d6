"""What is secret in how a service is asked, and text without it."""

from __future__ import annotations

import json
import re
import urllib.parse
from typing import TYPE_CHECKING

from voicepipe.net.urls import parse_url


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


# What is shorter also comes within other words, and is secret only by itself.
_LONG = 8


def secrets_of(
    base_url: str, api_key: str, headers: Mapping[str, str]
) -> tuple[str, ...]:
    """
    Give what must be in no message, in all the forms in which a service may quote it.

    Args:
        base_url: Its user, its password and the values of its query are secret.
        api_key: The key, ``""`` for none.
        headers: Their values are secret, and those of ``Authorization`` in parts.
    """
    plain = {api_key, *headers.values(), *_of_url(base_url)}
    authorization = {
        value for name, value in headers.items() if name.lower() == "authorization"
    }
    authorization.add(parse_url(base_url).authorization or "")
    for value in authorization:
        plain |= {value, value.partition(" ")[2]}
    return tuple({form for one in plain for form in _forms(one)})


def without(text: str, secrets: Sequence[str]) -> str:
    """Give text with ``[redacted]`` in the place of each secret, in any case."""
    # Longest first: one may be a part of another.
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        pattern = re.escape(secret)
        if len(secret) < _LONG:
            pattern = rf"(?<!\w){pattern}(?!\w)"
        text = re.sub(pattern, "[redacted]", text, flags=re.IGNORECASE)
    return text


def _of_url(url: str) -> Iterator[str]:
    """Give user, password and the values of the query, as they are written."""
    bare, _, query = url.partition("#")[0].partition("?")
    authority = bare.partition("://")[2].partition("/")[0]
    user, _, password = authority.rpartition("@")[0].partition(":")
    yield from (user, password)
    sent = parse_url(url).target.decode("ascii", "replace").partition("?")[2]
    for field in f"{query}&{sent}".split("&"):
        name, mark, value = field.partition("=")
        # A field without a name is all value.
        yield value if mark else name


def _forms(secret: str) -> Iterator[str]:
    """Give a secret as it is, and as it is quoted in URLs and in JSON."""
    for one in {
        secret,
        urllib.parse.unquote(secret),
        urllib.parse.unquote_plus(secret),
    }:
        yield from (one, json.dumps(one)[1:-1])
        for safe in ("/", ""):
            quoted = urllib.parse.quote(one, safe=safe, errors="replace")
            yield from (quoted, quoted.replace("%20", "+"))
