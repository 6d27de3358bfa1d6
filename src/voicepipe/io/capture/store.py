"""Sessions of live audio in one folder, recorded by one process."""

from __future__ import annotations

import contextlib
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Self

import anyio
import anyio.to_thread

from voicepipe.errors import CaptureError, SessionNotFoundError
from voicepipe.io.capture.apart import apart
from voicepipe.io.capture.disk import Disk
from voicepipe.io.capture.recorder import Recorder
from voicepipe.io.capture.states import wav_path
from voicepipe.io.capture.values import CaptureOptions
from voicepipe.tasks import task_group


if TYPE_CHECKING:
    import os
    from types import TracebackType

    from anyio.abc import TaskGroup

    from voicepipe.io.capture.connection import CaptureConnection
    from voicepipe.io.capture.values import CaptureStatus, SessionInfo, SessionSpec


# A UUID of version 4 as Python writes it, RFC 9562 section 5.4.
_SESSION_ID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)


class CaptureStore:
    """
    Records sessions of live audio, each into a WAV file of its own.

    What ``CaptureConnection.write`` has acknowledged is kept: all chunks go to one
    journal in the folder before they are acknowledged, and from there to the WAV files,
    a moment later. After the process was killed the next one that opens the folder
    finds each session with all that was acknowledged, as ``interrupted``; ``join`` goes
    on with it. Beside the WAV files the folder has ``sessions.sqlite3``, which lists
    the sessions that are not active, and the journal, ``.journal-…``.

    One process at a time may use a folder. All waiting is done on the event loop on
    which the store was entered, anyio's asyncio or trio; the disk is written in worker
    threads, so that one that stalls holds up this store's chunks and nothing else.

    Args:
        folder: Where the files are; made if it is missing.
        options: Limits and durability.

    Raises:
        CaptureError: On entering, if another process uses the folder, or its index is
            not one of ours.
        DiskFullError: On entering, if there is no space left.
        OSError: On entering, if the folder cannot be used.

    Cancellation: every method may be cancelled at any moment. What it was doing is
    then done whole, or not at all.

    Example:
        >>> async with CaptureStore("audio_sessions") as store:  # doctest: +SKIP
        ...     connection = await store.create(SessionSpec(rate=16_000))
        ...     ack = await connection.write(chunk)
        ...     info = await connection.close_session()
    """

    def __init__(
        self, folder: str | os.PathLike[str], options: CaptureOptions | None = None
    ) -> None:
        """Keep the folder's name."""
        self.folder: Path = Path(folder)
        self.options: CaptureOptions = options or CaptureOptions()
        self._stack = contextlib.AsyncExitStack()
        self._disk: Disk | None = None
        self._recorder: Recorder | None = None
        self._is_empty = False

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._let_go)
            group = await stack.enter_async_context(task_group())
            open_disk = functools.partial(
                Disk, self.folder, isolated=self.options.isolated
            )
            self._disk = await apart(
                group,
                functools.partial(anyio.to_thread.run_sync, open_disk),
                Disk.close,
            )
            self._recorder = Recorder(self.folder, self.options, self._disk, group)
            await self._recorder.start()
            stack.push_async_callback(self._stop, group)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    async def _stop(self, group: TaskGroup) -> None:
        """Park all sessions; whatever ends the block, unless the task is killed."""
        try:
            with anyio.CancelScope(shield=True):
                self._is_empty = await self._open.stop()
        finally:
            group.cancel_scope.cancel()

    async def _let_go(self) -> None:
        disk, self._disk = self._disk, None
        self._recorder = None
        if disk is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(
                    functools.partial(disk.close, is_empty=self._is_empty)
                )

    @property
    def _open(self) -> Recorder:
        if self._recorder is None:
            raise CaptureError("the store is not open")
        return self._recorder

    @property
    def active(self) -> int:
        """Number of active sessions."""
        return len(self._open.lives)

    @property
    def pending_bytes(self) -> int:
        """Accepted bytes that are not in their WAV files yet."""
        return self._open.budget.used

    async def create(self, spec: SessionSpec) -> CaptureConnection:
        """
        Begin a session.

        Returns:
            The first connection to it.

        Raises:
            TooManySessionsError: If there are ``max_sessions`` active ones with a
                connection to each; else the one that has had none for longest is
                parked.
            DiskFullError: If there is no space left.
            OSError: If its file cannot be made.
            CaptureError: If the store is closed.
        """
        return await self._open.create(spec)

    async def join(
        self, session_id: str, *, offset: int | None = None, user_id: str = ""
    ) -> CaptureConnection:
        """
        Connect to a session, and go on with it if it is interrupted.

        Who joins without an offset adds to the end, once nobody else is writing. With
        an offset the connection takes over: from then on it alone writes, what it
        sends begins at that offset, and bytes that the session has already are dropped.

        Args:
            session_id: The session.
            offset: Where the connection's first byte stands among the session's bytes.
            user_id: Who joins; sessions are open to all who know their id, and the
                session stays with who has begun it.

        Raises:
            SessionNotFoundError: If there is none of this id.
            SessionClosedError: If it is completed.
            TooManyConnectionsError: If it has ``max_connections``.
            TooManySessionsError: If it is interrupted, and there are ``max_sessions``
                active ones.
            OffsetGapError: If the offset is behind what the session has.
            DiskFullError: If it is interrupted, and there is no space left.
            OSError: If its file cannot be opened.
            ValueError: If the offset is negative.
            CaptureError: If the store is closed.
        """
        _check_id(session_id)
        if offset is not None and offset < 0:
            msg = f"offset must be at least 0, not {offset}"
            raise ValueError(msg)
        del user_id  # kept for who will want to check it
        return await self._open.join(session_id, offset)

    async def close_session(self, session_id: str) -> SessionInfo:
        """
        Complete a session; again is harmless.

        Its WAV file is final and on disk then, and its connections are ended.

        Raises:
            SessionNotFoundError: If there is none of this id.
            DiskFullError: If there is no space left; it stays as it was.
            OSError: If its file cannot be written; it stays as it was.
            CaptureError: If the store is closed.
        """
        _check_id(session_id)
        return await self._open.close_session(session_id)

    async def info(self, session_id: str) -> SessionInfo:
        """
        Tell about a session.

        Raises:
            SessionNotFoundError: If there is none of this id.
            CaptureError: If the store is closed.
        """
        _check_id(session_id)
        return await self._open.catalogue.info(session_id)

    async def list(
        self,
        *,
        limit: int | None = None,
        before: str | None = None,
        status: CaptureStatus | None = None,
        user_id: str | None = None,
    ) -> list[SessionInfo]:
        """
        List sessions, the newest first.

        Args:
            limit: Most sessions to give; ``None`` for all.
            before: Id of the last session of the page before.
            status: Only those with this status.
            user_id: Only those of this user.

        Raises:
            SessionNotFoundError: If there is none of the id ``before``.
            CaptureError: If the store is closed.
        """
        if before is not None:
            _check_id(before)
        return await self._open.catalogue.page(
            limit=limit, before=before, status=status, user_id=user_id
        )

    async def delete(self, session_id: str) -> None:
        """
        Remove a session and its file.

        Raises:
            SessionNotFoundError: If there is none of this id.
            SessionBusyError: If it is active.
            OSError: If its file cannot be removed.
            CaptureError: If the store is closed.
        """
        _check_id(session_id)
        await self._open.delete(session_id)

    def path(self, session_id: str) -> Path:
        """
        Give the name of a session's WAV file, whether it is there or not.

        Raises:
            SessionNotFoundError: If it is no id.
        """
        _check_id(session_id)
        return wav_path(self.folder, session_id)

    async def expire(self) -> None:
        """
        End what has been idle for too long or has become too old, by the clock.

        The store does so itself four times a second.
        """
        await self._open.expire()


def _check_id(session_id: str) -> None:
    if _SESSION_ID.fullmatch(session_id) is None:
        msg = "a session's id is a UUID of version 4"
        raise SessionNotFoundError(msg, session_id=session_id)
