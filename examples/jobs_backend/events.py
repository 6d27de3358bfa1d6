"""
What changes, told to everybody who listens: server-sent events.

One look at the database serves all listeners, and happens only while there are some.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import re
from typing import TYPE_CHECKING, Any, Final

import anyio
from jobs_json import head

from voicepipe import JobStore, StoreError


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from voicepipe import Job


_logger = logging.getLogger("jobs_backend")

LOOK_S: Final = 0.5
KEEP_ALIVE_S: Final = 15.0
MAX_LISTENERS: Final = 200

# What is written by clocks that differ, or in transactions that take long, may come
# behind what is later: so much is looked at again.
_OVERLAP = dt.timedelta(seconds=10)
_PATIENCE_S = 5.0
_CURSOR = re.compile(r"[0-9]{15,16}", re.ASCII)  # from 1973 to 2286
_PAGE = 500
_MOST_PENDING = 20_000
_MOST_DELETED = 10_000


class Listener:
    """
    Somebody who wants to know; of each job only the latest is kept for him.

    Args:
        job_id: The only job that he wants to know of; ``None`` for all.
    """

    def __init__(self, job_id: int | None = None) -> None:
        """Nothing has happened yet."""
        self._job_id = job_id
        self._pending: dict[int, str] = {}
        self._news = anyio.Event()
        self.ended: bool = False

    def tell(self, job_id: int, event: str) -> None:
        """Take an event; the one of the same job before goes."""
        if self._job_id is not None and job_id != self._job_id:
            return
        self._pending.pop(job_id, None)
        self._pending[job_id] = event
        # He comes back, and asks from where he was.
        self.ended = self.ended or len(self._pending) > _MOST_PENDING
        self._news.set()

    def end(self) -> None:
        """Have him go."""
        self.ended = True
        self._news.set()

    async def wait(self, limit_s: float) -> list[str]:
        """Give what has happened; nothing after so many seconds."""
        with anyio.move_on_after(limit_s):
            await self._news.wait()
        self._news = anyio.Event()
        events, self._pending = list(self._pending.values()), {}
        return events


class Changes:
    """
    Watches the jobs for all listeners.

    Args:
        store: Where the jobs are.
    """

    def __init__(self, store: JobStore) -> None:
        """Nobody listens yet."""
        self._store = store
        self._listeners: set[Listener] = set()
        self._somebody = anyio.Event()
        self._ready = anyio.Event()
        self._since: dt.datetime | None = None
        self._seen: dict[int, dict[str, Any]] = {}
        self._deleted: dict[int, dt.datetime] = {}
        self.ended: bool = False

    def __len__(self) -> int:
        return len(self._listeners)

    @contextlib.contextmanager
    def listen(self, job_id: int | None = None) -> Iterator[Listener]:
        """Have a listener in the ``with`` block."""
        listener = Listener(job_id)
        if self.ended:
            listener.end()
        self._listeners.add(listener)
        self._somebody.set()
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def deleted(self, job_ids: Iterable[int]) -> None:
        """Tell that jobs are gone."""
        now = dt.datetime.now(dt.UTC)
        for job_id in job_ids:
            self._seen.pop(job_id, None)
            self._deleted[job_id] = now
            self._tell(job_id, _event("deleted", {"id": job_id}, now))
        while len(self._deleted) > _MOST_DELETED:
            self._deleted.pop(next(iter(self._deleted)))

    def end(self) -> None:
        """Have all listeners go: the server stops."""
        self.ended = True
        for listener in self._listeners:
            listener.end()

    async def watch(self) -> None:
        """Look for changes while somebody listens; never ends."""
        while True:
            if not self._listeners:
                self._somebody, self._ready = anyio.Event(), anyio.Event()
                await self._somebody.wait()
                self._since = None
            try:
                await self._look()
                self._ready.set()
            except StoreError as exc:
                _logger.warning("changes cannot be seen: %s", exc)
            await anyio.sleep(LOOK_S)

    async def ready(self) -> None:
        """Wait until every later change will be seen, whatever clocks say."""
        with anyio.move_on_after(_PATIENCE_S):
            await self._ready.wait()

    async def now(self, job_id: int) -> str:
        """Give an event that tells how a job is."""
        found = await self._store.list(limit=1, before=job_id + 1, results=False)
        if found and found[0].id == job_id:
            return job_event(found[0])
        return _event("deleted", {"id": job_id}, dt.datetime.now(dt.UTC))

    async def since(self, cursor: str) -> AsyncIterator[str]:
        """Give the events that somebody has missed who knows all until a cursor."""
        if not _CURSOR.fullmatch(cursor):
            return
        start = dt.datetime.fromtimestamp(int(cursor) / 1e6, dt.UTC)
        for job_id, at in list(self._deleted.items()):
            if at >= start:
                yield _event("deleted", {"id": job_id}, start)
        # The newest job comes first, which may not have changed last: who is cut off
        # in the middle has to ask from the same place again.
        latest = start
        async for job in self._changed(start - _OVERLAP):
            latest = max(latest, job.updated_at)
            yield _event("job", dict(head(job)), start)
        yield f"id: {_cursor(latest)}\n\n"

    async def _look(self) -> None:
        # The first look only shows what is not new.
        first = self._since is None
        latest = start = self._since or dt.datetime.now(dt.UTC)
        seen: dict[int, dict[str, Any]] = {}
        async for job in self._changed(start - _OVERLAP):
            latest = max(latest, job.updated_at)
            seen[job.id] = _gist(job)
            new = not first and seen[job.id] != self._seen.get(job.id)
            if new and job.id not in self._deleted:
                self._tell(job.id, job_event(job))
        self._seen, self._since = seen, latest

    async def _changed(self, since: dt.datetime) -> AsyncIterator[Job]:
        before: int | None = None
        while True:
            page = await self._store.list(
                limit=_PAGE, before=before, changed_since=since, results=False
            )
            for job in page:
                yield job
            if len(page) < _PAGE:
                return
            before = page[-1].id

    def _tell(self, job_id: int, event: str) -> None:
        for listener in self._listeners:
            listener.tell(job_id, event)


def _gist(job: Job) -> dict[str, Any]:
    """Give what is worth an event when it changes; a renewed lease is not."""
    gist = dict(head(job))
    if job.status == "processing":
        del gist["updated_at"]
    return gist


def job_event(job: Job) -> str:
    """Give a job as an event."""
    return _event("job", dict(head(job)), job.updated_at)


def _cursor(at: dt.datetime) -> int:
    """Give a time as the id of an event: microseconds since 1970."""
    return round(at.timestamp() * 1e6)


def _event(kind: str, data: dict[str, Any], at: dt.datetime) -> str:
    return f"id: {_cursor(at)}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"


async def stream(
    changes: Changes, job_id: int | None, cursor: str
) -> AsyncIterator[str]:
    """
    Give the text of an event stream, until the server stops.

    Args:
        changes: What to listen to.
        job_id: The only job of concern, told at once; ``None`` for all.
        cursor: The id of the last event that was heard; empty for none.
    """
    with changes.listen(job_id) as listener:
        await changes.ready()
        yield "retry: 2000\n\n"
        if job_id is not None:
            # Not before: what changes until then is not told. What was told is older.
            await listener.wait(0)
            yield await changes.now(job_id)
        if cursor:
            async for event in changes.since(cursor):
                yield event
        while not listener.ended:
            events = await listener.wait(KEEP_ALIVE_S)
            yield "".join(events) or ": still here\n\n"
