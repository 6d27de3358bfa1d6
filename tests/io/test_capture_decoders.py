"""Decoders of live streams in helpers: the same sound, and no harm to the others."""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import psutil
import pytest
from coded_bytes import flac_silence
from packet_files import FILES, adts, flac, joined, mp3, pieces, plain_mp3, read

from voicepipe import ChildLimits
from voicepipe.errors import (
    DamagedAudioError,
    DecoderCrashedError,
    DecoderTimeoutError,
)
from voicepipe.io.capture import decoders
from voicepipe.io.capture.decoders import IsolatedDecoders
from voicepipe.stream.packets.codec import AvPacketDecoder
from voicepipe.stream.packets.readers import open_reader, restore_reader


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stress_report import Report

    from voicepipe.stream.packets.decoder import PacketDecoder


LONG = mp3(44_100, 2)
"""A file of 17 kB."""


@pytest.fixture(scope="module")
def isolated() -> Iterator[IsolatedDecoders]:
    made = IsolatedDecoders(2)
    yield made
    made.close()
    assert helpers() == []


@pytest.fixture
def fresh() -> Iterator[Callable[..., IsolatedDecoders]]:
    """Make decoders that end with the test."""
    made: list[IsolatedDecoders] = []

    def make(size: int = 1, **limits: float) -> IsolatedDecoders:
        made.append(IsolatedDecoders(size, ChildLimits(**limits)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def strange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the helpers run what does as it is told."""
    monkeypatch.setattr(decoders, "_CHILD", "strange_decoders")


def helpers() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        try:
            if "serve" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def order(do: str, **arguments: object) -> list[bytes]:
    return [b"!" + json.dumps({"do": do, **arguments}).encode()]


def frames_of(decoder: PacketDecoder, do: str, **arguments: object) -> int:
    (decoded,) = decoder.decode(order(do, **arguments))
    assert decoded is not None
    return len(decoded.samples)


def limit_stalls(made: IsolatedDecoders, stall_s: float) -> None:
    """Say how long calls may take from now on: the first one has a helper started."""
    for host in made._hosts:
        host._limits = attrs.evolve(host._limits, stall_s=stall_s)


def pid_of(decoder: PacketDecoder) -> int:
    (decoded,) = decoder.decode(order("pid"))
    assert decoded is not None
    return decoded.rate


@pytest.mark.parametrize(
    "name",
    ["mp3", "mp3 8000 Hz, 2", "layer II", "adts", "flac 24 bits", "flac 8 bits"],
)
def test_the_sound_is_the_same_bit_for_bit(
    isolated: IsolatedDecoders, name: str
) -> None:
    codec, make = FILES[name]
    parts = pieces(make(), [4_096] * 100)

    here, there = read(codec, parts)[0], read(codec, parts, isolated)[0]

    assert [block.rate for block in here] == [block.rate for block in there]
    for one, other in zip(here, there, strict=True):
        assert one.samples.dtype == other.samples.dtype
        assert np.array_equal(one.samples, other.samples)


def test_damage_is_counted_as_it_is_here(isolated: IsolatedDecoders) -> None:
    data = bytearray(flac(16_000, 1, 3.0))
    for at in (9_000, 40_000, 41_000):
        data[at] ^= 1
    rng = np.random.default_rng(1)
    packets = [rng.bytes(200) for _ in range(20)]

    here, there = read("flac", [bytes(data)]), read("flac", [bytes(data)], isolated)

    assert there[1].counts() == here[1].counts()
    assert here[1].counts()["damaged_frames"] > 1
    assert np.array_equal(joined(here[0]), joined(there[0]))
    for codec in ("mp3", "aac", "flac"):
        decoder = isolated(codec)
        given = decoder.decode(packets)
        decoder.close()
        assert [each is None for each in given] == [
            each is None for each in AvPacketDecoder(codec).decode(packets)
        ]


def test_many_streams_share_a_few_helpers(fresh: Any) -> None:
    made = fresh(2)
    files = [("mp3", mp3()), ("aac", adts()), ("flac", flac()), ("mp3", plain_mp3())]
    readers = [open_reader(codec, made) for codec, _ in files * 6]
    got: list[list[Any]] = [[] for _ in readers]

    for at in range(0, 40_000, 1_000):
        for index, reader in enumerate(readers):
            got[index] += reader.push(files[index % 4][1][at : at + 1_000])
    for index, reader in enumerate(readers):
        got[index] += reader.flush()
        reader.close()

    assert len(set(pids_of(made))) == 2
    for index, blocks in enumerate(got):
        codec, data = files[index % 4]
        assert np.array_equal(
            joined(blocks), joined(read(codec, pieces(data[:40_000], [1_000] * 40))[0])
        )


def test_threads_share_them_too(isolated: IsolatedDecoders) -> None:
    names = ["mp3", "adts", "flac", "mp3 44100 Hz, 2", "mp3 8000 Hz, 1"] * 4

    def work(name: str) -> bool:
        codec, make = FILES[name]
        parts = pieces(make(), [700] * 1_000)
        blocks = read(codec, parts, isolated)[0]
        return np.array_equal(joined(blocks), joined(read(codec, parts)[0]))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, names))


def test_there_are_no_more_helpers_than_that(fresh: Any) -> None:
    before = len(helpers())
    made = fresh(3)
    opened = [made("mp3") for _ in range(12)]
    for decoder in opened:
        decoder.decode([plain_mp3()[:144]])

    assert len(helpers()) - before == 3


@pytest.mark.usefixtures("strange")
def test_a_new_stream_goes_where_the_fewest_are(fresh: Any) -> None:
    made = fresh(2)
    opened = [made("mp3") for _ in range(4)]
    pids = [pid_of(decoder) for decoder in opened]
    assert len(set(pids)) == 2
    assert pids[:2] == pids[2:]

    opened[1].close()
    opened[3].close()

    assert {pid_of(made("mp3")) for _ in range(2)} == {pids[1]}


@pytest.mark.usefixtures("strange")
def test_a_stream_that_is_closed_is_forgotten(fresh: Any) -> None:
    made = fresh()
    watcher = made("mp3")
    for _ in range(3):
        opened = [made("mp3") for _ in range(5)]
        for decoder in opened:
            decoder.decode([plain_mp3()[:144]])
        assert frames_of(watcher, "count") == 1 + 5
        for decoder in opened:
            decoder.close()
            decoder.close()

    assert frames_of(watcher, "count") == 1


def test_a_decoder_that_was_never_used_starts_nothing(fresh: Any) -> None:
    before = helpers()
    made = fresh()
    decoder = made("mp3")

    assert decoder.decode([]) == []
    assert decoder.flush() == []
    decoder.close()
    assert helpers() == before


def killed(number: int, made: IsolatedDecoders) -> None:
    """Send a signal to the last helper."""
    os.kill(pids_of(made)[-1], number)


def pids_of(made: IsolatedDecoders) -> list[int]:
    lines = [host._child._line for host in made._hosts if host._child]
    return [line.process.pid for line in lines if line]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_killed_helper_is_told_and_all_its_streams_go_on(
    fresh: Any, number: int
) -> None:
    made = fresh()
    files = [("mp3", LONG), ("flac", flac()), ("aac", adts(16_000, 1, 3.0))]
    readers = [open_reader(codec, made) for codec, _ in files]
    got: list[list[Any]] = [[] for _ in files]
    for index, (_, data) in enumerate(files):
        got[index] += readers[index].push(data[:14_000])
    snapshots = [reader.snapshot() for reader in readers]

    killed(number, made)
    errors = []
    for index, (_, data) in enumerate(files):
        with pytest.raises(DecoderCrashedError) as caught:
            readers[index].push(data[14_000:])
        errors.append(caught.value)
        readers[index].close()

    assert errors[0].returncode == -number
    assert errors[0].retryable == (number == signal.SIGKILL)
    assert all(error.retryable for error in errors[1:])
    for index, (codec, data) in enumerate(files):
        reader = restore_reader(codec, snapshots[index], made)
        got[index] += reader.push(data[14_000:])
        got[index] += reader.flush()
        assert np.array_equal(joined(got[index]), joined(read(codec, [data])[0]))


def test_streams_of_another_helper_notice_nothing(fresh: Any) -> None:
    made = fresh(2)
    readers = [open_reader("mp3", made) for _ in range(2)]
    first = readers[0].push(LONG[:4_000])
    readers[1].push(LONG[:4_000])

    killed(signal.SIGKILL, made)

    with pytest.raises(DecoderCrashedError):
        readers[1].push(LONG[4_000:])
    first += readers[0].push(LONG[4_000:])
    first += readers[0].flush()
    assert np.array_equal(joined(first), joined(read("mp3", [LONG])[0]))


def test_a_helper_that_died_unseen_is_replaced_for_a_new_stream(fresh: Any) -> None:
    made = fresh()
    made("mp3").decode([plain_mp3()[:144]])
    (pid,) = pids_of(made)
    killed(signal.SIGKILL, made)
    while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)

    assert joined(read("flac", [flac()], made)[0]).shape == (16_000, 1)


def test_a_helper_that_hangs_is_killed(fresh: Any) -> None:
    made = fresh()
    victim, other = open_reader("mp3", made), open_reader("mp3", made)
    victim.push(LONG[:4_000])
    other.push(LONG[:4_000])
    snapshot = other.snapshot()
    limit_stalls(made, 4.0)
    killed(signal.SIGSTOP, made)
    begin = time.monotonic()

    with pytest.raises(DecoderTimeoutError) as caught:
        victim.push(LONG[4_000:])

    assert caught.value.limit_s == 4.0
    assert 3.9 < time.monotonic() - begin < 60
    with pytest.raises(DecoderCrashedError, match="of another stream"):
        other.push(LONG[4_000:])
    limit_stalls(made, 60.0)
    again = restore_reader("mp3", snapshot, made)
    assert again.push(LONG[4_000:])


@pytest.mark.usefixtures("strange")
def test_each_call_has_its_own_time(fresh: Any) -> None:
    decoder = fresh(cpu_s=1.0)("mp3")
    for _ in range(4):  # more than it may use in one
        assert frames_of(decoder, "burn", seconds=0.7) == 1

    made = fresh()
    decoder = made("mp3")
    assert frames_of(decoder, "frames", number=1) == 1
    limit_stalls(made, 9.0)
    for _ in range(4):
        assert frames_of(decoder, "sleep", seconds=2.5) == 1


@pytest.mark.usefixtures("strange")
def test_a_call_that_computes_for_too_long_is_ended(fresh: Any) -> None:
    made = fresh(cpu_s=1.0)
    decoder, other = made("mp3"), made("mp3")
    frames_of(other, "frames", number=1)

    with pytest.raises(DecoderTimeoutError) as caught:
        decoder.decode(order("burn", seconds=60.0))

    assert caught.value.limit_s == 1.0
    with pytest.raises(DecoderCrashedError) as told:
        other.decode(order("count"))
    assert told.value.retryable
    assert frames_of(made("mp3"), "frames", number=3) == 3


@pytest.mark.usefixtures("strange")
def test_a_helper_that_fills_its_memory_is_replaced(fresh: Any) -> None:
    made = fresh()
    before = len(helpers())
    decoder = made("mp3")
    pid = pid_of(decoder)

    with pytest.raises(DecoderCrashedError, match="out of memory"):
        decoder.decode(order("fill"))

    assert len(helpers()) == before
    assert pid_of(made("mp3")) != pid


NONSENSE: dict[str, tuple[object, int]] = {
    "nothing": (None, 0),
    "a number": (1, 0),
    "a text": ("runs", 0),
    "an object": ({"runs": []}, 0),
    "too few packets": ([], 0),
    "too many packets": ([[8_000, 1, "i2", [0, 0]]], 0),
    "sound that is missing": ([[8_000, 1, "i2", [10]]], 19),
    "sound that was not said": ([[8_000, 1, "i2", [10]]], 21),
    "no sound, but bytes": ([[8_000, 1, "i2", [0]]], 2),
    "too long a packet": ([[8_000, 1, "i2", [65_537]]], 131_074),
    "a negative length": ([[8_000, 1, "i2", [-1]]], 0),
    "a broken length": ([[8_000, 1, "i2", [0.5]]], 0),
    "a true length": ([[8_000, 1, "i2", [True]]], 2),
    "too many channels": ([[8_000, 9, "i2", [1]]], 18),
    "negative channels": ([[8_000, -1, "i2", [1]]], 0),
    "a huge rate": ([[1 << 30, 1, "i2", [1]]], 2),
    "a rate that is a text": ([["8000", 1, "i2", [1]]], 2),
    "another type": ([[8_000, 1, "O", [1]]], 8),
    "a type that is a list": ([[8_000, 1, [], [1]]], 8),
    "a run too short": ([[8_000, 1, "i2"]], 0),
}


@pytest.mark.usefixtures("strange")
@pytest.mark.parametrize("said", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_a_crash(said: tuple[object, int]) -> None:
    made = IsolatedDecoders(1)
    try:
        before = len(helpers())
        decoder = made("mp3")

        with pytest.raises(DecoderCrashedError, match="process failed") as caught:
            decoder.decode(order("say", value=said[0], size=said[1]))

        assert not caught.value.retryable
        assert len(helpers()) == before
    finally:
        made.close()


@pytest.mark.usefixtures("strange")
@pytest.mark.parametrize("kind", ["KeyError", "ValueError", "OSError"])
def test_an_error_that_is_not_the_decoders_is_a_crash(fresh: Any, kind: str) -> None:
    decoder = fresh()("mp3")

    with pytest.raises(DecoderCrashedError):
        decoder.decode(order("fail", kind=kind))


@pytest.mark.usefixtures("strange")
def test_what_the_decoder_says_costs_nobody_anything(fresh: Any) -> None:
    made = fresh()
    watcher = made("mp3")
    pid = pid_of(watcher)

    with pytest.raises(DamagedAudioError, match="header"):
        made("flac", bytes(34)).decode([b"x"])

    assert pid_of(watcher) == pid


def test_samples_that_are_none_are_made_valid(
    fresh: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A helper that has been taken over may send any bits for a float."""
    from voicepipe.stream.packets.decoder import Decoded

    wild = np.array([[np.nan], [np.inf], [-9.0], [0.25]], np.float32)

    class Wild:
        def decode(self, packets: list[bytes]) -> list[Decoded]:
            return [Decoded(rate=8_000, samples=wild) for _ in packets]

        def flush(self) -> list[Decoded]:
            return []

        def close(self) -> None:
            pass

    blocks, _ = read("aac", [adts()], lambda _codec, _extra: Wild())

    assert np.array_equal(joined(blocks)[:4, 0], [0.0, 0.0, -1.0, 0.25])


def test_a_bomb_comes_in_small_answers(fresh: Any) -> None:
    """Twenty minutes of silence in four kilobytes."""
    data = flac_silence(16_000, 1, 300)
    frames = read("flac", [data], fresh())[0]

    assert sum(len(block.samples) for block in frames) == 300 * 65_535


def test_silence_does_not_end_a_helper(fresh: Any) -> None:
    made = fresh(idle_s=0.2)
    reader = open_reader("mp3", made)
    blocks = reader.push(LONG[:4_000])
    time.sleep(1.0)

    blocks += reader.push(LONG[4_000:])
    blocks += reader.flush()

    assert np.array_equal(joined(blocks), joined(read("mp3", [LONG])[0]))


def test_closing_ends_the_helpers_and_all_calls() -> None:
    before = len(helpers())
    made = IsolatedDecoders(2)
    opened = [made("mp3") for _ in range(2)]
    for decoder in opened:
        decoder.decode([plain_mp3()[:144]])
    assert len(helpers()) == before + 2

    made.close()
    made.close()

    assert len(helpers()) == before
    for decoder in (*opened, made("mp3")):
        with pytest.raises(DecoderCrashedError):
            decoder.decode([plain_mp3()[:144]])
        decoder.close()


@pytest.mark.usefixtures("strange")
def test_closing_ends_a_call_that_waits() -> None:
    made = IsolatedDecoders(1)
    decoder = made("mp3")
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            decoder.decode(order("sleep", seconds=600.0))
        except DecoderCrashedError as exc:
            raised.append(exc)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(1.0)
    made.close()
    thread.join(60)

    assert not thread.is_alive()
    assert "closed" in str(raised[0])


def test_decoders_that_nobody_has_any_more_end() -> None:
    before = len(helpers())
    made = IsolatedDecoders(1)
    made("mp3").decode([plain_mp3()[:144]])
    assert len(helpers()) == before + 1

    del made
    gc.collect()

    assert len(helpers()) == before


def test_no_helpers_are_too_few() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        IsolatedDecoders(0)


def kill_at_random(made: IsolatedDecoders, rounds: int, seed: int) -> int:
    """Read a file while helpers are killed; restore each time. Gives the deaths."""
    rng = np.random.default_rng(seed)
    codec, data = [("mp3", mp3(44_100, 2)), ("flac", flac(44_100, 2))][seed % 2]
    expected = joined(read(codec, [data])[0])
    deaths = 0
    for _ in range(rounds):
        reader = open_reader(codec, made)
        blocks: list[Any] = []
        snapshot, at = reader.snapshot(), 0
        while at < len(data):
            part = data[at : at + 4_096]
            if rng.random() < 0.1:
                for pid in pids_of(made):
                    os.kill(pid, signal.SIGKILL)
            try:
                blocks += reader.push(part)
            except DecoderCrashedError:
                deaths += 1
                reader.close()
                reader = restore_reader(codec, snapshot, made)
                continue
            at += len(part)
            snapshot = reader.snapshot()
        blocks += flushed(reader, codec, snapshot, made)
        reader.close()
        assert np.array_equal(joined(blocks), expected)
    return deaths


def flushed(reader: Any, codec: Any, snapshot: bytes, made: Any) -> list[Any]:
    try:
        return list(reader.flush())
    except DecoderCrashedError:
        reader.close()
        return list(restore_reader(codec, snapshot, made).flush())


@pytest.mark.parametrize("seed", [1, 2])
def test_no_sample_is_lost_or_doubled_when_helpers_are_killed(
    fresh: Any, seed: int
) -> None:
    assert kill_at_random(fresh(1), 2, seed) > 0


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_no_sample_is_lost_in_hundreds_of_kills(
    fresh: Any, stress_report: Report
) -> None:
    made = fresh(1)
    deaths = sum(kill_at_random(made, 10, seed) for seed in range(20))

    stress_report(
        f"{deaths} decoders of live streams killed, each gone on with from a snapshot",
        "every sample as if nothing had happened",
    )
