"""A fault server that takes bodies, all of them, or as much as it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from fault_server import Exchange, FaultServer, HangUpError, Seen


if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.define
class Uploaded(Seen):
    """
    One request with a body.

    Attributes:
        body: As much of it as was read.
    """

    body: bytes = attrs.field(default=b"", repr=False)


class UploadExchange(Exchange):
    """A request that is being answered, its body to be read by whoever answers."""

    def __init__(self, *whom: Any) -> None:
        super().__init__(*whom)
        self._left = int(self.seen.header("content-length") or 0)

    @property
    def uploaded(self) -> Uploaded:
        """The request."""
        assert isinstance(self.seen, Uploaded)
        return self.seen

    def take(self, most: int | None = None) -> bytes:
        """Read what is left of the body, or so many bytes of it."""
        wanted = self._left if most is None else min(most, self._left)
        data = bytearray(self.rest[:wanted])
        self.rest = self.rest[wanted:]
        while len(data) < wanted:
            more = self._connection.recv(min(1 << 18, wanted - len(data)))
            if not more:
                raise HangUpError
            data += more
        self._left -= wanted
        self.uploaded.body += bytes(data)
        return bytes(data)

    def not_found(self) -> None:
        """Answer when all of the body has come."""
        self.take()
        super().not_found()


class UploadServer(FaultServer):
    """A fault server whose answers may read the body: ``after`` reads all of it."""

    _seen = Uploaded
    _exchange = UploadExchange

    @property
    def uploads(self) -> list[Uploaded]:
        """All requests there were."""
        return [seen for seen in self.requests if isinstance(seen, Uploaded)]


def after(answer: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
    """Read the whole body before answering."""

    def read_first(exchange: Exchange) -> None:
        assert isinstance(exchange, UploadExchange)
        exchange.take()
        answer(exchange)

    return read_first
