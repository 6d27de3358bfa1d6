from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import anyio.to_thread
import attrs
import numpy as np
import pytest
from still_clock import Clock

from voicepipe import (
    Analysis,
    AnalysisError,
    Audio,
    Conversation,
    DecodeOptions,
    DiarizationError,
    EmptyAudioError,
    LeaseLostError,
    NotAudioError,
    Pipeline,
    PipelineOptions,
    Progress,
    Segment,
    StoreError,
    Transcript,
    TranscriptionError,
    TruncatedAudioError,
    Word,
    write_wav,
)
from voicepipe.tasks import task_group
from voicepipe.testing import (
    FakeAnalyzer,
    FakeDiarizer,
    FakeJobStore,
    FakeTranscriber,
)


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from voicepipe import Job, JobProgress, Turn


RATE = 16_000
STAGES = ["decode", "diarize", "transcribe", "analyze", "store"]


def call(seconds: float = 8.0, *, channels: int = 2, rate: int = RATE) -> Audio:
    """Sound in the first half of every other second, by one channel at a time."""
    t = np.arange(round(seconds * rate)) / rate
    rng = np.random.default_rng(0)
    x = np.zeros((len(t), channels))
    for channel in range(channels):
        on = (t % 2 < 0.8) & ((t // 2).astype(int) % channels == channel) & (t > 0.2)
        x[on, channel] = rng.uniform(-0.4, 0.4, on.sum())
    return Audio(samples=x, rate=rate)


async def test_sound_in_memory_becomes_a_conversation() -> None:
    store = FakeJobStore()
    pipeline = Pipeline(
        FakeTranscriber(), FakeAnalyzer(), store, diarizer=FakeDiarizer()
    )

    found = await pipeline.run(call(), name="a call")

    assert found.duration == 8.0
    assert [s.text for s in found.transcript.segments] == ["hello world"] * 4
    assert found.analysis is not None
    assert found.metrics.total_conversation_duration == 8.0
    assert found.job == await store.get(1)
    assert found.job is not None
    assert (found.job.status, found.job.source) == ("done", "a call")
    assert found.job.transcript == found.transcript
    assert found.job.metrics == found.metrics
    assert found.job.analysis == found.analysis
    assert set(found.elapsed) == set(STAGES)


async def test_a_file_gives_what_its_sound_gives(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    audio = Audio(samples=call().pcm16(), rate=RATE)
    await write_wav(path, audio)
    pipeline = Pipeline(FakeTranscriber(), FakeAnalyzer())

    from_file = await pipeline.run(path)
    from_memory = await pipeline.run(audio, name=str(path))

    assert attrs.evolve(from_file, report=None) == from_memory
    assert from_file.report is not None
    assert from_file.report.frames == audio.frames
    assert from_file.report.intact
    assert from_file.source == str(path)
    assert from_file.job is None


async def test_a_recording_may_be_decoded_in_a_process_of_its_own(
    tmp_path: Path,
) -> None:
    path = tmp_path / "call.wav"
    await write_wav(path, call())
    apart = PipelineOptions(decode=DecodeOptions(isolated=True))

    here = await Pipeline(FakeTranscriber()).run(path)
    there = await Pipeline(FakeTranscriber(), options=apart).run(path)

    assert there == here
    assert there.report is not None


async def test_what_is_damaged_is_told_with_the_conversation(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    await write_wav(path, call())
    path.write_bytes(path.read_bytes()[:-32_000])
    lenient = PipelineOptions(decode=DecodeOptions(allow_truncated=True))

    with pytest.raises(TruncatedAudioError):
        await Pipeline(FakeTranscriber()).run(path)
    found = await Pipeline(FakeTranscriber(), options=lenient).run(path)

    assert found.report is not None
    assert found.report.truncated
    assert found.report.frames == round(found.duration * RATE)


async def test_other_rates_are_resampled() -> None:
    found = await Pipeline(FakeTranscriber()).run(call(rate=44_100))

    assert found.duration == pytest.approx(8.0, abs=0.001)
    assert len(found.transcript.segments) == 4


async def test_windows_give_the_same_transcript_as_one_piece() -> None:
    audio = call(100.0)
    whole = await Pipeline(
        FakeTranscriber(), options=PipelineOptions(window_s=200.0)
    ).run(audio)

    parts = await Pipeline(
        FakeTranscriber(), options=PipelineOptions(window_s=7.0)
    ).run(audio)

    times = [(s.start, s.end, s.speaker) for s in parts.transcript.segments]
    expected = [(s.start, s.end, s.speaker) for s in whole.transcript.segments]
    assert len(times) == 50
    assert [t[2] for t in times] == [t[2] for t in expected]
    np.testing.assert_allclose(
        [t[:2] for t in times], [t[:2] for t in expected], atol=0.011
    )


async def test_channels_are_speakers_without_a_diarizer() -> None:
    found = await Pipeline(FakeTranscriber()).run(call())

    assert found.transcript.speakers == ("Speaker00", "Speaker01")
    assert {turn.speaker for turn in found.turns} == {"Speaker00", "Speaker01"}


async def test_mono_is_one_speaker_without_a_diarizer() -> None:
    found = await Pipeline(FakeTranscriber()).run(call(channels=1))

    assert found.transcript.speakers == ("Speaker00",)
    assert found.metrics.speakers[0].words == 2 * len(found.transcript.segments)


async def test_the_diarizer_tells_the_speakers_of_mono() -> None:
    pipeline = Pipeline(FakeTranscriber(), diarizer=FakeDiarizer(speakers=2))

    found = await pipeline.run(call(channels=1))

    assert [s.speaker for s in found.transcript.segments] == [
        "Speaker00",
        "Speaker01",
    ] * 2


async def test_progress_rises_to_one_in_every_stage() -> None:
    events: list[Progress] = []
    pipeline = Pipeline(
        FakeTranscriber(),
        FakeAnalyzer(),
        FakeJobStore(),
        diarizer=FakeDiarizer(),
        options=PipelineOptions(window_s=10.0),
    )

    await pipeline.run(call(60.0), progress=events.append)

    for stage in STAGES:
        fractions = [e.fraction for e in events if e.stage == stage]
        assert fractions == sorted(fractions), stage
        assert fractions[-1] == 1.0, stage
    assert len([e for e in events if e.stage == "transcribe"]) >= 6
    assert all(0.0 <= e.fraction <= 1.0 and e.elapsed >= 0.0 for e in events)


async def test_one_pipeline_runs_many_recordings_at_once() -> None:
    pipeline = Pipeline(FakeTranscriber(), FakeAnalyzer(), FakeJobStore())
    found: dict[str, Conversation] = {}

    async def run(name: str) -> None:
        found[name] = await pipeline.run(call(), name=name)

    async with anyio.create_task_group() as group:
        for i in range(5):
            group.start_soon(run, str(i))

    assert {f.job.id for f in found.values() if f.job} == {1, 2, 3, 4, 5}
    assert len({f.transcript for f in found.values()}) == 1


async def test_sound_without_frames_is_empty() -> None:
    store = FakeJobStore()

    with pytest.raises(EmptyAudioError):
        await Pipeline(FakeTranscriber(), None, store).run(call().cut(0, 0))

    assert (await store.get(1)).status == "error"


class Talkative:
    """Hears thirty segments of ten words in every window."""

    def __init__(self) -> None:
        self._segments = tuple(
            Segment(
                id=i,
                start=i / 10,
                end=(i + 1) / 10,
                text="a b c d e f g h i j",
                words=tuple(
                    Word(start=i / 10 + j / 100, end=i / 10 + (j + 1) / 100, text=text)
                    for j, text in enumerate("abcdefghij")
                ),
            )
            for i in range(30)
        )

    async def transcribe(self, audio: Audio, /) -> Transcript:
        await anyio.lowlevel.checkpoint()
        segments = self._segments
        return Transcript(segments=segments, duration=audio.duration, model="m")


async def test_the_loop_is_free_while_very_many_words_are_put_together(
    least_lag: Callable[..., Awaitable[float]],
) -> None:
    """As many words as six hours have."""
    pipeline = Pipeline(
        Talkative(),
        FakeAnalyzer(),
        diarizer=FakeDiarizer(),
        options=PipelineOptions(rate=4_000, window_s=6.0),
    )

    audio = call(1_200.0, channels=1, rate=4_000)

    found = await pipeline.run(audio)

    assert found.metrics.speakers[0].words > 25_000
    assert await least_lag(lambda: pipeline.run(audio)) < 0.05


class Failing:
    """Fails in the stage that it is told."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def transcribe(self, audio: Audio, /) -> Transcript:
        raise self._error

    async def analyze(self, transcript: Transcript, /) -> Analysis:
        raise self._error

    def session(self, *, rate: int, channels: int) -> Failing:
        return self

    def push(self, audio: Audio, /) -> tuple[Turn, ...]:
        raise self._error

    def flush(self) -> tuple[Turn, ...]:
        raise self._error


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (
            lambda f, s: Pipeline(f, FakeAnalyzer(), s),
            TranscriptionError("no model", model="m"),
        ),
        (
            lambda f, s: Pipeline(FakeTranscriber(), f, s),
            AnalysisError("no quota", model="m"),
        ),
        (
            lambda f, s: Pipeline(FakeTranscriber(), None, s, diarizer=f),
            DiarizationError("no voice", model="m"),
        ),
        (lambda f, s: Pipeline(f, None, s), ZeroDivisionError("a bug")),
    ],
)
async def test_an_error_comes_bare_and_is_kept_with_the_job(
    make: Callable[[Failing, FakeJobStore], Pipeline], error: Exception
) -> None:
    store = FakeJobStore()

    with pytest.raises(type(error)) as caught:
        await make(Failing(error), store).run(call())

    assert caught.value is error
    job = await store.get(1)
    assert (job.status, job.worker) == ("error", None)
    assert job.error == f"{type(error).__name__}: {error}"


async def test_a_file_that_is_no_recording_is_kept_as_an_error(tmp_path: Path) -> None:
    path = tmp_path / "call.mp3"
    path.write_text("<html>please log in</html>")
    store = FakeJobStore()

    with pytest.raises(NotAudioError):
        await Pipeline(FakeTranscriber(), None, store).run(path)

    assert "NotAudioError" in str((await store.get(1)).error)


async def test_a_name_stands_for_the_path_in_errors_too(tmp_path: Path) -> None:
    path = tmp_path / "secret" / "call.mp3"
    path.parent.mkdir()
    path.write_bytes(b"")
    store = FakeJobStore()

    with pytest.raises(EmptyAudioError, match=r"^upload 7: ") as caught:
        await Pipeline(FakeTranscriber(), None, store).run(path, name="upload 7")

    assert caught.value.source == "upload 7"
    assert "secret" not in str((await store.get(1)).error)


async def test_the_bytes_of_a_file_will_do(tmp_path: Path) -> None:
    await write_wav(tmp_path / "call.wav", call())

    found = await Pipeline(FakeTranscriber()).run((tmp_path / "call.wav").read_bytes())

    assert found.source == "audio"
    assert len(found.transcript.segments) == 4


async def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    store = FakeJobStore()

    with pytest.raises(FileNotFoundError):
        await Pipeline(FakeTranscriber(), None, store).run(tmp_path / "gone.wav")

    assert "FileNotFoundError" in str((await store.get(1)).error)


class Slow:
    """Says when it has begun, and then takes its time."""

    def __init__(self) -> None:
        self.begun = anyio.Event()

    async def _wait(self) -> None:
        self.begun.set()
        await anyio.sleep(3_600.0)

    async def transcribe(self, audio: Audio, /) -> Transcript:
        await self._wait()
        return await FakeTranscriber().transcribe(audio)

    async def analyze(self, transcript: Transcript, /) -> Analysis:
        await self._wait()
        return await FakeAnalyzer().analyze(transcript)

    def session(self, *, rate: int, channels: int) -> Slow:
        return self

    def push(self, audio: Audio, /) -> tuple[Turn, ...]:
        # A diarizer works in a thread: it cannot be stopped, only waited for.
        anyio.from_thread.run_sync(self.begun.set)
        time.sleep(0.2)
        return ()

    def flush(self) -> tuple[Turn, ...]:
        return ()


class SlowStore(FakeJobStore):
    """Takes its time to finish a job."""

    def __init__(self, slow: Slow) -> None:
        super().__init__()
        self._slow = slow

    async def finish(self, job_id: int, /, **results: object) -> Job:
        await self._slow._wait()
        raise AssertionError("not reached")


@pytest.mark.parametrize("stage", STAGES)
async def test_cancelled_at_any_stage_nothing_is_left(
    stage: str, tmp_path: Path
) -> None:
    path = tmp_path / "call.wav"
    await write_wav(path, call(30.0))
    slow = Slow()
    store = SlowStore(slow) if stage == "store" else FakeJobStore()
    pipeline = Pipeline(
        slow if stage == "transcribe" else FakeTranscriber(),
        slow if stage == "analyze" else FakeAnalyzer(),
        store,
        diarizer=slow if stage == "diarize" else FakeDiarizer(),
        options=PipelineOptions(window_s=5.0),
    )
    if stage == "decode":
        slow.begun.set()
    limiter = anyio.to_thread.current_default_thread_limiter()
    busy, threads = limiter.borrowed_tokens, threading.active_count()

    async with anyio.create_task_group() as group:
        group.start_soon(pipeline.run, path)
        await slow.begun.wait()
        if stage == "decode":
            await anyio.sleep(0.002)
        group.cancel_scope.cancel()

    assert await store.list() == ()
    assert limiter.borrowed_tokens == busy
    assert list(tmp_path.iterdir()) == [path]
    assert _open_files(path) == 0
    assert threading.active_count() <= threads + 40  # idle ones wait to be used again


def _open_files(path: Path) -> int:
    import psutil

    return sum(f.path == str(path) for f in psutil.Process().open_files())


class CountingStore(FakeJobStore):
    """Counts the renewals of leases."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.beats = 0

    async def extend(
        self,
        job_id: int,
        /,
        *,
        attempt: int,
        lease_s: float,
        progress: JobProgress | None = None,
    ) -> None:
        self.beats += 1
        await super().extend(
            job_id, attempt=attempt, lease_s=lease_s, progress=progress
        )


class SlowUntil(FakeTranscriber):
    """Takes until a store's leases were to be renewed so often."""

    def __init__(self, store: CountingStore | BusyStore, beats: int) -> None:
        super().__init__()
        self._store = store
        self._beats = beats

    async def transcribe(self, audio: Audio, /) -> Transcript:
        with anyio.fail_after(60.0):
            while self._store.beats < self._beats:  # noqa: ASYNC110
                await anyio.sleep(0.005)
        return await super().transcribe(audio)


async def test_a_lease_is_renewed_while_the_run_goes_on() -> None:
    clock = Clock()
    store = CountingStore(clock)
    options = PipelineOptions(lease_s=0.3)
    pipeline = Pipeline(SlowUntil(store, 4), None, store, options=options)

    async with anyio.create_task_group() as group:
        group.start_soon(pipeline.run, call())
        for beats in range(1, 4):
            while store.beats < beats:  # noqa: ASYNC110
                await anyio.sleep(0.005)
            clock.now += timedelta(seconds=0.25)
            assert await store.claim("another", lease_s=1.0) is None

    job = await store.get(1)
    assert (job.status, job.attempt) == ("done", 1)


async def test_a_run_whose_lease_was_lost_stops_and_writes_nothing() -> None:
    clock = Clock()
    store = FakeJobStore(clock=clock)
    slow = Slow()
    pipeline = Pipeline(slow, None, store, options=PipelineOptions(lease_s=0.3))

    async def take_over() -> None:
        await slow.begun.wait()
        clock.now += timedelta(hours=1)
        assert await store.claim("another", lease_s=3_600.0)

    async def run() -> None:
        async with task_group() as group:
            group.start_soon(take_over)
            await pipeline.run(call())

    with pytest.raises(LeaseLostError):
        await run()

    job = await store.get(1)
    assert (job.status, job.worker, job.attempt) == ("processing", "another", 2)


class BusyStore(FakeJobStore):
    """Is busy, or broken, whenever a lease is to be renewed."""

    def __init__(self, *, retryable: bool) -> None:
        super().__init__()
        self.beats = 0
        self._retryable = retryable

    async def extend(
        self,
        job_id: int,
        /,
        *,
        attempt: int,
        lease_s: float,
        progress: JobProgress | None = None,
    ) -> None:
        self.beats += 1
        raise StoreError("no answer", retryable=self._retryable)


async def test_a_busy_store_is_asked_again_for_the_lease() -> None:
    store = BusyStore(retryable=True)
    options = PipelineOptions(lease_s=0.3)
    pipeline = Pipeline(SlowUntil(store, 3), None, store, options=options)

    await pipeline.run(call())

    assert (await store.get(1)).status == "done"


async def test_a_broken_store_ends_the_run() -> None:
    store = BusyStore(retryable=False)
    pipeline = Pipeline(Slow(), None, store, options=PipelineOptions(lease_s=0.3))

    with pytest.raises(StoreError, match="no answer"):
        await pipeline.run(call())
