from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_audio import encode, signal
from riff_bytes import DATA, FORM, PCM, SOUND, chunk, form, riff
from stream_cuts import assemble, joined, whole

from voicepipe.stream.assembler.assembler import MAX_SNAPSHOT_BYTES, ChunkAssembler


if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


RATE = 16_000

# Of sound that is put into another rate: from, to, channels.
RATES = (
    (8_000, 16_000, 1),
    (44_100, 16_000, 1),
    (44_100, 8_000, 2),
    (48_000, 44_100, 2),
    (11_025, 96_000, 1),
    (44_101, 48_000, 1),
    (192_000, 8_000, 2),
)


def restored(
    data: bytes, places: Sequence[int], **session: Any
) -> npt.NDArray[np.int16]:
    """Push bytes; go on from a snapshot at each of some places."""
    assembler = ChunkAssembler(**session)
    arrays = []
    at = 0
    for place in (*sorted(places), len(data)):
        arrays += assembler.push(data[at:place])
        at = place
        snapshot = assembler.snapshot()
        assert len(snapshot) <= MAX_SNAPSHOT_BYTES
        before = assembler.report, assembler.light
        assembler.close()
        assembler = ChunkAssembler.restore(snapshot)
        assert (assembler.report, assembler.light) == before
        assert assembler.snapshot() == snapshot
    arrays += assembler.flush()
    return joined(arrays, assembler.channels)


@functools.cache
def file_of(rate: int, channels: int) -> bytes:
    sound = np.rint(signal(rate, channels, 0.8) * 50_000).clip(-32_768, 32_767)
    body = sound.astype("<i2").tobytes()
    return riff(
        chunk(b"fmt ", form(rate=rate, channels=channels)), chunk(b"data", body)
    )


@functools.cache
def coded(kind: str) -> bytes:
    return encode(kind, signal(RATE, 1, 2.0), RATE)


LISTED = riff(
    chunk(b"JUNK", bytes(28)), FORM, DATA, chunk(b"LIST", b"odd"), b"\0", FORM
)


@pytest.mark.parametrize("hint", ["wav", "mp3"])
@pytest.mark.parametrize(
    "data", [PCM, riff(FORM, DATA), LISTED + riff(FORM, DATA)], ids=len
)
@given(places=st.data())
@settings(max_examples=60)
def test_uncompressed_sound_goes_on_bit_by_bit(
    data: bytes, hint: str, places: st.DataObject
) -> None:
    near = st.lists(st.integers(0, 600), max_size=5)
    far = st.lists(st.integers(0, len(data)), max_size=5)
    at = places.draw(near) + places.draw(far)

    samples = restored(data, at, rate=8_000, channels=1, format=hint)

    expected = assemble([data], rate=8_000, channels=1, format=hint)
    np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize("kind", ["mp3", "mp3-plain", "flac"])
@given(places=st.data())
@settings(max_examples=40)
def test_compressed_sound_goes_on_bit_by_bit(kind: str, places: st.DataObject) -> None:
    data = coded(kind)
    at = places.draw(st.lists(st.integers(0, len(data)), max_size=4))

    samples = restored(data, at, rate=RATE, format="mp3")

    np.testing.assert_array_equal(samples, whole(data))


@pytest.mark.parametrize(("rate_in", "rate", "channels"), RATES)
@given(places=st.data())
@settings(max_examples=12)
def test_another_rate_keeps_every_frame_and_differs_by_rounding(
    rate_in: int, rate: int, channels: int, places: st.DataObject
) -> None:
    data = file_of(rate_in, channels)
    at = places.draw(st.lists(st.integers(0, len(data)), min_size=1, max_size=3))

    samples = restored(data, at, rate=rate, channels=channels)

    expected = whole(data, rate=rate, channels=channels)
    assert samples.shape == expected.shape
    difference = np.abs(samples.astype(int) - expected)
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= 0.02 * difference.size


def test_aac_goes_on_with_the_same_number_of_frames() -> None:
    data = coded("aac")

    samples = restored(data, [100, 5_000, 9_001], rate=RATE)

    expected = whole(data)
    assert samples.shape == expected.shape
    # Bands that are coded as noise are another noise of the same power.
    noise = (samples.astype(float) - expected) / 32_768
    assert np.sqrt((noise**2).mean()) < 0.02


def test_a_snapshot_that_has_no_room_for_all_keeps_the_frames() -> None:
    data = file_of(192_000, 2)

    samples = restored(data, [300_001, 400_000], rate=4_000, channels=2)

    assert samples.shape == whole(data, rate=4_000, channels=2).shape


def test_compressed_sound_of_another_rate_keeps_every_frame() -> None:
    for kind in ("mp3", "flac"):
        data = coded(kind)
        samples = restored(data, [3_000, 5_001], rate=44_100, channels=2)

        expected = whole(data, rate=44_100)
        assert samples.shape == (len(expected), 2)
        assert np.abs(samples.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("taken_at", range(0, 60, 7))
def test_a_restart_that_is_not_decided_is_remembered(taken_at: int) -> None:
    for second in (PCM[4_001:], riff(FORM, DATA), coded("flac")):
        twins = []
        for stops in (False, True):
            assembler = ChunkAssembler(rate=8_000)
            arrays = [*assembler.push(PCM[:4_001]), *assembler.restart()]
            arrays += assembler.push(second[:taken_at])
            if stops:
                assembler = ChunkAssembler.restore(assembler.snapshot())
            arrays += assembler.push(second[taken_at:])
            arrays += assembler.flush()
            twins.append((joined(arrays).tolist(), assembler.report))
        assert twins[0] == twins[1]


@given(data=st.data())
@settings(max_examples=200)
def test_a_damaged_snapshot_is_an_error(data: st.DataObject) -> None:
    assembler = ChunkAssembler(rate=16_000)
    assembler.push(riff(FORM, DATA))
    snapshot = bytearray(assembler.snapshot())
    at = data.draw(st.integers(0, len(snapshot) - 1))
    kept = data.draw(st.integers(0, len(snapshot)))

    changed = snapshot.copy()
    changed[at] ^= data.draw(st.integers(1, 255))

    for damaged in (changed, snapshot[:kept], snapshot + b"\0"):
        if damaged != snapshot:
            with pytest.raises(ValueError, match="snapshot"):
                ChunkAssembler.restore(bytes(damaged))


def test_what_is_left_of_a_stream_counts_once() -> None:
    assembler = ChunkAssembler(rate=8_000)
    assembler.push(riff(FORM, DATA) * 2 + PCM[:1])
    again = ChunkAssembler.restore(assembler.snapshot())
    again.flush()

    assert again.report.files == 2
    assert again.report.frames == 2 * len(SOUND)
    assert again.report.dropped_bytes == 1
