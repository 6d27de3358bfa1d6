from __future__ import annotations

import functools
import itertools
import json
import threading
from pathlib import Path

import faster_whisper.vad as peer  # noqa: TID253 - the rules to agree with
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from line_sounds import MUSIC, NAMES, SECONDS, line_sound

from voicepipe import Audio, ChannelDiarizer, EnergyVad, Samples, SpeechSpan, VadOptions
from voicepipe.asr.silero.model import SpeechProbabilities
from voicepipe.asr.silero.spans import HOP, SileroOptions, speech_spans
from voicepipe.asr.silero.vad import SileroVad
from voicepipe.testing import check_diarizer, check_stage


DATA = Path(__file__).parents[2] / "examples" / "data"
REFERENCE = json.loads((DATA / "sample_call.json").read_text("utf-8"))
CALL, RATE = soundfile.read(DATA / "sample_call.flac", dtype="float32")


def side(channel: int, rate: int = RATE) -> Samples:
    """One side of the sample call, shape ``(frames, 1)``."""
    x: Samples = soxr.resample(CALL[:, channel], RATE, rate)
    return x[:, np.newaxis]


def probabilities(x: Samples) -> npt.NDArray[np.float32]:
    stream = SpeechProbabilities()
    return np.concatenate([*stream.push(x), *stream.flush()])


def detect(
    x: Samples, rate: int, options: SileroOptions | None = None
) -> tuple[SpeechSpan, ...]:
    vad = SileroVad(rate, options=options)
    return (*vad.push(x), *vad.flush())


def seconds(spans: tuple[SpeechSpan, ...], rate: int) -> float:
    return sum(span.end - span.start for span in spans) / rate


@given(begin=st.integers(0, 60 * RATE), frames=st.integers(0, 20 * HOP))
@settings(max_examples=60)
def test_probabilities_are_those_of_faster_whisper(begin: int, frames: int) -> None:
    x = side(0)[begin : begin + frames]
    # Its model spoils the last 64 frames of what it is given: here they are not of x.
    padded = np.pad(x[:, 0], (0, HOP - len(x) % HOP + HOP))

    theirs = peer.get_vad_model()(padded).reshape(-1)[:-1]

    np.testing.assert_allclose(probabilities(x), theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("channel", [0, 1])
def test_a_whole_call_has_the_spans_of_faster_whisper(channel: int) -> None:
    x = side(channel)
    options = SileroOptions(min_speech_s=0.0, min_silence_s=2.0, pad_s=0.4)

    theirs = peer.get_speech_timestamps(x[:, 0].copy())

    spans = speech_spans(probabilities(x), len(x), options)
    assert [{"start": s.start, "end": s.end} for s in spans] == theirs
    assert len(spans) > 5


@given(cuts=st.lists(st.integers(0, 6 * RATE), max_size=30).map(sorted))
@settings(max_examples=25)
def test_any_cut_gives_the_same_probabilities(cuts: list[int]) -> None:
    x = side(0)[: 6 * RATE]

    check_stage(
        SpeechProbabilities,
        [[x], np.array_split(x, cuts)],
        join=lambda out: np.concatenate(out).tobytes(),
    )


@given(
    rate=st.sampled_from([8_000, 11_025, 16_000, 44_100]),
    cuts=st.lists(st.floats(0, 1), max_size=30).map(sorted),
)
@settings(max_examples=25)
def test_any_cut_gives_the_same_spans(rate: int, cuts: list[float]) -> None:
    x = side(0, rate)[: 6 * rate]
    pieces = np.array_split(x, [round(cut * len(x)) for cut in cuts])

    check_stage(lambda: SileroVad(rate), [[x], pieces], join=tuple)


def test_options_change_what_counts() -> None:
    x = side(0)

    assert len(detect(x, RATE)) > len(detect(x, RATE, SileroOptions(min_silence_s=1)))


def test_twenty_milliseconds_at_a_time_find_a_whole_call() -> None:
    x = side(1, 8_000)
    vad = SileroVad(8_000)

    spans = [s for at in range(0, len(x), 160) for s in vad.push(x[at : at + 160])]

    assert (*spans, *vad.flush()) == detect(x, 8_000)


def test_the_callers_samples_stay_as_they_are() -> None:
    x = side(0)[: 10 * HOP - 20].copy()
    before = x.copy()
    x.flags.writeable = False

    vad = SileroVad(RATE)
    vad.push(x)
    vad.flush()

    np.testing.assert_array_equal(x, before)


def test_a_buffer_may_be_used_again_by_the_caller() -> None:
    x = side(0)[: 4 * RATE]
    buffer = np.empty((700, 1), np.float32)
    stream = SpeechProbabilities()
    found = []
    for at in range(0, len(x), len(buffer)):
        piece = buffer[: len(x) - at]
        piece[:] = x[at : at + len(buffer)]
        found.extend(stream.push(piece))
        buffer[:] = 1.0
    found.extend(stream.flush())

    np.testing.assert_array_equal(np.concatenate(found), probabilities(x))


def test_streams_that_take_turns_do_not_hear_each_other() -> None:
    sides = [side(0), side(1)[: -10 * RATE]]
    vads = [SileroVad(RATE), SileroVad(RATE)]
    found: list[list[SpeechSpan]] = [[], []]

    for at in range(0, len(sides[0]), 1_000):
        for x, vad, spans in zip(sides, vads, found, strict=True):
            spans.extend(vad.push(x[at : at + 1_000]))

    for x, vad, spans in zip(sides, vads, found, strict=True):
        assert (*spans, *vad.flush()) == detect(x, RATE)


def test_streams_in_many_threads_do_not_hear_each_other() -> None:
    sides = [side(0)[at * RATE : (at + 8) * RATE] for at in range(0, 64, 8)]
    alone = [probabilities(x) for x in sides]
    together: dict[int, npt.NDArray[np.float32]] = {}

    def listen(number: int) -> None:
        stream = SpeechProbabilities()
        x = sides[number]
        found = [p for at in range(0, len(x), 320) for p in stream.push(x[at:][:320])]
        together[number] = np.concatenate([*found, *stream.flush()])

    threads = [threading.Thread(target=listen, args=(n,)) for n in range(len(sides))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number, expected in enumerate(alone):
        np.testing.assert_array_equal(together[number], expected)


@pytest.mark.parametrize("rate", [16_000, 8_000])
@pytest.mark.parametrize("gain_db", [0, -24])
def test_the_speech_of_the_sample_call_is_found(rate: int, gain_db: int) -> None:
    missed = added = spoken = 0.0
    for channel in (0, 1):
        truth = np.zeros(RATE * 71, bool)
        for turn in REFERENCE["turns"]:
            if turn["channel"] == channel:
                for start, end in turn["speech"]:
                    truth[round(start * RATE) : round(end * RATE)] = True
        heard = np.zeros_like(truth)
        x = side(channel, rate) * np.float32(10 ** (gain_db / 20))
        for span in detect(x, rate):
            heard[span.start * RATE // rate : span.end * RATE // rate] = True
        spoken += truth.sum() / RATE
        missed += (truth & ~heard).sum() / RATE
        added += (heard & ~truth).sum() / RATE

    assert spoken > 57
    assert missed < 1.0  # measured 0.1 to 0.7
    assert added < 6.0  # measured 4.2 to 5.2: 28 stretches, 0.1 s at both of their ends


@pytest.mark.parametrize("snr_db", [20, 5])
def test_speech_in_loud_noise_is_found(snr_db: int) -> None:
    x = side(0)
    power = np.mean(np.square(x[np.abs(x) > 1e-3]))
    noise = np.random.default_rng(0).normal(0, 1, x.shape)
    noisy = x + noise * np.sqrt(power / 10 ** (snr_db / 10))

    spans = detect(np.clip(noisy, -1, 1).astype(np.float32), RATE)

    assert seconds(spans, RATE) == pytest.approx(
        seconds(detect(x, RATE), RATE), rel=0.1
    )


@pytest.mark.parametrize("rate", [8_000, 16_000])
@pytest.mark.parametrize("name", NAMES)
def test_what_else_is_heard_on_a_line_is_no_speech(name: str, rate: int) -> None:
    assert detect(line_sound(name, rate), rate) == ()


@pytest.mark.parametrize("rate", [8_000, 16_000])
@pytest.mark.parametrize("name", MUSIC)
def test_music_is_hardly_ever_taken_for_speech(name: str, rate: int) -> None:
    x = line_sound(name, rate)

    assert seconds(detect(x, rate), rate) < 0.05 * SECONDS
    energy = EnergyVad(rate)
    loud = (*energy.push(x), *energy.flush())
    assert seconds(loud, rate) > 0.5 * SECONDS


@pytest.mark.parametrize("name", ["ringing, Europe", "key tones, slow"])
def test_speech_after_tones_is_found(name: str) -> None:
    x = np.concatenate([line_sound(name, RATE), side(0)[: 7 * RATE]])

    spans = detect(x, RATE)

    alone = detect(side(0)[: 7 * RATE], RATE)
    assert seconds(spans, RATE) == pytest.approx(seconds(alone, RATE), abs=0.3)
    assert spans[0].start >= 20 * RATE


@given(
    rate=st.sampled_from([4_000, 8_000, 11_025, 22_050, 44_100, 48_000]),
    begin=st.floats(0, 60),
    frames=st.integers(0, 20_000),
)
@settings(max_examples=60)
def test_spans_are_ordered_apart_and_inside(
    rate: int, begin: float, frames: int
) -> None:
    x = long_side(rate)[round(begin * rate) :][:frames]

    spans = detect(x, rate)

    flat = [frame for span in spans for frame in (span.start, span.end)]
    assert all(one < other for one, other in itertools.pairwise(flat))
    assert not flat or (flat[0] >= 0 and flat[-1] <= frames)


def test_a_stream_may_end_at_any_moment_of_a_pause() -> None:
    x = side(0)  # pauses from 3.97 to 4.37 s

    for frames in range(round(3.9 * RATE), round(4.6 * RATE), HOP):
        cut = x[:frames]
        assert detect(cut, RATE) == speech_spans(probabilities(cut), frames)


@functools.cache
def long_side(rate: int) -> Samples:
    return side(0, rate)


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 44_100])
def test_speech_to_the_last_frame_ends_with_it(rate: int) -> None:
    x = side(0, rate)[: 3 * rate + 1]

    spans = detect(x, rate)

    assert spans[-1].end == len(x)


@pytest.mark.parametrize("frames", [0, 1, HOP - 1, HOP, HOP + 1])
def test_short_streams_are_no_trouble(frames: int) -> None:
    x = np.full((frames, 1), 0.5, np.float32)

    assert len(probabilities(x)) == frames // HOP + 1
    assert detect(x, RATE) == ()


def test_less_than_a_hop_has_no_probability_yet() -> None:
    assert SpeechProbabilities().push(np.zeros((HOP - 1, 1), np.float32)) == ()


@pytest.mark.parametrize("make", [SpeechProbabilities, lambda: SileroVad(8_000)])
def test_two_channels_are_refused(make: type[SpeechProbabilities]) -> None:
    with pytest.raises(ValueError, match=r"\(frames, 1\)"):
        make().push(np.zeros((10, 2), np.float32))


def test_a_rate_that_cannot_be_resampled_is_refused() -> None:
    with pytest.raises(ValueError, match="4000 to 192000"):
        SileroVad(1_000)


def on_the_line(rate: int) -> Audio:
    """Ringing and key tones beside a caller who says something after 20 s."""
    tones = line_sound("ringing, Europe", rate)
    keys = line_sound("key tones, slow", rate)
    speech = side(0, rate)[: 7 * rate]
    left = np.concatenate([tones, speech])
    right = np.concatenate([keys, np.zeros_like(speech)])
    return Audio(samples=np.hstack([left, right]), rate=rate)


def turns_of(diarizer: ChannelDiarizer, audio: Audio) -> list[tuple[float, int | None]]:
    session = diarizer.session(rate=audio.rate, channels=audio.channels)
    turns = (*session.push(audio), *session.flush())
    return [(turn.start, turn.channel) for turn in turns]


def test_tones_make_no_turns_with_the_model() -> None:
    audio = on_the_line(8_000)

    by_model = turns_of(ChannelDiarizer(detector=SileroVad), audio)
    by_energy = turns_of(ChannelDiarizer(), audio)

    assert by_model
    assert all(channel == 0 and start > 20 for start, channel in by_model)
    assert any(channel == 1 for _, channel in by_energy)
    assert any(start < 20 for start, channel in by_energy if channel == 0)


def test_a_diarizer_takes_any_detector_of_a_rate() -> None:
    strict = VadOptions(min_speech_s=30.0)
    detector = functools.partial(EnergyVad, options=strict)
    audio = on_the_line(8_000)

    assert turns_of(ChannelDiarizer(detector=detector), audio) == []
    assert turns_of(ChannelDiarizer(vad=strict), audio) == []
    assert turns_of(ChannelDiarizer(detector=EnergyVad), audio) == turns_of(
        ChannelDiarizer(), audio
    )


def test_options_of_one_detector_beside_another_are_refused() -> None:
    with pytest.raises(ValueError, match="either vad or detector"):
        ChannelDiarizer(vad=VadOptions(), detector=SileroVad)


async def test_a_diarizer_with_the_model_keeps_its_law() -> None:
    speech = Audio(samples=side(0)[: 7 * RATE], rate=RATE)

    await check_diarizer(ChannelDiarizer(detector=SileroVad), speech=speech)
