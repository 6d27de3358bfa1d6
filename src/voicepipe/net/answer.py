"""What a server has said: its headers, and its body as it comes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING

import anyio
import httpcore

from voicepipe.errors import (
    BadResponseError,
    FetchError,
    FetchTimeoutError,
    HttpStatusError,
    TooLargeError,
)
from voicepipe.net.engine import ENGINE_ERRORS, translated
from voicepipe.net.guard import Wire
from voicepipe.net.quiet import quiet
from voicepipe.net.retries import retry_after_s


if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from voicepipe.net.engine import HttpLimits
    from voicepipe.net.urls import Url


_REDIRECTS = frozenset({301, 302, 303, 307, 308})

# A body of which so much is left passes the engine by, whose copies take longer than
# the network; it costs the connection, which nobody can use after it.
_DIRECT_BYTES = 1 << 24

# So much of a body that nobody wants is read to keep the connection.
_MAX_DRAIN = 1 << 14


class Answer:
    """
    What a server has said, its body still to come.

    Attributes:
        url: What was asked for in the end, behind all redirects.
        status: The HTTP status code.
        length: Bytes of the body, ``None`` where the headers do not say.
        framed: Whether the body's end shows: it has a length, or comes in chunks.
    """

    def __init__(
        self, response: httpcore.Response, url: Url, limits: HttpLimits
    ) -> None:
        """
        Look at the headers.

        Raises:
            BadResponseError: If they contradict themselves.
        """
        self.url: Url = url
        self.status: int = response.status
        self._response = response
        self._limits = limits
        self._headers: dict[str, str] = {}
        for key, value in response.headers:
            name, text = key.decode("latin-1").lower(), value.decode("latin-1")
            # As one list (RFC 9110 5.2): two that differ are not half believed.
            before = self._headers.get(name)
            self._headers[name] = text if before is None else f"{before}, {text}"
        length = self.header("content-length")
        chunked = self.header("transfer-encoding") is not None
        if length is not None and chunked:
            msg = "the answer has a length and comes in chunks"
            raise BadResponseError(msg, url=str(url))
        # h11 has refused what is no number, and lengths that differ.
        self.length: int | None = None if length is None else int(length)
        self.framed: bool = chunked or length is not None

    def header(self, name: str) -> str | None:
        """Give the first header of a name in lower case, ``None`` without one."""
        return self._headers.get(name)

    @property
    def location(self) -> str | None:
        """
        Where it redirects to, ``None`` if it is no redirect.

        Raises:
            BadResponseError: If it is one without a target.
        """
        if self.status not in _REDIRECTS:
            return None
        location = self.header("location")
        if location is None:
            msg = "a redirect that does not say where to"
            raise BadResponseError(msg, url=str(self.url))
        return location

    def error(self) -> HttpStatusError:
        """Give what the status means, for one that is not wanted."""
        return HttpStatusError(
            f"the server answered with {self.status}",
            url=str(self.url),
            status=self.status,
            retry_after=retry_after_s(self.header("retry-after"), self.header("date")),
        )

    async def pieces(self) -> AsyncGenerator[bytes]:
        """
        Give the body piece by piece, as it comes.

        Raises:
            ConnectionFailedError: If the connection breaks.
            FetchTimeoutError: If it stands still, or is too slow for too long.
            BadResponseError: If the body is compressed, or shorter or longer than it
                says.
        """
        self._check_encoding()
        speed = _Speed(self._limits, self.url)
        stream = self._response.stream
        assert isinstance(stream, AsyncIterable)  # noqa: S101 - for the type checker
        body = aiter(stream)
        taken, direct = 0, False
        try:
            while (piece := await self._next(body, taken, direct=direct)) is not None:
                speed.check(len(piece))
                taken += len(piece)
                direct = direct or self._may_pass_by(taken)
                yield piece
            await self._check_end()
        except BaseException:
            await self._abandon(body)
            raise
        if direct:
            await self._abandon(body)

    def _may_pass_by(self, taken: int) -> bool:
        """Tell whether the engine has given all that has come, and much is to come."""
        wire = self._wire
        return (
            wire is not None
            and self.length is not None
            and self.length - taken >= _DIRECT_BYTES
            and wire.body_bytes == taken
        )

    @property
    def _wire(self) -> Wire | None:
        wire = self._response.extensions.get("network_stream")
        return wire if isinstance(wire, Wire) else None

    async def _next(
        self, body: AsyncIterator[bytes], taken: int, *, direct: bool
    ) -> bytes | None:
        try:
            with quiet():
                if direct:
                    return await self._receive(taken)
                return await anext(body, None)
        except (*ENGINE_ERRORS, FetchError) as exc:
            error = translated(exc, self.url, self._limits)
        # Out here: what the engine says may quote the server, and goes with it.
        raise error

    async def _receive(self, taken: int) -> bytes | None:
        wire, length = self._wire, self.length
        assert wire is not None and length is not None  # noqa: S101, PT018
        if taken == length:
            return None
        data = await wire.read(0, self._limits.read_s)
        if not data:
            raise httpcore.RemoteProtocolError
        return data[: length - taken]

    async def _abandon(self, body: AsyncIterator[bytes]) -> None:
        """Let the engine's generators come to their end: nobody else would."""
        with anyio.CancelScope(shield=True), quiet(), contextlib.suppress(Exception):
            await self._response.aclose()
            # What is left in its buffers, then the error of a closed connection.
            while await anext(body, None) is not None:
                pass

    def _check_encoding(self) -> None:
        encoding = self.header("content-encoding")
        if encoding is not None and encoding.strip().lower() not in {"", "identity"}:
            msg = "the body is compressed, though that was not asked for"
            raise BadResponseError(msg, url=str(self.url))

    async def _check_end(self) -> None:
        wire = self._wire
        if self.length is None or wire is None:
            return
        with quiet():
            if await wire.surplus(self.length):
                # What is left over would be taken for the next answer.
                await wire.aclose()
                msg = "the body is longer than the headers say"
                raise BadResponseError(msg, url=str(self.url), retryable=True)

    async def read(self, limit: int) -> bytes:
        """
        Give the whole of a small body.

        Raises:
            TooLargeError: If it has more bytes than the limit.
            FetchError: As ``pieces``.
        """
        data = bytearray()
        async with contextlib.aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                data += piece
                if len(data) > limit:
                    msg = f"an answer of more than {limit} bytes"
                    raise TooLargeError(msg, url=str(self.url), limit=limit)
        return bytes(data)

    async def drain(self) -> None:
        """Read a small body to its end, so that the connection can be used again."""
        if self.length is not None and self.length <= _MAX_DRAIN:
            with contextlib.suppress(FetchError):
                await self.read(_MAX_DRAIN)


class _Speed:
    """Ends a body that drips: each gap is short enough, and it never ends."""

    def __init__(self, limits: HttpLimits, url: Url) -> None:
        self._least = limits.min_bytes_per_s * limits.min_speed_s
        self._limits = limits
        self._url = url
        self._since = anyio.current_time()
        self._bytes = 0

    def check(self, size: int) -> None:
        """Count a piece."""
        self._bytes += size
        now = anyio.current_time()
        if now - self._since < self._limits.min_speed_s:
            return
        if self._bytes < self._least:
            rate, window = self._limits.min_bytes_per_s, self._limits.min_speed_s
            raise FetchTimeoutError(
                f"slower than {rate:g} bytes per second for {window:g} s",
                url=str(self._url),
                limit="speed",
                limit_s=window,
            )
        self._since, self._bytes = now, 0
