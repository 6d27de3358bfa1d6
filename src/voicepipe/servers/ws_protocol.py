"""
uvicorn's WebSocket protocol within limits of memory and time.

uvicorn 0.54 bounds one message and nothing else: half-received messages of all
connections add up, a message in fragments of one byte takes 50 times its length, a
client that reads nothing is waited for for ever, pings are answered without end, and a
client's pong is not read while the app is busy, so that it is closed for its silence.
No middleware sees any of this. This subclass of
``uvicorn.protocols.websockets.websockets_sansio_impl.WebSocketsSansIOProtocol`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, cast

import anyio.lowlevel

from voicepipe.errors import MissingExtraError
from voicepipe.servers.ws_flood import TINY, SlowLane, TinyFrames
from voicepipe.servers.ws_memory import Holding, MessageMemory, WsLimits


try:
    from uvicorn.protocols.utils import ClientDisconnected
    from uvicorn.protocols.websockets.websockets_sansio_impl import (
        WebSocketsSansIOProtocol,
    )
    from websockets.frames import Frame, Opcode
except ImportError as _missing:
    raise MissingExtraError("uvicorn", extra="servers") from _missing


if TYPE_CHECKING:
    from voicepipe.servers.asgi import Message


# What is parsed at a time: the parser cannot be stopped inside it, and one piece may
# hold so many frames that they take some milliseconds. 4 KiB of sound are one piece.
_PIECE = 4_608

# A message in so many fragments that have so little in them on average is refused.
_FRAGMENTS = 16_384
_FRAGMENT = 32

# What a message takes besides its bytes.
_OVERHEAD = 256

# What an app does with a message, seconds; only to reckon what a flood of them costs.
_APP_S = 5e-4

# Messages that the app may take, one after the other, before others have a turn.
_IN_A_ROW = 16


class _Timer(Protocol):
    def cancel(self) -> None: ...


class LimitedWebSockets(WebSocketsSansIOProtocol):
    """
    One connection; ``within`` gives the class for a server.

    Reading stops while a message waits for the app, while what was sent does not
    drain, and while all connections together hold too much (``MessageMemory``). What
    has come by then stays unparsed. A ping's answer is not missed while reading has
    stopped, nor while anything comes.
    """

    limits: ClassVar[WsLimits] = WsLimits()
    memory: ClassVar[MessageMemory] = MessageMemory(limits)
    slow_lane: ClassVar[SlowLane] = SlowLane(limits.flood_share)

    # uvicorn's own.
    read_paused: bool
    ping_sent_at: float
    pong_timer: Any
    close_timer: Any

    @classmethod
    def within(cls, limits: WsLimits) -> type[Self]:
        """Give a class whose connections share the memory of these limits."""
        shared = {
            "limits": limits,
            "memory": MessageMemory(limits),
            "slow_lane": SlowLane(limits.flood_share),
        }
        return cast("type[Self]", type(cls.__name__, (cls,), shared))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin with nothing received; the arguments are uvicorn's."""
        super().__init__(*args, **kwargs)
        self._unparsed = b""
        self._at = 0
        self._opcode = Opcode.BINARY
        self._fragments = bytearray()
        self._fragment_count = 0
        # Of whole messages: in the queue, and with the app.
        self._queued = 0
        self._in_hand = 0
        self._in_a_row = 0
        self._holding = Holding(self._go_on_soon, self._evict)
        self._heard_at = 0.0
        self._tiny = TinyFrames(self.slow_lane, self.loop.time())
        self._turn: _Timer | None = None
        self._press: _Timer | None = None
        self._stuck: _Timer | None = None
        self._over = False

    # What comes in.

    def data_received(self, data: bytes) -> None:
        """Parse what came, or keep it until that may be."""
        self._heard_at = self.loop.time()
        self._unparsed = self._unparsed[self._at :] + data if self._unparsed else data
        self._at = 0
        self._go_on()

    def handle_events(self) -> None:
        """Handle what the parser has found."""
        for event in self.conn.events_received():
            if isinstance(event, Frame):
                self._handle_frame(event)
            else:
                self.handle_connect(event)  # type: ignore[arg-type]

    def _go_on(self) -> None:
        """Parse, as far as the app, the client and the memory allow."""
        while self._at < len(self._unparsed):
            if self._must_wait():
                if not self.read_paused:
                    self.read_paused = True
                    self.transport.pause_reading()
                return
            self._parse_piece()
        self._unparsed, self._at = b"", 0
        self._tell_memory()
        if self.read_paused:
            self.read_paused = False
            self._heard_at = self.loop.time()
            self.transport.resume_reading()

    def _must_wait(self) -> bool:
        if self._turn is not None:
            return True
        if self.close_sent:
            return False  # only the other side's answer is waited for
        if not (self.queue.empty() and self.writable.is_set()):
            return True
        self._tell_memory()
        return self._holding.size > 0 and not self._ask_memory()

    def _parse_piece(self) -> None:
        began = self.loop.time()
        data, at = self._unparsed, self._at
        piece = data if len(data) <= _PIECE else data[at : at + _PIECE]
        self._at = at + len(piece)
        before = self.queue.qsize()
        self.conn.receive_data(piece)
        self.handle_events()
        if self.conn.parser_exc is not None and not self._over:
            self.handle_parser_exception()
        elif not self.handshake_initiated and self.conn.handshake_exc is not None:
            # uvicorn 0.54 leaves these unanswered.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()
        if self._tiny.are_too_many:
            now = self.loop.time()
            messages = self.queue.qsize() - before
            wait_s = self._tiny.wait_s(now, now - began + messages * _APP_S)
            if wait_s:
                self._turn = self.loop.call_later(wait_s, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        self._go_on()

    def _handle_frame(self, frame: Frame) -> None:
        data, opcode = frame.data, frame.opcode
        if len(data) < TINY:
            self._tiny.count(message=frame.fin and opcode < Opcode.CLOSE)
        if opcode is Opcode.BINARY or opcode is Opcode.TEXT:
            self._opcode = opcode
            if frame.fin:
                self._deliver(data)
            else:
                self._fragments, self._fragment_count = bytearray(data), 1
        elif opcode is Opcode.CONT:
            self._add_fragment(frame)
        elif opcode is Opcode.PING:
            self.handle_ping()
        elif opcode is Opcode.PONG:
            self.handle_pong(frame)
        else:
            self.handle_close(frame)

    def _add_fragment(self, frame: Frame) -> None:
        # Each as an object of its own, they would take many times their length.
        self._fragments += frame.data
        self._fragment_count += 1
        count = self._fragment_count
        if count > _FRAGMENTS and len(self._fragments) < count * _FRAGMENT:
            self._fail(1008, "too many small fragments")
        elif frame.fin:
            data, self._fragments = bytes(self._fragments), bytearray()
            self._deliver(data)

    def _deliver(self, data: Any) -> None:
        if self.close_sent:
            return  # the app is past it
        if self._opcode is Opcode.BINARY:
            message: Any = {"type": "websocket.receive", "bytes": data}
        else:
            try:
                message = {"type": "websocket.receive", "text": data.decode()}
            except UnicodeDecodeError:
                self._fail(1007, "invalid UTF-8")
                return
        self._queued += _weight(message)
        self.queue.put_nowait(message)

    async def receive(self) -> Any:
        """Give the app its next message; it is done with the one before."""
        self._queued -= self._in_hand
        self._in_hand = 0
        if self.queue.empty():
            self._tell_memory()
            if self._holding.size:
                self.memory.let_go(
                    self._holding, self.loop.time(), keep=self._holding.size
                )
            if self._unparsed:
                self._go_on()
        self._in_a_row = 0 if self.queue.empty() else self._in_a_row + 1
        if self._in_a_row % _IN_A_ROW == _IN_A_ROW - 1:
            await anyio.lowlevel.checkpoint()
        message = await self.queue.get()
        if message["type"] == "websocket.receive":
            self._in_hand = _weight(message)
        return message

    # Memory.

    def _tell_memory(self) -> None:
        """Tell what this connection holds, if that is worth it."""
        partial = len(self.conn.reader.buffer) + len(self._fragments)
        size = partial + self._queued + len(self._unparsed) - self._at
        size = size if size > self.limits.free_bytes else 0
        if size or self._holding.size:
            owed = partial > 0 and not self._queued
            self.memory.tell(self._holding, size, self.loop.time(), owed=owed)

    def _ask_memory(self) -> bool:
        may = self.memory.ask(self._holding)
        if not may and self._press is None:
            self._press_on()
        return may

    def _press_on(self) -> None:
        """While this connection waits, see that others do not hold for ever."""
        self._press = None
        if self.memory.waits(self._holding):
            self.memory.evict_stalled(self.loop.time())
            wait_s = self.limits.stall_s / 4
            self._press = self.loop.call_later(wait_s, self._press_on)

    def _go_on_soon(self) -> None:
        self.loop.call_soon(self._go_on)

    def _evict(self) -> None:
        if not self._queued:
            self._fail(1013, "the message did not come on, and others wait")

    # What goes out.

    async def send(self, message: Message) -> None:  # type: ignore[override]
        """Send the app's message."""
        if self._over:
            raise ClientDisconnected
        await super().send(message)  # type: ignore[arg-type]
        if self.close_sent and self._unparsed:
            self._go_on()

    def pause_writing(self) -> None:
        """Give the client a while to take what was sent."""
        super().pause_writing()
        if self._stuck is None:
            limit_s = self.limits.send_timeout_s
            self._stuck = self.loop.call_later(limit_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has taken it."""
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        if self._unparsed:
            self._go_on_soon()

    # Whether the client is still there.

    def send_keepalive_ping(self) -> None:
        """Ping, unless the connection is closing and its last bytes do not drain."""
        if self.transport.is_closing():
            self.transport.abort()
        else:
            super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        """Close a connection that is silent, and was listened to."""
        if self.transport.is_closing():
            self.transport.abort()
        elif self.read_paused or self._heard_at > self.ping_sent_at:
            # The answer may stand behind what has not been read.
            self.ping_sent_at = self.loop.time()
            self.pong_timer = self.loop.call_later(
                self.ping_timeout or 0.0, self.keepalive_timeout
            )
        else:
            self._over = True
            super().keepalive_timeout()

    # The end.

    def handle_parser_exception(self) -> None:
        """Tell both sides why the connection ends."""
        sent = self.conn.close_sent
        code, reason = (sent.code, sent.reason) if sent else (1006, "")
        self._leave(int(code), reason)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def shutdown(self) -> None:
        """Say that the server restarts, and wait a moment for the answer."""
        if self.handshake_complete and not self.close_sent:
            self.conn.send_close(1012)
            self._leave(1012, "")
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        self._over = True
        self._unparsed, self._at = b"", 0
        self._fragments = bytearray()
        for timer in (self._turn, self._press, self._stuck):
            if timer is not None:
                timer.cancel()
        self._keep_whole_messages()
        super().connection_lost(exc)

    def on_task_complete(self, task: Any) -> None:
        """Forget the messages that the app has not fetched."""
        self._queued = 0
        self._keep_whole_messages()
        super().on_task_complete(task)

    def _keep_whole_messages(self) -> None:
        keep = self._queued if self._queued > self.limits.free_bytes else 0
        self.memory.let_go(self._holding, self.loop.time(), keep=keep)

    def _fail(self, code: int, reason: str) -> None:
        if not self._over and not self.transport.is_closing():
            self.conn.fail(code, reason)
            self.handle_parser_exception()

    def _leave(self, code: int, reason: str) -> None:
        """
        Say the close frame that is prepared, and read on for a moment.

        Closed while the client still sends, the connection would be reset, and the
        frame be lost on its way (RFC 9112, section 9.6, has the same for HTTP).
        """
        self._over = True
        self.close_sent = True
        self.stop_keepalive()
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": code, "reason": reason}
        )
        self.transport.write(b"".join(self.conn.data_to_send()))
        self._fragments = bytearray()
        self._holding.owed = False
        self._keep_whole_messages()
        if self.close_timer is None:
            self.close_timer = self.loop.call_later(
                self.limits.linger_s, self.transport.close
            )
        self._go_on_soon()


def _weight(message: Any) -> int:
    data = message.get("bytes")
    return _OVERHEAD + len(message["text"] if data is None else data)
