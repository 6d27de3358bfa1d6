"""What browsers record, put together as live sound: Opus in WebM and in Ogg."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packet_files import CHROMIUM, opus
from riff_bytes import DATA, FORM, PCM, SOUND, riff
from stream_cuts import assemble, cuts, joined, pieces_of, whole

from voicepipe.io.capture.decoders import IsolatedDecoders
from voicepipe.stream.assembler.assembler import MAX_SNAPSHOT_BYTES, ChunkAssembler
from voicepipe.testing import check_stage


if TYPE_CHECKING:
    from voicepipe.stream.assembler.detect import StreamFormat


KINDS = ("webm", "webm-live", "opus", "chromium")
HINTS: tuple[StreamFormat, ...] = ("wav", "mp3", "flac", "aac")


@functools.cache
def recorded(kind: str, channels: int = 1) -> bytes:
    return CHROMIUM.read_bytes() if kind == "chromium" else opus(kind, channels)


@functools.cache
def expected(kind: str, rate: int = 16_000, channels: int = 1) -> np.ndarray:
    return whole(recorded(kind, channels), rate=rate, channels=1)


@pytest.mark.parametrize("hint", HINTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_is_the_sound_of_the_whole_file_whatever_the_client_says(
    kind: str, hint: StreamFormat
) -> None:
    pieces = pieces_of(recorded(kind), range(0, len(recorded(kind)), 333))

    samples = assemble(pieces, rate=16_000, format=hint)

    np.testing.assert_array_equal(samples, expected(kind))


@pytest.mark.parametrize("kind", ["chromium", "opus"])
def test_single_bytes_give_the_same(kind: str) -> None:
    data = recorded(kind)

    samples = assemble(pieces_of(data, range(len(data))), rate=16_000)

    np.testing.assert_array_equal(samples, expected(kind))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_the_sessions_format_is_what_comes_out(rate: int, channels: int) -> None:
    samples = assemble([recorded("webm", 2)], rate=rate, channels=channels)

    file = whole(recorded("webm", 2), rate=rate, channels=channels)
    np.testing.assert_array_equal(samples, file)


@given(data=st.data())
@settings(max_examples=8)
def test_any_cut_of_recordings_in_a_row_gives_the_same_samples(
    data: st.DataObject,
) -> None:
    files = recorded("webm-live") + recorded("opus") + recorded("chromium")
    files += riff(FORM, DATA)

    check_stage(
        lambda: ChunkAssembler(rate=16_000),
        [[files], pieces_of(files, data.draw(cuts(len(files))))],
        join=lambda out: np.concatenate(out).tobytes(),
    )


def test_recordings_in_a_row_are_each_complete() -> None:
    kinds = ("webm-live", "opus", "chromium", "webm", "webm")
    stream = b"".join(map(recorded, kinds)) + riff(FORM, DATA)
    assembler = ChunkAssembler(rate=48_000)

    pieces = pieces_of(stream, range(0, len(stream), 1_000))
    arrays = [array for piece in pieces for array in assembler.push(piece)]
    arrays += assembler.flush()

    files = [expected(kind, 48_000) for kind in kinds]
    samples = joined(arrays)
    np.testing.assert_array_equal(
        samples[: sum(map(len, files))], np.concatenate(files)
    )
    assert len(samples) - sum(map(len, files)) == 6 * len(SOUND)
    assert assembler.report.files == 6
    assert assembler.report.dropped_bytes == assembler.report.damaged_frames == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_report_tells_what_it_is(kind: str) -> None:
    assembler = ChunkAssembler(rate=16_000)
    assembler.push(recorded(kind))

    report = assembler.report
    container = "ogg" if kind == "opus" else "webm"
    assert (report.container, report.codec) == (container, "opus")
    assert (report.rate, report.channels, report.files) == (48_000, 1, 1)
    assert not assembler.light


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_on_a_new_connection_begins_a_recording(kind: str) -> None:
    for first, sound in (
        (PCM, SOUND),
        (recorded("webm"), expected("webm", 8_000)),
        (recorded("opus")[:3_000], assemble([recorded("opus")[:3_000]], rate=8_000)),
    ):
        assembler = ChunkAssembler(rate=8_000)
        arrays = [*assembler.push(first), *assembler.restart()]
        for piece in pieces_of(recorded(kind), range(0, len(recorded(kind)), 700)):
            arrays += assembler.push(piece)
        arrays += assembler.flush()

        samples = joined(arrays)
        # The filter goes on where the format does.
        assert abs(len(samples) - len(sound) - len(expected(kind, 8_000))) <= 1
        assert assembler.report.files == 2


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_header_a_new_connection_goes_on(kind: str) -> None:
    data = recorded(kind)
    pages = [at for at in range(len(data)) if data.startswith(b"OggS", at)]
    for places in ([5, 3_000], [len(data) // 2, len(data) - 3], pages[1:]):
        assembler = ChunkAssembler(rate=16_000)
        arrays = []
        for piece in pieces_of(data, places):
            arrays += assembler.push(piece)
            arrays += assembler.restart()
        arrays += assembler.flush()

        np.testing.assert_array_equal(joined(arrays), expected(kind))
        assert assembler.report.files == 1


@pytest.mark.parametrize("kind", KINDS)
@given(places=st.data())
@settings(max_examples=6)
def test_it_goes_on_from_a_snapshot(kind: str, places: st.DataObject) -> None:
    data = recorded(kind)
    at = places.draw(st.lists(st.integers(0, len(data)), min_size=1, max_size=4))
    assembler = ChunkAssembler(rate=48_000)
    arrays = []

    for piece in pieces_of(data, at):
        arrays += assembler.push(piece)
        snapshot = assembler.snapshot()
        assert len(snapshot) <= MAX_SNAPSHOT_BYTES
        assembler.close()
        assembler = ChunkAssembler.restore(snapshot)
        assert assembler.snapshot() == snapshot
    arrays += assembler.flush()

    np.testing.assert_array_equal(joined(arrays), expected(kind, 48_000))


def test_packets_are_decoded_elsewhere_bit_for_bit() -> None:
    decoders = IsolatedDecoders(1)
    try:
        for kind in ("chromium", "opus"):
            pieces = pieces_of(recorded(kind), range(0, len(recorded(kind)), 999))
            samples = assemble(pieces, rate=16_000, decoders=decoders)
            np.testing.assert_array_equal(samples, expected(kind))
    finally:
        decoders.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_push_of_it_is_not_called_light(kind: str) -> None:
    assert not ChunkAssembler(rate=16_000).is_light(recorded(kind))
