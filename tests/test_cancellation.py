"""The real pipeline, cancelled at any moment: no file, thread, task, row or process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import psutil
import pytest

from voicepipe import (
    ChannelDiarizer,
    ExtractiveAnalyzer,
    Pipeline,
    PocketSphinxTranscriber,
    Progress,
    SqlJobStore,
)


if TYPE_CHECKING:
    from stress_report import Report


SAMPLE = Path(__file__).parents[1] / "examples" / "data" / "sample_call.mp3"


async def cancel_after(seconds: float, folder: Path) -> str | None:
    """Cancel a run after some time and give the stage that it had come to."""
    engine = PocketSphinxTranscriber()
    stages: list[str] = []

    def note(progress: Progress) -> None:
        stages.append(progress.stage)

    limiter = anyio.to_thread.current_default_thread_limiter()
    files = set(folder.iterdir())
    # Other tests have helpers that are kept.
    kept = set(psutil.Process().children())
    async with SqlJobStore(folder / "jobs.db") as store:
        before = await store.list()
        pipeline = Pipeline(
            engine, ExtractiveAnalyzer(), store, diarizer=ChannelDiarizer()
        )
        with anyio.move_on_after(seconds) as scope:
            await pipeline.run(SAMPLE, progress=note)
        engine.close()
        if not scope.cancelled_caught:
            return None
        assert await store.list() == before
    assert limiter.borrowed_tokens == 0
    assert set(psutil.Process().children()) <= kept
    assert not [f for f in psutil.Process().open_files() if f.path == str(SAMPLE)]
    assert set(folder.iterdir()) - {folder / "jobs.db"} == files - {folder / "jobs.db"}
    return stages[-1] if stages else "nothing"


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.05, 0.3, 1.5])
async def test_a_cancelled_run_leaves_nothing(tmp_path: Path, seconds: float) -> None:
    assert await cancel_after(seconds, tmp_path) is not None


@pytest.mark.stress
async def test_a_hundred_cancelled_runs_leave_nothing(
    tmp_path: Path, stress_report: Report, anyio_backend_name: str
) -> None:
    reached = [await cancel_after(0.003 * 1.08**i, tmp_path) for i in range(100)]

    cancelled = [stage for stage in reached if stage is not None]
    counts = {stage: cancelled.count(stage) for stage in dict.fromkeys(cancelled)}
    told = ", ".join(f"{count} after {stage}" for stage, count in counts.items())
    stress_report(
        f"runs cancelled after 3 ms to 6 s, {anyio_backend_name}",
        f"{len(cancelled)} of 100 before their end ({told}); nothing left over",
    )
    assert len(cancelled) >= 60
