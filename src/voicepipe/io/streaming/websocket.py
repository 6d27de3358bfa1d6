"""
One WebSocket connection of a client, over anyio.

The only module here that knows the ``websockets`` package: its protocol without a
network, RFC 6455. Nothing is compressed.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
from collections import deque
from typing import TYPE_CHECKING, Self

import anyio
import anyio.to_thread
from anyio.abc import SocketAttribute
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidMessage, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from voicepipe.errors import StreamError, StreamLostError, StreamRefusedError
from voicepipe.net.http import default_ssl_context


if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from anyio.abc import ByteStream

    from voicepipe.io.streaming.endpoint import Endpoint
    from voicepipe.io.streaming.values import StreamOptions


# What the protocol says in its log at DEBUG are headers and paths with keys in them.
_SILENT = logging.Logger("voicepipe.io.streaming.protocol")  # noqa: LOG001
_SILENT.disabled = True

# What waits in the system's buffer and was not sent yet. Without a limit a slow line
# hides behind megabytes that look sent.
_UNSENT = 1 << 17

# The server's messages take some 300 bytes.
_MAX_MESSAGE = 1 << 16

# What goes to the system at once: what is sent is then told from what waits.
_PIECE = 1 << 16

# Answers to pings that wait behind what cannot be sent; each takes 6 to 131 bytes.
_MOST_OWED = 1 << 16

# For how long a server is given to say good-bye, and to hear it, seconds.
_FAREWELL_S = 1.0
_SHORT_FAREWELL_S = 0.2

# HTTP statuses that are worth another try: time-out, too early, too many requests.
_PASSING = frozenset({408, 425, 429})

# Close codes that say that the same would come of the same (RFC 6455, 7.4.1): protocol
# error, unacceptable or inconsistent data, policy, too big, extension; and all that
# applications have made up.
_FOR_GOOD = frozenset({1002, 1003, 1007, 1008, 1009, 1010, *range(3000, 5000)})

_NETWORK_ERRORS = (
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    OSError,  # ssl.SSLError among them
)


class WebSocket:
    """
    A connection: ``open`` it, put messages in, ``flush`` them, ``receive`` others.

    An async context manager that closes it. One task may flush while another one
    receives; nobody else.

    Args:
        endpoint: The server.
        options: Time limits and whom to trust.
        wake: Called when ``receive`` has left something to ``flush``.
    """

    def __init__(
        self, endpoint: Endpoint, options: StreamOptions, *, wake: Callable[[], None]
    ) -> None:
        """Begin without a connection."""
        self._endpoint = endpoint
        self._options = options
        self._wake = wake
        self._stream: ByteStream | None = None
        self._protocol: ClientProtocol | None = None
        self._texts: deque[str] = deque()
        self._fragments: list[bytes] = []
        self._output: list[bytes] = []
        self._output_bytes = 0
        self._owed_bytes = 0
        # A frame of which a part was sent: nothing else may come behind it.
        self._torn = False
        self._alive_at = self._asked_at = 0.0

    async def open(self, url: str) -> None:
        """
        Connect and shake hands.

        Raises:
            StreamLostError: If that fails.
            StreamRefusedError: If the server, or its certificate, is none to talk to.
        """
        self._stream = await _connect(self._endpoint, self._options)
        _keep_buffer_short(self._stream)
        self._protocol = ClientProtocol(
            parse_uri(url), max_size=_MAX_MESSAGE, logger=_SILENT
        )
        request = self._protocol.connect()
        for name, value in self._endpoint.headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)
        self._collect()
        await self.flush()
        self._alive_at = anyio.current_time()
        while self._protocol.state is State.CONNECTING:
            if not await self._feed():
                break
        # A server that closes at once may have said why: ``receive`` tells.
        if (error := self._protocol.handshake_exc) is not None:
            raise _shaken(error)

    @property
    def pending_bytes(self) -> int:
        """Bytes to flush."""
        return self._output_bytes

    def put_binary(self, data: bytes) -> None:
        """Put a binary message in."""
        if self._protocol is not None and self._protocol.state is State.OPEN:
            self._protocol.send_binary(data)
            self._collect()

    def put_text(self, text: str) -> None:
        """Put a text message in."""
        if self._protocol is not None and self._protocol.state is State.OPEN:
            self._protocol.send_text(text.encode())
            self._collect()

    def put_close(self) -> None:
        """Put a farewell in; nothing may follow."""
        if self._protocol is not None and self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            self._collect()

    async def flush(self) -> None:
        """Send what was put in; if the connection is broken, ``receive`` tells."""
        data = b"".join(self._output)
        self._output.clear()
        self._output_bytes = self._owed_bytes = 0
        if self._stream is None or self._torn or not data:
            return
        self._torn = True
        try:
            for at in range(0, len(data), _PIECE):
                if at:
                    # A large message on a slow line: the other side takes it.
                    self._alive_at = anyio.current_time()
                await self._stream.send(data[at : at + _PIECE])
        except _NETWORK_ERRORS:
            return
        self._torn = False

    async def receive(self) -> str:
        """
        Wait for the next text message.

        Raises:
            StreamLostError: If the connection is over: broken, dead, or closed in a way
                that another one may follow.
            StreamRefusedError: If the server does not want another one.
        """
        while not self._texts:
            # The last message may come together with the end.
            if not await self._feed() and not self._texts:
                raise self._over()
        return self._texts.popleft()

    async def _feed(self) -> bool:
        """Hand the protocol what comes; false if it was the end."""
        assert self._protocol is not None  # noqa: S101 - it is open
        if self._is_closed():
            return False
        try:
            data = await self._hear()
        except (anyio.EndOfStream, *_NETWORK_ERRORS):
            self._protocol.receive_eof()
        else:
            self._protocol.receive_data(data)
            if self._protocol.close_expected():
                # Nothing that follows counts; what comes before does.
                self._take_events()
                self._collect()
                self._protocol.receive_eof()
        before = self._output_bytes
        self._take_events()
        self._collect()
        self._owe(self._output_bytes - before)
        return not self._is_closed()

    def _is_closed(self) -> bool:
        return self._protocol is not None and self._protocol.state is State.CLOSED

    async def _hear(self) -> bytes:
        """Wait for bytes; ask for a sign of life if none come."""
        assert self._stream is not None  # noqa: S101 - it is open
        while True:
            asked = self._asked_at > self._alive_at
            until = (
                self._asked_at + self._options.answer_s
                if asked
                else self._alive_at + self._options.ping_s
            )
            with anyio.CancelScope(deadline=until):
                data = await self._stream.receive(_PIECE)
                self._alive_at = anyio.current_time()
                return data
            now = anyio.current_time()
            if asked and self._asked_at > self._alive_at:
                silence_s = now - self._alive_at
                msg = f"the server has not given a sign of life for {silence_s:.1f} s"
                raise StreamLostError(msg)
            if not asked and now >= self._alive_at + self._options.ping_s:
                self._ask(now)

    def _ask(self, now: float) -> None:
        assert self._protocol is not None  # noqa: S101 - it is open
        self._asked_at = now
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self._collect()
            self._wake()

    def _owe(self, size: int) -> None:
        """Take note of answers to pings that are to be flushed."""
        if not size:
            return
        self._owed_bytes += size
        if self._owed_bytes > _MOST_OWED:
            raise StreamLostError("the server asks and does not read the answers")
        self._wake()

    def _collect(self) -> None:
        if self._protocol is not None:
            for data in self._protocol.data_to_send():
                self._output.append(data)
                self._output_bytes += len(data)

    def _take_events(self) -> None:
        assert self._protocol is not None  # noqa: S101 - it is open
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in {Opcode.TEXT, Opcode.CONT}:
                self._fragments.append(bytes(event.data))
                if event.fin:
                    text = b"".join(self._fragments).decode("utf-8", "replace")
                    self._fragments.clear()
                    self._texts.append(text)

    def _over(self) -> StreamError:
        """Say how the connection has ended."""
        assert self._protocol is not None  # noqa: S101 - it is open
        code = self._protocol.close_code
        if code is None or code == 1006:
            return StreamLostError("the connection broke")
        kind = StreamRefusedError if code in _FOR_GOOD else StreamLostError
        reason = self._protocol.close_reason or ""
        return kind(
            f"the server closed the connection with {code}: {reason}", code=code
        )

    async def __aenter__(self) -> Self:
        """Do nothing yet."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Say good-bye, shortly after an error, and close."""
        if self._stream is None:
            return
        wait_s = _FAREWELL_S if exc_type is None else _SHORT_FAREWELL_S
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(wait_s):
                await self._say_goodbye(wait=exc_type is None)
            await anyio.aclose_forcefully(self._stream)

    async def _say_goodbye(self, *, wait: bool) -> None:
        self.put_close()
        await self.flush()
        while wait and await self._feed():
            # A socket that is closed with unread bytes resets the connection, which may
            # take what was sent last with it.
            self._texts.clear()


async def _connect(endpoint: Endpoint, options: StreamOptions) -> ByteStream:
    try:
        if not endpoint.secure:
            return await anyio.connect_tcp(endpoint.host, endpoint.port)
        context = options.ssl_context
        if context is None:
            context = await anyio.to_thread.run_sync(default_ssl_context)
        return await anyio.connect_tcp(
            endpoint.host,
            endpoint.port,
            ssl_context=context,
            tls_hostname=endpoint.host,
            # The WebSocket's own good-bye tells a cut stream from a closed one.
            tls_standard_compatible=False,
        )
    except ssl.SSLCertVerificationError as exc:
        raise StreamRefusedError("the server's certificate does not hold") from exc
    except (anyio.EndOfStream, *_NETWORK_ERRORS) as exc:
        raise StreamLostError("no connection") from exc


def _keep_buffer_short(stream: ByteStream) -> None:
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None:
        own = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django
        with contextlib.suppress(OSError):
            own.setsockopt(socket.IPPROTO_TCP, option, _UNSENT)


def _shaken(error: Exception) -> StreamError:
    """Say why hands were not shaken; what the server sent may be in ``error``."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        kind = (
            StreamLostError
            if status >= 500 or status in _PASSING
            else StreamRefusedError
        )
        return kind(f"the server answered with HTTP {status}")
    if isinstance(error, InvalidMessage):
        return StreamLostError("the server's answer is cut, or no HTTP")
    return StreamRefusedError("the server does not speak WebSocket")
