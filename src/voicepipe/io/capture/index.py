"""
The sessions of a folder that are not active, in SQLite.

One row for each; the active ones are in memory, and in the journal. Rows are found by
id, and listed by the time of creation, the newest first, so that a page costs the same
however many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from voicepipe.io.capture.schema import INDEX
from voicepipe.io.capture.states import Saved
from voicepipe.io.capture.values import SessionSpec
from voicepipe.io.own_database import OwnDatabase
from voicepipe.stream.sessions.session import Counters


if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any

    from voicepipe.io.capture.values import CaptureStatus


INDEX_NAME = "sessions.sqlite3"

_COLUMNS = (
    "status, id, user_id, rate, channels, format, created, updated, chunks, received, "
    "frames, max_frames, sequence, active_s, dropped"
)


class Row(NamedTuple):
    """A session that is not active."""

    status: CaptureStatus
    saved: Saved


class Index:
    """
    The index of one folder, held by this process alone; for worker threads.

    May be called from several threads at once: they take turns.

    Args:
        folder: Must exist.

    Raises:
        CaptureError: If the file is not an index, is damaged, or in use.
        DiskFullError: From all methods, if there is no space left.
        OSError: If the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        """Open the index, or make one."""
        self._database = OwnDatabase(folder / INDEX_NAME, INDEX)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def put(self, rows: Iterable[Row]) -> None:
        """Keep sessions; on disk when it returns."""
        with self._database.transaction() as connection:
            connection.executemany(
                f"INSERT OR REPLACE INTO sessions ({_COLUMNS}, snapshot) "  # noqa: S608
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                map(_values, rows),
            )

    def get(self, session_id: str) -> Row | None:
        """Give a session with its snapshot."""
        with self._database.transaction() as connection:
            row = connection.execute(
                f"SELECT snapshot, {_COLUMNS} FROM sessions WHERE id = ?",  # noqa: S608
                (session_id,),
            ).fetchone()
        return None if row is None else _row(*row)

    def remove(self, session_id: str) -> bool:
        """Remove a session, and tell whether it was there."""
        with self._database.transaction() as connection:
            query = "DELETE FROM sessions WHERE id = ?"
            return connection.execute(query, (session_id,)).rowcount > 0

    def newest(self) -> int:
        """Give when the last session was created; 0 without any."""
        with self._database.transaction() as connection:
            query = "SELECT coalesce(max(created), 0) FROM sessions"
            return int(connection.execute(query).fetchone()[0])

    def page(
        self,
        *,
        before: int,
        limit: int | None = None,
        status: CaptureStatus | None = None,
        user_id: str | None = None,
    ) -> list[Row]:
        """Give sessions created before a time, newest first, without snapshots."""
        wheres = ["created < ?"]
        wanted: list[Any] = [before]
        for name, value in (("status", status), ("user_id", user_id)):
            if value is not None:
                wheres.append(f"{name} = ?")
                wanted.append(value)
        with self._database.transaction() as connection:
            rows = connection.execute(
                f"SELECT x'', {_COLUMNS} FROM sessions "  # noqa: S608
                f"WHERE {' AND '.join(wheres)} ORDER BY created DESC LIMIT ?",
                (*wanted, -1 if limit is None else limit),
            )
            return [_row(*row) for row in rows]


def _values(row: Row) -> tuple[Any, ...]:
    status, saved = row
    spec, counters = saved.spec, saved.counters
    return (
        status,
        saved.session_id,
        spec.user_id,
        spec.rate,
        spec.channels,
        spec.format,
        saved.created,
        saved.updated,
        counters.chunks,
        counters.received,
        counters.frames,
        counters.max_frames,
        counters.sequence,
        counters.active_s,
        saved.dropped,
        saved.snapshot,
    )


def _row(snapshot: bytes, status: CaptureStatus, session_id: str, *rest: Any) -> Row:
    user_id, rate, channels, form, created, updated, *counts, dropped = rest
    chunks, received, frames, max_frames, sequence, active_s = counts
    saved = Saved(
        session_id=session_id,
        spec=SessionSpec(rate=rate, channels=channels, format=form, user_id=user_id),
        created=created,
        updated=updated,
        counters=Counters(
            chunks=chunks,
            received=received,
            frames=frames,
            max_frames=max_frames,
            sequence=sequence,
            active_s=active_s,
        ),
        dropped=dropped,
        snapshot=snapshot,
    )
    return Row(status, saved)
