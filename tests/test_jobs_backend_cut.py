"""The jobs backend's files and streams, where something is cut at the worst moment."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from jobs_backend_runner import APP, short_call

from voicepipe import (
    JobRun,
    LeaseLostError,
    Segment,
    SqlJobStore,
    StoreError,
    Transcript,
)


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from voicepipe import Job


pytestmark = pytest.mark.timeout(1_200)

SAFETY_S = 240


class FaultyStore(SqlJobStore):
    """
    A database, and what happens next on the way to it.

    Attributes:
        first: Called once before the next call that changes something is carried out.
        then: Called once when it is.
    """

    first: Callable[[], Awaitable[object]] | None = None
    then: Callable[[], Awaitable[object]] | None = None

    async def add(self, source: str, /, **how: Any) -> Job:
        async with self._around():
            return await super().add(source, **how)

    async def delete(self, job_ids: Sequence[int], /) -> int:
        async with self._around():
            return await super().delete(job_ids)

    async def keep(self, job_id: int, key: str, value: str, /, **how: Any) -> None:
        async with self._around():
            await super().keep(job_id, key, value, **how)

    @contextlib.asynccontextmanager
    async def _around(self) -> AsyncIterator[None]:
        first, then = self.first, self.then
        self.first = self.then = None
        if first is not None:
            await first()
        yield
        if then is not None:
            await then()


async def breaks() -> None:
    raise StoreError("the server closed the connection", retryable=True)


class Inside:
    """
    The backend in this process, without a worker.

    Args:
        store: Its database.
        uploads: Its upload folder.
    """

    def __init__(self, store: FaultyStore, uploads: Path) -> None:
        self.store = store
        self.uploads = uploads
        self.routes: Any = importlib.import_module("routes_jobs")
        work: Any = importlib.import_module("work")
        self.engines: Any = work.Engines(None, None, None)
        backend: Any = importlib.import_module("backend")
        self.backend: Any = backend.Backend(store, None, None)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.uploads.iterdir())

    async def upload(self, key: str | None = None) -> httpx.Response:
        """Upload a recording, as by HTTP."""
        api = FastAPI()
        api.include_router(self.routes.router)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            state = {"backend": self.backend}
            await api(scope | {"state": state}, receive, send)

        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://backend"
        ) as http:
            return await http.post(
                "/api/jobs",
                files={"file": ("call.wav", short_call().read_bytes())},
                headers={} if key is None else {"Idempotency-Key": key},
            )

    async def job(self) -> Job:
        """Give the job of a new upload."""
        return await self.store.get((await self.upload()).json()["id"])

    async def clean(self) -> None:
        """Remove what was left a day ago."""
        for path in self.uploads.iterdir():
            os.utime(path, (0, 0))
        await self.backend._sweep()


@pytest.fixture(name="parts")
def the_programs_parts(tmp_path: Path) -> Iterator[Path]:
    """Let the modules of the backend be found, for an upload folder of its own."""
    names = {path.stem for path in APP.glob("*.py")}
    before = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(APP)
        patch.setenv("VOICEPIPE_REDACT", "1")
        patch.setenv("UPLOAD_FOLDER", str(uploads))
        yield uploads
    for name in names & sys.modules.keys():
        del sys.modules[name]
    sys.modules.update(before)


@contextlib.asynccontextmanager
async def opened(uploads: Path) -> AsyncIterator[Inside]:
    async with FaultyStore(uploads.with_name("jobs.db")) as store:
        yield Inside(store, uploads)


def said(text: str) -> Transcript:
    segment = Segment(start=2.0, end=4.0, text=text)
    return Transcript.of([segment], duration=10.0, model="known", language="en")


async def claimed(store: SqlJobStore, job: Job, lease_s: float = 600.0) -> JobRun:
    found = await store.claim("a test", lease_s=lease_s, job_id=job.id)
    assert found is not None
    return JobRun(store, found)


async def test_a_late_worker_leaves_the_silenced_recording_of_another_as_it_is(
    parts: Path,
) -> None:
    async with opened(parts) as inside:
        job = await inside.job()
        path = inside.backend.uploads.path(job.source)
        late = await claimed(inside.store, job, lease_s=1e-6)
        run = await claimed(inside.store, job)
        await inside.engines._silence(run, path, said("[phone]"))
        [silenced] = parts.glob("*.redacted.wav")
        before, files = silenced.read_bytes(), inside.files()

        with pytest.raises(LeaseLostError):
            await inside.engines._silence(late, path, said("nothing"))

        assert silenced.read_bytes() == before
        assert inside.files() == files
        # The current one may write it anew, and peaks of what it was go.
        silenced.with_name(f"{path.stem}.peaks.json").write_bytes(b"{}")
        await inside.engines._silence(run, path, said("nothing"))
        assert silenced.read_bytes() != before
        assert inside.files() == files


@pytest.mark.parametrize("when", ["first", "then"])
async def test_nothing_stays_of_a_job_that_is_deleted_while_it_is_silenced(
    parts: Path, when: str
) -> None:
    async with opened(parts) as inside:
        job = await inside.job()
        path = inside.backend.uploads.path(job.source)
        run = await claimed(inside.store, job)

        async def delete() -> None:
            assert len(inside.files()) == 2
            await inside.backend.delete([job.id], [job.source])

        setattr(inside.store, when, delete)
        with contextlib.suppress(LeaseLostError):
            await inside.engines._silence(run, path, said("[phone]"))

        assert inside.files() == []


async def test_silencing_that_is_cancelled_leaves_nothing(parts: Path) -> None:
    async with opened(parts) as inside:
        job = await inside.job()
        path = inside.backend.uploads.path(job.source)
        run = await claimed(inside.store, job)
        with anyio.CancelScope() as scope:

            async def cancel() -> None:
                scope.cancel()

            inside.store.first = cancel
            await inside.engines._silence(run, path, said("[phone]"))

        assert scope.cancelled_caught
        assert inside.files() == [path.name]


async def test_a_deletion_that_is_cancelled_takes_the_recording_too(
    parts: Path,
) -> None:
    async with opened(parts) as inside:
        job = await inside.job()
        with anyio.CancelScope() as scope:

            async def cancel() -> None:
                scope.cancel()

            inside.store.then = cancel
            await inside.backend.delete([job.id], [job.source])

        assert await inside.store.list() == ()
        assert inside.files() == []


async def test_what_a_deletion_leaves_that_broke_off_is_swept(parts: Path) -> None:
    async with opened(parts) as inside:
        gone, other = await inside.job(), await inside.job()
        run = await claimed(inside.store, gone)
        path = inside.backend.uploads.path(gone.source)
        await inside.engines._silence(run, path, said("[phone]"))
        inside.store.then = breaks

        with pytest.raises(StoreError):
            await inside.backend.delete([gone.id], [gone.source])
        await inside.clean()

        assert [job.id for job in await inside.store.list()] == [other.id]
        assert inside.files() == [inside.backend.uploads.path(other.source).name]


@pytest.mark.parametrize("swept", [False, True])
async def test_a_job_that_could_not_be_deleted_has_its_recording(
    parts: Path,
    swept: bool,  # noqa: FBT001
) -> None:
    async with opened(parts) as inside:
        job = await inside.job()
        inside.store.first = breaks

        with pytest.raises(StoreError):
            await inside.backend.delete([job.id], [job.source])
        if swept:
            await inside.clean()

        path = inside.backend.uploads.path(job.source)
        assert path.read_bytes() == short_call().read_bytes()
        assert inside.files() == [path.name]
        assert await inside.backend.delete([job.id], [job.source]) == 1
        assert inside.files() == []


async def test_a_job_is_deleted_whose_folder_is_gone(parts: Path) -> None:
    async with opened(parts) as inside:
        job = await inside.job()
        shutil.rmtree(parts)

        assert await inside.backend.delete([job.id], [job.source]) == 1


async def test_an_upload_whose_answer_was_lost_is_whole_when_it_is_said_again(
    parts: Path,
) -> None:
    async with opened(parts) as inside:
        inside.store.then = breaks
        with pytest.raises(StoreError):
            await inside.upload("a key")
        [job] = await inside.store.list()

        answers = [await inside.upload("a key") for _ in range(2)]

        assert [(a.status_code, a.json()["id"]) for a in answers] == [(200, job.id)] * 2
        path = inside.backend.uploads.path(job.source)
        assert path.read_bytes() == short_call().read_bytes()
        assert inside.files() == [path.name]


async def test_nothing_stays_of_a_job_that_goes_while_its_upload_is_said_again(
    parts: Path,
) -> None:
    async with opened(parts) as inside:
        inside.store.then = breaks
        with pytest.raises(StoreError):
            await inside.upload("a key")
        [job] = await inside.store.list()

        async def delete() -> None:
            await inside.backend.delete([job.id], [job.source])

        inside.store.then = delete
        await inside.upload("a key")
        await inside.clean()

        assert inside.files() == []


async def told(inside: Inside, job: Job, act: Callable[[], Awaitable[object]]) -> str:
    """Give the first event of a job's own stream, if something happens before."""
    state = SimpleNamespace(backend=inside.backend)
    answer = await inside.routes.job_events(SimpleNamespace(state=state), job.id)
    await act()
    heard: list[str] = []
    async with anyio.create_task_group() as group:
        group.start_soon(inside.backend.changes.watch)
        with anyio.fail_after(SAFETY_S):
            async with contextlib.aclosing(answer.body_iterator) as texts:
                heard += [await anext(texts), await anext(texts)]
        group.cancel_scope.cancel()
    assert heard[0].startswith("retry: ")
    return heard[1]


async def test_a_jobs_own_events_miss_nothing_before_they_begin(parts: Path) -> None:
    async with opened(parts) as inside:
        job = await inside.job()

        first = await told(inside, job, lambda: inside.store.cancel(job.id))

        assert first.count("event: job") == 1
        assert '"status": "error"' in first


async def test_events_of_a_job_that_is_deleted_before_they_begin_say_so(
    parts: Path,
) -> None:
    async with opened(parts) as inside:
        job = await inside.job()

        first = await told(inside, job, lambda: inside.store.delete([job.id]))

        assert "event: deleted" in first
        assert f'{{"id": {job.id}}}' in first


async def test_what_was_told_before_how_a_job_is_does_not_come_after_it(
    parts: Path,
) -> None:
    heard: list[str] = []
    begun = anyio.Event()
    async with opened(parts) as inside, anyio.create_task_group() as group:
        job = await inside.job()
        changes = inside.backend.changes
        state = SimpleNamespace(backend=inside.backend)
        answer = await inside.routes.job_events(SimpleNamespace(state=state), job.id)

        async def hear() -> None:
            async for text in answer.body_iterator:
                heard.append(text)
                if len(heard) == 2:
                    begun.set()

        group.start_soon(hear)
        await anyio.wait_all_tasks_blocked()
        changes._tell(job.id, "earlier")
        changes._ready.set()
        await begun.wait()
        await anyio.wait_all_tasks_blocked()
        changes._tell(job.id, "later")
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()

    assert "event: job" in heard[1]
    assert heard[2:] == ["later"]
