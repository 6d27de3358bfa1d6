from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from voicepipe import DualMono
from voicepipe.stream.live.copies import Copies


RATE = 16_000
SAMPLE = Path(__file__).parents[2] / "examples" / "data" / "sample_call.flac"
RNG = np.random.default_rng(0)
VOICE = RNG.normal(0, 0.1, RATE).astype(np.float32)
OTHER = RNG.normal(0, 0.1, RATE).astype(np.float32)
FAINT = RNG.normal(0, 0.001, RATE).astype(np.float32)
NOTHING = np.zeros(RATE, np.float32)


@pytest.mark.parametrize(
    ("channels", "same"),
    [
        ([VOICE], True),
        ([VOICE, VOICE], True),
        ([VOICE, VOICE + FAINT], True),
        ([VOICE, VOICE * 0.98], True),
        ([NOTHING, NOTHING], True),
        ([VOICE, VOICE, VOICE], True),
        ([VOICE, OTHER], False),
        ([VOICE, NOTHING], False),
        ([NOTHING, VOICE], False),
        ([VOICE, VOICE * 0.1], False),
        ([VOICE, -VOICE], False),
        ([VOICE, VOICE, OTHER], False),
    ],
)
def test_only_equal_signals_at_equal_level_are_one(
    channels: list[np.ndarray], *, same: bool
) -> None:
    dual = DualMono(RATE)
    for piece in np.array_split(np.stack(channels, axis=1), 7):
        dual.push(piece)

    assert dual.verdict is same


def held(seconds: float, rate: int) -> npt.NDArray[np.float32]:
    """Give music on hold, the same on both channels."""
    one = RNG.normal(0, 0.2, (round(seconds * rate), 1)).astype(np.float32)
    return np.repeat(one, 2, axis=1)


@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize(
    ("rate", "seconds", "level", "music"),
    [
        (8_000, 10.0, 0.05, False),
        (8_000, 0.4, 0.01, False),
        (48_000, 0.4, 0.001, False),
        (16_000, 0.4, 0.05, True),
    ],
)
def test_a_remark_on_one_channel_counts_in_a_long_recording(
    rate: int, seconds: float, level: float, channel: int, *, music: bool
) -> None:
    dual = DualMono(rate)
    for _ in range(20):
        dual.push(held(3.0, rate))
    end = held(seconds, rate) * (1.0 if music else 0.0)
    end[:, channel] += RNG.normal(0, level, len(end)).astype(np.float32)

    assert dual.verdict
    dual.push(end)
    assert not dual.verdict
    dual.push(held(3.0, rate))
    assert not dual.verdict


@pytest.mark.parametrize("seconds", [0.01, 0.2])
def test_what_is_shorter_than_a_word_is_judged_by_its_energy(seconds: float) -> None:
    click = np.zeros((round(seconds * RATE), 2), np.float32)
    click[:, 1] = 0.01
    alone, beside = DualMono(RATE), DualMono(RATE)

    alone.push(click)
    beside.push(np.concatenate([held(3.0, RATE), click]))

    assert not alone.verdict
    assert beside.verdict


@pytest.mark.parametrize(("level", "same"), [(0.01, False), (0.0002, True)])
def test_a_remark_on_one_channel_of_a_live_stretch_is_no_copy(
    level: float, *, same: bool
) -> None:
    copies = Copies(512, 2)
    copies.push(held(20.0, RATE))
    remark = np.zeros((RATE // 2, 2), np.float32)
    remark[:, 1] = RNG.normal(0, level, len(remark))
    copies.push(remark)

    assert copies.same(1, 0, 20 * RATE)
    assert copies.same(1, 0, 20 * RATE + len(remark)) is same


def sample(rate: int) -> npt.NDArray[np.float32]:
    """Give twenty seconds of both sides of a call, and silence, as one signal."""
    call, at = soundfile.read(SAMPLE, dtype="float32", frames=20 * RATE)
    assert at == RATE
    one = np.concatenate([0.5 * call.sum(axis=1), np.zeros(2 * RATE, np.float32)])
    return one[:: RATE // rate]


def dithered(one: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Make 16-bit copies, each with its own triangular dither of one step."""
    noise = RNG.uniform(-0.5, 0.5, (2, len(one), 2)).sum(axis=0)
    return np.round(32_767.0 * one[:, np.newaxis] + noise).astype(np.int16)


def through(
    pcm: npt.NDArray[np.int16], rate: int, codec: str, kind: str, kbps: int
) -> tuple[npt.NDArray[np.float32], int]:
    """Encode and decode; gives samples, shape ``(n, 2)``, and their rate."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 1_000 * kbps
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(pcm.reshape(1, -1)), format="s16", layout="stereo"
        )
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    buffer.seek(0)
    floats = av.AudioResampler(format="fltp", layout="stereo")
    found = []
    with av.open(buffer, "r") as source:
        for decoded in source.decode(audio=0):
            assert isinstance(decoded, av.AudioFrame)
            rate = decoded.sample_rate
            found += [one.to_ndarray() for one in floats.resample(decoded)]
    return np.concatenate(found, axis=1).T, rate


@pytest.mark.parametrize("gain", [1.0, 0.98])
@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_copies_with_dither_and_another_gain_are_one(rate: int, gain: float) -> None:
    pcm = dithered(sample(rate)).astype(np.float32) / np.float32(32_768.0)
    pcm[:, 1] *= np.float32(gain)
    dual = DualMono(rate)

    dual.push(pcm)

    assert dual.verdict


@pytest.mark.parametrize(
    ("codec", "kind", "kbps"),
    [
        ("libmp3lame", "mp3", 32),
        ("libmp3lame", "mp3", 64),
        ("libopus", "ogg", 24),
        ("libopus", "ogg", 32),
        ("libopus", "ogg", 64),
        ("pcm_alaw", "wav", 0),
        ("pcm_mulaw", "wav", 0),
    ],
)
def test_copies_through_a_codec_are_one(codec: str, kind: str, kbps: int) -> None:
    samples, rate = through(dithered(sample(8_000)), 8_000, codec, kind, kbps)
    dual = DualMono(rate)

    dual.push(samples)

    # None of them is a trivial copy; 24 kbit/s make Opus send a single signal.
    assert np.any(samples[:, 0] != samples[:, 1]) or kbps == 24
    assert dual.verdict


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 4 * 8_000), max_size=12),
    start=st.integers(0, 3 * 8_000),
    seconds=st.floats(0.2, 0.4),
)
def test_how_the_sound_is_cut_does_not_matter(
    cuts: list[int], start: int, seconds: float
) -> None:
    sound = np.repeat(np.tile(VOICE, 2)[:, np.newaxis], 2, axis=1)[: 4 * 8_000].copy()
    sound[start : start + round(8_000 * seconds)] = 0.0
    sound[start : start + round(8_000 * seconds), 1] = 0.002
    whole, cut = DualMono(8_000), DualMono(8_000)

    whole.push(sound)
    for piece in np.split(sound, sorted(cuts)):
        cut.push(piece)

    assert cut.verdict is whole.verdict
