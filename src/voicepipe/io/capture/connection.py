"""One client's way to a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self, cast

import anyio


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from voicepipe.io.capture.intake import Intake
    from voicepipe.io.capture.live import Live
    from voicepipe.io.capture.values import ChunkAck, EndReason, SessionInfo
    from voicepipe.stream.sessions.session import Connection


class Desk(NamedTuple):
    """
    What a connection asks its store for.

    Attributes:
        tell: Tells about a session.
        complete_full: Completes a session that has reached its longest duration.
        close_session: Completes a session.
        leave: Takes a connection away.
    """

    tell: Callable[[Live], SessionInfo]
    complete_full: Callable[[Live], Awaitable[None]]
    close_session: Callable[[str], Awaitable[SessionInfo]]
    leave: Callable[[Connection], None]


class CaptureConnection:
    """
    One client's way to a session; made by ``CaptureStore.create`` and ``join``.

    As an async context manager it leaves at the end.

    Attributes:
        session_id: The session's id.
        offset: Bytes that the session had when this connection joined: where a client
            goes on from.
    """

    def __init__(
        self, live: Live, connection: Connection, intake: Intake, desk: Desk
    ) -> None:
        """Keep the parts."""
        self.session_id: str = live.session.session_id
        self.offset: int = connection.joined_at
        self._live = live
        self._connection = connection
        self._intake = intake
        self._desk = desk
        self._ended = anyio.Event()

    @property
    def info(self) -> SessionInfo:
        """The session as it is now, or as it was when it stopped being active."""
        return self._desk.tell(self._live)

    @property
    def end_reason(self) -> EndReason | None:
        """Why the store has ended this connection, ``None`` while it has not."""
        ending = self._connection.ending
        return None if ending == "left" else ending

    async def write(self, data: bytes | bytearray | memoryview) -> ChunkAck:
        """
        Add a chunk; returns when it is safe.

        The whole chunk counts, or after an error nothing of it. Calls at the same time
        are done one after the other. Waits while more than ``max_pending_bytes`` are
        on their way to the disk.

        Args:
            data: The next bytes of a stream, cut anywhere.

        Raises:
            SessionBusyError: If another connection is writing.
            SessionClosedError: If the session is completed.
            SessionFullError: If it is, as it has reached its longest duration.
            ChunkTooLargeError: If the chunk is longer than ``max_chunk_bytes``.
            AudioError: If the bytes are no sound that can be recorded.
            DecoderCrashedError: If the helper process that decodes has died; as
                ``DecoderTimeoutError`` an ``AudioError``.
            DiskFullError: If there is no space left.
            OSError: If the disk fails.
            CaptureError: If this connection has left or was ended, or the store is
                closed.

        Cancellation: the chunk counts whole or not at all; ``info`` or the next
        acknowledgement tells.
        """
        ack = await self._intake.write(self._live, self._connection, data)
        if ack.completed:
            await self._desk.complete_full(self._live)
        return ack

    def submit(
        self, data: bytes, told: Callable[[ChunkAck | None, Exception | None], None]
    ) -> bool:
        """
        Add a chunk, if that needs no waiting here, and go on at once.

        For servers: ``write`` keeps a task waiting for each chunk, which is a tenth of
        what a chunk costs. What is refused here can still be written.

        Args:
            data: As for ``write``.
            told: Called from the event loop when the chunk is safe, with its
                acknowledgement and ``None``; else with ``None`` and the error. Called
                once, at the latest when the store closes; must not block.

        Returns:
            Whether the chunk was taken up. It is not where another one of the session
            is under way, or there is no memory left for it; then nothing has happened,
            and ``told`` is not called.

        Raises:
            VoicepipeError: As ``write``, where that is known at once.
            OSError: Likewise.
        """
        return self._intake.submit(self._live, self._connection, data, told)

    async def close_session(self) -> SessionInfo:
        """Complete the session; as ``CaptureStore.close_session``."""
        return await self._desk.close_session(self.session_id)

    async def leave(self) -> None:
        """Take the connection away; the session stays. Again is harmless."""
        self.drop()

    async def wait_ended(self) -> EndReason:
        """Wait until the store ends this connection, and say why; not for ``leave``."""
        await self._ended.wait()
        return cast("EndReason", self._connection.ending)

    def drop(self) -> None:
        """Leave, without a checkpoint."""
        self._desk.leave(self._connection)

    def tell_ended(self) -> None:
        """Wake who waits for the end; the store's to call."""
        self._ended.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.leave()
