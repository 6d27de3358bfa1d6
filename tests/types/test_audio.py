from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe import Audio, WavFile
from voicepipe.types.audio import downmix, pcm16


def test_one_dimension_is_mono() -> None:
    audio = Audio(samples=np.zeros(100, np.float32), rate=16_000)

    assert audio.samples.shape == (100, 1)
    assert (audio.frames, audio.channels, audio.duration) == (100, 1, 100 / 16_000)


def test_samples_are_float32_contiguous_and_read_only() -> None:
    audio = Audio(samples=np.zeros((2, 100)).T, rate=8_000)

    assert audio.samples.dtype == np.float32
    assert audio.samples.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        audio.samples[0, 0] = 1.0


def test_the_callers_array_stays_writeable_and_is_not_copied() -> None:
    mine = np.zeros((10, 2), np.float32)

    audio = Audio(samples=mine, rate=8_000)

    assert np.shares_memory(audio.samples, mine)
    mine[0, 0] = 0.5


def test_int16_is_scaled() -> None:
    audio = Audio(samples=np.array([-32768, 0, 16384], np.int16), rate=8_000)

    assert audio.samples[:, 0].tolist() == [-1.0, 0.0, 0.5]


@pytest.mark.parametrize("value", [1.001, -2.0, float("nan"), float("inf"), 32767.0])
def test_samples_outside_the_range_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="within"):
        Audio(samples=np.array([0.0, value]), rate=8_000)


@pytest.mark.parametrize("shape", [(), (2, 2, 2), (5, 0)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        Audio(samples=np.zeros(shape), rate=8_000)


def test_other_integers_are_refused() -> None:
    with pytest.raises(TypeError, match="int64"):
        Audio(samples=np.zeros(3, np.int64), rate=8_000)


@pytest.mark.parametrize("rate", [0, -8_000])
def test_a_rate_must_be_positive(rate: int) -> None:
    with pytest.raises(ValueError, match="rate"):
        Audio(samples=np.zeros(3), rate=rate)


def test_equality_is_identity() -> None:
    audio = Audio(samples=np.zeros(3), rate=8_000)

    assert audio == audio  # noqa: PLR0124
    assert audio != attrs.evolve(audio)
    assert {audio: 1}[audio] == 1


def test_cut_clamps_and_counts_frames() -> None:
    audio = Audio(samples=np.linspace(0, 1, 100), rate=100)

    part = audio.cut(0.25, 0.5)

    assert (part.frames, part.start) == (25, 25)
    assert part.samples[0, 0] == audio.samples[25, 0]
    assert audio.cut(-1.0, 9.0).frames == 100
    assert audio.cut(0.9, 0.1).frames == 0
    assert part.cut(0.1, 0.2).start == 35


def test_channel_and_mono() -> None:
    audio = Audio(samples=np.array([[0.5, -0.5], [1.0, 0.0]]), rate=8_000)

    assert audio.channel(1).samples[:, 0].tolist() == [-0.5, 0.0]
    assert audio.mono().samples[:, 0].tolist() == [0.0, 0.5]
    mono = audio.channel(0)
    assert mono.mono() is mono
    with pytest.raises(IndexError):
        audio.channel(2)


@given(st.lists(st.integers(-32768, 32767), max_size=50))
def test_sixteen_bits_survive_the_round_trip(values: list[int]) -> None:
    x = np.array(values, np.int16)[:, None]

    np.testing.assert_array_equal(pcm16(x.astype(np.float32) / 32768), x)


def test_full_scale_is_clipped_to_what_16_bits_hold() -> None:
    assert pcm16(np.array([1.0, -1.0], np.float32)).tolist() == [32767, -32768]


@given(st.integers(1, 8), st.integers(0, 70))
def test_downmix_is_the_mean_whatever_the_length(channels: int, frames: int) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (frames, channels)).astype(np.float32)

    y = downmix(x)

    np.testing.assert_allclose(y[:, 0], x.mean(axis=1), atol=1e-6)
    np.testing.assert_array_equal(downmix(x[:10]), y[:10])


def test_the_repr_tells_the_format_and_no_samples() -> None:
    audio = Audio(samples=np.zeros((8_000, 2)), rate=16_000)

    assert repr(audio) == "<Audio 0.500 s, 16000 Hz, 2 channels>"


def test_a_notebook_shows_a_player_with_the_sound_in_it() -> None:
    html = Audio(samples=np.zeros((800, 2)), rate=8_000)._repr_html_()

    assert 'src="data:audio/wav;base64,UklGR' in html
    assert "0.100 s, 8000 Hz" in html


def test_a_notebook_shows_the_beginning_of_long_sound_and_says_so() -> None:
    html = Audio(samples=np.zeros(601 * 100), rate=100)._repr_html_()

    assert "the first 10 minutes" in html


def test_a_wav_file_knows_its_duration(tmp_path: object) -> None:
    wav = WavFile(path=tmp_path, rate=16_000, channels=1, frames=8_000)  # type: ignore[arg-type]

    assert wav.duration == 0.5
