"""The connections themselves: made only to checked addresses, and watched."""

from __future__ import annotations

import contextlib
import re
import select
import socket
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import anyio
import httpcore

from voicepipe.errors import BadResponseError, ConnectionFailedError, FetchTimeoutError
from voicepipe.tasks import task_group


if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from voicepipe.net.policy import UrlPolicy


Resolve: TypeAlias = "Callable[[str, int], Awaitable[Sequence[str]]]"
"""Gives the addresses of a host."""

# Asked for in one go. The engine asks for 64 KiB; larger pieces halve its work, and its
# parser takes any size.
_READ_BYTES = 1 << 18

# All headers of an answer, informational answers before it included.
_MAX_HEAD_BYTES = 1 << 18

# Of more addresses than these, the rest is checked and not tried.
_MAX_DIALS = 4

# For what shows already that it can be read, seconds.
_GLANCE_S = 0.1

_END_OF_HEAD = re.compile(rb"\n\r?\n")
_INFORMATIONAL = re.compile(rb"HTTP/\d\.\d 1\d\d")


async def resolve(host: str, port: int) -> Sequence[str]:
    """
    Ask the system for a host's addresses.

    Raises:
        ConnectionFailedError: If there are none.
    """
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as exc:
        again = getattr(exc, "errno", None) == socket.EAI_AGAIN
        raise ConnectionFailedError("the host is not known", retryable=again) from exc
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """
    Resolves once, checks every address, and connects to a checked one.

    The name is not looked up a second time, so that it cannot mean something else by
    then; TLS still asks for the name. Refusals are errors of voicepipe, which the
    engine lets through and does not retry.

    Args:
        policy: Which addresses may be connected to.
        resolve_s: Longest wait for the addresses, seconds.
        resolve: Who knows them.
    """

    def __init__(
        self, policy: UrlPolicy, *, resolve_s: float, resolve: Resolve = resolve
    ) -> None:
        """Keep the policy."""
        self._policy = policy
        self._resolve_s = resolve_s
        self._resolve = resolve
        # httpcore has a class of this name for systems without anyio as well.
        self._backend = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(  # noqa: PLR0917 - httpcore's own
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers."""
        addresses = await self._addresses(host, port)
        dials = addresses[:_MAX_DIALS]
        share = None if timeout is None else timeout / len(dials)
        for address in dials:
            try:
                stream = await self._backend.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if address == dials[-1]:
                    raise
            else:
                return Wire(stream)
        raise AssertionError  # pragma: no cover - the last one returns or raises

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            with anyio.fail_after(self._resolve_s):
                addresses = await self._resolve(host, port)
        except TimeoutError:
            raise FetchTimeoutError(
                f"the host's addresses did not come within {self._resolve_s:g} s",
                limit="resolve",
                limit_s=self._resolve_s,
            ) from None
        if not addresses:
            raise ConnectionFailedError("the host has no address", retryable=False)
        for address in addresses:
            self._policy.check_address(host, port, address)
        return addresses

    async def sleep(self, seconds: float) -> None:
        """Wait, for the engine."""
        await anyio.sleep(seconds)


class Wire(httpcore.AsyncNetworkStream):
    """
    A connection that counts the bytes of the answer's body as they come in.

    The engine stops at the length that the headers promise and does not look further: a
    body that is longer than that would pass for whole.

    Attributes:
        body_bytes: Bytes of the answer's body that have come in.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        """Watch a connection."""
        self._stream = stream
        # Asked for once: the answer takes two calls to the system.
        self._socket = stream.get_extra_info("socket")
        self._head: bytearray | None = bytearray()
        self._head_bytes = 0
        self._sending = False  # written to since it was last read from
        self._early: bytes | None = None  # come while a request was being sent
        self.body_bytes: int = 0

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own
    ) -> bytes:
        """Receive more than the engine asks for, where it is there."""
        self._sending = False
        data, self._early = self._early, None
        if data is None:
            data = await self._stream.read(max(max_bytes, _READ_BYTES), timeout)
        if self._head is None:
            self.body_bytes += len(data)
        else:
            self._read_head(self._head, data)
        return data

    def _read_head(self, head: bytearray, data: bytes) -> None:
        head += data
        self._head_bytes += len(data)
        while found := _END_OF_HEAD.search(head):
            informational = _INFORMATIONAL.match(head)
            del head[: found.end()]
            if not informational:
                self._head, self.body_bytes = None, len(head)
                return
        if self._head_bytes > _MAX_HEAD_BYTES:
            raise BadResponseError("the headers do not end")

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own
    ) -> None:
        """
        Send a piece of a request; what comes in next is the head of its answer.

        A server may answer in the midst of a body, to refuse it, and close: whoever
        went on writing to it would lose the answer.

        Raises:
            httpcore.WriteError: If it has answered. The engine then takes the answer.
        """
        if not buffer:
            return
        if not self._sending:
            self._sending = True
            self._head, self._head_bytes = bytearray(), 0
            await self._stream.write(buffer, timeout)
            return
        if self._early is not None or self.get_extra_info("is_readable"):
            # The rest of it, or nothing for us: TLS has messages of its own.
            with anyio.move_on_after(_GLANCE_S):
                await self._listen()
        written = False
        if self._early is None:
            # A server that does not read may answer and close. With a reset, that takes
            # along what nobody has taken from the system by then.
            async with task_group() as group:
                group.start_soon(self._listen, group.cancel_scope)
                await self._stream.write(buffer, timeout)
                written = True
                group.cancel_scope.cancel()
        if not written:
            raise httpcore.WriteError

    async def _listen(self, writing: anyio.CancelScope | None = None) -> None:
        """Keep what comes before all is sent, and stop the sending."""
        # An error is the sender's to find, who goes on.
        with contextlib.suppress(httpcore.NetworkError):
            data = await self._stream.read(_READ_BYTES)
            # Some of it may have come beside the piece before.
            self._early = (self._early or b"") + data
            with anyio.move_on_after(_GLANCE_S):
                # The rest of it, too: what is to be sent waits inside of the event
                # loop, and fails with the reset before anybody reads again.
                while data and len(self._early) < _READ_BYTES:
                    data = await self._stream.read(_READ_BYTES)
                    self._early += data
        if writing is not None and self._early is not None:
            writing.cancel()

    async def surplus(self, length: int) -> bool:
        """Tell whether more has come than a body of this length."""
        if self.body_bytes > length:
            return True
        if not self.get_extra_info("is_readable"):
            return False
        # Readable at its end: more of the body, or only the connection's end.
        with contextlib.suppress(httpcore.NetworkError, httpcore.TimeoutException):
            return bool(await self._stream.read(1, timeout=_GLANCE_S))
        return False

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Go on over TLS."""
        return Wire(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """Tell what the connection knows of itself."""
        if info == "is_readable" and self._socket is not None:
            return _is_readable(self._socket)
        return self._stream.get_extra_info(info)


def _is_readable(sock: socket.socket) -> bool:
    """Tell whether something has come, the end or an error included."""
    if sock.fileno() < 0:
        return True
    if not hasattr(select, "poll"):
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
