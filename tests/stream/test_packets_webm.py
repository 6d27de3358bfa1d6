"""WebM in pieces: times that leave gaps, packets in one block, lengths that lie."""

from __future__ import annotations

import functools
import tracemalloc
from typing import TYPE_CHECKING

import anyio
import numpy as np
import pytest
import webm_bytes as wb
from packet_files import CHROMIUM, data_of, decoded, joined, opus, pieces, read, split

from voicepipe import DecodeOptions, read_audio
from voicepipe.errors import DamagedAudioError, UnsupportedAudioError
from voicepipe.stream.packets.codec import AvPacketDecoder
from voicepipe.stream.packets.readers import open_reader, restore_reader
from voicepipe.stream.packets.splitter import MAX_JUNK_BYTES
from voicepipe.stream.packets.timeline import MAX_GAP, MAX_JITTER
from voicepipe.stream.packets.webm import WebmSplitter


if TYPE_CHECKING:
    from webm_bytes import Lacing


@functools.cache
def packets() -> tuple[bytes, ...]:
    return tuple(wb.packets_of(opus("webm")))


@functools.cache
def sound():  # noqa: ANN201
    """Decode them all, with nothing left out."""
    return joined(read("webm", [wb.webm(packets())])[0])


def lenient(data: bytes):  # noqa: ANN201
    options = DecodeOptions(allow_truncated=True, allow_damaged=True)
    return anyio.run(functools.partial(read_audio, data, options=options)).samples


def test_a_browsers_recording_is_what_ffmpeg_makes_of_it() -> None:
    data = CHROMIUM.read_bytes()

    for length in (1, 100, len(data)):
        blocks, reader = read("webm", pieces(data, [length] * (len(data) // length)))
        assert np.array_equal(joined(blocks), decoded(data).samples)
        assert reader.counts() == {"dropped_bytes": 0, "damaged_frames": 0}
    assert len(data) < 60_000


def test_a_block_is_given_with_its_last_byte() -> None:
    data = CHROMIUM.read_bytes()
    first = wb.packets_of(data)[0]
    end = data.index(first) + len(first)
    splitter = WebmSplitter()

    assert splitter.push(data[: end - 1]) == []
    assert data_of(splitter.push(data[end - 1 : end])) == (first,)


@pytest.mark.parametrize("gap_ms", [101, 1_000, 2_345, 60_000])
def test_missing_sound_is_silence_of_the_same_length(gap_ms: int) -> None:
    times = [20 * k + gap_ms * (k >= 20) for k in range(len(packets()))]

    samples = joined(read("webm", [wb.webm(packets(), times)])[0])

    place, gap = 20 * wb.FRAMES, gap_ms * 48
    assert len(samples) == len(sound()) + gap
    assert np.array_equal(samples[:place], sound()[:place])
    assert not samples[place : place + gap].any()
    assert np.array_equal(samples[place + gap :], sound()[place:])


@pytest.mark.parametrize("late_ms", [-70_000, -1_000, -20, 1, 99, 100, 60_001, 10**12])
def test_what_is_little_or_cannot_be_is_no_gap(late_ms: int) -> None:
    times = [100_000 + 20 * k + late_ms * (k >= 20) for k in range(len(packets()))]

    samples = joined(read("webm", [wb.webm(packets(), times)])[0])

    assert np.array_equal(samples, sound())


def test_gaps_of_a_recorder_that_is_paused_again_and_again_add_up() -> None:
    many = len(packets())
    times = [20 * k + 500 * (k // 10) for k in range(many)]

    samples = joined(read("webm", [wb.webm(packets(), times)])[0])

    assert len(samples) == len(sound()) + 24_000 * ((many - 1) // 10)


@pytest.mark.parametrize("per_mille", [-2, 1, 2])
def test_a_clock_that_drifts_for_two_hours_leaves_no_gap(per_mille: int) -> None:
    splitter = WebmSplitter()
    given = splitter.push(wb.beginning())
    packet = packets()[0]
    for begin in range(0, 7_200_000, 1_000):
        times = range(begin, begin + 1_000, 20)
        drifted = [time + time * per_mille // 1_000 for time in times]
        given += splitter.push(wb.clusters([packet] * 50, drifted, 50))

    assert len(given) == 360_000
    assert not any(packet.gap for packet in given)


def test_a_gap_in_front_of_a_packet_that_is_broken_is_not_lost() -> None:
    bad = [*packets()[:20], b"\x03\x00", *packets()[21:]]
    times = [20 * k + 1_000 * (k >= 20) for k in range(len(bad))]
    data = wb.webm(bad, times)
    place = data.index(packets()[21])  # the broken one has been read, and no more

    blocks, reader = read("webm", [data])
    apart = open_reader("webm", AvPacketDecoder)
    again = list(apart.push(data[:place]))
    apart = restore_reader("webm", apart.snapshot(), AvPacketDecoder)
    again += [*apart.push(data[place:]), *apart.flush()]

    samples = joined(blocks)
    assert len(samples) == len(sound()) - wb.FRAMES + 48_000
    assert not samples[20 * wb.FRAMES :][:48_000].any()
    assert reader.counts() == {"dropped_bytes": 0, "damaged_frames": 1}
    assert np.array_equal(joined(again), samples)


def test_the_scale_of_times_is_believed() -> None:
    times = [2 * k + 30 * (k >= 5) for k in range(20)]
    data = wb.beginning(scale=10_000_000) + wb.clusters(packets()[:20], times)

    assert len(joined(read("webm", [data])[0])) == 20 * wb.FRAMES + 30 * 480


@pytest.mark.parametrize("lacing", ["xiph", "ebml", "fixed"])
@pytest.mark.parametrize("many", [2, 3, 8])
def test_packets_in_one_block_are_taken_apart(lacing: Lacing, many: int) -> None:
    short = max(map(len, packets())) if lacing == "fixed" else 0
    # What is behind the end of a packet of a constant rate is padding (code 3).
    made = [packets()[0]] * 48 if short else list(packets()[:48])
    blocks = [
        wb.laced(made[at : at + many], lacing, 20 * at) for at in range(0, 48, many)
    ]
    data = wb.beginning() + wb.cluster(0, blocks)

    found, splitter = split(WebmSplitter(), data, [97] * 1_000)

    assert data_of(found) == tuple(made)
    assert splitter.damaged == splitter.dropped == 0
    assert wb.packets_of(data) == made


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x81",
        b"\x81\0\0",
        b"\x00" * 9,
        wb.body_of(b"", 0, flags=0x82),
        wb.body_of(b"\x05\xff\xff\xff", 0, flags=0x82),
        wb.body_of(b"\x02\x08\x08ab", 0, flags=0x82),
        wb.body_of(b"\x02abcd", 0, flags=0x84),
        wb.body_of(b"\x03\x81\x80abc", 0, flags=0x86),
        wb.body_of(b"\x03\xff\xff\xff", 0, flags=0x86),
        wb.body_of(b"\x01\x08\x00", 0, flags=0x86),
    ],
    ids=str,
)
def test_a_block_that_makes_no_sense_is_counted_and_the_next_is_read(
    bad: bytes,
) -> None:
    good = [wb.block(packet, 20 * k) for k, packet in enumerate(packets()[:4])]
    for kind in (wb.SIMPLE_BLOCK, wb.GROUP):
        wrapped = bad if kind == wb.SIMPLE_BLOCK else wb.element(wb.BLOCK, bad)
        blocks = [*good[:2], wb.element(kind, wrapped), *good[2:]]

        found, splitter = split(WebmSplitter(), wb.beginning() + wb.cluster(0, blocks))

        assert data_of(found) == packets()[:4]
        assert splitter.damaged == 1


@pytest.mark.parametrize("lead", [0, 312, 1_000, 40_000])
def test_the_header_of_opus_says_what_to_leave_out_at_the_beginning(lead: int) -> None:
    entry = wb.track(private=wb.head(lead=lead))
    data = wb.beginning(entry) + wb.clusters(packets())

    samples = joined(read("webm", pieces(data, [500] * 100))[0])

    assert np.array_equal(samples, sound()[lead:])
    assert np.array_equal(samples, decoded(data).samples)


@pytest.mark.parametrize("delay_ns", [1_000_000, 6_489_583, 6_510_417, 60_000_000])
def test_what_the_container_leaves_out_goes_before_that(delay_ns: int) -> None:
    delay = wb.value(wb.CODEC_DELAY, delay_ns)
    entry = wb.track(private=wb.head(lead=312), more=delay)
    data = wb.beginning(entry) + wb.clusters(packets())

    samples = joined(read("webm", [data])[0])

    assert len(samples) == len(sound()) - round(delay_ns * 48_000 / 1e9)
    assert np.array_equal(samples, decoded(data).samples)


def test_a_delay_that_cannot_be_is_not_believed() -> None:
    delay = wb.value(wb.CODEC_DELAY, 10**12)
    data = wb.beginning(wb.track(more=delay)) + wb.clusters(packets())

    assert np.array_equal(joined(read("webm", [data])[0]), sound())


@pytest.mark.parametrize("padding_ns", [1_000_000, 19_990_000, 20_000_000, 25_000_000])
def test_padding_is_left_out_at_the_end_as_ffmpeg_does(padding_ns: int) -> None:
    blocks = [wb.block(packet, 20 * k) for k, packet in enumerate(packets()[:9])]
    blocks.append(wb.group(packets()[9], 180, padding_ns))
    data = wb.beginning() + wb.cluster(0, blocks)

    samples = joined(read("webm", pieces(data, [3] * 9_999))[0])

    assert np.array_equal(samples, decoded(data).samples)
    left_out = round(padding_ns * 48 / 1_000_000)
    assert len(samples) == 9_600 - (left_out if left_out <= 960 else 0)


def test_a_first_packet_that_is_broken_leaves_out_no_less() -> None:
    bad = [b"\x03\x00", *packets()[1:]]
    entry = wb.track(private=wb.head(lead=312))
    data = wb.beginning(entry) + wb.clusters(bad)

    samples = joined(read("webm", [data])[0])

    assert len(samples) == len(sound()) - 960 - 312
    assert np.array_equal(samples, lenient(data))


@pytest.mark.parametrize("at", [0.2, 0.5, 0.83, 0.999])
def test_a_recording_that_is_cut_gives_all_that_is_whole(at: float) -> None:
    data = opus("webm-live")[: round(at * len(opus("webm-live")))]

    samples = joined(read("webm", [data])[0])

    assert np.array_equal(samples, lenient(data))


def test_other_tracks_and_what_is_no_sound_are_passed_over_and_not_kept() -> None:
    tracks = wb.track(1, kind=1, codec=b"V_VP8") + wb.track(2) + wb.track(3)
    picture = bytes(3_000_000)
    parts = [wb.beginning(tracks)]
    for k, packet in enumerate(packets()[:5]):
        inner = wb.element(wb.BLOCK, wb.body_of(picture, 0, 1))
        parts += [
            wb.cluster(20 * k, [wb.block(picture, 0, 1), wb.element(wb.GROUP, inner)]),
            wb.block(packets()[40], 0, 3),
            wb.block(packet, 0, 2),
            wb.element(wb.VOID, bytes(500)) + wb.element(wb.CUES, bytes(70_000)),
            wb.element(wb.TAGS, bytes(9)) + wb.element(0x4DBB, b"unknown"),
        ]
    data = b"".join(parts)
    splitter, found = WebmSplitter(), []

    tracemalloc.start()
    try:
        for piece in pieces(data, [50_001] * 1_000):
            found += splitter.push(piece)
            assert len(splitter.state()[1]) < 66_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert data_of(found) == packets()[:5]
    assert splitter.damaged == splitter.dropped == 0
    assert peak < 2_000_000 + len(data)


HOSTILE = {
    "a void of a petabyte": wb.element(wb.VOID, size=1 << 50),
    "a block of a petabyte": wb.element(
        wb.SIMPLE_BLOCK, wb.body_of(bytes(99), 0), 1 << 50
    ),
    "a block of unknown length": wb.element(
        wb.SIMPLE_BLOCK, wb.body_of(bytes(99), 0), wb.UNKNOWN
    ),
    "a group of unknown length": wb.element(wb.GROUP, bytes(99), wb.UNKNOWN),
    "a block of another track, of a petabyte": wb.element(
        wb.SIMPLE_BLOCK, wb.body_of(bytes(99), 0, 2), 1 << 50
    ),
    "a time of a petabyte": wb.element(wb.TIMESTAMP, bytes(99), 1 << 50),
    "tags of unknown length": wb.element(wb.TAGS, bytes(99), wb.UNKNOWN),
    "an unknown element of a megabyte": wb.element(0x4DBB, bytes(99), 1 << 20),
    "no element": b"\x00\x00garbage" * 50,
    "no length": b"\xec\x00garbage" * 50,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("length", [1, 37, 100_000])
def test_lengths_that_lie_cost_no_more_than_their_cluster(
    name: str, length: int
) -> None:
    parts = [
        wb.beginning(),
        wb.cluster(0, [wb.block(packets()[0], 0), HOSTILE[name]]),
        wb.block(packets()[1], 20),
        wb.cluster(40, [wb.block(packets()[2], 0)]),
        wb.cluster(60, [wb.block(packets()[3], 0)]),
    ]
    data = b"".join(parts)

    found, splitter = split(WebmSplitter(), data, [length] * (len(data) // length))

    assert data_of(found) == (packets()[0], *packets()[2:4])
    assert splitter.damaged == 1
    assert 0 < splitter.dropped <= len(HOSTILE[name]) + len(parts[2])


def test_clusters_that_lie_of_their_length_cost_nothing() -> None:
    lies = [0, 5, 1 << 50]
    parts = [wb.beginning()]
    for k, (size, packet) in enumerate(zip(lies, packets(), strict=False)):
        parts.append(wb.element(wb.CLUSTER, size=size) + wb.value(wb.TIMESTAMP, 20 * k))
        parts.append(wb.block(packet, 0))

    found, splitter = split(WebmSplitter(), b"".join(parts), [11] * 999)

    assert data_of(found) == packets()[:3]
    assert splitter.damaged == splitter.dropped == 0


def test_garbage_is_counted_anew_behind_sound() -> None:
    splitter = WebmSplitter()
    garbage = bytes(MAX_JUNK_BYTES * 2 // 3)
    given = splitter.push(wb.beginning())

    for k in range(3):
        given += splitter.push(wb.cluster(20 * k, [wb.block(packets()[k], 0)]))
        given += splitter.push(garbage)

    assert data_of(given) == packets()[:3]
    assert splitter.damaged == 3


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"\x18\x53\x80\x67" * 9, DamagedAudioError, "does not begin"),
        (b"\x00" * 30, DamagedAudioError, "does not begin"),
        (wb.element(wb.EBML, b"", 1 << 40), DamagedAudioError, "damaged"),
        (wb.element(wb.EBML, b"\x42\x82\x90webm"), DamagedAudioError, "damaged"),
        (wb.beginning(doc_type=b"other"), UnsupportedAudioError, "other"),
        (
            wb.beginning(b"") + wb.cluster(0, [wb.block(b"a", 0)]),
            DamagedAudioError,
            "no tracks",
        ),
        (wb.beginning(wb.track(kind=1)), UnsupportedAudioError, "no sound"),
        (wb.beginning(wb.track(codec=b"A_VORBIS")), UnsupportedAudioError, "A_VORBIS"),
        (wb.beginning(wb.track(private=b"OpusHead")), DamagedAudioError, "header"),
        (wb.beginning(wb.track(private=wb.head(0))), DamagedAudioError, "header"),
        (wb.beginning(wb.track(private=wb.head(9))), UnsupportedAudioError, "9"),
        (
            wb.beginning(wb.track(more=wb.element(wb.ENCODINGS, b""))),
            UnsupportedAudioError,
            "encrypted",
        ),
        (
            wb.beginning(b"") + wb.element(wb.TRACKS, b"", 1 << 20),
            DamagedAudioError,
            "damaged",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_what_cannot_be_read_is_refused(
    data: bytes, error: type[Exception], message: str
) -> None:
    for length in (1, len(data)):
        with pytest.raises(error, match=message):
            split(WebmSplitter(), data, [length] * (len(data) // length))


@pytest.mark.parametrize("channels", [1, 2])
def test_a_track_without_the_codecs_header_tells_its_channels(channels: int) -> None:
    made = wb.packets_of(opus("webm", channels))
    audio = wb.element(wb.AUDIO, wb.value(wb.CHANNELS, channels))
    data = wb.beginning(wb.track(private=b"", more=audio))

    data += wb.clusters(made)

    assert joined(read("webm", [data])[0]).shape == (len(made) * 960, channels)


def test_limits_of_gaps_are_those_that_are_told() -> None:
    assert MAX_JITTER == 4_800
    assert MAX_GAP == 60 * 48_000
