"""The server is killed, and its lines are cut, while clients stream to it."""

from __future__ import annotations

import random
import time
from signal import SIGKILL
from typing import TYPE_CHECKING, Literal

import anyio
import anyio.to_thread
import av
import numpy as np
import pytest
import soundfile
from make_audio import encode, signal
from stream_peer import BadLine
from stream_server_runner import StreamServer

from voicepipe import StreamClient, StreamOptions, read_audio
from voicepipe.types.audio import pcm16


if TYPE_CHECKING:
    from pathlib import Path

    from stress_report import Report


RATE = 16_000
CHUNK = 3_201  # no whole number of samples
PAUSE_S = 0.01


class Talker:
    """Streams without an end, until it is told to stop; knows what it has sent."""

    def __init__(self, number: int) -> None:
        self.random = random.Random(number)
        self.sent = bytearray()
        self.session_id = ""
        self.stopped = anyio.Event()

    async def run(self, url: str) -> None:
        options = StreamOptions(reconnect_s=600.0)
        async with StreamClient(url, rate=RATE, options=options) as client:
            self.session_id = client.session_id
            while not self.stopped.is_set():
                chunk = self.random.randbytes(CHUNK)
                await client.send(chunk)
                self.sent += chunk
                await anyio.sleep(PAUSE_S)
            if len(self.sent) % 2:
                await client.send(b"\0")
                self.sent += b"\0"
            summary = await client.close()
        assert summary.bytes_received == len(self.sent)


async def killed(server: StreamServer, kills: int) -> list[Talker]:
    """Kill the server so often while five talk to it; gives them."""
    rnd = random.Random(kills)
    talkers = [Talker(number) for number in range(5)]
    with anyio.fail_after(kills * 60.0):
        async with anyio.create_task_group() as group:
            for talker in talkers:
                group.start_soon(talker.run, server.ws_url)
            for _ in range(kills):
                await anyio.sleep(rnd.uniform(0.05, 0.8))
                await anyio.to_thread.run_sync(server.stop, SIGKILL)
                sent = {talker.session_id: bytes(talker.sent) for talker in talkers}
                await anyio.to_thread.run_sync(server.start)
                await anyio.to_thread.run_sync(readable, server, sent)
            while min(len(talker.sent) for talker in talkers) <= kills * CHUNK:  # noqa: ASYNC110
                await anyio.sleep(0.1)
            for talker in talkers:
                talker.stopped.set()
    return talkers


def readable(server: StreamServer, sent: dict[str, bytes]) -> None:
    """Look whether two readers open each file, and what is in it was sent."""
    for session_id, data in sent.items():
        if not session_id:
            continue
        path = server.wav(session_id)
        samples, rate = soundfile.read(path, dtype="int16")
        assert rate == RATE
        # Clients have gone on meanwhile.
        common = min(len(samples), len(data) // 2)
        assert samples[:common].tobytes() == data[: 2 * common]
        with av.open(str(path)) as opened:
            assert next(opened.decode(audio=0), None) is not None or not len(samples)


def check(server: StreamServer, talkers: list[Talker]) -> int:
    """Compare each recording with what was sent; gives the bytes."""
    for talker in talkers:
        samples, _ = soundfile.read(server.wav(talker.session_id), dtype="int16")
        assert samples.tobytes() == bytes(talker.sent)
    return sum(len(talker.sent) for talker in talkers)


@pytest.fixture
def anyio_backend() -> str:
    """Run on one backend: what is tested is the server."""
    return "asyncio"


@pytest.mark.timeout(700)
async def test_ten_kills_of_the_server_cost_no_byte(tmp_path: Path) -> None:
    with StreamServer(tmp_path) as server:
        talkers = await killed(server, 10)

        assert check(server, talkers) > 5 * 10 * CHUNK


@pytest.mark.stress
async def test_a_hundred_kills_of_the_server_cost_no_byte(
    tmp_path: Path, stress_report: Report
) -> None:
    begin = time.monotonic()
    with StreamServer(tmp_path) as server:
        talkers = await killed(server, 100)

        size = check(server, talkers)
    stress_report(
        "100 SIGKILLs of the streaming server, five clients",
        f"{size / 1e6:.1f} MB sent, each byte stored once; every file readable by "
        f"soundfile and PyAV after every kill; {time.monotonic() - begin:.0f} s",
    )


async def cut_while_streaming(server: StreamServer, cuts: int) -> tuple[int, int]:
    """Cut a client's line so often, in the middle of frames; gives bytes and cuts."""
    rnd = random.Random(cuts)
    sent = bytearray()
    with BadLine(server.port) as line:
        # Of four cuts one hits what the server answers.
        for number in range(cuts):
            up, down = rnd.randint(600, 60_000), rnd.randint(300, 3_000)
            line.cuts.append((None, down) if number % 4 == 3 else (up, None))
        options = StreamOptions(reconnect_s=600.0)
        async with StreamClient(line.url, rate=RATE, options=options) as client:
            while line.cut < cuts or len(sent) % 2:
                chunk = rnd.randbytes(rnd.randint(1, 9_000))
                await client.send(chunk)
                sent += chunk
            summary = await client.close()
    samples, _ = soundfile.read(server.wav(client.session_id), dtype="int16")
    assert samples.tobytes() == bytes(sent)
    assert summary.bytes_received == len(sent)
    return len(sent), line.cut


async def test_ten_cuts_in_the_middle_of_frames_cost_no_byte_and_double_none(
    tmp_path: Path,
) -> None:
    with StreamServer(tmp_path) as server:
        _, cuts = await cut_while_streaming(server, 10)

    assert cuts >= 10


@pytest.mark.stress
async def test_a_hundred_cuts_cost_no_byte_and_double_none(
    tmp_path: Path, stress_report: Report
) -> None:
    with StreamServer(tmp_path) as server:
        size, cuts = await cut_while_streaming(server, 100)

    assert cuts >= 100
    stress_report(
        "100 cuts of a streaming client's line, in the middle of frames",
        f"{size / 1e6:.1f} MB, the recording equal to what was sent",
    )


@pytest.mark.parametrize("kind", ["flac", "mp3", "aac"])
async def test_a_compressed_stream_keeps_its_length_through_a_kill(
    tmp_path: Path, kind: Literal["flac", "mp3", "aac"]
) -> None:
    data = encode(kind, signal(RATE, 1), RATE)
    whole = await read_audio(data)
    with StreamServer(tmp_path) as server:
        options = StreamOptions(reconnect_s=600.0)
        async with StreamClient(
            server.ws_url, rate=RATE, format=kind, options=options
        ) as client:
            for at in range(0, len(data), 1_000):
                await client.send(data[at : at + 1_000])
                if at == len(data) // 2_000 * 1_000:
                    await client.drain()
                    await anyio.to_thread.run_sync(server.stop, SIGKILL)
                    await anyio.to_thread.run_sync(server.start)
            await client.close()
        stored, _ = soundfile.read(server.wav(client.session_id), dtype="int16")

    expected = pcm16(whole.samples)[:, 0]
    assert len(stored) == len(expected)
    different = np.flatnonzero(stored != expected)
    assert np.ptp(different) < 0.05 * RATE if len(different) else True
