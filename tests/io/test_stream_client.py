"""A client and a real server that does what the contract says."""

from __future__ import annotations

import logging
import random
import tracemalloc
import wave
from io import BytesIO
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest
from authority import Authority
from stream_peer import StreamPeer, Waits

from voicepipe import Audio
from voicepipe.errors import (
    InvalidUrlError,
    StreamError,
    StreamLostError,
    StreamRefusedError,
)
from voicepipe.io.streaming.client import StreamClient
from voicepipe.io.streaming.values import StreamAck, StreamOptions


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path


SOURCE = random.Random(5).randbytes(300_000)


@pytest.fixture
def peer() -> Iterator[StreamPeer]:
    with StreamPeer() as server:
        yield server


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """Let waits between two tries take no time, and nothing else any."""
    return Waits(monkeypatch)


def chunks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


async def until(holds: Callable[[], object]) -> None:
    """Wait for what another thread does."""
    with anyio.fail_after(60):
        while not holds():  # noqa: ASYNC110 - another thread does it
            await anyio.sleep(0.005)


async def fewest_connections(
    peer: StreamPeer, work: Callable[[], Awaitable[None]]
) -> int:
    """
    Do something, again while it takes more than one connection; thrice at most.

    A busy machine makes a server silent for long now and then, not each time.
    """
    made = []
    while len(made) < 3 and 1 not in made:
        peer.sessions.clear()
        peer.requests.clear()
        await work()
        made.append(len(peer.requests))
    return min(made)


@pytest.mark.parametrize("size", [37, 4096, 100_000])
async def test_all_bytes_arrive_in_their_own_chunks(
    peer: StreamPeer, size: int
) -> None:
    async with StreamClient(peer.url) as client:
        for chunk in chunks(SOURCE, size):
            await client.send(chunk)
        summary = await client.close()

    assert peer.session.data == SOURCE
    assert peer.session.chunks == [len(chunk) for chunk in chunks(SOURCE, size)]
    assert peer.session.status == "completed"
    assert summary.session_id == peer.session.id == client.session_id
    assert (summary.chunk_count, summary.bytes_received) == (
        len(peer.session.chunks),
        len(SOURCE),
    )
    assert (summary.duration_s, summary.reason) == (1.5, "closed")
    assert summary.file_path == f"/rec/{summary.session_id}.wav"
    assert client.bytes_received == len(SOURCE)


async def test_a_chunk_of_one_byte_and_one_of_ten_mebibytes(
    peer: StreamPeer,
    least_lag: Callable[[Callable[[], Awaitable[object]]], Awaitable[float]],
) -> None:
    large = random.Random(6).randbytes(10 << 20)

    async def stream() -> None:
        peer.sessions.clear()
        async with StreamClient(peer.url) as client:
            for byte in b"one":
                await client.send(bytes([byte]))
            await client.send(large)
            await client.send(b"!")
            await client.close()

        assert peer.session.chunks == [1, 1, 1, 10 << 20, 1]
        assert peer.session.data == b"one" + large + b"!"

    # Generous: the server of the tests shares the interpreter's lock.
    assert await least_lag(stream) < 0.5


async def test_an_empty_chunk_is_not_sent(peer: StreamPeer) -> None:
    async with StreamClient(peer.url) as client:
        await client.send(b"")
        await client.send(b"a")
        summary = await client.close()

    assert peer.session.chunks == [1]
    assert summary.chunk_count == 1


async def test_what_holds_bytes_is_copied(peer: StreamPeer) -> None:
    buffer = bytearray(b"one")
    async with StreamClient(peer.url) as client:
        await client.send(buffer)
        await client.send(memoryview(buffer)[1:])
        buffer[:] = b"..."
        await client.close()

    assert peer.session.data == b"onene"


@pytest.mark.parametrize("chunk", [5, "text", None])
async def test_what_holds_no_bytes_is_misuse(peer: StreamPeer, chunk: Any) -> None:
    async with StreamClient(peer.url) as client:
        with pytest.raises(TypeError):
            await client.send(chunk)


async def test_the_session_is_made_as_asked(peer: StreamPeer) -> None:
    async with StreamClient(
        f"{peer.url}/proxied/?x=1",
        rate=8_000,
        channels=2,
        format="mp3",
        user_id="Ann & Bob",
    ) as client:
        await client.close()

    assert peer.requests == [
        (
            "/proxied/api/ws/audio"
            "?x=1&user_id=Ann+%26+Bob&sample_rate=8000&channels=2&format=mp3"
        )
    ]
    assert peer.headers[0].get("sec-websocket-extensions") is None


@pytest.mark.parametrize(
    "bad",
    [
        {"rate": 0},
        {"channels": 3},
        {"format": "ogg"},
        {"user_id": "x" * 257},
        {"url": "127.0.0.1:8000"},
        {"url": "ftp://127.0.0.1"},
        {"url": "ws://"},
    ],
)
def test_wrong_arguments_are_told_at_once(bad: dict[str, Any]) -> None:
    with pytest.raises((ValueError, InvalidUrlError)):
        StreamClient(**{"url": "ws://127.0.0.1:1", **bad})


@pytest.mark.parametrize(
    "bad",
    [
        {"max_unacked_bytes": 0},
        {"reconnect_s": 0},
        {"api_key": "kéy"},
        {"api_key": " "},
        {"headers": {"Sec-WebSocket-Key": "x"}},
        {"headers": {"Host": "x"}},
        {"headers": {"Authorization": "Bearer x"}, "api_key": "y"},
    ],
)
def test_wrong_options_are_told_at_once(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        StreamOptions(**bad)

    assert "kéy" not in str(caught.value)


@pytest.mark.parametrize("bad", ["", "a/b", "../x", "a?b", "ü", "x" * 129])
def test_only_what_can_be_an_id_can_be_resumed(bad: str) -> None:
    with pytest.raises(ValueError, match="id"):
        StreamClient.resume("ws://127.0.0.1:1", bad)


async def test_each_chunk_has_its_acknowledgement(peer: StreamPeer) -> None:
    seen: list[StreamAck] = []

    async def look(client: StreamClient) -> None:
        seen.extend([ack async for ack in client.acks()])

    async with anyio.create_task_group() as group, StreamClient(peer.url) as client:
        group.start_soon(look, client)
        for chunk in chunks(SOURCE, 10_000):
            await client.send(chunk)
        await client.close()

    assert [ack.chunk_count for ack in seen] == list(range(1, 31))
    assert [ack.bytes_received for ack in seen] == list(range(10_000, 300_001, 10_000))
    assert {ack.status for ack in seen} == {"active"}
    assert {ack.message for ack in seen} == {"Chunk processed successfully"}
    assert {ack.session_id for ack in seen} == {peer.session.id}


async def test_acknowledgements_nobody_looks_at_do_not_pile_up(
    peer: StreamPeer,
) -> None:
    async with StreamClient(peer.url) as client:
        for _ in range(3_000):
            await client.send(b"x")
        await client.close()
        kept = [ack async for ack in client.acks()]

    assert len(kept) == 1024
    assert kept[-1].chunk_count == 3_000


async def test_sending_waits_while_too_much_is_not_acknowledged(
    peer: StreamPeer,
) -> None:
    peer.silent = True
    options = StreamOptions(max_unacked_bytes=10_000)
    async with StreamClient(peer.url, options=options) as client:
        for chunk in chunks(SOURCE[:9_000], 3_000):
            await client.send(chunk)
        with anyio.move_on_after(0.5) as scope:
            await client.send(SOURCE[9_000:12_000])
        assert scope.cancelled_caught
        assert client.unacked_bytes == 9_000
        await until(lambda: len(peer.session.data) == 9_000)


async def test_a_chunk_beyond_the_window_goes_alone(peer: StreamPeer) -> None:
    peer.silent = True
    options = StreamOptions(max_unacked_bytes=10)
    async with StreamClient(peer.url, options=options) as client:
        await client.send(SOURCE)
        with anyio.move_on_after(0.2) as scope:
            await client.send(b"x")

        assert scope.cancelled_caught
        assert client.unacked_bytes == len(SOURCE)


async def test_the_smallest_chunks_are_bounded_by_number(peer: StreamPeer) -> None:
    peer.silent = True
    async with StreamClient(peer.url) as client:
        with anyio.fail_after(60):
            for _ in range(4096):
                await client.send(b"x")
        with anyio.move_on_after(0.3) as scope:
            await client.send(b"x")

        assert scope.cancelled_caught
        assert client.unacked_bytes == 4096


async def test_memory_is_bounded_while_nothing_is_acknowledged(
    peer: StreamPeer,
) -> None:
    peer.reading.clear()
    async with StreamClient(peer.url) as client:
        tracemalloc.start()
        try:
            while client.unacked_bytes <= 900_000:
                await client.send(random.Random(1).randbytes(50_000))
            with anyio.move_on_after(1.0) as scope:
                while True:
                    await client.send(random.Random(1).randbytes(50_000))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert scope.cancelled_caught
        assert 900_000 < client.unacked_bytes <= 1 << 20
    assert not peer.session.data
    # One window in the client, and what the server's own buffers hold of it.
    assert peak < 6 << 20


async def test_a_slow_server_slows_its_sender_and_loses_nothing(
    peer: StreamPeer,
) -> None:
    peer.each_takes_s = 0.03
    # Far less patience than the whole takes: a server that acknowledges is alive.
    options = StreamOptions(max_unacked_bytes=20_000, ping_s=0.2, answer_s=0.3)

    async def stream() -> None:
        most = 0
        async with StreamClient(peer.url, options=options) as client:
            for chunk in chunks(SOURCE, 10_000):
                await client.send(chunk)
                most = max(most, client.unacked_bytes)
            await client.close()

        assert peer.session.data == SOURCE
        assert most <= 20_000

    assert await fewest_connections(peer, stream) == 1


async def test_a_server_that_answers_pings_only_is_not_left(peer: StreamPeer) -> None:
    peer.silent = True
    options = StreamOptions(ping_s=0.05, answer_s=0.5)

    async def wait() -> None:
        async with StreamClient(peer.url, options=options) as client:
            await client.send(b"x")
            await anyio.sleep(1.5)

            assert client.unacked_bytes == 1

    assert await fewest_connections(peer, wait) == 1


async def test_many_who_send_at_once_go_one_after_the_other(peer: StreamPeer) -> None:
    options = StreamOptions(max_unacked_bytes=1_000)

    async def speak(client: StreamClient, who: int) -> None:
        for number in range(20):
            await client.send(bytes([who, number]) * 100)

    async with StreamClient(peer.url, options=options) as client:
        async with anyio.create_task_group() as group:
            for who in range(10):
                group.start_soon(speak, client, who)
        await client.close()

    data = bytes(peer.session.data)
    heard = [(data[at], data[at + 1]) for at in range(0, len(data), 200)]
    assert [len(set(chunk)) for chunk in chunks(data, 200)] == [
        len({who, number}) for who, number in heard
    ]
    for who in range(10):
        assert [number for one, number in heard if one == who] == list(range(20))


async def test_drain_waits_for_the_server(peer: StreamPeer) -> None:
    async with StreamClient(peer.url) as client:
        for chunk in chunks(SOURCE, 50_000):
            await client.send(chunk)
        await client.drain()

        assert peer.session.data == SOURCE
        assert client.unacked_bytes == 0


async def test_leaving_only_disconnects_and_what_was_sent_arrives(
    peer: StreamPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody waits for so long: all is said before.
    monkeypatch.setattr("voicepipe.io.streaming.client._LEAVING_S", 600.0)
    with anyio.fail_after(60):
        async with StreamClient(peer.url) as client:
            await client.send(SOURCE)

    assert peer.session.data == SOURCE
    assert peer.session.status == "active"
    assert client.session_id == peer.session.id


async def test_another_client_goes_on_where_the_first_has_left(
    peer: StreamPeer,
) -> None:
    async with StreamClient(peer.url, user_id="u") as first:
        await first.send(SOURCE[:100_000])
        await first.drain()

    client = StreamClient.resume(peer.url, first.session_id, user_id="u")
    async with client:
        assert client.bytes_received == 100_000
        await client.send(SOURCE[100_000:])
        summary = await client.close()

    assert peer.session.data == SOURCE
    assert summary.bytes_received == len(SOURCE)
    assert peer.requests[-1].endswith(f"/{first.session_id}?user_id=u&offset=100000")


async def test_who_resumes_takes_over(peer: StreamPeer) -> None:
    async with StreamClient(peer.url) as first:
        await first.send(b"one")
        await first.drain()
        async with StreamClient.resume(peer.url, first.session_id) as second:
            await first.send(b"late")
            with pytest.raises(StreamRefusedError, match="another connection") as told:
                await first.drain()
            await second.send(b"two")
            await second.close()

    assert peer.session.data == b"onetwo"
    assert told.value.session_id == first.session_id


async def test_an_unknown_session_cannot_be_resumed(peer: StreamPeer) -> None:
    with pytest.raises(StreamRefusedError, match="Session not found") as caught:
        async with StreamClient.resume(peer.url, "nobody"):
            pass

    assert caught.value.code == 1008


async def test_close_gives_the_same_again_and_nothing_can_follow(
    peer: StreamPeer,
) -> None:
    async with StreamClient(peer.url) as client:
        first = await client.close()

        assert await client.close() == first
        with pytest.raises(StreamRefusedError, match="completed"):
            await client.send(b"x")
    assert peer.session.data == b""


async def test_a_client_that_is_not_open_can_do_nothing(peer: StreamPeer) -> None:
    client = StreamClient(peer.url)
    with pytest.raises(RuntimeError, match="not open"):
        await client.send(b"x")
    async with client:
        pass
    for call in (client.send(b"x"), client.drain(), client.close()):
        with pytest.raises(RuntimeError, match="not open"):
            await call
    with pytest.raises(RuntimeError, match="once"):
        async with client:
            pass


async def test_what_the_block_raises_comes_out_as_it_is(peer: StreamPeer) -> None:
    error = ExceptionGroup("two", [ValueError("a"), ValueError("b")])

    with pytest.raises(ExceptionGroup) as caught:
        async with StreamClient(peer.url):
            raise error

    assert caught.value is error


async def test_a_chunk_that_is_not_taken_is_told_once_and_the_others_go_on(
    peer: StreamPeer,
) -> None:
    peer.judge = lambda _, data: ("not_audio", "it is text") if data == b"no" else None
    peer.reading.clear()
    async with StreamClient(peer.url) as client:
        for chunk in (b"one", b"no", b"two"):
            await client.send(chunk)
        peer.reading.set()
        with pytest.raises(StreamError, match="2 bytes: not_audio: it is text") as told:
            await client.close()
        assert type(told.value) is StreamError
        assert told.value.session_id == client.session_id
        await client.send(b"three")
        summary = await client.close()
        seen = [(ack.status, ack.bytes_received) async for ack in client.acks()]

    assert peer.session.data == b"onetwothree"
    assert summary.bytes_received == 11
    assert seen == [("active", 3), ("error", 3), ("active", 6), ("active", 11)]
    assert len(peer.requests) == 1


async def test_a_close_that_fails_is_told_and_may_be_asked_for_again(
    peer: StreamPeer,
) -> None:
    peer.close_faults.extend([("internal", "no index"), ("busy", "in use")])
    async with StreamClient(peer.url) as client:
        await client.send(b"one")
        for why in ("internal: no index", "busy: in use"):
            with pytest.raises(StreamError, match=f"not be completed: {why}") as told:
                await client.close()
            assert type(told.value) is StreamError
            assert told.value.session_id == client.session_id
        assert peer.session.status == "active"
        await client.send(b"two")
        summary = await client.close()
        seen = [(ack.status, ack.bytes_received) async for ack in client.acks()]

    assert peer.session.data == b"onetwo"
    assert (summary.bytes_received, summary.reason) == (6, "closed")
    assert seen == [("active", 3), ("active", 6)]
    assert len(peer.requests) == 1


async def test_after_a_close_that_fails_leaving_takes_no_time(
    peer: StreamPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody waits for so long: all is said before.
    monkeypatch.setattr("voicepipe.io.streaming.client._LEAVING_S", 600.0)
    peer.close_faults.append(("internal", "no index"))
    with anyio.fail_after(60):
        async with StreamClient(peer.url) as client:
            await client.send(b"one")
            with pytest.raises(StreamError, match="no index"):
                await client.close()
    async with StreamClient.resume(peer.url, client.session_id) as other:
        summary = await other.close()

    assert summary.bytes_received == 3


@pytest.mark.usefixtures("waits")
async def test_a_close_for_which_a_disk_is_too_full_is_waited_for(
    peer: StreamPeer,
) -> None:
    peer.close_faults.extend([("disk_full", "no space")] * 2)
    async with StreamClient(peer.url) as client:
        await client.send(b"one")
        summary = await client.close()

    assert len(peer.requests) == 3
    assert (summary.bytes_received, summary.reason) == (3, "closed")
    assert summary.duration_s == 1.5


@pytest.mark.usefixtures("waits")
async def test_a_close_for_which_a_disk_is_too_full_is_not_waited_for_forever(
    peer: StreamPeer,
) -> None:
    peer.close_faults.extend([("disk_full", "no space")] * 1_000)
    options = StreamOptions(reconnect_s=61.0)
    async with StreamClient(peer.url, options=options) as client:
        with pytest.raises(StreamLostError, match="no room: disk_full: no space; trie"):
            await client.close()

    assert 2 < len(peer.requests) < 100
    assert peer.session.status == "active"


async def test_a_full_disk_is_waited_for(peer: StreamPeer) -> None:
    peer.judge = lambda _, __: (
        ("disk_full", "no space") if len(peer.requests) < 3 else None
    )
    async with StreamClient(peer.url) as client:
        for chunk in chunks(SOURCE, 30_000):
            await client.send(chunk)
        await client.close()

    assert len(peer.requests) == 3
    assert peer.session.data == SOURCE


@pytest.mark.usefixtures("waits")
async def test_a_full_disk_is_not_waited_for_forever(peer: StreamPeer) -> None:
    peer.judge = lambda _, __: ("disk_full", "no space")
    options = StreamOptions(reconnect_s=61.0)
    async with StreamClient(peer.url, options=options) as client:
        await client.send(b"x")
        with pytest.raises(StreamLostError, match=r"no space; tried for 61 s"):
            await client.close()


async def test_a_chunk_that_others_overtook_is_told_to_be_lost(
    peer: StreamPeer,
) -> None:
    peer.judge = lambda _, data: ("disk_full", "full") if data == b"no" else None
    peer.reading.clear()
    async with StreamClient(peer.url) as client:
        for chunk in (b"one", b"no", b"two"):
            await client.send(chunk)
        # All are on their way before the first is answered.
        await until(lambda: not client._open().unacked.ready)
        peer.reading.set()
        with pytest.raises(StreamError, match="others behind them") as told:
            await client.drain()
        await client.close()

    assert type(told.value) is StreamError
    assert peer.session.data == b"onetwo"


async def test_a_session_that_has_its_full_length_is_told(peer: StreamPeer) -> None:
    async with StreamClient(peer.url) as client:
        await client.send(b"one")
        await client.drain()
        peer.say(
            {
                "message": "Session closed successfully",
                "session_id": client.session_id,
                "chunk_count": 1,
                "status": "completed",
                "bytes_received": 3,
                "duration_seconds": 86_400,
                "file_path": "x.wav",
                "reason": "max_duration",
            }
        )
        await until(lambda: not peer._open)
        with pytest.raises(StreamRefusedError, match="max_duration"):
            await client.send(b"two")
        summary = await client.close()

    assert (summary.reason, summary.duration_s) == ("max_duration", 86_400.0)


async def test_close_does_not_hide_what_a_completed_session_has_not(
    peer: StreamPeer,
) -> None:
    peer.silent = True
    async with StreamClient(peer.url) as client:
        await client.send(b"lost")
        await until(lambda: peer.session.data == b"lost")
        state = peer._state(peer.session, "over") | {"status": "completed"}
        peer.say(state)
        with pytest.raises(StreamRefusedError, match="last 4 bytes"):
            await client.close()


async def test_over_tls_the_certificate_is_checked() -> None:
    authority = Authority()
    with StreamPeer(tls=authority.server("127.0.0.1")) as peer:
        options = StreamOptions(ssl_context=authority.trusting)
        async with StreamClient(peer.url, options=options) as client:
            for chunk in chunks(SOURCE, 70_000):
                await client.send(chunk)
            await client.close()
        assert peer.session.data == SOURCE

        with pytest.raises(StreamRefusedError, match="certificate"):
            async with StreamClient(peer.url):
                pass
        assert len(peer.requests) == 1


async def test_another_hosts_certificate_does_not_do() -> None:
    authority = Authority()
    with StreamPeer(tls=authority.server("elsewhere.example")) as peer:
        options = StreamOptions(ssl_context=authority.trusting)
        with pytest.raises(StreamRefusedError, match="certificate"):
            async with StreamClient(peer.url, options=options):
                pass


@pytest.mark.usefixtures("waits")
async def test_the_key_is_sent_and_never_shown(
    peer: StreamPeer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key, other, token, password = "key-5f1", "hdr-77a", "tok-90c", "pass-3e2"
    url = peer.url.replace("//", f"//user:{password}@") + f"?token={token}"
    options = StreamOptions(api_key=key, headers={"X-Other": other}, reconnect_s=61.0)
    echo = f"no: Bearer {key}, {other}, {token}"
    shown = [repr(options)]

    async with StreamClient(url, options=options) as client:
        peer.judge = lambda _, __: ("internal", echo)
        await client.send(b"x")
        with pytest.raises(StreamError) as failed:
            await client.drain()
        shown += [repr(client), str(failed.value), repr(failed.value)]
        shown.append(repr(await anext(client.acks())))
        peer.judge = None
        peer.refusals.append(({"error": echo}, 1008))
        peer.cut()
        await client.send(b"y")
        with pytest.raises(StreamRefusedError) as refused:
            await client.drain()
        shown += [str(refused.value), repr(refused.value)]
    peer.stop()
    with pytest.raises(StreamLostError) as lost:
        async with StreamClient(url, options=options):
            pass
    peer.start()
    shown += [str(lost.value)]

    assert peer.headers[0]["authorization"] == f"Bearer {key}"
    assert peer.headers[0]["x-other"] == other
    assert f"token={token}" in peer.requests[0]
    text = "\n".join([*shown, caplog.text])
    assert "no: ***, ***, ***" in text
    for secret in (key, other, token, password, "dXNlcjpwYXNz"):
        assert secret not in text
    assert "connected to" in caplog.text


async def test_the_urls_user_and_password_are_sent_without_a_key(
    peer: StreamPeer,
) -> None:
    async with StreamClient(peer.url.replace("//", "//user:secret@")) as client:
        await client.close()

    assert peer.headers[0]["authorization"] == "Basic dXNlcjpzZWNyZXQ="


@pytest.mark.parametrize("speed", [None, 20.0])
async def test_a_files_bytes_are_sent_as_they_are(
    peer: StreamPeer,
    recording: Callable[[str, int], Path],
    speed: float | None,
) -> None:
    path = recording("mp3-plain", 8_000)
    async with StreamClient(peer.url, format="mp3") as client:
        begun = anyio.current_time()
        await client.send_file(path, speed=speed)
        took_s = anyio.current_time() - begun
        await client.close()

    assert peer.session.data == path.read_bytes()
    # Eight seconds of sound.
    assert took_s >= (0.35 if speed else 0.0)
    assert len(peer.session.chunks) >= (70 if speed else 1)


async def test_a_file_goes_on_where_the_server_has_it(
    peer: StreamPeer, recording: Callable[[str, int], Path]
) -> None:
    path = recording("wav", 8_000)
    data = path.read_bytes()
    async with StreamClient(peer.url) as first:
        await first.send(data[:12_345])
        await first.drain()

    client = StreamClient.resume(peer.url, first.session_id)
    async with client:
        await client.send_file(path, begin=client.bytes_received)
        await client.close()

    assert peer.session.data == data


@pytest.mark.parametrize("how", [{"begin": -1}, {"begin": 1 << 40}, {"speed": 0.0}])
async def test_a_file_is_not_sent_in_ways_that_cannot_be(
    peer: StreamPeer, recording: Callable[[str, int], Path], how: dict[str, Any]
) -> None:
    path = recording("wav", 8_000)
    async with StreamClient(peer.url) as client:
        with pytest.raises(ValueError, match=r"begin|speed"):
            await client.send_file(path, **how)
        await client.close()

    assert peer.session.data == b""


async def test_a_file_that_is_not_there_is_told(
    peer: StreamPeer, tmp_path: Path
) -> None:
    async with StreamClient(peer.url) as client:
        with pytest.raises(FileNotFoundError):
            await client.send_file(tmp_path / "none.wav")


@pytest.mark.parametrize("speed", [None, 10.0])
@pytest.mark.parametrize("frames", [0, 1, 799, 800, 801, 20_000])
async def test_sound_goes_as_a_wav(
    peer: StreamPeer, frames: int, speed: float | None
) -> None:
    rng = np.random.default_rng(1)
    samples = rng.integers(-32_768, 32_767, (frames, 2), dtype=np.int16)
    audio = Audio(samples=samples, rate=8_000)

    async with StreamClient(peer.url, rate=8_000, channels=2) as client:
        begun = anyio.current_time()
        await client.send_audio(audio, speed=speed)
        took_s = anyio.current_time() - begun
        await client.close()

    with wave.open(BytesIO(bytes(peer.session.data))) as wav:
        assert wav.getparams()[:4] == (2, 2, 8_000, frames)
        assert wav.readframes(frames) == samples.tobytes()
    assert took_s >= (audio.duration * 0.95 / speed if speed else 0.0)
    assert len(peer.session.chunks) == max(-(-frames // 800), 1)
