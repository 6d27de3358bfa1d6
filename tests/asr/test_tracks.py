from __future__ import annotations

import functools

import numpy as np
import pytest
from watched_sound import Gate, watched

from voicepipe import Audio
from voicepipe.asr.tracks import tracks_of


RNG = np.random.default_rng(0)


async def test_each_channel_is_a_track_at_the_wanted_rate() -> None:
    audio = Audio(samples=RNG.uniform(-1, 1, (8_000, 2)), rate=8_000)

    tracks = await tracks_of(audio, rate=16_000)

    assert [track.channel for track in tracks] == [0, 1]
    assert [len(track.pcm) for track in tracks] == [32_000, 32_000]


async def test_the_same_signal_on_both_channels_is_one_track() -> None:
    x = RNG.uniform(-0.5, 0.5, (8_000, 1))
    audio = Audio(samples=np.repeat(x, 2, axis=1), rate=16_000)

    (track,) = await tracks_of(audio, rate=16_000)

    assert track.channel is None
    assert track.pcm == audio.channel(0).pcm16().tobytes()


async def test_a_remark_after_long_music_on_both_channels_is_a_track() -> None:
    music = np.repeat(RNG.uniform(-0.5, 0.5, (300 * 8_000, 1)), 2, axis=1)
    remark = RNG.uniform(-0.02, 0.02, 8_000)
    music[-8_000:] = np.stack([np.zeros(8_000), remark], axis=1)

    tracks = await tracks_of(Audio(samples=music, rate=8_000), rate=8_000)

    assert [track.channel for track in tracks] == [0, 1]
    heard = np.frombuffer(tracks[1].pcm, np.int16)[-8_000:]
    assert np.allclose(heard / 32_768, remark, atol=1e-4)


async def test_mono_is_one_track_and_nothing_is_none() -> None:
    audio = Audio(samples=RNG.uniform(-0.5, 0.5, (8_000, 1)), rate=16_000)

    assert [t.channel for t in await tracks_of(audio, rate=16_000)] == [None]
    assert await tracks_of(audio.cut(0, 0), rate=16_000) == ()


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(5, id="while channels are compared"),
        pytest.param(50, id="while the first is resampled"),
        pytest.param(130, id="while the second is resampled"),
    ],
)
async def test_cancellation_takes_effect_within_a_second_of_sound(at: int) -> None:
    audio = Audio(samples=RNG.uniform(-1, 1, (40 * 4_000, 2)), rate=4_000)
    gate = Gate(at)
    # As an attribute of the value: its constructor makes a common array of any.
    object.__setattr__(audio, "samples", watched(audio.samples, gate))

    await gate.cancelled_there(functools.partial(tracks_of, audio, rate=16_000))

    assert at <= gate.passed < at + 30
