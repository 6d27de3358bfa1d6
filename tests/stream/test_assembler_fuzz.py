from __future__ import annotations

import functools
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from coded_bytes import id3_tag
from hypothesis import given, settings
from hypothesis import strategies as st
from make_audio import encode, signal
from riff_bytes import DATA, FORM, PCM, chunk, riff

from voicepipe.errors import AudioError
from voicepipe.stream.assembler.assembler import MAX_SNAPSHOT_BYTES, ChunkAssembler


if TYPE_CHECKING:
    from stress_report import Report


@functools.cache
def parts() -> list[bytes]:
    """Give what fuzzed streams are made of."""
    rate = 16_000
    sound = signal(rate, 1, 0.3)
    kinds = ("mp3", "mp3-plain", "flac", "aac", "wav", "ogg", "opus", "webm")
    return [
        *(encode(kind, sound, rate) for kind in kinds),
        riff(FORM, DATA)[:3_000],
        riff(FORM, chunk(b"data", PCM[:99], 0), chunk(b"LIST", b"text" * 9)),
        riff(chunk(b"JUNK", bytes(28)), chunk(b"ds64", bytes(28)), FORM),
        id3_tag(bytes(999)),
        b"RIFF____WAVEfmt ",
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff",
        b"fLaC\0\0\0\x22",
        b"\xff\xfb\x90\x64" * 40,
        b"\xff\xf1\x50\x80" * 40,
        b"<html>" * 20,
        bytes(600),
        np.random.default_rng(8).bytes(2_000),
    ]


def fuzz(rng: np.random.Generator) -> tuple[int, int]:
    """Push a stream of damaged parts; give the pushes, and those refused."""
    channels = int(rng.integers(1, 3))
    hint = rng.choice(["wav", "mp3", "flac", "aac"])
    rate = int(rng.choice([8_000, 16_000, 44_100]))
    assembler = ChunkAssembler(rate=rate, channels=channels, format=hint)
    pushes = refused = given = 0
    for _ in range(rng.integers(1, 12)):
        data = bytearray(parts()[rng.integers(len(parts()))])
        for _ in range(rng.integers(0, 6)):
            data[rng.integers(len(data))] = rng.integers(256)
        begin, end = sorted(rng.integers(0, len(data) + 1, 2))
        piece = bytes(data[begin:end]) if rng.random() < 0.5 else bytes(data)
        what = rng.random()
        pushes += 1
        try:
            if what < 0.1:
                given += sum(map(len, assembler.restart()))
            given += sum(map(len, assembler.push(piece)))
        except AudioError:
            refused += 1
            if assembler.broken:
                break
        assert len(assembler.snapshot()) <= MAX_SNAPSHOT_BYTES
        if what > 0.9:
            assembler.close()
            assembler = ChunkAssembler.restore(assembler.snapshot())
    else:
        given += sum(map(len, assembler.flush()))
    assert given == assembler.report.frames
    assembler.close()
    return pushes, refused


@pytest.mark.stress
def test_damaged_streams_give_sound_or_an_audio_error_full(
    stress_report: Report,
) -> None:
    results = [fuzz(np.random.default_rng([1, seed])) for seed in range(5_000)]
    pushes, refused = map(sum, zip(*results, strict=True))
    assert 0 < refused < pushes
    stress_report(
        f"{len(results):,} streams of damaged parts, {pushes:,} pushes",
        f"sound, or an AudioError ({refused:,}); no other error",
    )


def test_damaged_streams_give_sound_or_an_audio_error() -> None:
    results = [fuzz(np.random.default_rng([2, seed])) for seed in range(500)]
    pushes, refused = map(sum, zip(*results, strict=True))
    assert 0 < refused < pushes


@given(
    pieces=st.lists(st.binary(max_size=300), max_size=8),
    hint=st.sampled_from(["wav", "mp3", "flac", "aac"]),
)
@settings(max_examples=200)
def test_bytes_of_any_kind_give_sound_or_an_audio_error(
    pieces: list[bytes], hint: str
) -> None:
    assembler = ChunkAssembler(rate=8_000, format=hint)  # type: ignore[arg-type]
    for piece in pieces:
        try:
            assembler.push(piece)
        except AudioError:
            continue
    assembler.flush()


ENDLESS = {
    "a tag": id3_tag(b"", 200 << 20),
    "a header": b"RIFF____WAVE" + chunk(b"LIST", b"", 60 << 20),
    "nothing but signatures": b"RIFF____WAVEfmt ",
    "zeros": b"",
    "a chunk behind": riff(FORM, chunk(b"data", b""), chunk(b"LIST", b"", 16 << 20)),
}


@pytest.mark.parametrize("hint", ["wav", "mp3"])
@pytest.mark.parametrize("name", ENDLESS)
def test_what_is_held_back_stays_small(name: str, hint: str) -> None:
    assembler = ChunkAssembler(rate=8_000, format=hint)  # type: ignore[arg-type]
    piece = bytes(1 << 20)
    assembler.push(ENDLESS[name])
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(12):
            try:
                assembler.push(piece)
            except AudioError:
                break
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 200_000


def test_many_tiny_files_in_one_push_do_not_copy_it_for_each() -> None:
    tiny = riff(FORM, chunk(b"data", b"\1\0"))
    flac = encode("flac", signal(8_000, 1, 0.01), 8_000)
    for file in (tiny, flac):
        count = (1 << 20) // len(file)
        assembler = ChunkAssembler(rate=8_000)
        pushed = file * count
        tracemalloc.start()
        try:
            assembler.push(pushed)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert assembler.report.files == count
        assert peak < 20 * len(pushed)
