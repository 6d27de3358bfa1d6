"""Connections that break, die, or are closed; servers that refuse, stop or lie."""

from __future__ import annotations

import asyncio  # noqa: TID251 - what cancels from outside anyio is tested
import contextlib
import gc
import json
import random
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import numpy as np
import psutil
import pytest
from stream_peer import BadLine, StreamPeer, Waits
from websockets.utils import accept_key

from voicepipe.errors import StreamError, StreamLostError, StreamRefusedError
from voicepipe.io.streaming.client import StreamClient
from voicepipe.io.streaming.values import StreamOptions


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from stress_report import Report


SOURCE = random.Random(7).randbytes(400_000)

# A client that is told soon, of servers that never work.
QUICK = StreamOptions(reconnect_s=0.6, connect_s=0.5, ping_s=0.2, answer_s=0.3)


@pytest.fixture
def peer() -> Iterator[StreamPeer]:
    with StreamPeer() as server:
        yield server


@pytest.fixture
def line(peer: StreamPeer) -> Iterator[BadLine]:
    with BadLine(peer.port) as proxy:
        yield proxy


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """Let waits between two tries take no time, and nothing else any."""
    return Waits(monkeypatch)


# With such waits each try has more than 4 s.
PATIENT = StreamOptions(reconnect_s=61.0)


def pieces(data: bytes, rng: random.Random) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = rng.choice([1, 7, 320, 4096, 30_000])
        yield data[at : at + size]
        at += size


async def until(holds: Callable[[], object]) -> None:
    """Wait for what another thread does."""
    with anyio.fail_after(60):
        while not holds():  # noqa: ASYNC110 - another thread does it
            await anyio.sleep(0.005)


def sockets_to(port: int) -> int:
    """Count this process's client sockets to a port."""
    gc.collect()
    return sum(
        bool(c.raddr) and c.raddr.port == port and c.status == "ESTABLISHED"
        for c in psutil.Process().net_connections("tcp")
    )


async def stream_over_cuts(peer: StreamPeer, line: BadLine, cuts: int) -> None:
    rng = random.Random(cuts)
    for number in range(cuts):
        up, down = rng.randrange(1, 40_000), rng.randrange(1, 3_000)
        # Never inside of the very first answer: it would make a second session.
        line.cuts.append((700 + up, None) if number % 2 else (None, 700 + down))
    source = rng.randbytes(cuts * 40_000)
    options = StreamOptions(max_unacked_bytes=50_000)
    async with StreamClient(line.url, options=options) as client:
        for chunk in pieces(source, rng):
            await client.send(chunk)
            assert client.unacked_bytes <= 50_000
        while line.cut < cuts:
            # Whatever has been acknowledged is let go of, and has to be there.
            more = rng.randbytes(2_000)
            source += more
            await client.send(more)
            await client.drain()
        summary = await client.close()

    assert line.cut >= cuts
    assert peer.session.data == source
    assert summary.bytes_received == len(source)


async def test_ten_cuts_lose_nothing_and_double_nothing(
    peer: StreamPeer, line: BadLine
) -> None:
    await stream_over_cuts(peer, line, 10)


@pytest.mark.stress
async def test_a_hundred_cuts_lose_nothing_and_double_nothing(
    peer: StreamPeer,
    line: BadLine,
    stress_report: Report,
    anyio_backend_name: str,
) -> None:
    await stream_over_cuts(peer, line, 100)

    stress_report(
        f"a stream cut 100 times, mostly in a frame, {anyio_backend_name}",
        f"{len(peer.requests)} connections; all bytes there, none twice",
    )


async def test_acknowledgements_that_are_lost_come_again(
    peer: StreamPeer, line: BadLine
) -> None:
    line.cuts.append((None, 900))
    async with StreamClient(line.url) as client:
        for at in range(0, 10_000, 100):
            await client.send(SOURCE[at : at + 100])
        await client.close()
        counts = [ack.bytes_received async for ack in client.acks()]

    assert peer.session.data == SOURCE[:10_000]
    assert len(counts) == 100
    assert counts == sorted(counts)
    assert len(peer.requests) == 2


async def test_a_server_that_restarts_is_waited_for(peer: StreamPeer) -> None:
    options = StreamOptions(max_unacked_bytes=20_000)
    async with StreamClient(peer.url, options=options) as client:
        for number, chunk in enumerate(pieces(SOURCE, random.Random(1))):
            await client.send(chunk)
            if number in {5, 25}:
                await anyio.to_thread.run_sync(peer.stop)
                await anyio.sleep(0.3)
                await anyio.to_thread.run_sync(peer.start)
        await client.close()

    assert peer.session.data == SOURCE
    assert len(peer.requests) == 3


async def fewest_connections(
    peer: StreamPeer,
    line: BadLine,
    work: Callable[[], Awaitable[None]],
    *,
    least: int,
) -> int:
    """
    Do something, again while it takes too many connections; thrice at most.

    A busy machine makes a line silent for long now and then, not each time.
    """
    made: list[int] = []
    while len(made) < 3 and least not in made:
        peer.sessions.clear()
        before = line.made
        await work()
        made.append(line.made - before)
    return min(made)


async def test_a_dead_line_is_noticed_and_left(peer: StreamPeer, line: BadLine) -> None:
    options = StreamOptions(ping_s=0.2, answer_s=0.3)

    async def stream() -> None:
        async with StreamClient(line.url, options=options) as client:
            await client.send(SOURCE[:100_000])
            await client.drain()
            line.freeze()
            with anyio.fail_after(60):
                await client.send(SOURCE[100_000:])
                await client.close()

        assert peer.session.data == SOURCE

    assert await fewest_connections(peer, line, stream, least=2) == 2


async def test_a_dead_line_with_a_full_window_is_noticed_too(
    peer: StreamPeer, line: BadLine
) -> None:
    options = StreamOptions(ping_s=0.2, answer_s=0.3, max_unacked_bytes=8 << 20)
    source = random.Random(3).randbytes(12 << 20)
    async with StreamClient(line.url, options=options) as client:
        line.freeze()
        with anyio.fail_after(100):
            for at in range(0, len(source), 1 << 20):
                await client.send(source[at : at + (1 << 20)])
            await client.close()

    assert line.made >= 2
    assert peer.session.data == source


async def test_a_large_chunk_on_a_slow_line_is_given_its_time(
    peer: StreamPeer, line: BadLine
) -> None:
    line.bytes_per_s = 4e6
    options = StreamOptions(ping_s=0.3, answer_s=0.6)
    source = random.Random(4).randbytes(10 << 20)

    async def stream() -> None:
        async with StreamClient(line.url, options=options) as client:
            await client.send(source)
            await client.close()

        assert peer.session.data == source

    # Some 2.6 s in which the server can say nothing.
    assert await fewest_connections(peer, line, stream, least=1) == 1


async def test_a_server_that_pings_and_does_not_read_is_left(
    peer: StreamPeer,
) -> None:
    source = random.Random(4).randbytes(10 << 20)
    async with StreamClient(peer.url) as client:
        await anyio.to_thread.run_sync(peer.flood, 0)
        await client.send(source)
        await anyio.sleep(0.2)
        await anyio.to_thread.run_sync(peer.flood, 2_000)
        with anyio.fail_after(60):
            await client.close()

    assert peer.session.data == source
    assert len(peer.requests) == 2


async def test_a_server_that_is_not_there_is_tried_for_so_long(
    peer: StreamPeer,
) -> None:
    peer.stop()
    begun = anyio.current_time()
    with pytest.raises(StreamLostError, match=r"tried for 0\.6 s") as caught:
        async with StreamClient(peer.url, options=QUICK):
            pass
    took_s = anyio.current_time() - begun
    peer.start()

    # A client that does not give up goes on for ever.
    assert 0.1 < took_s < 30.0
    assert caught.value.retryable
    assert caught.value.session_id == ""


@pytest.mark.usefixtures("waits")
async def test_a_lost_server_is_told_to_whoever_waits(peer: StreamPeer) -> None:
    told: list[BaseException] = []

    async def expect(work: Callable[[], Any]) -> None:
        try:
            await work()
        except StreamLostError as exc:
            told.append(exc)

    async def look() -> None:
        async for _ in client.acks():
            pass

    async with StreamClient(peer.url, options=PATIENT) as client:
        peer.silent = True
        await client.send(b"x")
        async with anyio.create_task_group() as group:
            group.start_soon(expect, look)
            group.start_soon(expect, client.drain)
            group.start_soon(expect, client.close)
            await anyio.sleep(0.1)
            await anyio.to_thread.run_sync(peer.stop)
        with pytest.raises(StreamLostError):
            await client.send(b"y")
    peer.start()

    assert len(told) == 3
    assert {exc.session_id for exc in told if isinstance(exc, StreamError)} == {
        client.session_id
    }


async def test_tries_come_slower_and_slower(peer: StreamPeer, waits: Waits) -> None:
    peer.http.extend([503] * 1_000)
    with pytest.raises(StreamLostError, match="HTTP 503"):
        async with StreamClient(peer.url, options=PATIENT):
            pass

    # As many as fit in.
    slower = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
    assert waits.all == pytest.approx([*slower, *[5.0] * 10])
    assert len(peer.requests) == len(waits.all) + 1


async def test_each_acknowledgement_begins_the_count_anew(
    peer: StreamPeer, line: BadLine, waits: Waits
) -> None:
    # Each connection brings some and takes a sixth of the time to come back.
    line.cuts.extend([(3_000, None)] * 20)
    waits.each_takes = 100.0
    options = StreamOptions(reconnect_s=60.0, max_unacked_bytes=1_000)
    async with StreamClient(line.url, options=options) as client:
        for at in range(0, 40_000, 500):
            await client.send(SOURCE[at : at + 500])
        await client.close()

    assert line.cut >= 10
    assert peer.session.data == SOURCE[:40_000]


@pytest.mark.usefixtures("waits")
async def test_a_server_that_accepts_and_drops_is_not_tried_forever(
    peer: StreamPeer, line: BadLine
) -> None:
    line.cuts.extend([(1_000, None)] * 1_000)
    async with StreamClient(line.url, options=PATIENT) as client:
        await client.send(SOURCE)
        with pytest.raises(StreamLostError, match="tried for"):
            await client.drain()

    assert line.cut < 20
    assert not peer.session.data


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013])
async def test_what_may_pass_is_tried_again(peer: StreamPeer, code: int) -> None:
    async with StreamClient(peer.url) as client:
        await client.send(b"one")
        await client.drain()
        await anyio.to_thread.run_sync(peer.close_all, code)
        await client.send(b"two")
        await client.drain()
        peer.refusals.append(({"error": "Internal error"}, code))
        peer.cut()
        await client.send(b"three")
        await client.close()

    assert peer.session.data == b"onetwothree"
    assert len(peer.requests) == 4


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize(
    ("code", "text"), [(1013, "Too many sessions"), (1011, "Internal error")]
)
async def test_what_does_not_pass_is_told_with_the_servers_words(
    peer: StreamPeer, code: int, text: str
) -> None:
    peer.refusals.extend([({"error": text}, code)] * 1_000)

    with pytest.raises(StreamLostError, match=text) as caught:
        async with StreamClient(peer.url, options=PATIENT):
            pass

    assert caught.value.code == code
    assert len(peer.requests) > 1


async def test_a_try_that_has_too_little_time_does_not_hide_why_those_before_failed(
    peer: StreamPeer,
) -> None:
    peer.speechless = True
    # A busy machine may use the time up before the second try.
    for reconnect_s in (2.0, 9.0):
        peer.requests.clear()
        peer.refusals.clear()
        peer.refusals.append(({"error": "Too many sessions"}, 1013))
        options = StreamOptions(reconnect_s=reconnect_s)
        with pytest.raises(StreamLostError) as caught:
            async with StreamClient(peer.url, options=options):
                pass
        if len(peer.requests) == 2:
            break

    assert "Too many sessions; tried" in str(caught.value)
    assert caught.value.code == 1013
    assert len(peer.requests) == 2


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010, 3000, 4401])
async def test_a_refusal_is_not_asked_for_twice(peer: StreamPeer, code: int) -> None:
    async with StreamClient(peer.url) as client:
        await client.send(b"one")
        await client.drain()
        await anyio.to_thread.run_sync(peer.close_all, code, "so it is")
        await until(lambda: not peer._open)
        with pytest.raises(StreamRefusedError, match=f"{code}: so it is") as caught:
            await client.close()

    assert caught.value.code == code
    assert caught.value.session_id == client.session_id
    assert not caught.value.retryable
    assert len(peer.requests) == 1


async def test_a_refusal_at_the_door_is_told_with_what_would_do(
    peer: StreamPeer,
) -> None:
    said = {"error": "Invalid sample rate", "valid_values": [8000, 44_100]}
    peer.refusals.append((said, 1008))

    with pytest.raises(
        StreamRefusedError, match=r"Invalid sample rate \(valid: 8000, 44100\)"
    ) as caught:
        async with StreamClient(peer.url, rate=1_234):
            pass

    assert caught.value.code == 1008
    assert len(peer.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426, 302, 200])
async def test_a_refused_handshake_is_not_asked_for_twice(
    peer: StreamPeer, status: int
) -> None:
    peer.http.append(status)

    with pytest.raises(StreamRefusedError, match=f"HTTP {status}"):
        async with StreamClient(peer.url):
            pass
    assert len(peer.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_a_handshake_that_may_work_later_is(
    peer: StreamPeer, status: int
) -> None:
    peer.http.append(status)

    async with StreamClient(peer.url) as client:
        await client.close()
    assert len(peer.requests) == 2


async def test_a_chunk_beyond_the_servers_message_size_is_refused(
    peer: StreamPeer,
) -> None:
    async with StreamClient(peer.url) as client:
        await client.send(bytes((10 << 20) + 1))
        with pytest.raises((StreamRefusedError, StreamLostError)) as caught:
            await client.drain()

    assert caught.value.code == 1009
    assert not peer.session.data


async def test_acknowledged_bytes_that_a_server_has_lost_are_told(
    peer: StreamPeer,
) -> None:
    async with StreamClient(peer.url) as client:
        await client.send(b"hundred of bytes")
        await client.drain()
        del peer.session.data[10:]
        peer.cut()
        await client.send(b"more")
        with pytest.raises(StreamRefusedError, match="lost 6 bytes") as caught:
            await client.drain()

    assert caught.value.code == 1008


async def test_bytes_of_somebody_else_are_told(peer: StreamPeer) -> None:
    async with StreamClient(peer.url) as client:
        await client.send(b"mine")
        await client.drain()
        peer.session.data += b"not mine"
        peer.cut()
        await client.send(b"more")
        with pytest.raises(StreamRefusedError, match="somebody else"):
            await client.drain()


async def test_a_forgotten_session_is_told(peer: StreamPeer) -> None:
    async with StreamClient(peer.url) as client:
        peer.sessions.clear()
        peer.cut()
        await client.send(b"x")
        with pytest.raises(StreamRefusedError, match="Session not found"):
            await client.drain()


async def test_a_last_word_that_is_lost_is_no_error(peer: StreamPeer) -> None:
    peer.after_close = lambda connection: connection.transport.abort()
    async with StreamClient(peer.url) as client:
        await client.send(b"all of it")
        summary = await client.close()

    assert peer.session.status == "completed"
    assert peer.session.data == b"all of it"
    assert (summary.bytes_received, summary.chunk_count) == (9, 1)
    assert (summary.duration_s, summary.file_path) == (None, None)


async def test_a_session_that_others_completed_is_told(peer: StreamPeer) -> None:
    async with StreamClient(peer.url) as client:
        peer.session.status = "completed"
        peer.cut()
        await client.send(b"x")
        with pytest.raises(StreamRefusedError, match="Session is closed"):
            await client.close()


@pytest.mark.parametrize(
    "hello",
    [
        "no JSON",
        "[]",
        "[" * 20_000,
        '{"status": "active"}',
        '{"status": "active", "session_id": "../x", "chunk_count": 0}',
        '{"status": "active", "session_id": "x", "chunk_count": 0}',
        (
            '{"status": "active", "session_id": "x", "chunk_count": 0,'
            ' "bytes_received": -1}'
        ),
        (
            '{"status": "active", "session_id": "x", "chunk_count": true,'
            ' "bytes_received": 0}'
        ),
        (
            '{"status": "active", "session_id": "x", "chunk_count": 0,'
            ' "bytes_received": 5}'
        ),
    ],
)
async def test_a_first_message_that_makes_no_sense_is_refused(
    peer: StreamPeer, hello: str
) -> None:
    peer.hello = hello

    with pytest.raises(StreamRefusedError):
        async with StreamClient(peer.url):
            pass
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"bytes_received": 2},
        {"bytes_received": 4},
        {"session_id": "another"},
        {"chunk_count": None},
    ],
)
async def test_an_answer_that_does_not_fit_is_refused(
    peer: StreamPeer, wrong: dict[str, Any]
) -> None:
    peer.answer = lambda right: right | wrong
    async with StreamClient(peer.url) as client:
        await client.send(b"one")
        with pytest.raises(StreamRefusedError):
            await client.drain()


async def test_an_answer_to_nothing_is_refused(peer: StreamPeer) -> None:
    async with StreamClient(peer.url) as client:
        peer.say(peer._state(peer.session, "Chunk processed successfully"))
        with pytest.raises(StreamRefusedError, match="not sent"):
            await anext(client.acks())


async def test_messages_that_are_not_known_are_left_alone(peer: StreamPeer) -> None:
    async with StreamClient(peer.url) as client:
        peer.say({"news": ["x"]})
        peer.say({"error": "Unknown message", "detail": "x"})
        await client.send(b"x")
        await client.close()

    assert peer.session.data == b"x"
    assert len(peer.requests) == 1


async def test_who_is_silent_is_not_connected_again_before_there_is_need(
    peer: StreamPeer,
) -> None:
    async with StreamClient(peer.url) as client:
        await client.send(b"one")
        await client.drain()
        await anyio.to_thread.run_sync(peer.close_all, 1001)
        # Longer than a connection may take to come back.
        await anyio.sleep(1.0)
        assert len(peer.requests) == 1
        await client.send(b"two")
        await client.close()

    assert peer.session.data == b"onetwo"


async def test_a_server_that_never_says_anything_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"ws://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(StreamLostError, match="no connection to ws"):
            async with StreamClient(url, options=QUICK):
                pass


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 101 Switching\r\n\r\n", b"\0" * 10_000]
)
async def test_what_is_no_server_of_this_kind_is_told(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(65_536)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
            with pytest.raises((StreamLostError, StreamRefusedError)):
                async with StreamClient(url, options=QUICK):
                    pass
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


async def cancelled_after(seconds: float, peer: StreamPeer, line: BadLine) -> bool:
    """Cancel a stream, and go on with it; tell whether it had a session."""
    rng = random.Random(round(seconds * 1e6))
    peer.sessions.clear()
    line.cuts.append((60_000, None))
    client = StreamClient(line.url, options=StreamOptions(max_unacked_bytes=30_000))
    with anyio.move_on_after(seconds) as scope:
        async with client:
            for chunk in pieces(SOURCE, rng):
                await client.send(chunk)
            await client.close()
    line.cuts.clear()
    await until(lambda: sockets_to(int(line.url.rpartition(":")[2])) == 0)
    # What was sent may still be on the line.
    await until(lambda: not peer._open)
    if not scope.cancelled_caught or not client.session_id:
        return False
    session = peer.sessions[client.session_id]
    if session.status == "completed":
        assert session.data == SOURCE
        return True
    async with StreamClient.resume(peer.url, client.session_id) as other:
        await other.send(SOURCE[other.bytes_received :])
        await other.close()
    assert session.data == SOURCE
    return True


@pytest.mark.parametrize("seconds", [0.0, 0.002, 0.01, 0.03, 0.07, 0.12])
async def test_a_cancelled_stream_leaves_nothing_and_can_be_gone_on_with(
    peer: StreamPeer, line: BadLine, seconds: float
) -> None:
    await cancelled_after(seconds, peer, line)


@pytest.mark.stress
async def test_a_hundred_cancelled_streams_leave_nothing(
    peer: StreamPeer,
    line: BadLine,
    stress_report: Report,
    anyio_backend_name: str,
) -> None:
    told = [await cancelled_after(0.001 * 1.055**n, peer, line) for n in range(100)]

    stress_report(
        f"streams cancelled after 1 ms to 0.2 s, {anyio_backend_name}",
        f"{sum(told)} of 100 with a session, each gone on with to the last byte",
    )
    assert sum(told) >= 20


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("seconds", [0.0, 0.002, 0.01, 0.03, 0.1])
async def test_a_task_that_asyncio_cancels_leaves_nothing(
    peer: StreamPeer, line: BadLine, seconds: float
) -> None:
    async def stream() -> None:
        options = StreamOptions(max_unacked_bytes=30_000)
        async with StreamClient(line.url, options=options) as client:
            while True:
                await client.send(SOURCE[:5_000])

    before = asyncio.all_tasks()
    task = asyncio.create_task(stream())
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert asyncio.all_tasks() == before
    await until(lambda: sockets_to(int(line.url.rpartition(":")[2])) == 0)


async def test_a_cancelled_send_has_handed_nothing_over(peer: StreamPeer) -> None:
    peer.reading.clear()
    options = StreamOptions(max_unacked_bytes=10)
    async with StreamClient(peer.url, options=options) as client:
        await client.send(b"0123456789")
        for _ in range(20):
            with anyio.move_on_after(0.01):
                await client.send(b"never")
        peer.reading.set()
        await client.send(b"!")
        await client.close()

    assert peer.session.data == b"0123456789!"


HELLO = json.dumps(
    {
        "message": "WebSocket connection established",
        "session_id": "s",
        "chunk_count": 0,
        "status": "active",
        "bytes_received": 0,
    }
).encode()


def serve_slowly(
    listener: socket.socket, begun: threading.Event, go_on: threading.Event
) -> bytes:
    """Shake hands, read nothing until told, and give all bytes that came then."""
    connection, _ = listener.accept()
    with connection:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65_536)
        key = next(
            line.partition(b": ")[2]
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key")
        ).decode()
        connection.sendall(
            b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key).encode() + b"\r\n\r\n"
            b"\x81\x7e" + len(HELLO).to_bytes(2, "big") + HELLO
        )
        # Some has come, but for the frame's head.
        while len(connection.recv(100, socket.MSG_PEEK)) < 100:
            time.sleep(0.01)
        begun.set()
        go_on.wait(60)
        came = b""
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(65_536):
                came += data
        return came


async def test_nothing_follows_a_frame_that_was_broken_off() -> None:
    source = random.Random(8).randbytes(10 << 20)
    begun, go_on = threading.Event(), threading.Event()
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}"

        async def serve() -> None:
            came.append(
                await anyio.to_thread.run_sync(serve_slowly, listener, begun, go_on)
            )

        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            with contextlib.suppress(ZeroDivisionError):
                async with StreamClient(url) as client:
                    await client.send(source)
                    await until(begun.is_set)
                    await anyio.sleep(0.3)
                    go_on.set()
                    raise ZeroDivisionError

    frame = came[0]
    assert frame[:2] == b"\x82\xff"
    mask, data = frame[10:14], frame[14:]
    assert 0 < len(data) < len(source)
    plain = np.frombuffer(data, np.uint8) ^ np.resize(
        np.frombuffer(mask, np.uint8), len(data)
    )
    assert plain.tobytes() == source[: len(data)]


async def test_leaving_a_dead_line_takes_no_time(
    peer: StreamPeer, line: BadLine
) -> None:
    begun = anyio.current_time()
    async with StreamClient(line.url) as client:
        line.freeze()
        for _ in range(10):
            await client.send(SOURCE[:100_000])
    took_s = anyio.current_time() - begun

    # A dead line is given 40 s.
    assert took_s < 20.0
    assert client.unacked_bytes == 1_000_000


async def test_the_servers_pings_are_answered_while_a_sender_waits(
    peer: StreamPeer,
) -> None:
    peer.silent = True
    options = StreamOptions(max_unacked_bytes=10)
    async with StreamClient(peer.url, options=options) as client:
        await client.send(b"0123456789")
        async with anyio.create_task_group() as group:
            group.start_soon(client.send, b"waits")
            await anyio.sleep(0.05)
            assert await anyio.to_thread.run_sync(peer.ping) < 30.0
            group.cancel_scope.cancel()


async def test_an_answer_in_fragments_is_put_together(peer: StreamPeer) -> None:
    peer.fragments = True
    async with StreamClient(peer.url) as client:
        await client.send(b"x")
        summary = await client.close()

    assert summary.bytes_received == 1
    assert json.loads(json.dumps(summary.session_id)) == peer.session.id
