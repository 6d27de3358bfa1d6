"""What the streaming server does not allow, and how it says so."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import re
import socket
import struct
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import numpy as np
import psutil
import pytest
import soundfile
from stream_server_runner import APP, StreamServer
from stream_wire import CLOSE, as_wav, noise, pieces, stored, wire
from websockets.exceptions import ConnectionClosed, InvalidStatus

from voicepipe import StreamClient


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stress_report import Report


KEY = "the key that nobody may read"

# They start servers, some twice.


def sessions(server: StreamServer) -> dict[str, str]:
    """Give each session's status."""
    found = get(f"{server.url}/api/audio/sessions").json()
    return {session["session_id"]: session["status"] for session in found}


def get(url: str, **more: Any) -> httpx.Response:
    return httpx.get(url, timeout=60, trust_env=False, **more)


def until(holds: Callable[[], object]) -> None:
    """Wait for what the server does; that it does not is told by what follows."""
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)


def test_as_many_sessions_as_are_allowed_and_no_more(tmp_path: Path) -> None:
    with (
        StreamServer(tmp_path, MAX_CONCURRENT_SESSIONS="2") as server,
        wire(server) as one,
        wire(server) as other,
    ):
        one.hear()
        other.hear()
        with wire(server) as third:
            refused = third.hear()
            code = third.close_code()
        one.ask(CLOSE)
        with wire(server) as fourth:
            assert fourth.hear()["status"] == "active"

    assert (refused["error"], code) == ("Too many sessions", 1013)


def test_the_sixth_connection_to_a_session_is_too_many(tmp_path: Path) -> None:
    with StreamServer(tmp_path) as server, contextlib.ExitStack() as stack:
        first = stack.enter_context(wire(server))
        session_id = first.hear()["session_id"]
        for _ in range(4):
            assert stack.enter_context(wire(server, session_id)).hear()["session_id"]
        with wire(server, session_id) as sixth:
            refused = sixth.hear()
            code = sixth.close_code()
        first.socket.close()
        url = f"{server.url}/api/audio/sessions/{session_id}"
        until(lambda: get(url).json()["connections"] < 5)
        with wire(server, session_id) as again:
            assert again.hear()["message"] == "Joined session"

    assert (refused["error"], code) == ("Too many connections", 1013)


def test_a_long_chunk_gets_the_error_answer_and_a_longer_message_1009(
    tmp_path: Path,
) -> None:
    most = 1 << 20
    with StreamServer(
        tmp_path, MAX_CHUNK_SIZE_MB="1", MAX_MESSAGE_SIZE_BYTES=str(2 * most)
    ) as server:
        with wire(server) as talk:
            session_id = talk.hear()["session_id"]
            fine = talk.ask(bytes(most))
            long = talk.ask(bytes(most + 1))
            again = talk.ask(bytes(100))
            with contextlib.suppress(OSError, ConnectionClosed):
                talk.say(bytes(2 * most + 1))
            code = talk.close_code()
        with wire(server, session_id) as talk:
            kept = talk.hear()["bytes_received"]

    assert (fine["status"], again["status"], code) == ("active", "active", 1009)
    assert (long["status"], long["error"]) == ("error", "chunk_too_large")
    assert long["chunk_count"] == 1
    assert kept == most + 100


def test_the_contracts_own_longest_message_is_taken(tmp_path: Path) -> None:
    with StreamServer(tmp_path) as server:
        with wire(server) as talk:
            talk.hear()
            assert talk.ask(bytes(10 << 20))["bytes_received"] == 10 << 20
            # 10 MiB in frames of 64 KiB is one message.
            talk.socket.send([bytes(1 << 16)] * 160)
            assert talk.hear()["chunk_count"] == 2
        with wire(server) as talk:
            talk.hear()
            with contextlib.suppress(OSError, ConnectionClosed):
                talk.say(bytes((10 << 20) + 1))
            assert talk.close_code() == 1009


async def said(client: StreamClient) -> tuple[str, int]:
    """Send 100 bytes; if that takes long, the client comes back by itself."""
    async with client:
        await client.send(bytes(100))
        await client.drain()
        return client.session_id, client.bytes_received


def test_who_is_idle_is_closed_and_can_come_back(tmp_path: Path) -> None:
    with StreamServer(
        tmp_path, CONNECTION_TIMEOUT_SECONDS="4", MAX_CONCURRENT_SESSIONS="1"
    ) as server:
        session_id, _ = anyio.run(said, StreamClient(server.ws_url))
        began = time.monotonic()
        with wire(server, session_id) as talk:
            talk.hear()
            last = talk.hear()
            code = talk.close_code()
        took_s = time.monotonic() - began
        # It is told before it is parked.
        until(lambda: sessions(server)[session_id] == "interrupted")
        status = sessions(server)[session_id]
        # It does not count any more.
        with wire(server) as other:
            assert other.hear()["status"] == "active"
        again = anyio.run(said, StreamClient.resume(server.ws_url, session_id))

    assert (last["error"], code, status) == (
        "Connection timed out",
        1001,
        "interrupted",
    )
    assert again == (session_id, 200)
    assert took_s >= 4


def sends_now_and_then(server: StreamServer) -> bool:
    """Send for longer than one may be silent; false if this process was for so long."""
    spoke = time.monotonic()
    with wire(server) as talk:
        talk.hear()
        for _ in range(12):
            speaks = time.monotonic()
            try:
                taken = "chunk_count" in talk.ask(bytes(100))
            except ConnectionClosed:
                taken = False
            if not taken:
                assert time.monotonic() - spoke >= 4
                return False
            spoke = speaks
            time.sleep(0.5)
    return True


def test_who_sends_now_and_then_is_not_idle(tmp_path: Path) -> None:
    with StreamServer(tmp_path, CONNECTION_TIMEOUT_SECONDS="4") as server:
        # A busy machine may stop any process for seconds, but not each time.
        assert any(sends_now_and_then(server) for _ in range(5))


def test_a_session_that_is_full_is_completed(tmp_path: Path) -> None:
    # The time that it is active counts as well, which is far less than its sound.
    samples = noise(8_000, 1, 50.0)
    hours = 36.0 / 3_600
    with StreamServer(tmp_path, MAX_SESSION_DURATION_HOURS=f"{hours}") as server:
        with wire(server, sample_rate=8_000) as talk:
            session_id = talk.hear()["session_id"]
            answers = []
            for chunk in pieces(samples.tobytes(), 160_000):
                answers.append(talk.ask(chunk))
                if answers[-1]["status"] != "active" or len(answers) == 4:
                    break
            last = talk.hear()
            code = talk.close_code()
        kept = stored(server, session_id)

    assert [answer["status"] for answer in answers] == ["active"] * 4
    assert (last["status"], last["reason"], code) == ("completed", "max_duration", 1000)
    assert last["duration_seconds"] == pytest.approx(36.0)
    assert np.array_equal(kept, samples[: len(kept)])
    assert len(kept) == 288_000


def test_a_hundred_texts_that_say_nothing_are_enough(tmp_path: Path) -> None:
    with StreamServer(tmp_path) as server, wire(server) as talk:
        talk.hear()
        for _ in range(101):
            talk.say({"type": "hello"})
        code = talk.close_code()

    assert code == 1008
    assert talk.heard.count("UnknownMessage") == 101


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamServer]:
    folder = tmp_path_factory.mktemp("locked")
    with StreamServer(folder, VOICEPIPE_API_KEY=KEY) as server:
        yield server


@pytest.mark.parametrize(
    "path", ["/api/audio/sessions", "/metrics", "/api/audio/sessions/x/audio"]
)
def test_with_a_key_data_wants_it(locked: StreamServer, path: str) -> None:
    url = f"{locked.url}{path}"
    answers = [
        get(url),
        get(url, params={"token": "no"}),
        get(url, params={"token": KEY}),
        get(url, headers={"Authorization": f"Bearer {KEY}"}),
    ]

    good = 404 if path.endswith("audio") else 200
    assert [a.status_code for a in answers] == [401, 401, good, good]


@pytest.mark.parametrize("path", ["/", "/health", "/static/app.js"])
def test_with_a_key_the_page_is_open(locked: StreamServer, path: str) -> None:
    assert get(f"{locked.url}{path}").status_code == 200


def test_with_a_key_a_websocket_wants_it_and_no_log_has_it(
    locked: StreamServer,
) -> None:
    header = {"Authorization": f"Bearer {KEY}"}
    for more in ({}, {"token": "no"}):
        with pytest.raises(InvalidStatus) as refused, wire(locked, **more):
            pass
        assert refused.value.response.status_code == 401
    with wire(locked, token=KEY) as talk:
        session_id = talk.hear()["session_id"]
        talk.ask(as_wav(noise(44_100, 1, 0.1), 44_100))
        talk.ask(CLOSE)
    with wire(locked, headers=header) as talk:
        assert talk.hear()["status"] == "active"

    sound = get(
        f"{locked.url}{locked.media_path(session_id)}",
        params={"token": KEY},
        headers={"Range": "bytes=0-3"},
    )
    assert (sound.status_code, sound.content) == (206, b"RIFF")
    log = locked.log()
    assert session_id[:8] in log or "WS /api/ws/audio" in log
    assert KEY not in log
    assert KEY.replace(" ", "+") not in log
    assert KEY.replace(" ", "%20") not in log


@pytest.mark.parametrize(
    ("origin", "taken"),
    [
        ("http://127.0.0.1:{port}", True),
        ("http://localhost:3000", True),
        ("https://evil.example", False),
        ("http://127.0.0.1.evil.example:{port}", False),
        ("null", False),
    ],
)
def test_a_page_from_elsewhere_does_not_get_in(
    locked: StreamServer, origin: str, *, taken: bool
) -> None:
    headers = {
        "Origin": origin.format(port=locked.port),
        "Authorization": f"Bearer {KEY}",
    }
    if taken:
        with wire(locked, headers=headers) as talk:
            assert talk.hear()["status"] == "active"
        return
    with pytest.raises(InvalidStatus) as refused, wire(locked, headers=headers):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HOST", "0.0.0.0", "VOICEPIPE_API_KEY"),
        ("DEFAULT_SAMPLE_RATE", "11025", "DEFAULT_SAMPLE_RATE"),
        ("DEFAULT_CHANNELS", "3", "DEFAULT_CHANNELS"),
        ("DEFAULT_FORMAT", "ogg", "DEFAULT_FORMAT"),
        ("MAX_SESSION_DURATION_HOURS", "-1", "MAX_SESSION_DURATION_HOURS"),
        ("MAX_CHUNK_SIZE_MB", "ten", "MAX_CHUNK_SIZE_MB"),
        ("MAX_CONCURRENT_SESSIONS", "0", "MAX_CONCURRENT_SESSIONS"),
        ("MAX_CONNECTIONS_PER_SESSION", "0", "MAX_CONNECTIONS_PER_SESSION"),
        ("CONNECTION_TIMEOUT_SECONDS", "0", "CONNECTION_TIMEOUT_SECONDS"),
        ("MAX_MESSAGE_SIZE_BYTES", "0", "MAX_MESSAGE_SIZE_BYTES"),
        ("VOICEPIPE_DURABILITY", "maybe", "VOICEPIPE_DURABILITY"),
        ("VOICEPIPE_MESSAGE_MEMORY_MB", "0", "VOICEPIPE_MESSAGE_MEMORY_MB"),
    ],
)
def test_a_wrong_setting_is_told_in_a_line(
    tmp_path: Path, name: str, value: str, said: str
) -> None:
    done = StreamServer(tmp_path, **{name: value}).run()

    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_each_setting_is_in_the_example_file_with_its_default(tmp_path: Path) -> None:
    example = (APP / ".env.example").read_text("utf-8")
    listed = dict(re.findall(r"(?m)^([A-Z_]+)=(.*)$", example))
    source = (APP / "settings.py").read_text("utf-8")
    read = set(re.findall(r'env_[a-z]+\(\s*env,\s*"([A-Z_]+)"', source))
    contract = {
        "AUDIO_STORAGE_PATH": "./audio_sessions",
        "DEFAULT_SAMPLE_RATE": "44100",
        "DEFAULT_CHANNELS": "1",
        "DEFAULT_FORMAT": "wav",
        "MAX_SESSION_DURATION_HOURS": "24",
        "MAX_CHUNK_SIZE_MB": "10",
        "MAX_CONCURRENT_SESSIONS": "100",
        "MAX_CONNECTIONS_PER_SESSION": "5",
        "CONNECTION_TIMEOUT_SECONDS": "300",
        "MAX_MESSAGE_SIZE_BYTES": "10485760",
        "HOST": "127.0.0.1",
        "PORT": "8000",
    }

    assert contract.items() <= listed.items()
    assert read | {"FFMPEG_LOGLEVEL"} <= set(listed)
    # With all of them as they stand there, it runs.
    with StreamServer(
        tmp_path, **{k: v for k, v in listed.items() if v and k != "PORT"}
    ):
        pass


def test_a_second_process_on_one_folder_does_not_start(tmp_path: Path) -> None:
    with StreamServer(tmp_path) as server, wire(server) as talk:
        talk.hear()
        done = StreamServer(tmp_path).run()
        fine = talk.ask(bytes(100))

    assert done.returncode != 0
    assert "another process" in done.stderr
    assert fine["chunk_count"] == 1


def test_twenty_sessions_are_parked_whole_when_it_is_told_to_stop(
    tmp_path: Path,
) -> None:
    samples = [noise(16_000, 1, 1.0, seed) for seed in range(20)]
    took_s: list[float] = []
    # A busy machine may hold it up, but hardly each time.
    while len(took_s) < 3 and min(took_s, default=10.0) >= 10:
        folder = tmp_path / str(len(took_s))
        folder.mkdir()
        with StreamServer(folder) as server, contextlib.ExitStack() as stack:
            talks = [
                stack.enter_context(wire(server, sample_rate=16_000)) for _ in samples
            ]
            ids = [talk.hear()["session_id"] for talk in talks]
            for talk, sound in zip(talks, samples, strict=True):
                talk.ask(as_wav(sound, 16_000))
            began = time.monotonic()
            code = server.stop()
            took_s.append(time.monotonic() - began)
            heard = [talk.close_code() for talk in talks]
            files = [stored(server, session_id) for session_id in ids]
            server.start()
            statuses = sessions(server)

    assert min(took_s) < 10
    assert (code, heard) == (0, [1012] * 20)
    assert all(np.array_equal(a, b) for a, b in zip(files, samples, strict=True))
    assert [statuses[session_id] for session_id in ids] == ["interrupted"] * 20


def test_what_was_sent_by_a_client_that_never_listens_is_stored(
    tmp_path: Path,
) -> None:
    samples = noise(16_000, 1, 2.0)
    with StreamServer(tmp_path) as server:
        with wire(server, sample_rate=16_000, user_id="deaf") as talk:
            for chunk in pieces(as_wav(samples, 16_000)):
                talk.say(chunk)
        session_id = next(iter(sessions(server)))
        until(lambda: len(stored(server, session_id)) == 32_000)

        assert np.array_equal(stored(server, session_id), samples)


def test_old_sessions_are_deleted_where_that_is_wanted(tmp_path: Path) -> None:
    server = StreamServer(tmp_path, VOICEPIPE_RETENTION_DAYS="0.00001")
    with server, contextlib.ExitStack() as stack:
        done = stack.enter_context(wire(server))
        done_id = done.hear()["session_id"]
        done.ask(bytes(1_000))
        done.ask(CLOSE)
        left = stack.enter_context(wire(server))
        left_id = left.hear()["session_id"]
        left.ask(bytes(1_000))
        server.stop()
        time.sleep(1.0)
        server.start()
        until(lambda: not sessions(server))

        assert sessions(server) == {}
        assert not server.wav(done_id).exists()
        assert not server.wav(left_id).exists()


def test_a_session_that_cannot_be_deleted_stops_nothing(tmp_path: Path) -> None:
    server = StreamServer(tmp_path, VOICEPIPE_RETENTION_DAYS="0.00001")
    with server:
        ids = []
        for _ in range(3):
            with wire(server) as talk:
                ids.append(talk.hear()["session_id"])
                talk.ask(bytes(1_000))
                talk.ask(CLOSE)
        server.stop()
        # Stands for a disk that fails: the newest, and so the first to be deleted.
        server.wav(ids[-1]).unlink()
        server.wav(ids[-1]).mkdir()
        time.sleep(1.0)
        server.start()
        until(lambda: len(sessions(server)) == 1)
        left = sessions(server)
        with wire(server) as talk:
            welcome = talk.hear()
            answer = talk.ask(bytes(100))
        until(lambda: "could not be deleted" in server.log())

    assert set(left) == {ids[-1]}
    assert (welcome["status"], answer["status"]) == ("active", "active")
    assert "1 of 3 old sessions could not be deleted" in server.log()


def test_a_full_disk_is_told_and_passes(
    tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(12 << 20)
    with (
        StreamServer(tmp_path, AUDIO_STORAGE_PATH=str(disk)) as server,
        wire(server) as talk,
    ):
        server.stored = disk
        session_id = talk.hear()["session_id"]
        answer, sent = {"status": "active"}, b""
        for number in range(200):
            chunk = bytes([number, 1]) * (64 << 10)
            answer = talk.ask(chunk)
            if answer["status"] != "active":
                break
            sent += chunk
        assert answer["error"] == "disk_full", answer
        assert answer["bytes_received"] == len(sent)
        # Somebody makes room.
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        deadline = time.monotonic() + 60
        while answer["status"] != "active" and time.monotonic() < deadline:
            time.sleep(0.1)
            answer = talk.ask(b"\x05\x00" * 100)
        last = talk.ask(CLOSE)
        kept = stored(server, session_id).tobytes()

    assert (answer["status"], last["status"]) == ("active", "completed")
    assert kept == sent + b"\x05\x00" * 100


# Floods.


def frame(opcode: int, data: bytes, *, length: int | None = None) -> bytes:
    length = len(data) if length is None else length
    if length < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
    return head + bytes(4) + data


@contextlib.contextmanager
def raw(server: StreamServer) -> Iterator[socket.socket]:
    lines = [
        "GET /api/ws/audio HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "",
        "",
    ]
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
        sock.sendall("\r\n".join(lines).encode())
        assert sock.recv(65_536).startswith(b"HTTP/1.1 101 ")
        yield sock


def resident_mib(server: StreamServer) -> float:
    assert server.process is not None
    return psutil.Process(server.process.pid).memory_info().rss / (1 << 20)


def cpu_s(server: StreamServer) -> float:
    assert server.process is not None
    times = psutil.Process(server.process.pid).cpu_times()
    return float(times.user + times.system)


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(frame(9, b""), id="pings"),
        pytest.param(frame(2, b""), id="empty chunks"),
        pytest.param(frame(2, b"x"), id="chunks of a byte"),
        pytest.param(frame(1, b"hi"), id="texts"),
    ],
)
def test_floods_take_little_memory_and_leave_others_their_turn(
    tmp_path: Path, flood: bytes
) -> None:
    samples = noise(16_000, 1, 1.0)
    stop = threading.Event()

    def send(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                sock.sendall(flood * 10_000)

    def hear(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while sock.recv(1 << 16):
                pass

    with StreamServer(tmp_path) as server, contextlib.ExitStack() as stack:
        before = resident_mib(server)
        socks = [stack.enter_context(raw(server)) for _ in range(5)]
        threads = [
            threading.Thread(target=work, args=(sock,))
            for sock in socks
            for work in (send, hear)
        ]
        for thread in threads:
            thread.start()
        time.sleep(1.0)
        # The clock first: what comes in between makes the share smaller.
        watched, worked_s = time.monotonic(), cpu_s(server)
        with wire(server, sample_rate=16_000) as talk:
            session_id = talk.hear()["session_id"]
            began_s = cpu_s(server)
            for chunk in pieces(as_wav(samples, 16_000)):
                assert talk.ask(chunk)["status"] == "active"
            took_s = cpu_s(server) - began_s
            talk.ask(CLOSE)
        grown = resident_mib(server) - before
        time.sleep(max(0.0, 2.0 - (time.monotonic() - watched)))
        share = (cpu_s(server) - worked_s) / (time.monotonic() - watched)
        stop.set()
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()

        assert np.array_equal(stored(server, session_id), samples)
    assert took_s < 10
    assert grown < 100
    assert share < 0.75


def stored_byte_by_byte(server: StreamServer, size: int) -> tuple[bytes, bytes, str]:
    """Send frames of one byte each, and close; give what was sent, stored and said."""
    sent = np.random.default_rng(size).bytes(size)
    frames = np.zeros((size, 7), np.uint8)
    frames[:, :6] = np.frombuffer(frame(2, b"x")[:6], np.uint8)
    frames[:, 6] = np.frombuffer(sent, np.uint8)
    with raw(server) as sock, concurrent.futures.ThreadPoolExecutor(1) as pool:

        def send() -> None:
            for at in range(0, size, 10_000):
                sock.sendall(frames[at : at + 10_000].tobytes())
            sock.sendall(frame(1, json.dumps(CLOSE).encode()))

        sending = pool.submit(send)
        said = b""
        while data := sock.recv(1 << 16):
            said = said[-4_096:] + data
        sending.result()
    session_id = re.findall(rb'"session_id": "([0-9a-f-]+)"', said)[-1].decode()
    last = said[said.rindex(b'{"message"') :].decode("utf-8", "replace")
    return sent, stored(server, session_id).tobytes(), last


def test_a_stream_in_frames_of_a_byte_is_stored_as_it_was_sent(tmp_path: Path) -> None:
    with StreamServer(tmp_path) as server:
        sent, kept, last = stored_byte_by_byte(server, 10_000)

    assert kept == sent
    assert '"chunk_count": 10000, "status": "completed"' in last


@pytest.mark.stress
def test_a_mib_in_frames_of_a_byte_is_stored_as_it_was_sent(
    tmp_path: Path, stress_report: Report
) -> None:
    with StreamServer(tmp_path) as server:
        sent, kept, last = stored_byte_by_byte(server, 1 << 20)

    assert kept == sent
    assert '"chunk_count": 1048576, "status": "completed"' in last
    stress_report("1 MiB in frames of one byte", "stored as it was sent")


def stalled(
    server: StreamServer, count: int, size: int
) -> tuple[float, dict[str, object]]:
    """Stall so many senders a byte before their end; give growth, and a good ack."""
    with contextlib.ExitStack() as stack:
        before = resident_mib(server)
        half = frame(2, bytes(size - 1), length=size)
        threads = []
        for _ in range(count):
            sock = stack.enter_context(raw(server))
            sock.settimeout(4.0)

            def send(sock: socket.socket = sock) -> None:
                with contextlib.suppress(OSError):
                    sock.sendall(half)

            threads.append(threading.Thread(target=send))
            threads[-1].start()
        most = before
        while any(thread.is_alive() for thread in threads):
            most = max(most, resident_mib(server))
            time.sleep(0.02)
        with wire(server) as talk:
            talk.hear()
            answer = talk.ask(bytes(4_096))
        most = max(most, resident_mib(server))
    return most - before, answer


def test_stalled_senders_stay_within_the_memory_that_they_have(tmp_path: Path) -> None:
    with StreamServer(tmp_path, VOICEPIPE_MESSAGE_MEMORY_MB="32") as server:
        grown, answer = stalled(server, 10, 10 << 20)

    assert answer["status"] == "active"
    assert grown < 32 + 32


@pytest.mark.stress
def test_fifty_stalled_senders_stay_within_the_memory_that_they_have(
    tmp_path: Path, stress_report: Report
) -> None:
    with StreamServer(tmp_path) as server:
        grown, answer = stalled(server, 50, 10 << 20)

    assert answer["status"] == "active"
    assert grown < 512 + 128
    stress_report(
        "50 senders that stall a byte before the end of 10 MiB each",
        f"the server grows by {grown:.0f} MiB, and answers others",
    )


def test_the_file_of_a_session_is_readable_while_it_is_written(tmp_path: Path) -> None:
    samples = noise(16_000, 1, 1.0)
    with StreamServer(tmp_path) as server, wire(server, sample_rate=16_000) as talk:
        session_id = talk.hear()["session_id"]
        talk.ask(as_wav(samples, 16_000))
        until(lambda: soundfile.info(server.wav(session_id)).frames == 16_000)

        assert np.array_equal(stored(server, session_id), samples)
