from __future__ import annotations

import numpy as np

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


async def test_mono_is_one_track_and_nothing_is_none() -> None:
    audio = Audio(samples=RNG.uniform(-0.5, 0.5, (8_000, 1)), rate=16_000)

    assert [t.channel for t in await tracks_of(audio, rate=16_000)] == [None]
    assert await tracks_of(audio.cut(0, 0), rate=16_000) == ()
