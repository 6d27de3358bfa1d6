"""
What an answer means for the bytes that are already there (RFC 9110 13 and 14).

Pure: two versions of a file are never joined. Bytes are kept only where the server has
said, by a validator that tells every version from every other, that the rest is of the
same one.
"""

from __future__ import annotations

import email.utils
import re
from typing import TYPE_CHECKING

import attrs

from voicepipe.errors import BadResponseError


if TYPE_CHECKING:
    from voicepipe.net.answer import Answer


_CONTENT_RANGE = re.compile(
    r"\s*bytes\s+(?P<first>[0-9]{1,18})-(?P<last>[0-9]{1,18})/(?P<size>[0-9]{1,18})\s*",
    re.ASCII | re.IGNORECASE,
)

# A date tells versions apart only where it lies so far before the answer that no second
# change can fall into the same second (RFC 9110 8.8.2.2).
_SETTLED_S = 60.0

_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')


@attrs.frozen(kw_only=True)
class Remote:
    """
    One version of a file on a server.

    Attributes:
        validator: What tells it from other versions, as ``If-Range`` has it; ``None``
            where the server gives nothing of that kind.
        etag: Its entity tag as the server said, weak ones too.
        size: Its bytes, ``None`` where the server did not say.
        content_type: As the server said.
    """

    validator: str | None = None
    etag: str | None = None
    size: int | None = None
    content_type: str | None = None

    @classmethod
    def of(cls, answer: Answer, size: int | None) -> Remote:
        """Read it from an answer's headers."""
        etag = answer.header("etag")
        return cls(
            validator=etag if _is_strong(etag) else _settled_date(answer),
            etag=etag,
            size=size,
            content_type=answer.header("content-type"),
        )


@attrs.frozen(kw_only=True)
class Resumption:
    """
    Bytes of one version that are there, and the request for those that are not.

    Attributes:
        remote: The version.
        start: The first byte to ask for. Where all are there it is the last one: its
            answer tells whether the version is still the same.
    """

    remote: Remote
    start: int

    @classmethod
    def after(cls, have: int, remote: Remote | None) -> Resumption | None:
        """Give the request for what follows, ``None`` to begin at the beginning."""
        if remote is None or remote.validator is None or have == 0:
            return None
        start = have if remote.size is None else min(have, remote.size - 1)
        return cls(remote=remote, start=start)

    @property
    def conditions(self) -> dict[str, str]:
        """The request's headers."""
        validator = self.remote.validator
        assert validator is not None  # noqa: S101 - for the type checker
        return {"range": f"bytes={self.start}-", "if-range": validator}

    def continues(self, answer: Answer) -> bool:
        """Tell whether the answer is the rest of the same version."""
        if answer.status != 206:
            return False
        found = _CONTENT_RANGE.fullmatch(answer.header("content-range") or "")
        if found is None:
            return False
        first, last, size = (int(found[name]) for name in ("first", "last", "size"))
        return (
            first == self.start
            and first <= last < size
            and self.remote.size in {None, size}
            and answer.length in {None, last + 1 - first}
            and answer.header("etag") in {None, self.remote.etag}
        )


def whole(answer: Answer) -> Remote:
    """
    Read the version from an answer that begins at the beginning.

    Raises:
        HttpStatusError: If the answer is an error.
        BadResponseError: If it is anything else than the whole file.
    """
    if answer.status >= 400:
        raise answer.error()
    if answer.status != 200:
        msg = f"the server answered with {answer.status} instead of the file"
        raise BadResponseError(msg, url=str(answer.url))
    return Remote.of(answer, answer.length)


def _is_strong(etag: str | None) -> bool:
    return etag is not None and _STRONG_ETAG.fullmatch(etag) is not None


def _settled_date(answer: Answer) -> str | None:
    modified, date = answer.header("last-modified"), answer.header("date")
    try:
        changed = email.utils.parsedate_to_datetime(modified or "")
        age = email.utils.parsedate_to_datetime(date or "") - changed
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return modified if age.total_seconds() >= _SETTLED_S else None
