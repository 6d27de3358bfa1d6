from __future__ import annotations

import anyio
import numpy as np
import pytest

from voicepipe import Analysis, Audio, Pipeline, Transcript
from voicepipe.jobs.run import JobRun
from voicepipe.pipeline import steps
from voicepipe.testing import FakeAnalyzer, FakeJobStore, FakeTranscriber


rng = np.random.default_rng(5)
CALL = Audio(samples=rng.uniform(-0.4, 0.4, (32_000, 1)), rate=16_000)


async def claimed(store: FakeJobStore) -> JobRun:
    await store.add("call.wav")
    job = await store.claim("me", lease_s=100.0)
    assert job is not None
    return JobRun(store, job)


class Cancelled:
    """An engine that is cancelled in the moment in which it has its result."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self._scope = scope

    async def transcribe(self, audio: Audio, /) -> Transcript:
        found = await FakeTranscriber().transcribe(audio)
        self._scope.cancel()
        return found

    async def analyze(self, transcript: Transcript, /) -> Analysis:
        found = await FakeAnalyzer().analyze(transcript)
        self._scope.cancel()
        return found


class AwayStore(FakeJobStore):
    """Keeps nothing before it is back."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.asked_twice = anyio.Event()
        self.back = anyio.Event()

    async def keep(self, job_id: int, key: str, value: str, /, *, attempt: int) -> None:
        self.asked += 1
        if self.asked == 2:
            self.asked_twice.set()
        await self.back.wait()
        await super().keep(job_id, key, value, attempt=attempt)


@pytest.mark.parametrize("step", ["transcript", "analysis"])
async def test_a_result_that_comes_with_a_cancellation_is_kept(
    step: str,
) -> None:
    store = FakeJobStore()
    run = await claimed(store)

    with anyio.CancelScope() as scope:
        late, fake = Cancelled(scope), FakeTranscriber()
        pipeline = Pipeline(late if step == "transcript" else fake, late)
        await pipeline.work(run, source=CALL)

    assert scope.cancel_called
    assert any(key.startswith(step) for key in store._kept[1])


async def test_a_cancellation_does_not_wait_for_a_cache_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, "_KEEP_S", 0.05)
    store = AwayStore()
    run = await claimed(store)

    with anyio.CancelScope() as scope:
        await Pipeline(Cancelled(scope)).work(run, source=CALL)

    assert scope.cancelled_caught
    assert store.asked == 1


async def test_a_cache_that_is_away_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, "_KEEP_S", 0.05)
    store = AwayStore()
    run = await claimed(store)

    async def work() -> None:
        await Pipeline(FakeTranscriber()).work(run, source=CALL)

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        with anyio.fail_after(60):
            await store.asked_twice.wait()
        store.back.set()

    assert any(key.startswith("transcript") for key in store._kept[1])
