from __future__ import annotations

import difflib
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import numpy as np
import pytest
from tiny_whisper.speech import TRAINED, joined, phrase, two_channels

from voicepipe.asr.silero.spans import SileroOptions
from voicepipe.asr.whisper.options import WhisperOptions, WhisperSetup
from voicepipe.asr.whisper.transcriber import WhisperTranscriber
from voicepipe.testing import check_transcriber
from voicepipe.types import Audio


if TYPE_CHECKING:
    from tiny_whisper.speech import Spoken

    from voicepipe.types import Transcript


# Engines take their time on a busy machine.

MODEL = Path(__file__).parents[1] / "tiny_whisper" / "model"
RATE = 16_000

TEXTS = ("thank you", "one two three", "pepperoni mushroom cheese", "okay", "nine")

# Other temperatures than 0 give another text each time.
SURE = WhisperOptions(temperatures=(0.0,))


@functools.cache
def spoken(first: int = 0, count: int = 5, pause: float = 0.8) -> Spoken:
    parts = [
        phrase(TRAINED[i % len(TRAINED)], TEXTS[i % len(TEXTS)], before=0, after=0)
        for i in range(first, first + count)
    ]
    return joined(parts, [0.5] + [pause] * (count - 1) + [0.5])


def sound(samples: Any, rate: int = RATE) -> Audio:
    return Audio(samples=samples, rate=rate)


@functools.cache
def direct_model() -> Any:
    import faster_whisper

    return faster_whisper.WhisperModel(
        str(MODEL), device="cpu", compute_type="int8", cpu_threads=1
    )


def directly(samples: Any, *, batch_size: int | None = None, **asked: Any) -> list[str]:
    """Give the words that faster-whisper itself hears."""
    import faster_whisper

    asked = {"temperature": 0.0, "word_timestamps": True, **asked}
    if batch_size is None:
        segments, _ = direct_model().transcribe(
            samples, vad_filter=True, condition_on_previous_text=False, **asked
        )
    else:
        pipeline = faster_whisper.BatchedInferencePipeline(direct_model())
        segments, _ = pipeline.transcribe(samples, batch_size=batch_size, **asked)
    return " ".join(segment.text for segment in segments).split()


def said(transcript: Transcript) -> list[str]:
    return transcript.text.split()


@pytest.fixture(scope="module")
def engine() -> WhisperTranscriber:
    return WhisperTranscriber(MODEL, options=SURE)


async def test_it_keeps_the_law_of_transcribers(engine: WhisperTranscriber) -> None:
    await check_transcriber(engine, speech=sound(spoken(count=2).samples))


async def test_batches_keep_the_law_of_transcribers() -> None:
    options = attrs.evolve(SURE, batch_size=4)
    await check_transcriber(
        WhisperTranscriber(MODEL, options=options),
        speech=sound(spoken(count=2).samples),
    )


@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"beam_size": 1}, {"beam_size": 1}),
        ({"beam_size": 5}, {"beam_size": 5}),
        ({"prompt": "cheese pizza"}, {"initial_prompt": "cheese pizza"}),
        ({"hotwords": "okay nine"}, {"hotwords": "okay nine"}),
        ({"word_times": False}, {"word_timestamps": False}),
        ({"language": "en"}, {"language": "en"}),
    ],
)
async def test_the_text_is_that_of_faster_whisper(
    batch_size: int | None, options: dict[str, Any], asked: dict[str, Any]
) -> None:
    # More than a minute with long and short pauses: several windows of the model.
    parts = [spoken(0, 5), spoken(3, 4, 0.3), spoken(1, 5, 2.6), spoken(2, 3)]
    whole = joined(parts, [0.0, 7.0, 1.2, 30.0, 4.0]).samples
    # The guards find faults of the tiny model here; they have tests of their own.
    off = {"drop_repeats": False, "drop_unspoken": False}
    chosen = attrs.evolve(SURE, batch_size=batch_size, **off, **options)

    transcript = await WhisperTranscriber(MODEL, options=chosen).transcribe(
        sound(whole)
    )

    assert said(transcript)
    assert said(transcript) == directly(whole, batch_size=batch_size, **asked)


async def test_the_guards_leave_what_is_well_heard(engine: WhisperTranscriber) -> None:
    whole = spoken(0, 5).samples

    transcript = await engine.transcribe(sound(whole))

    assert said(transcript) == directly(whole)
    assert transcript.report is not None
    assert (transcript.report.repeated, transcript.report.unspoken) == (0, 0)
    assert transcript.report.coverage == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("text", ["no no no", "nine nine nine nine", "five five five"])
async def test_words_that_are_said_again_and_again_stay(
    engine: WhisperTranscriber, text: str
) -> None:
    for voice in TRAINED[2:4]:
        samples = phrase(voice, text).samples
        assert said(await engine.transcribe(sound(samples))) == directly(samples)


async def test_the_text_is_that_of_faster_whisper_with_other_rules_of_speech() -> None:
    whole = joined([spoken(0, 3), spoken(1, 4)], [1.0, 1.5, 1.0]).samples
    rules = SileroOptions(threshold=0.3, min_silence_s=0.5, pad_s=0.2)
    engine = WhisperTranscriber(MODEL, options=attrs.evolve(SURE, silero=rules))
    asked = {"threshold": 0.3, "min_silence_duration_ms": 500, "speech_pad_ms": 200}

    transcript = await engine.transcribe(sound(whole))

    assert said(transcript) == directly(whole, vad_parameters=asked)


async def test_without_voice_activity_the_model_hears_everything() -> None:
    whole = spoken().samples
    engine = WhisperTranscriber(MODEL, options=attrs.evolve(SURE, vad=False))
    segments, _ = direct_model().transcribe(
        whole, temperature=0.0, condition_on_previous_text=False, word_timestamps=True
    )

    transcript = await engine.transcribe(sound(whole))

    assert said(transcript) == " ".join(s.text for s in segments).split()
    assert transcript.report is not None
    assert transcript.report.coverage is None


async def test_words_have_the_times_at_which_they_are_said_after_long_silence(
    engine: WhisperTranscriber,
) -> None:
    # Long pauses, some longer than a window of the model: nothing may drift.
    pauses = [3.0, 61.0, 20.0, 0.7, 45.0, 2.0]
    whole = joined([spoken(i, 1, 0) for i in range(5)], pauses)

    for batch_size in (None, 4):
        options = attrs.evolve(SURE, batch_size=batch_size)
        transcript = await WhisperTranscriber(MODEL, options=options).transcribe(
            sound(whole.samples)
        )

        words = [word for segment in transcript.segments for word in segment.words]
        same = difflib.SequenceMatcher(
            None, [w.text for w in words], [w.text for w in whole.words], autojunk=False
        ).get_matching_blocks()
        errors = [
            max(
                abs(words[block.a + i].start - whole.words[block.b + i].start),
                abs(words[block.a + i].end - whole.words[block.b + i].end),
            )
            for block in same
            for i in range(block.size)
        ]
        assert len(errors) >= 0.8 * len(whole.words)
        assert np.median(errors) <= 0.15
        assert max(errors) <= 0.6
        for segment in transcript.segments:
            assert segment.end - segment.start < 5.0


async def test_the_first_word_and_the_last_are_there_at_the_very_edges(
    engine: WhisperTranscriber,
) -> None:
    for pause in (0.0, 2.0, 31.0):
        parts = [spoken(2, 1, 0), spoken(1, 1, 0)]
        alone = [p.samples[RATE // 2 : -RATE // 2] for p in parts]
        silence = np.zeros(round(RATE * pause), np.float32)
        transcript = await engine.transcribe(
            sound(np.concatenate([alone[0], silence, alone[1]]))
        )

        assert said(transcript)[0] == "pepperoni"
        assert said(transcript)[-1] == "three"


async def test_silence_and_noise_give_no_text() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 0.05, (20 * RATE, 1)).clip(-1, 1).astype(np.float32)
    beep = 0.3 * np.sin(2 * np.pi * 440 * np.arange(20 * RATE) / RATE)
    engine = WhisperTranscriber(MODEL)

    for samples in (noise, beep, np.zeros(20 * RATE, np.float32)):
        transcript = await engine.transcribe(sound(samples))
        assert transcript.segments == ()
        assert transcript.report is not None
        assert transcript.report.coverage is None


async def test_each_side_of_a_call_has_its_own_words(
    engine: WhisperTranscriber,
) -> None:
    agent, caller = spoken(0, 3, 2.0), spoken(3, 3, 2.0)
    transcript = await engine.transcribe(sound(two_channels(agent, caller)))

    for channel, side in enumerate((agent, caller)):
        own = [s for s in transcript.segments if s.channel == channel]
        alone = await engine.transcribe(sound(side.samples))
        assert " ".join(s.text for s in own).split() == said(alone)
        assert {s.speaker for s in own} == {f"Speaker0{channel}"}
    assert transcript.speakers == ("Speaker00", "Speaker01")


async def test_the_same_signal_on_two_channels_is_transcribed_once(
    engine: WhisperTranscriber,
) -> None:
    samples = spoken(0, 3).samples
    transcript = await engine.transcribe(sound(np.column_stack([samples, samples])))

    assert said(transcript) == said(await engine.transcribe(sound(samples)))
    assert {s.channel for s in transcript.segments} == {None}


async def test_a_mix_is_one_signal() -> None:
    agent, caller = spoken(0, 2), spoken(2, 2)
    quiet = np.zeros_like(agent.samples)
    left = np.concatenate([agent.samples, np.zeros_like(caller.samples)])
    right = np.concatenate([quiet, caller.samples])
    options = attrs.evolve(SURE, channels="mix")

    transcript = await WhisperTranscriber(MODEL, options=options).transcribe(
        sound(np.column_stack([left, right]))
    )

    assert said(transcript) == directly((left + right) / 2)
    assert {(s.channel, s.speaker) for s in transcript.segments} == {(None, None)}


async def test_windows_are_cut_where_it_is_quiet_and_keep_their_place() -> None:
    whole = joined([spoken(i, 3) for i in range(12)], [1.0] * 13)
    assert whole.duration > 65.0
    options = attrs.evolve(SURE, window_s=30.0)
    told: list[float] = []

    transcript = await WhisperTranscriber(MODEL, options=options).transcribe(
        sound(whole.samples), progress=told.append
    )

    words = [word for segment in transcript.segments for word in segment.words]
    # The tiny model is not perfect; whole windows would be missed.
    assert abs(len(words) - len(whole.words)) <= 0.2 * len(whole.words)
    last = words[-1]
    assert abs(last.start - whole.words[-1].start) < 0.5
    assert told == sorted(set(told))
    assert len(told) > 3
    assert told[-1] == 1.0
    assert any(0.3 < share < 0.7 for share in told)


async def test_progress_ends_with_one_also_on_silence(
    engine: WhisperTranscriber,
) -> None:
    told: list[float] = []
    for samples in (np.zeros((0, 1)), np.zeros(RATE)):
        await engine.transcribe(sound(samples), progress=told.append)
    assert told == [1.0, 1.0]


async def test_an_error_in_progress_reaches_the_caller(
    engine: WhisperTranscriber,
) -> None:
    def refuse(_: float) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match=r"^no$"):
        await engine.transcribe(sound(spoken().samples), progress=refuse)
    assert said(await engine.transcribe(sound(spoken().samples)))


async def test_tasks_that_share_a_model_hear_what_each_hears_alone(
    engine: WhisperTranscriber,
) -> None:
    files = [sound(spoken(i, 1 + i % 3).samples) for i in range(8)]
    alone = [await engine.transcribe(file) for file in files]
    together: dict[int, Transcript] = {}

    async def work(place: int) -> None:
        together[place] = await engine.transcribe(files[place])

    async with anyio.create_task_group() as group:
        for place in range(8):
            group.start_soon(work, place)

    assert [together[place] for place in range(8)] == alone


async def test_a_cancelled_call_ends_between_segments_and_the_model_still_works(
    engine: WhisperTranscriber,
) -> None:
    whole = sound(joined([spoken(0, 8)] * 12, [1.0] * 13).samples)
    segments = 0

    with anyio.CancelScope() as scope:

        def cancel(share: float) -> None:
            nonlocal segments
            segments += 1
            assert share < 1.0
            if segments == 3:
                scope.cancel()

        await engine.transcribe(whole, progress=cancel)

    assert scope.cancelled_caught
    # Those of one window of the model come at once; of 96 there are more to come.
    assert segments <= 30
    assert said(await engine.transcribe(sound(spoken().samples)))


async def test_the_loop_is_free_meanwhile(
    engine: WhisperTranscriber,
    least_lag,  # noqa: ANN001
) -> None:
    await engine.load()
    audio = sound(spoken(0, 8).samples)

    assert await least_lag(lambda: engine.transcribe(audio)) < 0.05


async def test_little_text_for_much_speech_is_told(
    engine: WhisperTranscriber, caplog: pytest.LogCaptureFixture
) -> None:
    whole = sound(spoken().samples)
    await engine.transcribe(whole)
    assert "has text for" not in caplog.text

    # Rules by which the model hears next to nothing of what is said.
    rules = SileroOptions(threshold=0.99999, end_threshold=0.9999, pad_s=0.0)
    options = attrs.evolve(SURE, silero=rules)
    transcript = await WhisperTranscriber(MODEL, options=options).transcribe(whole)

    assert transcript.report is not None
    assert transcript.report.coverage is not None
    assert transcript.report.coverage < 0.5
    assert "whisper:model has text for" in caplog.text


async def test_subtitles_begin_as_they_must(engine: WhisperTranscriber) -> None:
    transcript = await engine.transcribe(sound(spoken().samples))

    assert transcript.to_vtt().startswith("WEBVTT\n\n00:00:0")
    assert transcript.model == "whisper:model"
    assert transcript.language == "en"


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 4, "vad": False},
        {"batch_size": 0},
        {"beam_size": 0},
        {"temperatures": ()},
        {"temperatures": (2.0,)},
        {"min_coverage": 1.5},
        {"window_s": 29.0},
        {"pause_s": 0.0},
        {"task": "sing"},
        {"channels": "left"},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WhisperOptions(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"device": "tpu"}, {"workers": 0}, {"cpu_threads": 0}]
)
def test_a_setup_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WhisperSetup(**wrong)


async def test_a_language_that_the_model_does_not_know_is_refused() -> None:
    options = attrs.evolve(SURE, language="xx")
    engine = WhisperTranscriber(MODEL, options=options)

    for _ in range(2):
        with pytest.raises(ValueError, match="does not know the language 'xx'"):
            await engine.load()
    with pytest.raises(ValueError, match="does not know the language 'xx'"):
        await engine.transcribe(sound(spoken().samples))
