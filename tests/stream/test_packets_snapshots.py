"""Going on with a compressed file from a snapshot."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packet_files import FILES, LAW, adts, flac, joined, mp3, pieces, plain_mp3, read

from voicepipe.stream.packets import state
from voicepipe.stream.packets.codec import AvPacketDecoder
from voicepipe.stream.packets.readers import open_reader, restore_reader


EXACT = [
    name
    for name, (codec, _) in FILES.items()
    if codec != "aac"
    # Of what is made up for frames that are not there, a billionth may be left.
    and name not in {"layer II", "webm of short frames", "ogg of silence"}
]

MAX_BYTES = 200 << 10


def read_with_restarts(codec, parts):  # noqa: ANN001, ANN201
    """Read pieces; each with a reader of its own, made from a snapshot."""
    reader = open_reader(codec, AvPacketDecoder)
    blocks, largest = [], 0
    for part in parts:
        blocks += reader.push(part)
        snapshot = reader.snapshot()
        largest = max(largest, len(snapshot))
        reader.close()
        reader = restore_reader(codec, snapshot, AvPacketDecoder)
    blocks += reader.flush()
    return joined(blocks), largest, reader.counts()


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("length", [61, 4_096])
def test_the_samples_are_the_same(name: str, length: int) -> None:
    codec, make = FILES[name]
    data = make()
    # From the beginning, and in the midst of it.
    many = 60
    middle = len(data) // 2
    parts = pieces(data, [length] * many + [max(0, middle - many * length)])
    parts += pieces(parts.pop(), [length] * many)

    samples, largest, counts = read_with_restarts(codec, parts)

    blocks, reader = read(codec, [data])
    assert np.array_equal(samples, joined(blocks))
    assert counts == reader.counts()
    assert largest <= MAX_BYTES


@LAW
@given(
    name=st.sampled_from(EXACT),
    lengths=st.lists(st.integers(1, 5_000), min_size=1, max_size=40),
)
def test_wherever_the_snapshots_are_taken(name: str, lengths: list[int]) -> None:
    codec, make = FILES[name]
    data = make()

    samples, _, _ = read_with_restarts(codec, pieces(data, lengths))

    assert np.array_equal(samples, joined(read(codec, [data])[0]))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
def test_aac_goes_on_with_the_same_frames(rate: int, channels: int) -> None:
    data = adts(rate, channels, 3.0)

    samples, largest, _ = read_with_restarts("aac", pieces(data, [3_000] * 100))

    once = joined(read("aac", [data])[0])
    assert samples.shape == once.shape
    # Bands that are coded as noise are other noise of the same power.
    both = power(samples) / power(once)
    assert both.min() > 0.9
    assert both.max() < 1.1
    assert power(samples - once).max() < 0.02 * power(once).max()
    assert largest <= MAX_BYTES


def power(samples):  # noqa: ANN001, ANN201
    """Give the power of each half second that is not silent."""
    half = len(samples) // 6
    return np.array([np.mean(samples[k * half :][:half] ** 2) for k in range(6)])


def test_layer_2_goes_on_within_a_step_of_16_bits() -> None:
    """Its decoder computes in integers, and keeps what it has rounded away."""
    codec, make = FILES["layer II"]

    samples, _, _ = read_with_restarts(codec, pieces(make(), [61] * 9_000))

    once = joined(read(codec, [make()])[0])
    assert np.abs(samples.astype(int) - once).max() <= 1


def test_opus_of_short_frames_goes_on_within_few_steps_of_16_bits() -> None:
    codec, make = FILES["webm of short frames"]

    samples, largest, _ = read_with_restarts(codec, pieces(make(), [1_999] * 99))

    once = joined(read(codec, [make()])[0])
    assert samples.shape == once.shape
    assert np.abs(samples - once).max() < 0.01
    assert largest <= MAX_BYTES


def test_aac_without_noise_is_the_same() -> None:
    from make_audio import signal
    from mux_audio import mux

    data = mux(
        "adts", "aac", signal(44_100, 1, 2.0), rate=44_100, coding={"aac_pns": "0"}
    )

    samples, _, _ = read_with_restarts("aac", pieces(data, [777] * 100))

    assert np.array_equal(samples, joined(read("aac", [data])[0]))


@pytest.mark.parametrize(
    ("rate", "bits"),
    [(16_000, "8k"), (22_050, "8k"), (24_000, "8k"), (32_000, "32k"), (44_100, "32k")],
)
def test_few_bytes_in_a_frame_lean_on_many_frames(rate: int, bits: str) -> None:
    data = plain_mp3(rate, 1, 6.0, bits)

    samples, _, _ = read_with_restarts("mp3", pieces(data, [211] * 1_000))

    assert np.array_equal(samples, joined(read("mp3", [data])[0]))


def test_a_snapshot_of_a_long_stream_is_small() -> None:
    for codec, make in (("mp3", mp3), ("aac", adts), ("flac", flac)):
        sizes = []
        for seconds in (3.0, 12.0):
            reader = open_reader(codec, AvPacketDecoder)
            reader.push(make(44_100, 2, seconds)[:-400])
            sizes.append(len(reader.snapshot()))

        assert max(sizes) < 40_000, codec
        assert abs(sizes[0] - sizes[1]) < 20_000


def test_counts_go_on() -> None:
    data = mp3() + b"garbage" * 50 + plain_mp3()
    parts = pieces(data, [1_000] * 100)

    _, _, counts = read_with_restarts("mp3", parts)

    assert counts == {"dropped_bytes": 350, "damaged_frames": 1}


@pytest.mark.parametrize("codec", ["mp3", "aac", "flac"])
def test_a_damaged_snapshot_is_refused(codec) -> None:  # noqa: ANN001
    reader = open_reader(codec, AvPacketDecoder)
    reader.push({"mp3": mp3, "aac": adts, "flac": flac}[codec]()[:9_000])
    snapshot = reader.snapshot()
    rng = np.random.default_rng(1)

    for _ in range(200):
        damaged = bytearray(snapshot)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        for bad in (bytes(damaged), snapshot[: rng.integers(len(snapshot))]):
            with pytest.raises(ValueError, match="the snapshot is"):
                restore_reader(codec, bad, AvPacketDecoder)


@pytest.mark.parametrize("fields", [{}, {"splitter": 1}, {"splitter": {}}])
def test_a_snapshot_of_something_else_is_refused(fields) -> None:  # noqa: ANN001
    for parts in ([], [b"", b""], [b""] * 9):
        with pytest.raises(ValueError, match="of something else"):
            restore_reader("mp3", state.packed(fields, parts), AvPacketDecoder)


def test_a_snapshot_of_another_codec_is_refused() -> None:
    reader = open_reader("mp3", AvPacketDecoder)
    reader.push(mp3())

    with pytest.raises(ValueError, match="of something else"):
        restore_reader("flac", reader.snapshot(), AvPacketDecoder)
    with pytest.raises(ValueError, match="of something else"):
        restore_reader("aac", reader.snapshot(), AvPacketDecoder)


@pytest.mark.parametrize(
    ("name", "lacks"), [("mp3", "lead"), ("flac", "lead"), ("ogg", "skip")]
)
def test_an_earlier_snapshot_lacks_what_its_format_never_sets(
    name: str, lacks: str
) -> None:
    codec, make = FILES[name]
    data = make()
    half = len(data) // 2
    reader = open_reader(codec, AvPacketDecoder)
    blocks = reader.push(data[:half])
    fields, parts = state.unpacked(reader.snapshot())
    reader.close()
    assert fields["splitter"].pop(lacks) == 0

    reader = restore_reader(codec, state.packed(fields, parts), AvPacketDecoder)
    blocks += reader.push(data[half:])
    blocks += reader.flush()

    assert np.array_equal(joined(blocks), joined(read(codec, [data])[0]))


def test_a_snapshot_is_text_and_bytes() -> None:
    reader = open_reader("mp3", AvPacketDecoder)
    reader.push(mp3()[:4_000])
    fields, parts = state.unpacked(reader.snapshot())

    assert json.loads(json.dumps(fields)) == fields
    assert all(isinstance(part, bytes) for part in parts)
    assert len(parts) > 3
