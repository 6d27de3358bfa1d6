"""
Bytes that nobody wrote on purpose, given to all that reads headers.

Nothing but the documented errors may come out, and no claim about bytes that are not
there. Real files are changed in a few places, since what is random all over does not
get far.
"""

from __future__ import annotations

import functools
import io
import random
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import attrs
import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make_audio import encode, signal
from riff_bytes import chunk, ds64, form, riff

from voicepipe.errors import AudioError, TruncatedAudioError
from voicepipe.io.options import RawEncoding, RawFormat
from voicepipe.io.source import SourceFile
from voicepipe.io.wav.header import UNCOMPRESSED, raw_header, read_header
from voicepipe.io.wav.pcm import PcmDecoder
from voicepipe.stream import sniff as sniffing
from voicepipe.stream.mpeg import adts_frame, find_frames, id3v2_size, mpeg_frame
from voicepipe.stream.resample import MAX_CHANNELS, MAX_RATE, MIN_RATE
from voicepipe.stream.sniff import Container, sniff
from voicepipe.stream.structure import structure_of


if TYPE_CHECKING:
    from collections.abc import Sequence

    from stress_report import Report

    from voicepipe.io.wav.header import WavHeader


STRUCTURED: tuple[Container, ...] = ("ogg", "mp3", "aac", "mp4", "webm")

# Numbers at which sizes, counts and rates go wrong.
EDGES = (0, 1, 2, 7, 8, 15, 16, 17, 36, 40, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFE)
EDGES += (0xFFFF, 0x10000, 0x7FFEFFFF, 0x7FFF0000, 0x7FFFF000, 0x7FFFFFFF, 0x80000000)
EDGES += (0xFFFEFFFF, 0xFFFF0000, 0xFFFFFFDB, 0xFFFFFFFE, 0xFFFFFFFF)


def changed(data: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Change a file in one to four places, most of them near its beginning."""
    for _ in range(rng.randint(1, 4)):
        reach = len(data) if rng.random() < 0.3 else min(len(data), 150)
        at = rng.randint(0, reach)
        size = rng.choice([1, 1, 2, 4, 4, 8, rng.randint(0, 200)])
        match rng.randrange(6):
            case 0:
                number = rng.choice(EDGES).to_bytes(4, rng.choice(["little", "big"]))
                data = data[:at] + number + data[at + 4 :]
            case 1:
                data = data[:at] + rng.randbytes(size) + data[at + size :]
            case 2:
                data = data[:at] + data[at + size :]
            case 3:
                data = data[:at] + rng.randbytes(size) + data[at:]
            case 4:
                data = data[:at]
            case _:
                other = rng.choice([data, *others])
                start = rng.randint(0, len(other))
                data = data[:at] + other[start : start + 20 * size] + data[at:]
    return data


@functools.cache
def wavs() -> tuple[bytes, ...]:
    """Make WAV files of all kinds that are read."""
    files = []
    sound = signal(8_000, 2, 0.02)
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"):
        for kind in ("WAV", "WAVEX", "RF64"):
            file = io.BytesIO()
            sf.write(file, sound, 8_000, format=kind, subtype=subtype)
            files.append(file.getvalue())
    unclosed = riff(chunk(b"fmt ", form()), chunk(b"data", bytes(99), 0), size=8)
    tagged = files[1] + chunk(b"LIST", b"INFO") + chunk(b"id3 ", bytes(31)) + b"\0"
    return (*files, unclosed, tagged)


@functools.cache
def recordings() -> dict[str, bytes]:
    """Make short recordings of all kinds that are told from each other."""
    kinds = ["mp3", "mp3-plain", "aac", "ogg", "opus", "flac", "m4a", "m4a-fragmented"]
    kinds += ["webm", "webm-live"]
    sound = signal(44_100, 2, 0.4)
    return {"wav": wavs()[1]} | {kind: encode(kind, sound, 44_100) for kind in kinds}


def changed_wav(seed: int) -> bytes:
    rng = random.Random(seed)
    return changed(rng.choice(wavs()), rng, wavs())


NAMES = (b"fmt ", b"data", b"ds64", b"LIST", b"JUNK", b"fact", b"bext", b"\0\0\0\0")


def random_chunks(seed: int) -> bytes:
    """Make a file of chunks in any order that may lie about anything."""
    rng = random.Random(seed)

    def some_chunk() -> bytes:
        name = rng.choice([*NAMES, rng.randbytes(4)])
        if name == b"fmt " and rng.random() < 0.9:
            body = form(
                tag=rng.choice([1, 1, 1, 3, 6, 7, 0xFFFE, rng.getrandbits(16)]),
                channels=rng.choice([1, 1, 2, 8, 9, 0, rng.getrandbits(16)]),
                rate=rng.choice([8_000, 8_000, 0, rng.getrandbits(32)]),
                bits=rng.choice([8, 16, 24, 32, 64, 0, 17, rng.getrandbits(16)]),
            )
            body += rng.randbytes(rng.choice([0, 2, 24]))
        elif name == b"ds64":
            return ds64(rng.choice([*EDGES, 1 << 63, (1 << 63) - 1, (1 << 64) - 1]))
        else:
            body = rng.randbytes(rng.choice([0, 1, 2, rng.randint(0, 300)]))
        lie = rng.choice([None, None, None, rng.choice(EDGES)])
        return chunk(name, body, lie) + b"\0" * rng.choice([len(body) % 2, 0])

    body = b"".join(some_chunk() for _ in range(rng.randint(0, 8)))
    if rng.random() < 0.8:
        body = chunk(b"fmt ", form(bits=rng.choice([8, 16, 24, 32]))) + body
    magic = rng.choice([b"RIFF", b"RIFF", b"RF64", b"BW64"])
    return riff(body, magic=magic, size=rng.choice([None, None, *EDGES]))


def read_wav(data: bytes) -> None:
    file = SourceFile(data)
    header = read_header(file)
    reach = header.data_at + header.data_bytes
    assert 0 <= header.data_at <= reach <= reach + header.trailing_bytes <= file.size
    assert header.unclosed or header.declared_bytes is not None
    if header.unclosed:
        assert reach == file.size
    if (
        header.tag in UNCOMPRESSED
        and MIN_RATE <= header.rate <= MAX_RATE
        and 1 <= header.channels <= MAX_CHANNELS
    ):
        decode(file, header)


def decode(file: SourceFile, header: WavHeader) -> None:
    decoder = PcmDecoder(file, header)
    frames = 0
    try:
        for block in decoder.blocks():
            assert block.dtype == np.float32
            assert block.shape[1] == header.channels
            frames += len(block)
    except TruncatedAudioError:
        assert header.cut
    else:
        assert not header.cut
    assert frames * header.frame_bytes <= header.data_bytes
    assert header.data_bytes < (frames + 1) * header.frame_bytes
    report = decoder.report
    assert report.frames == frames
    assert report.truncated == (header.cut or header.promises_more)
    if header.declared_frames is not None and not report.truncated:
        assert header.unclosed or report.frames == report.declared_frames


def read_raw(data: bytes) -> None:
    rng = random.Random(data)
    encoding = rng.choice(get_args(RawEncoding))
    raw = RawFormat(rate=8_000, channels=rng.randint(1, 8), encoding=encoding)
    file = SourceFile(data, raw=True)
    header = raw_header(raw, file.size)
    assert header.data_bytes + header.trailing_bytes == len(data)
    decode(file, header)


def some_bytes(seed: int) -> bytes:
    """Make bytes that begin like something, or like nothing."""
    rng = random.Random(seed)
    if rng.random() < 0.6:
        files = list(recordings().values())
        return changed(rng.choice(files), rng, files)
    starts = [magic for _, magic, _ in sniffing._REFUSED + sniffing._FOREIGN]
    starts += [b"ID3\x04\0\0\0\0\0\x09", b"\xff\xfb\x90\x00", b"\xff\xf1\x50\x80", b"<"]
    start = rng.choice([*starts, b"", "\ufeffü".encode(), b"\xff\xfe{\0"])
    filler = rng.choice([bytes(400), b"\xff" * 400, b"text " * 80, rng.randbytes(900)])
    return changed(start + filler, rng, starts)


def tell_kind(data: bytes) -> None:
    at = 0
    for parse in (mpeg_frame, adts_frame):
        found = find_frames(data, parse)
        assert found is None or parse(data, found) is not None
        for at in range(min(len(data), 40)):
            frame = parse(data, at)
            assert frame is None or (frame.length > 0 and frame.rate > 0)
    assert 0 <= id3v2_size(data) < 1 << 29
    assert sniff(data) in get_args(Container)


def pieces_of_elements(seed: int) -> tuple[Container, bytes, list[int]]:
    """Give a container, bytes that are more or less it, and where to cut them."""
    rng = random.Random(seed)
    files = list(recordings().values())
    if rng.random() < 0.2:
        data = rng.randbytes(rng.randint(0, 3_000))
    else:
        data = changed(rng.choice(files)[: rng.randint(0, 12_000)], rng, files)
    longest = rng.choice([1, 3, 50, 4_000])
    cuts = [rng.randint(0, longest) for _ in range(4)]
    return rng.choice(STRUCTURED), data, cuts


def follow(case: tuple[Container, bytes, list[int]]) -> None:
    container, data, cuts = case

    def told(sizes: list[int]) -> tuple[object, ...]:
        structure = structure_of(container)
        assert structure is not None
        at = index = 0
        while at < len(data):
            size = sizes[index % len(sizes)] or (index % len(sizes) == 0)
            structure.push(data[at : at + size])
            at, index = at + size, index + 1
        assert structure.last_at is None or 0 <= structure.last_at <= len(data)
        assert structure.declared_s is None or structure.declared_s >= 0
        assert 0 <= structure.trailing_bytes <= len(data)
        return (
            structure.cut,
            structure.damaged,
            structure.declared_s,
            structure.last_at,
            structure.trailing_bytes,
        )

    assert told(cuts) == told([max(1, len(data))])


@attrs.frozen
class Law:
    """What is tried, and what must hold for it; ``examples`` in the normal run."""

    make: Callable[[int], Any]
    check: Callable[[Any], None]
    examples: int


LAWS = {
    "changed WAV files": Law(changed_wav, read_wav, 1_000),
    "random RIFF chunks": Law(random_chunks, read_wav, 1_000),
    "samples without a header": Law(changed_wav, read_raw, 300),
    "telling what bytes are": Law(some_bytes, tell_kind, 800),
    "following a structure": Law(pieces_of_elements, follow, 400),
}


def documented_error(check: Callable[[Any], None], example: Any) -> AudioError | None:
    """Give the error that comes of an example; any other kind goes through."""
    try:
        check(example)
    except AudioError as exc:
        error = exc
    else:
        return None
    assert str(error)
    return error


def run(law: Law, examples: int) -> tuple[int, int]:
    """Try a law; give how many examples there were and how many gave an error."""
    tried = refused = 0

    # The deadline is for what takes a thousand times as long as it should.
    @settings(
        max_examples=examples,
        deadline=5_000,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, (1 << 64) - 1))
    def check(seed: int) -> None:
        nonlocal tried, refused
        error = documented_error(law.check, law.make(seed))
        tried += 1
        refused += error is not None

    check()
    return tried, refused


@pytest.mark.parametrize("name", LAWS)
def test_nothing_but_documented_errors_comes_of_any_bytes(name: str) -> None:
    run(LAWS[name], LAWS[name].examples)


@pytest.mark.stress
@pytest.mark.parametrize("name", LAWS)
def test_nothing_but_documented_errors_comes_of_many_bytes(
    name: str, stress_report: Report
) -> None:
    tried, refused = run(LAWS[name], 50 * LAWS[name].examples)

    stress_report(
        f"fuzzing: {name}",
        f"{tried:,} examples, {refused:,} documented errors, 0 others",
    )
    assert tried >= 40 * LAWS[name].examples


def test_the_examples_reach_both_ends() -> None:
    """What is always refused, or never, tests one half only."""
    for name in ("changed WAV files", "random RIFF chunks", "telling what bytes are"):
        tried, refused = run(LAWS[name], 200)
        assert 0.1 < refused / tried < 0.9, name


def test_a_header_may_say_anything() -> None:
    """Each field of each header in turn gets each number that is on an edge."""
    for data in wavs():
        for at in range(0, 100, 2):
            for number in EDGES:
                for kind in ("<I", "<H"):
                    if number < 1 << (8 * struct.calcsize(kind)):
                        field = struct.pack(kind, number)
                        said = data[:at] + field + data[at + len(field) :]
                        documented_error(read_wav, said)
