"""One session on a capture server, over as many connections as it takes."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Literal

import anyio

from voicepipe.errors import StreamError, StreamLostError, StreamRefusedError
from voicepipe.io.streaming.backoff import Backoff
from voicepipe.io.streaming.bell import Bell
from voicepipe.io.streaming.messages import (
    CLOSE_SESSION,
    Complaint,
    Completed,
    Failed,
    Taken,
    read_message,
    shown,
)
from voicepipe.io.streaming.unacked import Unacked
from voicepipe.io.streaming.values import StreamAck, StreamSummary
from voicepipe.io.streaming.websocket import WebSocket
from voicepipe.tasks import task_group


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from voicepipe.io.streaming.endpoint import Endpoint
    from voicepipe.io.streaming.messages import ServerMessage
    from voicepipe.io.streaming.values import StreamOptions


_logger = logging.getLogger(__name__)

# Small chunks go to the system together, up to about so many bytes.
_GATHERED = 1 << 16

# Acknowledgements that wait for somebody to look at them.
_KEPT_ACKS = 1024

# What the server says of a chunk that it could take later, and of one that comes from
# a connection that is no longer the one to write.
_NO_ROOM = "disk_full"
_TAKEN_OVER = "busy"

# What it says to somebody who joins a session that is completed.
_COMPLETED = "Session is closed"


class Session:
    """
    Sends what is in ``unacked`` and keeps account of what comes back.

    ``run`` is a task of its own; others add chunks, set ``closing`` or ``leaving``,
    ring the bell, and look at what has become of it.

    Args:
        endpoint: The server.
        options: Limits.
        wanted: The query of a new session.
        session_id: A session to go on with, instead.

    Attributes:
        session_id: The session's id, empty until there is one.
        unacked: Chunks that the server does not have for certain.
        chunk_count: Chunks of the session that it has.
        acks: What it said of chunks, the last thousand.
        begun: Whether there is a session.
        closing: Set to have the session completed when the server has the last chunk;
            cleared where it could not complete it.
        leaving: Set to have the connection closed when the server has the last chunk.
        summary: The server's last word.
        failure: Why it cannot go on.
        setback: Why a chunk was not taken, or the session not completed; whoever
            tells it, clears it.
        ended: Whether ``run`` is over.
        bell: Rings when any of these change.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        options: StreamOptions,
        wanted: Mapping[str, str | int],
        *,
        session_id: str = "",
    ) -> None:
        """Begin without a connection."""
        self.session_id: str = session_id
        self.unacked: Unacked = Unacked()
        self.chunk_count: int = 0
        self.acks: deque[StreamAck] = deque(maxlen=_KEPT_ACKS)
        self.begun: bool = False
        self.closing: bool = False
        self.leaving = False
        self.summary: StreamSummary | None = None
        self.failure: StreamError | None = None
        self.setback: StreamError | None = None
        self.ended: bool = False
        self.bell: Bell = Bell()
        self._endpoint = endpoint
        self._options = options
        self._wanted = wanted
        self._backoff = Backoff(options.reconnect_s)
        self._close_sent = False
        # Whether this connection was told that it was all.
        self._finished = False
        self._complaint: Complaint | None = None

    async def run(self) -> None:
        """Connect, send, listen, and connect again, until it is over."""
        try:
            if self.session_id:
                await self._backoff.run(self._look)
            while self.summary is None and not self.leaving:
                await self._backoff.run(self._connection)
        except StreamLostError as exc:
            text = f"{exc}; tried for {self._options.reconnect_s:g} s"
            self.failure = StreamLostError(
                text, code=exc.code, session_id=self.session_id
            )
            self.failure.__cause__ = exc.__cause__
        except StreamError as exc:
            self.failure = exc
        finally:
            self.ended = True
            self.bell.ring()

    async def wait_until(self, holds: Callable[[], object]) -> None:
        """
        Wait until something holds.

        Raises:
            StreamError: If a chunk was not taken, or the session not completed; told
                once.
            StreamLostError: If it never can: the connection is lost.
            StreamRefusedError: If it never can: the server refuses, or the session is
                over.
        """
        await self.bell.wait_until(
            lambda: holds() or self.setback or self.summary is not None or self.ended
        )
        if self.setback is not None:
            error, self.setback = self.setback, None
            raise error
        self.check()
        if not holds():
            raise self.over()

    def check(self) -> None:
        """
        Raise why it cannot go on, if that is so.

        Raises:
            StreamLostError: If the connection is lost.
            StreamRefusedError: If the server refuses.
        """
        if self.failure is not None:
            # Anew: each raise leaves its traces in an error.
            raise type(self.failure)(
                str(self.failure), code=self.failure.code, session_id=self.session_id
            ) from self.failure.__cause__

    def over(self) -> StreamRefusedError:
        """Say that nothing can be sent any more."""
        reason = f": {self.summary.reason}" if self.summary is not None else ""
        left = self.unacked.size
        missing = f"; the server does not have the last {left} bytes" if left else ""
        return StreamRefusedError(
            f"the session is completed{reason}{missing}", session_id=self.session_id
        )

    async def _look(self) -> None:
        """Ask how much the server has of a session that is to go on."""
        try:
            async with self._socket() as socket:
                self.unacked = Unacked(await self._join(socket, {}))
        except (StreamError, ValueError) as exc:
            self._end(exc)

    async def _connection(self) -> None:
        """Use one connection until its end."""
        if not self._is_needed():
            # A server may send those away who have been silent for long.
            await self.bell.wait_until(self._is_needed)
            self._backoff.progressed()
        if self.leaving and not self.unacked.size:
            return
        try:
            async with self._socket() as socket:
                offset = self.unacked.offset
                begin = {"offset": offset} if self.session_id else {}
                self.unacked.rejoin(await self._join(socket, begin))
                self.begun = True
                self.bell.ring()
                await self._talk(socket)
        except (StreamError, ValueError) as exc:
            self._end(exc)

    def _socket(self) -> WebSocket:
        self._complaint = None
        return WebSocket(self._endpoint, self._options, wake=self.bell.ring)

    def _is_needed(self) -> bool:
        return not self.begun or self.unacked.size > 0 or self.closing or self.leaving

    async def _join(self, socket: WebSocket, query: Mapping[str, str | int]) -> int:
        """Open a connection and give how much of the session the server has."""
        limit_s = min(self._options.connect_s, self._backoff.left_s())
        user = {"user_id": self._wanted["user_id"]} if "user_id" in self._wanted else {}
        url = (
            self._endpoint.join(self.session_id, {**user, **query})
            if self.session_id
            else self._endpoint.new_session(self._wanted)
        )
        try:
            with anyio.fail_after(limit_s):
                await socket.open(url)
                hello = await self._hello(socket)
        except TimeoutError:
            msg = f"no connection to {self._endpoint} within {limit_s:.1f} s"
            raise StreamLostError(msg) from None
        if self.session_id and hello.session_id != self.session_id:
            raise StreamRefusedError("the server has joined another session")
        self.session_id = hello.session_id
        self.chunk_count = hello.chunk_count
        _logger.debug("connected to %s", self._endpoint)
        return hello.bytes_received

    async def _hello(self, socket: WebSocket) -> Taken:
        while True:
            message = read_message(await socket.receive())
            if isinstance(message, Complaint):
                self._complaint = message
            elif isinstance(message, Completed):
                # Its last word to one who asked for it and was cut off, it may be.
                self._complete(message)
                return message
            elif isinstance(message, Taken) and not isinstance(message, Failed):
                return message

    async def _talk(self, socket: WebSocket) -> None:
        """Send and listen until the connection is over, or the session."""
        ended: StreamError | ValueError | None = None
        async with task_group() as group:
            group.start_soon(self._write, socket)
            try:
                await self._read(socket)
            except (StreamError, ValueError) as exc:
                # Not through the group: one that is being cancelled would wrap it.
                ended = exc
            group.cancel_scope.cancel()
        if ended is not None:
            raise ended

    async def _write(self, socket: WebSocket) -> None:
        """Send what there is to send, and wait for more."""

        def wanted() -> object:
            return socket.pending_bytes or self.unacked.ready or self._may_finish()

        self._finished = False
        while True:
            await self.bell.wait_until(wanted)
            while self.unacked.ready and socket.pending_bytes < _GATHERED:
                socket.put_binary(self.unacked.take())
            if self._may_finish():
                self._finished = True
                if self.closing:
                    self._close_sent = True
                    socket.put_text(CLOSE_SESSION)
                else:
                    socket.put_close()
            await socket.flush()

    def _may_finish(self) -> bool:
        """Tell whether it is time to say that this was all."""
        # Not earlier: a server may throw away what comes just before a good-bye.
        ends = self.closing or self.leaving
        return ends and not self.unacked.size and not self._finished

    async def _read(self, socket: WebSocket) -> None:
        """Take note of what the server says, until its last word."""
        while self.summary is None:
            message = read_message(await socket.receive())
            if message is not None:
                self._note(message)
                self.bell.ring()

    def _note(self, message: ServerMessage) -> None:
        if isinstance(message, Complaint):
            self._complaint = message
            return
        if message.session_id != self.session_id:
            raise StreamRefusedError("the server speaks of another session")
        if isinstance(message, Completed):
            self._complete(message)
        elif isinstance(message, Failed):
            self._not_done(message)
        else:
            self._chunk_taken(message)
        self.chunk_count = message.chunk_count

    def _chunk_taken(self, message: Taken) -> None:
        if self.unacked.accept(message.bytes_received):
            self._tell("chunks were not taken, and others behind them were")
        self._backoff.progressed()
        self.acks.append(_ack(message, "active", message.message))

    def _not_done(self, message: Failed) -> None:
        words = filter(None, (message.error, message.message))
        why = self._endpoint.hide(": ".join(words))
        no_room = message.error == _NO_ROOM
        # Before that was said, all chunks had their answers.
        of_close = self.closing and self._finished
        if of_close and not no_room:
            self.closing = False
            self._finished = False
            self._tell(f"the session could not be completed: {why}")
        elif not of_close:
            self._chunk_failed(message, why)
        if self.unacked.held_up or (of_close and no_room):
            # To be sent again, behind a wait, on a connection of its own: there the
            # server says what it has.
            msg = f"the server has no room: {why}"
            raise StreamLostError(msg)

    def _chunk_failed(self, message: Failed, why: str) -> None:
        if message.error == _TAKEN_OVER:
            raise StreamRefusedError("another connection writes the session")
        if message.error == _NO_ROOM:
            self.unacked.put_aside()
            return
        size = self.unacked.refuse()
        self._tell(f"the server did not take a chunk of {size} bytes: {why}")
        self.acks.append(_ack(message, "error", why))

    def _complete(self, message: Completed) -> None:
        self.summary = StreamSummary(
            session_id=message.session_id,
            chunk_count=message.chunk_count,
            bytes_received=message.bytes_received,
            duration_s=message.duration_s,
            file_path=message.file_path,
            reason=message.reason,
        )

    def _tell(self, text: str) -> None:
        """Have somebody told that a chunk was not taken; the first one counts."""
        if self.setback is None:
            self.setback = StreamError(text, session_id=self.session_id)

    def _end(self, exc: StreamError | ValueError) -> None:
        """
        Decide what the end of a connection means.

        Raises:
            StreamLostError: Another one may follow.
            StreamRefusedError: None may.
        """
        said = self._complaint.error if self._complaint else ""
        if self.leaving or self.summary is not None:
            return
        if said == _COMPLETED and self._close_sent and not self.unacked.size:
            # It was completed as it should be; the word of it was lost.
            self.summary = StreamSummary(
                session_id=self.session_id,
                chunk_count=self.chunk_count,
                bytes_received=self.unacked.offset,
            )
            return
        text = str(exc)
        if self._complaint is not None and self._complaint.expected is not None:
            missing = self.unacked.offset - self._complaint.expected
            text = f"the server has lost {missing} bytes that it had acknowledged"
        elif said and said not in text:
            text = f"{text}: {said}"
        text = f"{self._endpoint}: {shown(self._endpoint.hide(text))}"
        _logger.debug("%s", text)
        lost = isinstance(exc, StreamLostError)
        raise (StreamLostError if lost else StreamRefusedError)(
            text, code=getattr(exc, "code", None), session_id=self.session_id
        ) from exc.__cause__


def _ack(message: Taken, status: Literal["active", "error"], text: str) -> StreamAck:
    return StreamAck(
        session_id=message.session_id,
        chunk_count=message.chunk_count,
        bytes_received=message.bytes_received,
        status=status,
        message=text,
    )
