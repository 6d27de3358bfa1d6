"""The program on the page on workers does what the page says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio

from voicepipe import Job, SqlJobStore, read_audio, write_wav


ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "docs" / "snippets" / "worker.py"
SAMPLE = ROOT / "examples" / "data" / "sample_call.flac"


def test_the_worker_on_the_page_works_until_it_is_told_to_stop(
    store_url: str, tmp_path: Path
) -> None:
    async def add() -> int:
        sample = await read_audio(SAMPLE)
        await write_wav(tmp_path / "call.wav", sample.cut(0.0, 4.0))
        async with SqlJobStore(store_url) as store:
            return (await store.add(str(tmp_path / "call.wav"), name="call.wav")).id

    async def done(job_id: int) -> Job:
        async with SqlJobStore(store_url) as store:
            while True:
                job = await store.get(job_id)
                if job.status in {"done", "error"}:
                    return job
                await anyio.sleep(0.05)

    job_id = anyio.run(add)
    worker = subprocess.Popen([sys.executable, PROGRAM, store_url])
    try:
        job = anyio.run(done, job_id)
        worker.terminate()
        assert worker.wait(60) == 0
    finally:
        worker.kill()
        worker.wait()

    assert (job.status, job.error) == ("done", None)
    assert job.transcript is not None
    assert "flower" in job.transcript.text
    assert job.analysis is not None
