"""All sessions of a folder, active or not, for who asks."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

from voicepipe.errors import SessionNotFoundError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from voicepipe.io.capture.index import Index, Row
    from voicepipe.io.capture.live import Live
    from voicepipe.io.capture.values import CaptureStatus, SessionInfo


T = TypeVar("T")

# Later than all sessions, microseconds of Unix time.
_NEVER = 1 << 62


class Catalogue:
    """
    Tells about sessions: the active ones from memory, the others from the index.

    Args:
        folder: Where the WAV files are.
        lives: The active sessions by id.
        index: The others.
        clock: Tells the time.
    """

    def __init__(
        self,
        folder: Path,
        lives: Mapping[str, Live],
        index: Index,
        clock: Callable[[], float],
    ) -> None:
        """Keep the parts."""
        self._folder = folder
        self._lives = lives
        self._clock = clock
        self.index: Index = index
        self._asking = anyio.CapacityLimiter(1)

    async def info(self, session_id: str) -> SessionInfo:
        """Tell about a session."""
        live = self._lives.get(session_id)
        if live is not None:
            return self.tell(live)
        row = await self.row(session_id)
        return self.tell_row(row)

    async def page(
        self,
        *,
        limit: int | None,
        before: str | None,
        status: CaptureStatus | None,
        user_id: str | None,
    ) -> list[SessionInfo]:
        """List sessions."""
        begin = _NEVER
        if before is not None:
            live = self._lives.get(before)
            begin = live.created if live else (await self.row(before)).saved.created
        # One that is parked meanwhile is in one of the two, or in both.
        found = self._active(begin)
        if status != "active":
            ask = functools.partial(
                self.index.page,
                before=begin,
                limit=None if limit is None else limit + len(self._lives),
                status=status,
                user_id=user_id,
            )
            for row in await self.ask(ask):
                found[row.saved.created] = self.tell_row(row)
        found |= self._active(begin)
        wanted = [
            info
            for _, info in sorted(found.items(), reverse=True)
            if status in {None, info.status} and user_id in {None, info.user_id}
        ]
        return wanted[:limit]

    def tell(self, live: Live) -> SessionInfo:
        """Tell about a session that is or was active."""
        session = live.session
        if session.ending is None or live.last is None:
            saved = live.saved(self._clock())
            count = len(session.connections)
            return saved.info(self._folder, "active", connections=count)
        is_completed = session.ending in {"completed", "full"}
        return live.last.info(
            self._folder, "completed" if is_completed else "interrupted"
        )

    def tell_row(self, row: Row) -> SessionInfo:
        """Tell about a session that is not active."""
        return row.saved.info(self._folder, row.status)

    async def row(self, session_id: str) -> Row:
        """
        Give a session that is not active.

        Raises:
            SessionNotFoundError: If there is none.
        """
        row = await self.ask(functools.partial(self.index.get, session_id))
        if row is None:
            msg = f"there is no session {session_id}"
            raise SessionNotFoundError(msg, session_id=session_id)
        return row

    async def ask(self, question: Callable[[], T]) -> T:
        """Ask the index something, in a worker thread."""
        return await anyio.to_thread.run_sync(question, limiter=self._asking)

    def _active(self, before: int) -> dict[int, SessionInfo]:
        return {
            live.created: self.tell(live)
            for live in self._lives.values()
            if live.created < before
        }
