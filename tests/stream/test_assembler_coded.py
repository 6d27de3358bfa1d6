from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from coded_bytes import flac_with
from hypothesis import given, settings
from hypothesis import strategies as st
from make_audio import encode, signal
from riff_bytes import DATA, FORM, PCM, SOUND, riff
from stream_cuts import assemble, cuts, joined, pieces_of, whole

from voicepipe.errors import DecoderCrashedError, UnsupportedAudioError
from voicepipe.stream.assembler.assembler import ChunkAssembler
from voicepipe.stream.packets.codec import AvPacketDecoder
from voicepipe.testing import check_stage


if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.stream.assembler.detect import StreamFormat
    from voicepipe.stream.packets.decoder import (
        CodecName,
        Decoded,
        PacketDecoder,
    )


RATE = 16_000
KINDS = ("mp3", "mp3-plain", "flac", "aac")


@functools.cache
def coded(
    kind: str, channels: int = 1, rate: int = RATE, seconds: float = 1.0
) -> bytes:
    return encode(kind, signal(rate, channels, seconds), rate)


class Failing:
    """Decoders that die after some packets, as those in other processes may."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.open = 0

    def __call__(self, codec: CodecName, extradata: bytes, /) -> PacketDecoder:
        self.open += 1
        return _FailingDecoder(self, AvPacketDecoder(codec, extradata))


class _FailingDecoder:
    def __init__(self, shared: Failing, decoder: PacketDecoder) -> None:
        self._shared = shared
        self._decoder = decoder
        self._closed = False

    def decode(self, packets: Sequence[bytes], /) -> Sequence[Decoded | None]:
        self._shared.left -= len(packets)
        if self._shared.left < 0:
            raise DecoderCrashedError("it died")
        return self._decoder.decode(packets)

    def flush(self) -> Sequence[Decoded]:
        return self._decoder.flush()

    def close(self) -> None:
        self._shared.open -= not self._closed
        self._closed = True
        self._decoder.close()


@pytest.mark.parametrize("session_channels", [1, 2])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_pieces_give_the_samples_of_the_whole_file(
    kind: str, channels: int, session_channels: int
) -> None:
    file = coded(kind, channels)

    samples = assemble(
        pieces_of(file, range(0, len(file), 500)), rate=RATE, channels=session_channels
    )

    expected = whole(file, channels=min(channels, session_channels))
    np.testing.assert_array_equal(
        samples, np.broadcast_to(expected, (len(expected), session_channels))
    )


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_single_bytes_give_the_samples_of_the_whole_file(
    kind: str, channels: int
) -> None:
    # Two files: the end of the first one is seen in single bytes, too.
    file = coded(kind, channels, seconds=0.25)
    stream = file + riff(FORM, DATA)

    samples = assemble(
        pieces_of(stream, range(len(stream))), rate=RATE, channels=channels
    )

    expected = whole(file, channels=channels)
    np.testing.assert_array_equal(samples[: len(expected)], expected)
    np.testing.assert_array_equal(
        samples, assemble([stream], rate=RATE, channels=channels)
    )


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=20)
def test_any_cut_of_files_in_a_row_gives_the_same_samples(
    kind: str, data: st.DataObject
) -> None:
    files = riff(FORM, DATA) + coded(kind) + riff(FORM, DATA) + coded("flac")
    rate = data.draw(st.sampled_from([RATE, 44_100]))

    check_stage(
        lambda: ChunkAssembler(rate=rate, format="mp3"),
        [[files], pieces_of(files, data.draw(cuts(len(files))))],
        join=lambda out: np.concatenate(out).tobytes(),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_another_rate_is_that_of_the_resampler(kind: str) -> None:
    file = coded(kind, 2)

    samples = assemble(pieces_of(file, range(0, len(file), 999)), rate=44_100)

    np.testing.assert_array_equal(samples, whole(file, rate=44_100, channels=1))


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_one_kind_follow_one_another(kind: str) -> None:
    one, two = coded(kind), coded(kind, 2)
    stream = one + two + one

    samples = assemble(pieces_of(stream, range(0, len(stream), 313)), rate=RATE)

    if kind in {"mp3", "flac"}:
        expected = [whole(file, channels=1) for file in (one, two, one)]
        np.testing.assert_array_equal(samples, np.concatenate(expected))
    else:  # frames follow frames, and the decoder goes on
        assert len(samples) == 2 * len(whole(one)) + len(whole(two))


def test_a_wav_header_ends_a_compressed_file() -> None:
    for kind in KINDS:
        stream = coded(kind) + riff(FORM, DATA)
        assembler = ChunkAssembler(rate=8_000, format="mp3")
        pieces = pieces_of(stream, range(0, len(stream), 71))
        arrays = [array for piece in pieces for array in assembler.push(piece)]
        arrays += assembler.flush()

        assert len(joined(arrays)) == len(whole(coded(kind), rate=8_000)) + 8_000
        np.testing.assert_array_equal(joined(arrays)[-8_000:], SOUND)
        assert assembler.report.files == 2
        assert assembler.report.dropped_bytes == 0


def test_an_error_of_a_file_that_has_just_begun_is_undone() -> None:
    decoders = Failing(2)
    assembler = ChunkAssembler(rate=RATE, format="mp3", decoders=decoders)
    arrays = [*assembler.push(coded("mp3")[:100])]

    with pytest.raises(DecoderCrashedError):
        assembler.push(coded("mp3")[100:])

    assert not assembler.broken
    assert decoders.open == 0
    decoders.left = 10**6
    arrays += assembler.push(coded("mp3")[100:])
    arrays += assembler.flush()
    np.testing.assert_array_equal(joined(arrays), whole(coded("mp3")))
    assert decoders.open == 0


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_in_the_middle_breaks_it_and_a_snapshot_goes_on(kind: str) -> None:
    file = coded(kind)
    # The last byte in its own push: there must be packets in the one that fails.
    half, decoders = len(file) // 2, Failing(10**6)
    assembler = ChunkAssembler(rate=RATE, decoders=decoders)
    arrays = [*assembler.push(file[:half])]
    snapshot = assembler.snapshot()
    decoders.left = 0

    with pytest.raises(DecoderCrashedError):
        assembler.push(file[half:])

    assert assembler.broken
    for call in (assembler.flush, assembler.restart, assembler.snapshot):
        with pytest.raises(ValueError, match="broken"):
            call()
    assembler.close()
    assert decoders.open == 0
    decoders.left = 10**6
    assembler = ChunkAssembler.restore(snapshot, decoders=decoders)
    arrays += [*assembler.push(file[half:]), *assembler.flush()]
    assert joined(arrays).shape == whole(file).shape
    assert decoders.open == 0


def test_channels_that_cannot_be_mixed_are_refused() -> None:
    decoders = Failing(10**6)
    assembler = ChunkAssembler(rate=RATE, channels=3, decoders=decoders)

    with pytest.raises(UnsupportedAudioError, match="2 channels"):
        assembler.push(coded("flac", 2))

    assert not assembler.broken
    assert decoders.open == 0
    assert np.concatenate(assembler.push(coded("flac"))).shape[1] == 3


def test_closing_gives_the_decoder_back() -> None:
    decoders = Failing(10**6)
    assembler = ChunkAssembler(rate=RATE, decoders=decoders)
    assembler.push(coded("flac")[:40_000])
    assert decoders.open == 1

    assembler.close()
    assembler.close()

    assert decoders.open == 0


def test_light_is_what_an_event_loop_may_do() -> None:
    def light_after(*pieces: bytes, rate: int = 8_000) -> bool:
        assembler = ChunkAssembler(rate=rate)
        for piece in pieces:
            assembler.push(piece)
        return assembler.light

    assert not light_after()
    assert light_after(PCM)
    assert light_after(riff(FORM, DATA), riff(FORM, DATA))
    assert not light_after(riff(FORM, DATA), rate=16_000)
    assert not light_after(coded("mp3"), rate=RATE)
    assembler = ChunkAssembler(rate=8_000)
    assembler.push(PCM)
    assembler.restart()
    assert not assembler.light  # it may begin a compressed file
    assembler.push(PCM)
    assert assembler.light


def test_samples_at_the_sessions_format_are_not_copied() -> None:
    assembler = ChunkAssembler(rate=8_000)
    assembler.push(PCM)
    piece = PCM[:4_096]

    (samples,) = assembler.push(piece)

    assert np.shares_memory(samples, np.frombuffer(piece, np.int16))


def test_a_big_picture_in_front_of_flac_is_no_sound() -> None:
    file = flac_with(coded("flac"), 6, bytes(300_000))

    samples = assemble(pieces_of(file, range(0, len(file), 9_999)), rate=RATE)

    np.testing.assert_array_equal(samples, whole(coded("flac")))


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_push_that_is_called_light_needs_no_decoder(kind: str) -> None:
    samples = (8_000 * signal(RATE, 1)).astype("<i2").tobytes()
    hints: tuple[StreamFormat, ...] = ("wav", "flac")
    for hint in hints:
        assert not ChunkAssembler(rate=RATE, format=hint).is_light(coded(kind))
        for data in (coded("wav"), samples):
            assembler = ChunkAssembler(rate=RATE, format=hint, decoders=Failing(0))
            assert assembler.is_light(data)
            assembler.push(data)
            assert assembler.light
            assembler.restart()
            assert assembler.is_light(data)
            assert not assembler.is_light(coded(kind))
    assert not ChunkAssembler(rate=RATE, format="mp3").is_light(samples)
    assert not ChunkAssembler(rate=RATE, format="aac").is_light(samples)


def test_a_push_behind_a_few_bytes_is_not_called_light() -> None:
    assembler = ChunkAssembler(rate=RATE)
    assembler.push(coded("flac")[:2])

    assert not assembler.is_light(coded("flac")[2:])
