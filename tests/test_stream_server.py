"""The streaming server's contract, by a client that knows nothing else."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import threading
import uuid
from typing import TYPE_CHECKING, Any, Literal

import anyio
import httpx
import numpy as np
import pytest
import soundfile
from make_audio import encode
from make_audio import signal as sound
from stream_server_runner import APP, StreamServer
from stream_wire import CLOSE, Wire, as_wav, noise, pieces, stored, wire

from voicepipe import read_audio
from voicepipe.types.audio import pcm16


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Some start servers, twice.
RATES = [8_000, 16_000, 22_050, 44_100, 48_000, 96_000]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamServer]:
    folder = tmp_path_factory.mktemp("stored")
    # Not closed in the middle of another test.
    with StreamServer(folder, CONNECTION_TIMEOUT_SECONDS="3600") as server:
        yield server


@pytest.fixture(scope="module")
def http(server: StreamServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        yield client


def wait_then_send(talk: Wire, chunks: list[bytes]) -> tuple[dict[str, Any], list[Any]]:
    first = talk.hear()
    return first, [talk.ask(chunk) for chunk in chunks]


def send_at_once(talk: Wire, chunks: list[bytes]) -> tuple[dict[str, Any], list[Any]]:
    def send() -> None:
        for chunk in chunks:
            talk.say(chunk)

    thread = threading.Thread(target=send)
    thread.start()
    first = talk.hear()
    answers = [talk.hear() for _ in chunks]
    thread.join()
    return first, answers


STYLES = pytest.mark.parametrize("style", [wait_then_send, send_at_once])


@STYLES
@pytest.mark.parametrize(("rate", "channels"), [(44_100, 1), (8_000, 2), (96_000, 1)])
def test_the_pieces_of_a_wav_become_the_same_samples(
    server: StreamServer, style: Any, rate: int, channels: int
) -> None:
    samples = noise(rate, channels, 1.5)
    chunks = pieces(as_wav(samples, rate))

    with wire(server, sample_rate=rate, channels=channels, user_id="me") as talk:
        first, answers = style(talk, chunks)
        last = talk.ask(CLOSE)
        code = talk.close_code()

    session_id = first["session_id"]
    assert uuid.UUID(session_id).version == 4
    assert (first["chunk_count"], first["status"]) == (0, "active")
    assert (first["sample_rate"], first["channels"]) == (rate, channels)
    assert [a["chunk_count"] for a in answers] == list(range(1, len(chunks) + 1))
    assert {a["message"] for a in answers} == {"Chunk processed successfully"}
    assert {a["session_id"] for a in answers} == {session_id}
    assert answers[-1]["bytes_received"] == sum(map(len, chunks))
    assert (last["status"], code) == ("completed", 1000)
    assert last["duration_seconds"] == pytest.approx(1.5)
    assert np.array_equal(stored(server, session_id), samples)
    assert soundfile.info(server.wav(session_id)).samplerate == rate


@STYLES
@pytest.mark.parametrize("kind", ["mp3", "flac", "aac"])
def test_the_pieces_of_a_compressed_file_become_what_the_whole_file_is(
    server: StreamServer, style: Any, kind: Literal["mp3", "flac", "aac"]
) -> None:
    data = encode(kind, sound(44_100, 1, 3.0), 44_100)
    whole = anyio.run(read_audio, data)

    with wire(server, format=kind) as talk:
        first, answers = style(talk, pieces(data))
        talk.ask(CLOSE)

    assert {answer["status"] for answer in answers} == {"active"}
    assert np.array_equal(stored(server, first["session_id"]), pcm16(whole.samples))


def test_whole_small_wavs_and_headerless_samples_are_taken_too(
    server: StreamServer,
) -> None:
    samples = noise(16_000, 1, 1.0)
    many = [as_wav(part, 16_000) for part in np.array_split(samples, 9)]
    raw = pieces(samples.tobytes(), 4_095)

    with wire(server, sample_rate=16_000) as talk:
        first, _ = wait_then_send(talk, many)
        talk.ask(CLOSE)
    with wire(server, sample_rate=16_000) as talk:
        second, _ = wait_then_send(talk, raw)
        talk.ask(CLOSE)

    assert np.array_equal(stored(server, first["session_id"]), samples)
    assert np.array_equal(stored(server, second["session_id"]), samples)


def test_the_defaults_are_those_of_the_contract(server: StreamServer) -> None:
    with wire(server) as talk:
        first = talk.hear()

    assert (first["sample_rate"], first["channels"]) == (44_100, 1)
    assert first["format"] == "wav"


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", ["wav", "mp3", "flac", "aac"])
def test_each_valid_parameter_is_taken(
    server: StreamServer, rate: int, channels: int, kind: str
) -> None:
    with wire(server, sample_rate=rate, channels=channels, format=kind) as talk:
        first = talk.hear()
        talk.ask(CLOSE)

    assert (first["sample_rate"], first["channels"]) == (rate, channels)
    assert first["format"] == kind


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"sample_rate": "11025"}, "Invalid sample rate"),
        ({"sample_rate": "abc"}, "Invalid sample rate"),
        ({"sample_rate": ""}, "Invalid sample rate"),
        ({"sample_rate": "٤٤١٠٠"}, "Invalid sample rate"),
        ({"sample_rate": "-8000"}, "Invalid sample rate"),
        ({"channels": "0"}, "Invalid channels"),
        ({"channels": "3"}, "Invalid channels"),
        ({"channels": "1.0"}, "Invalid channels"),
        ({"format": "ogg"}, "Invalid format"),
        ({"format": "../wav"}, "Invalid format"),
        ({"user_id": "x" * 257}, "Invalid user id"),
        ({"user_id": "a\nb"}, "Invalid user id"),
        ({"user_id": "a\0b"}, "Invalid user id"),
    ],
)
def test_a_bad_parameter_is_told_and_closed_with_1008(
    server: StreamServer, query: dict[str, str], said: str
) -> None:
    with wire(server, **query) as talk:
        first = talk.hear()
        code = talk.close_code()

    assert (first["error"], code) == (said, 1008)
    valid = {
        "Invalid sample rate": RATES,
        "Invalid channels": [1, 2],
        "Invalid format": ["wav", "mp3", "flac", "aac"],
    }
    assert first.get("valid_values") == valid.get(said)


UNKNOWN = str(uuid.UUID("3f2b8c1e-7a54-4c0d-9e1b-2d6f8a9c0b1d"))


@pytest.mark.parametrize(
    ("session_id", "query", "said"),
    [
        (UNKNOWN, {}, "Session not found"),
        (UNKNOWN.upper(), {}, "Session not found"),
        ("abc", {}, "Invalid session id"),
        ("..%2f..%2fetc%2fpasswd", {}, "Invalid session id"),
        (UNKNOWN.replace("-4", "-1", 1), {}, "Invalid session id"),
        (UNKNOWN, {"offset": "-1"}, "Invalid offset"),
        (UNKNOWN, {"offset": "1e3"}, "Invalid offset"),
        (UNKNOWN, {"offset": ""}, "Invalid offset"),
        (UNKNOWN, {"user_id": "\x7f"}, "Invalid user id"),
    ],
)
def test_a_session_that_cannot_be_joined_is_told_and_closed_with_1008(
    server: StreamServer, session_id: str, query: dict[str, str], said: str
) -> None:
    with wire(server, session_id, **query) as talk:
        first = talk.hear()
        code = talk.close_code()

    assert (first["error"], code) == (said, 1008)
    assert first.get("session_id", UNKNOWN) == UNKNOWN


def test_a_closed_session_takes_nothing_more(
    server: StreamServer, http: httpx.Client
) -> None:
    with wire(server) as talk:
        session_id = talk.hear()["session_id"]
        talk.ask(bytes(1_000))
        talk.ask(CLOSE)
    with wire(server, session_id) as talk:
        first = talk.hear()
        code = talk.close_code()

    assert (first["error"], code) == ("Session is closed", 1008)
    assert http.get(f"/api/audio/sessions/{session_id}").json()["total_chunks"] == 1


def test_who_comes_back_goes_on_at_its_offset(server: StreamServer) -> None:
    samples = noise(16_000, 1, 1.0)
    data = as_wav(samples, 16_000)
    with wire(server, sample_rate=16_000) as talk:
        session_id = talk.hear()["session_id"]
        acked = talk.ask(data[:9_001])["bytes_received"]
    with wire(server, session_id, offset=acked + 1) as talk:
        gap = talk.hear()
        code = talk.close_code()
    with wire(server, session_id, offset=acked - 4_000) as talk:
        joined = talk.hear()
        # All of it is there already, then a part, then nothing.
        known = talk.ask(data[acked - 4_000 : acked - 1_000])
        part = talk.ask(data[acked - 1_000 : acked + 1_000])
        rest = talk.ask(data[acked + 1_000 :])
        talk.ask(CLOSE)

    assert (gap["error"], gap["expected_offset"], code) == ("Offset gap", acked, 1008)
    assert (joined["message"], joined["bytes_received"]) == ("Joined session", 9_001)
    assert (known["status"], known["chunk_count"]) == ("active", 1)
    assert (part["chunk_count"], rest["chunk_count"]) == (2, 3)
    assert rest["bytes_received"] == len(data)
    assert np.array_equal(stored(server, session_id), samples)


def test_without_an_offset_a_second_file_is_appended(server: StreamServer) -> None:
    one, other = noise(16_000, 1, 0.5), noise(16_000, 1, 0.5, seed=6)
    with wire(server, sample_rate=16_000) as talk:
        session_id = talk.hear()["session_id"]
        talk.ask(as_wav(one, 16_000))
    with wire(server, session_id) as talk:
        talk.hear()
        talk.ask(as_wav(other, 16_000))
        talk.ask(CLOSE)

    assert np.array_equal(stored(server, session_id), np.concatenate([one, other]))


def test_one_writes_at_a_time_until_another_takes_over(server: StreamServer) -> None:
    with wire(server) as writer:
        session_id = writer.hear()["session_id"]
        writer.ask(bytes(100))
        with wire(server, session_id) as other:
            other.hear()
            busy = other.ask(bytes(100))
        with wire(server, session_id, offset=100) as taker:
            taker.hear()
            assert taker.ask(bytes(100))["bytes_received"] == 200
            late = writer.ask(bytes(100))
            taker.ask(CLOSE)
            # Whoever is there hears of it.
            last = writer.hear()
            code = writer.close_code()

    assert (busy["status"], busy["error"], busy["chunk_count"]) == ("error", "busy", 1)
    assert (late["status"], late["error"]) == ("error", "busy")
    assert (last["status"], last["bytes_received"], code) == ("completed", 200, 1000)


@pytest.mark.parametrize(
    ("chunk", "fault"),
    [
        (b"<!doctype html><html><body>Please log in</body></html>" * 20, "not_audio"),
        (bytes([0, 0, 0, 24]) + b"ftypM4A " + bytes(400), "unsupported_audio"),
        (b"OggS\0\2" + bytes(400), "damaged_audio"),
    ],
)
def test_what_is_no_sound_is_refused_and_the_session_goes_on(
    server: StreamServer, chunk: bytes, fault: str
) -> None:
    samples = noise(16_000, 1, 0.5)
    with wire(server, sample_rate=16_000) as talk:
        session_id = talk.hear()["session_id"]
        failed = talk.ask(chunk)
        fine = talk.ask(as_wav(samples, 16_000))
        talk.ask(CLOSE)

    assert failed["message"] == "Failed to process chunk"
    assert (failed["status"], failed["error"]) == ("error", fault)
    assert (failed["chunk_count"], failed["bytes_received"]) == (0, 0)
    assert (fine["status"], fine["chunk_count"]) == ("active", 1)
    assert np.array_equal(stored(server, session_id), samples)


@pytest.mark.parametrize(
    "said",
    [
        "hello",
        "{",
        "[]",
        "null",
        '{"type": "control"}',
        '{"type": "control", "action": "dance"}',
        '{"type": "audio", "action": "close_session"}',
        "[" * 3_000,
        "x" * 100_000,
        "\0",
    ],
)
def test_a_text_that_says_nothing_is_told_and_harmless(
    server: StreamServer, said: str
) -> None:
    with wire(server) as talk:
        talk.hear()
        talk.socket.send(said)
        answer = talk.hear()
        fine = talk.ask(bytes(100))

    assert answer["error"] == "Unknown message"
    assert fine["chunk_count"] == 1


def test_sessions_are_listed_newest_first_by_page_and_by_filter(
    server: StreamServer, http: httpx.Client
) -> None:
    made = []
    for number in range(5):
        with wire(server, user_id="lister", sample_rate=8_000) as talk:
            made.append(talk.hear()["session_id"])
            talk.ask(bytes(1_600))
            if number % 2:
                talk.ask(CLOSE)

    def ids(answer: httpx.Response) -> list[str]:
        assert answer.status_code == 200, answer.text
        return [session["session_id"] for session in answer.json()]

    path = "/api/audio/sessions"
    mine = http.get(path, params={"user_id": "lister"})
    assert ids(mine) == made[::-1]
    assert ids(http.get(path))[:5] == made[::-1]
    done = http.get(path, params={"user_id": "lister", "status": "completed"})
    assert ids(done) == [made[3], made[1]]
    page = http.get(path, params={"user_id": "lister", "limit": 2})
    assert ids(page) == [made[4], made[3]]
    following = http.get(page.links["next"]["url"])
    assert ids(following) == [made[2], made[1]]
    last = http.get(following.links["next"]["url"])
    assert (ids(last), last.links) == ([made[0]], {})
    assert mine.json()[1] == {
        "session_id": made[3],
        "user_id": "lister",
        "status": "completed",
        "file_path": f"{server.stored}/{made[3]}.wav",
        "duration_seconds": 0.1,
        "total_chunks": 1,
        "sample_rate": 8_000,
        "channels": 1,
        "format": "wav",
        "created_at": mine.json()[1]["created_at"],
        "updated_at": mine.json()[1]["updated_at"],
        "bytes_received": 1_600,
        "connections": 0,
        "dropped_bytes": 0,
        "audio_url": f"/api/audio/sessions/{made[3]}/audio",
    }
    assert re.fullmatch(r"\d{4}-\S+T\S+\+00:00", mine.json()[1]["created_at"])
    assert http.get(f"{path}/{made[3]}").json() == mine.json()[1]


def test_http_closes_a_session_and_its_client_hears_of_it(
    server: StreamServer, http: httpx.Client
) -> None:
    with wire(server, sample_rate=8_000) as talk:
        session_id = talk.hear()["session_id"]
        talk.ask(bytes(1_600))
        answers = [
            http.post(f"/api/audio/sessions/{session_id}/close") for _ in range(2)
        ]
        last = talk.hear()
        code = talk.close_code()

    for answer in answers:
        assert answer.status_code == 200
        assert answer.json()["success"] is True
        assert answer.json()["status"] == "completed"
        assert answer.json()["total_chunks"] == 1
    assert (last["status"], code) == ("completed", 1000)


@pytest.mark.parametrize("session_id", [UNKNOWN, "abc", "a%0d%0ab"])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("POST", "/close"), ("GET", "/audio")]
)
def test_an_unknown_session_is_404(
    http: httpx.Client, method: str, path: str, session_id: str
) -> None:
    answer = http.request(method, f"/api/audio/sessions/{session_id}{path}")

    assert answer.status_code == 404
    assert answer.json()["error"] == "Session not found"
    assert set(answer.json()) == {"error", "session_id"}


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "x"}, {"limit": "1001"}, {"status": "gone"}]
)
def test_a_bad_parameter_of_the_list_is_422(
    http: httpx.Client, query: dict[str, str]
) -> None:
    answer = http.get("/api/audio/sessions", params=query)

    assert answer.status_code == 422
    assert next(iter(query)) in answer.json()["error"]


def test_the_page_before_must_be_known(http: httpx.Client) -> None:
    answer = http.get("/api/audio/sessions", params={"before": UNKNOWN})

    assert (answer.status_code, answer.json()["session_id"]) == (404, UNKNOWN)


def test_a_finished_recording_can_be_had_whole_and_by_ranges(
    server: StreamServer, http: httpx.Client
) -> None:
    samples = noise(16_000, 1, 1.0)
    with wire(server, sample_rate=16_000) as talk:
        session_id = talk.hear()["session_id"]
        talk.ask(as_wav(samples, 16_000))
        path = server.media_path(session_id)
        early = http.get(path)
        talk.ask(CLOSE)

    whole = http.get(path)
    part = http.get(path, headers={"Range": "bytes=100-199"})
    tail = http.get(path, headers={"Range": "bytes=-10"})
    beyond = http.get(path, headers={"Range": "bytes=999999999-"})
    saved = http.get(path, params={"download": "true"})

    assert early.status_code == 409
    assert (whole.status_code, whole.headers["content-type"]) == (200, "audio/wav")
    read, rate = soundfile.read(io.BytesIO(whole.content), dtype="int16")
    assert rate == 16_000
    assert np.array_equal(read, samples[:, 0])
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert tail.content == whole.content[-10:]
    assert beyond.status_code == 416
    assert whole.headers["content-disposition"].startswith("inline")
    assert saved.headers["content-disposition"].startswith("attachment")
    assert http.head(path).headers["content-length"] == str(len(whole.content))


def test_it_tells_of_its_health_and_its_numbers(
    server: StreamServer, http: httpx.Client
) -> None:
    def number(name: str) -> float:
        text = http.get("/metrics").text
        found = re.search(rf"(?m)^{re.escape(name)} (\S+)$", text)
        assert found is not None, name
        return float(found[1])

    with wire(server) as talk:
        talk.hear()
        names = {
            "voicepipe_stream_chunks_total": 1,
            "voicepipe_stream_received_bytes_total": 500,
            "voicepipe_stream_ack_seconds_count": 1,
            'voicepipe_stream_failed_chunks_total{reason="not_audio"}': 1,
            'voicepipe_stream_refusals_total{reason="bad_parameter"}': 1,
        }
        before = {name: number(name) for name in names}
        talk.ask(b"%PDF-1.7 " + bytes(500))
        talk.ask(bytes(500))
        with wire(server, channels=9) as refused:
            refused.close_code()
        after = {name: number(name) for name in names}
        health = http.get("/health").json()

    assert {name: after[name] - before[name] for name in names} == names
    assert health["status"] == "healthy"
    assert health["open_sessions"] == number("voicepipe_stream_sessions") >= 1


def test_the_page_says_what_it_may_load_and_loads_nothing_else(
    http: httpx.Client,
) -> None:
    page = http.get("/")
    policy = page.headers["content-security-policy"]

    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page.text)
    assert not re.search(r"<script(?![^>]*src)|<style| style=| on[a-z]+=", page.text)
    for link in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        assert http.get(link).status_code == 200
    assert "import" in http.get("/static/client.js").text
    assert http.get("/docs").status_code == http.get("/redoc").status_code == 200


def test_the_examples_own_client_sends_a_file(
    server: StreamServer, tmp_path: Path
) -> None:
    samples = noise(16_000, 1, 1.0)
    (tmp_path / "call.wav").write_bytes(as_wav(samples, 16_000))
    program = [sys.executable, str(APP / "client.py"), "--url", server.ws_url]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*program, str(tmp_path / "call.wav"), *more],
            capture_output=True,
            check=False,
            text=True,
            timeout=100,
        )

    done, refused = run("--rate", "16000"), run("--rate", "1")

    assert done.returncode == 0, done.stderr
    session_id = done.stdout.partition(":")[0]
    assert np.array_equal(stored(server, session_id), samples)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Invalid sample rate" in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_session_goes_on_after_the_server_has_ended(
    tmp_path: Path, number: signal.Signals
) -> None:
    samples = noise(16_000, 2, 2.0)
    data = as_wav(samples, 16_000)
    chunks = pieces(data, 5_001)
    with StreamServer(tmp_path) as server:
        with wire(server, sample_rate=16_000, channels=2) as talk:
            session_id = talk.hear()["session_id"]
            acked = [talk.ask(chunk) for chunk in chunks[:12]][-1]
            code = server.stop(number)
            heard = talk.close_code()
        half = None if number == signal.SIGKILL else stored(server, session_id)
        server.start()
        path = f"{server.url}/api/audio/sessions/{session_id}"
        parked = httpx.get(path, timeout=60, trust_env=False).json()
        with wire(server, session_id, offset=acked["bytes_received"]) as talk:
            joined = talk.hear()
            for chunk in chunks[12:]:
                talk.ask(chunk)
            last = talk.ask(CLOSE)
        whole = stored(server, session_id)

    assert (code, heard) == ((0, 1012) if number == signal.SIGTERM else (-9, 0))
    assert parked["status"] == "interrupted"
    assert parked["total_chunks"] == joined["chunk_count"] == 12
    assert joined["bytes_received"] == acked["bytes_received"] == 12 * 5_001
    assert last["chunk_count"] == len(chunks)
    assert np.array_equal(whole, samples)
    if half is not None:
        assert np.array_equal(half, samples[: len(half)])
        assert len(half) == (12 * 5_001 - 44) // 4


def test_an_interrupted_session_can_be_closed_by_http(tmp_path: Path) -> None:
    samples = noise(16_000, 1, 1.0)
    with StreamServer(tmp_path) as server:
        with wire(server, sample_rate=16_000) as talk:
            session_id = talk.hear()["session_id"]
            talk.ask(as_wav(samples, 16_000))
            server.stop(signal.SIGKILL)
        server.start()
        answer = httpx.post(
            f"{server.url}/api/audio/sessions/{session_id}/close",
            timeout=60,
            trust_env=False,
        )

        assert json.loads(answer.text)["status"] == "completed"
        assert np.array_equal(stored(server, session_id), samples)
