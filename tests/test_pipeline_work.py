from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import attrs
import numpy as np
import pytest

from voicepipe import (
    Analysis,
    Audio,
    EmptyAudioError,
    LeaseLostError,
    Pipeline,
    PipelineOptions,
    Point,
    Progress,
    Transcript,
    TranscriptionError,
    write_wav,
)
from voicepipe.analysis.redaction.options import RedactionOptions
from voicepipe.jobs.run import JobRun
from voicepipe.pipeline.shares import WholeProgress
from voicepipe.testing import (
    FakeAnalyzer,
    FakeDiarizer,
    FakeJobStore,
    FakeTranscriber,
)


if TYPE_CHECKING:
    from pathlib import Path

    from voicepipe import JobProgress, ResultCache, Stage, Turn


RATE = 16_000

WINDOWS = PipelineOptions(window_s=4.0)
"""Of the minute of sound below: at least 15 windows."""


def sound(seconds: float = 60.0, *, seed: int = 0) -> Audio:
    """Noise for eight tenths of each second, no two seconds alike."""
    t = np.arange(round(seconds * RATE)) / RATE
    rng = np.random.default_rng(seed)
    x = np.where(t % 1 < 0.8, rng.uniform(-0.4, 0.4, t.size), 0.0)
    return Audio(samples=x[:, np.newaxis], rate=RATE)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calls") / "call.wav"
    anyio.run(write_wav, path, sound())
    return path


class Counted:
    """An engine of each kind that counts what it is asked."""

    def __init__(
        self, *, model: str = "m", fails_at: int = 0, stand_in: str = ""
    ) -> None:
        self.model = model
        self._stand_in = stand_in
        self.windows: list[float] = []
        self.sessions = 0
        self.analyses = 0
        self._fails_at = fails_at

    async def transcribe(self, audio: Audio, /) -> Transcript:
        self.windows.append(audio.duration)
        if len(self.windows) == self._fails_at:
            raise TranscriptionError("away", model=self.model, retryable=True)
        self.model = self._stand_in or self.model
        return await FakeTranscriber(self.model).transcribe(audio)

    def session(self, *, rate: int, channels: int) -> Stage[Audio, Turn]:
        self.sessions += 1
        return FakeDiarizer().session(rate=rate, channels=channels)

    async def analyze(self, transcript: Transcript, /) -> Analysis:
        self.analyses += 1
        return await FakeAnalyzer().analyze(transcript)

    def pipeline(self, options: PipelineOptions = WINDOWS) -> Pipeline:
        return Pipeline(self, self, diarizer=self, options=options)


async def claimed(store: FakeJobStore, path: Path) -> JobRun:
    """Add a job if there is none, and claim it."""
    if not await store.list():
        await store.add(str(path), name="my call.wav")
    job = await store.claim("me", lease_s=0.001)
    assert job is not None
    await anyio.sleep(0.005)  # the lease is over: another attempt may begin
    return JobRun(store, job)


async def test_a_job_gives_what_a_run_gives(path: Path) -> None:
    expected = await Counted().pipeline().run(path, name="my call.wav")

    found = await Counted().pipeline().work(await claimed(FakeJobStore(), path))

    assert found == expected
    assert len(found.transcript.segments) >= 15
    assert set(found.elapsed) == {"decode", "diarize", "transcribe", "analyze"}


async def test_a_second_attempt_does_nothing_twice(path: Path) -> None:
    store, first, second = FakeJobStore(), Counted(), Counted()
    before = await first.pipeline().work(await claimed(store, path))

    found = await second.pipeline().work(await claimed(store, path))

    assert found == before
    assert len(first.windows) >= 15
    assert (first.sessions, first.analyses) == (1, 1)
    assert (second.windows, second.sessions, second.analyses) == ([], 0, 0)


async def test_what_is_kept_belongs_to_its_job(path: Path) -> None:
    engine = Counted()
    await engine.pipeline().work(await claimed(FakeJobStore(), path))
    once = len(engine.windows)

    await engine.pipeline().work(await claimed(FakeJobStore(), path))

    assert (len(engine.windows), engine.sessions, engine.analyses) == (2 * once, 2, 2)


async def test_an_attempt_goes_on_where_the_one_before_it_broke_off(path: Path) -> None:
    whole = Counted()
    expected = await whole.pipeline().work(await claimed(FakeJobStore(), path))
    store, broken, rest = FakeJobStore(), Counted(fails_at=9), Counted()
    with pytest.raises(TranscriptionError, match="away"):
        await broken.pipeline().work(await claimed(store, path))

    found = await rest.pipeline().work(await claimed(store, path))

    assert found == expected
    # All but the one that failed, what was under way beside it as well.
    assert len(rest.windows) == len(whole.windows) - len(broken.windows) + 1


async def test_another_engine_hears_for_itself(path: Path) -> None:
    store, first, second = FakeJobStore(), Counted(), Counted(model="n")
    await first.pipeline().work(await claimed(store, path))

    found = await second.pipeline().work(await claimed(store, path))

    assert {segment.text for segment in found.transcript.segments} == {"n"}
    assert len(second.windows) == len(first.windows)
    assert (second.sessions, second.analyses) == (1, 1)


async def test_other_sound_under_the_same_name_is_heard_anew(tmp_path: Path) -> None:
    store, first, second = FakeJobStore(), Counted(), Counted()
    path = tmp_path / "call.wav"
    await write_wav(path, sound(30.0))
    await first.pipeline().work(await claimed(store, path))
    await write_wav(path, sound(30.0, seed=1))

    await second.pipeline().work(await claimed(store, path))

    assert len(second.windows) >= 8
    assert second.sessions == 1


async def test_what_cannot_be_read_is_made_anew(path: Path) -> None:
    store, first, second = FakeJobStore(), Counted(), Counted()
    before = await first.pipeline().work(await claimed(store, path))
    kept = store._kept[1]
    assert len(kept) == len(first.windows) + 2
    kept.update(dict.fromkeys(kept, '{"of": "another version"}'))

    found = await second.pipeline().work(await claimed(store, path))

    assert found == before
    assert len(second.windows) == len(first.windows)
    assert (second.sessions, second.analyses) == (1, 1)


async def test_what_a_stand_in_heard_does_not_pass_for_the_engine_s(path: Path) -> None:
    store, engine = FakeJobStore(), Counted(model="m")
    # It finds out at its first call that another one has to stand in.
    stand_in = Counted(model="m", stand_in="lesser")
    await stand_in.pipeline().work(await claimed(store, path))

    found = await engine.pipeline().work(await claimed(store, path))

    assert {segment.text for segment in found.transcript.segments} == {"m"}
    assert len(engine.windows) == len(stand_in.windows)


class Caching:
    """Keeps its own steps."""

    def __init__(self, cache: ResultCache | None = None) -> None:
        self._cache = cache

    def caching(self, cache: ResultCache, /) -> Caching:
        return Caching(cache)

    async def analyze(self, transcript: Transcript, /) -> Analysis:
        assert self._cache is not None
        seen = await self._cache.get("a call that costs")
        await self._cache.put("a call that costs", "paid")
        return Analysis(
            summary=(Point(text=str(seen), segment_ids=(0,)),),
            conversation_type="other",
            model="caching",
        )


async def test_an_analyzer_that_keeps_its_steps_is_given_the_job_s_cache(
    path: Path,
) -> None:
    store = FakeJobStore()
    pipeline = Pipeline(FakeTranscriber(), Caching(), options=WINDOWS)

    first = await pipeline.work(await claimed(store, path))
    second = await pipeline.work(await claimed(store, path))

    assert first.analysis is not None
    assert second.analysis is not None
    assert (first.analysis.summary_text, second.analysis.summary_text) == (
        "None",
        "paid",
    )
    assert await store.kept(1, "a call that costs") == "paid"


async def test_a_late_attempt_ends_with_its_lease(path: Path) -> None:
    store, engine = FakeJobStore(), Counted()
    late = await claimed(store, path)
    await claimed(store, path)

    with pytest.raises(LeaseLostError):
        await engine.pipeline().work(late)

    assert len(engine.windows) <= 2
    assert store._kept.get(1, {}) == {}


async def test_the_recording_may_be_where_the_job_does_not_say(path: Path) -> None:
    store, first, second = FakeJobStore(), Counted(), Counted()
    await store.add("7", name="my call.wav")

    before = await first.pipeline().work(await claimed(store, path), source=path)
    found = await second.pipeline().work(await claimed(store, path), source=path)

    assert found == before
    assert found.source == "my call.wav"
    assert (second.windows, second.sessions, second.analyses) == ([], 0, 0)


@pytest.mark.parametrize("parts", ["all", "transcriber"])
async def test_progress_rises_to_one_and_names_what_is_waited_for(
    path: Path, parts: str
) -> None:
    told: list[JobProgress] = []
    heard: list[float] = []
    store = FakeJobStore()
    job = (await claimed(store, path)).job

    def changed() -> None:
        heard.append(run.heard_s)
        if run.latest is not None and (not told or run.latest != told[-1]):
            told.append(run.latest)

    run = JobRun(store, job, changed=changed)
    engine = Counted()
    pipeline = engine.pipeline()
    if parts == "transcriber":
        pipeline = Pipeline(engine, options=WINDOWS)
    found = await pipeline.work(run)

    fractions = [p.fraction for p in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    stages = list(dict.fromkeys(p.stage for p in told))
    assert stages[0] == "decode"
    assert "transcribe" in stages
    assert set(stages) <= {"decode", "diarize", "transcribe", "analyze", "store"}
    assert ("analyze" in stages) == (parts == "all")
    assert stages[-1] == "store"
    assert heard == sorted(heard)
    assert heard[-1] == found.duration == 60.0


def test_decoding_is_named_only_until_something_was_heard() -> None:
    told: list[tuple[str, float]] = []
    whole = WholeProgress(
        {"decode": 0.0, "transcribe": 0.0}, lambda *event: told.append(event)
    )

    for stage, fraction in (
        ("decode", 0.5),
        ("transcribe", 0.25),
        ("decode", 1.0),
        ("store", 1.0),  # none of those that there are
        ("transcribe", 1.0),
    ):
        whole(Progress(stage=stage, fraction=fraction, elapsed=0.0))  # type: ignore[arg-type]

    assert [stage for stage, _ in told] == [
        "decode",
        "transcribe",
        "transcribe",
        "store",
    ]
    assert [round(share, 3) for _, share in told] == [0.033, 0.267, 0.3, 1.0]


async def test_a_job_that_is_no_recording_fails_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "secret" / "call.mp3"
    path.parent.mkdir()
    path.write_bytes(b"")

    with pytest.raises(EmptyAudioError, match=r"^my call\.wav: "):
        await Counted().pipeline().work(await claimed(FakeJobStore(), path))


async def test_a_job_s_recording_that_is_gone_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await (
            Counted().pipeline().work(await claimed(FakeJobStore(), tmp_path / "gone"))
        )


class Reading:
    """Tells which transcript it was given."""

    def __init__(self) -> None:
        self.read: list[str] = []

    async def analyze(self, transcript: Transcript, /) -> Analysis:
        self.read.append(transcript.text)
        return await FakeAnalyzer().analyze(transcript)


async def test_what_is_redacted_reaches_neither_analyzer_nor_result(
    path: Path,
) -> None:
    options = attrs.evolve(WINDOWS, redact=RedactionOptions())
    reading = Reading()
    words = FakeTranscriber("card 4111 1111 1111 1111 please")

    found = await Pipeline(words, reading, options=options).run(path)
    as_it_is = await Pipeline(words, options=WINDOWS).run(path)

    assert "1111" in as_it_is.transcript.text
    assert "1111" not in found.transcript.to_json()
    assert "[card]" in found.transcript.text
    assert reading.read == [found.transcript.text]
