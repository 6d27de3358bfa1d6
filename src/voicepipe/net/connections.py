"""Connections that wait for their server's next request."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import anyio
import httpcore

from voicepipe.net.quiet import quiet


if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from voicepipe.net.urls import Url


# For how long a connection without a request is kept, seconds.
_KEEP_S = 15.0


class Connections:
    """
    Hands out a connection for each request, an open one where there is one.

    The engine's own pool looks at all connections, and asks the system about each, for
    every request that begins or ends: half of the time that a small file takes. Here
    only the one that is wanted is looked at. How many there may be, others say.

    Args:
        backend: Who connects.
        ssl_context: Whom to trust.
        most_idle: Connections that are kept without a request.
    """

    def __init__(
        self,
        backend: httpcore.AsyncNetworkBackend,
        ssl_context: ssl.SSLContext,
        *,
        most_idle: int,
    ) -> None:
        """Begin without connections."""
        self._backend = backend
        self._ssl_context = ssl_context
        self._most_idle = most_idle
        self._idle: list[tuple[httpcore.Origin, httpcore.AsyncHTTPConnection]] = []

    @contextlib.asynccontextmanager
    async def borrow(self, url: Url) -> AsyncIterator[httpcore.AsyncHTTPConnection]:
        """Give a connection to a URL's server; kept if it is free after the block."""
        origin = httpcore.Origin(
            url.scheme.encode("ascii"), url.host.encode("ascii"), url.port
        )
        connection = await self._take(origin)
        try:
            yield connection
        finally:
            with anyio.CancelScope(shield=True), quiet():
                if connection.is_idle() and len(self._idle) < self._most_idle:
                    self._idle.append((origin, connection))
                else:
                    await connection.aclose()

    async def _take(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        for index in reversed(range(len(self._idle))):
            if self._idle[index][0] == origin:
                connection = self._idle.pop(index)[1]
                if not connection.has_expired():
                    return connection
                await self._close(connection)
                return await self._take(origin)
        if len(self._idle) == self._most_idle:
            # The one that waits longest makes room.
            await self._close(self._idle.pop(0)[1])
        return httpcore.AsyncHTTPConnection(
            origin,
            ssl_context=self._ssl_context,
            keepalive_expiry=_KEEP_S,
            network_backend=self._backend,
        )

    async def aclose(self) -> None:
        """Close those that wait."""
        while self._idle:
            await self._close(self._idle.pop()[1])

    @staticmethod
    async def _close(connection: httpcore.AsyncHTTPConnection) -> None:
        with anyio.CancelScope(shield=True), quiet():
            await connection.aclose()
