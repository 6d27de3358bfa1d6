"""What a request brings along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import attrs


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


# Sent in one go: each such piece has the limit of time to itself, so that a slow line
# does not look like a server that has stopped to listen.
_PIECE_BYTES = 1 << 16


@attrs.frozen(kw_only=True)
class Body:
    """
    Bytes to send, which are there as a whole: a second attempt sends them again.

    Attributes:
        content_type: As the header has it.
        parts: One after the other they are the body; never shown.
    """

    content_type: str
    parts: tuple[bytes, ...] = attrs.field(repr=False)

    @property
    def length(self) -> int:
        """How many bytes there are."""
        return sum(map(len, self.parts))

    @property
    def headers(self) -> Mapping[str, str]:
        """What says how the request is framed."""
        return {"content-type": self.content_type, "content-length": str(self.length)}


class Upload:
    """
    Gives a body to the engine piece by piece.

    No generator, which the engine would leave to the garbage collector where a server
    does not want the rest.
    """

    def __init__(self, body: Body) -> None:
        """Begin at the first piece."""
        self._pieces = _pieces(body)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            raise StopAsyncIteration from None


def _pieces(body: Body) -> Iterator[bytes]:
    for part in body.parts:
        if len(part) <= _PIECE_BYTES:
            yield part
            continue
        view = memoryview(part)
        for at in range(0, len(part), _PIECE_BYTES):
            yield bytes(view[at : at + _PIECE_BYTES])
