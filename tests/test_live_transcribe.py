"""Live transcription's contract: the clients that were there before."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from live_runner import (
    LIVE,
    SENTENCES,
    STOP,
    WAIT_S,
    LiveServer,
    Talk,
    audio,
    errors_in,
    live_words,
    own_time,
    pcm,
    pieces,
    speech,
    talk,
    wav,
    webm,
)


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("live")) as server:
        yield server


def a_recording(talk: Talk) -> tuple[dict[str, Any], dict[str, Any]]:
    """Hear what a recording gets: one status, then one transcription."""
    return talk.hear(), talk.hear()


FORMS = {"wav": wav, "pcm": pcm, "webm": webm}


@pytest.mark.parametrize("size", [None, 9_001], ids=["whole", "in pieces"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ends", ["stop", "a second of nothing"])
def test_a_recording_gets_one_status_and_one_transcription(
    server: LiveServer, form: str, size: int | None, ends: str
) -> None:
    said = speech()
    data = FORMS[form](said)

    with talk(server) as client:
        for _ in range(2):
            said_so = [audio(piece) for piece in pieces(data, size or len(data))]
            client.say_together([*said_so, STOP] if ends == "stop" else said_so)
            status, text = a_recording(client)

            assert status["type"] == "status"
            assert status["message"]
            assert (text["type"], text["status"]) == ("transcription", "success")
            assert errors_in(text["text"], said.text) == 0.0
            assert text["duration"] == pytest.approx(said.duration, abs=0.03)
        assert client.hears_nothing(1.5)


def test_an_address_of_data_is_taken_for_what_it_holds(server: LiveServer) -> None:
    said = speech()
    message = audio(wav(said))
    message["audio"] = "data:audio/wav;base64," + message["audio"]

    with talk(server) as client:
        client.say(message)
        _, text = a_recording(client)

    assert errors_in(text["text"], said.text) == 0.0


def test_a_server_that_stands_still_does_not_take_that_for_a_pause(
    server: LiveServer,
) -> None:
    said = speech()
    first, second = pieces(wav(said), len(wav(said)) // 2 + 100)
    assert server.process is not None

    def received() -> float:
        text = httpx.get(f"{server.url}/metrics", timeout=WAIT_S, trust_env=False).text
        name = "\nvoicepipe_live_received_milliseconds_total "
        return float(text.partition(name)[2].split()[0])

    # Nor may this process rest for as long as a pause.
    for _ in range(3):
        with talk(server) as client:
            client.say({"type": "start", "pause": 4})
            status = client.hear()
            before = received()
            said_at = time.monotonic()
            client.say(audio(first))
            while received() < before + 1_000:
                time.sleep(0.05)
            time.sleep(0.1)
            server.process.send_signal(signal.SIGSTOP)
            rested_s = time.monotonic() - said_at
            try:
                client.say_together([audio(second)])
                time.sleep(4.5)
            finally:
                server.process.send_signal(signal.SIGCONT)
            client.say(STOP)
            text = client.hear()
        if rested_s < 4:
            break

    assert (status["type"], text["type"]) == ("status", "transcription")
    assert errors_in(text["text"], said.text) == 0.0
    assert text["duration"] == pytest.approx(said.duration, abs=0.03)


def test_binary_messages_are_samples_cut_anywhere(server: LiveServer) -> None:
    said = speech()

    with talk(server) as client:
        client.say_together([*pieces(pcm(said), 3_333), STOP])
        _, text = a_recording(client)

    assert errors_in(text["text"], said.text) == 0.0
    assert text["duration"] == pytest.approx(said.duration, abs=0.001)


@pytest.mark.parametrize("form", ["wav", "webm"])
def test_pieces_that_come_after_a_second_go_on_and_only_what_is_new_is_told(
    server: LiveServer, form: str
) -> None:
    first, second = speech("thank you goodbye"), speech("one large pizza mushroom")
    both = speech("thank you goodbye", "one large pizza mushroom")
    data = FORMS[form](both)
    # Somewhere in the second of silence between the sentences.
    silence_s = next(w.end for w in both.words if w.text == "goodbye") + 0.5
    cut = round(len(data) * silence_s / both.duration)

    with talk(server) as client:
        client.say(audio(data[:cut]))
        status, before = a_recording(client)
        client.say(audio(data[cut:]))
        after = client.hear()
        client.say(STOP)

        assert client.hears_nothing(0.5)
    assert status["type"] == "status"
    assert errors_in(before["text"], first.text) == 0.0
    assert errors_in(after["text"], second.text) == 0.0
    total = before["duration"] + after["duration"]
    assert total == pytest.approx(both.duration, abs=0.05)


def test_the_header_of_the_next_recording_ends_the_one_before(
    server: LiveServer,
) -> None:
    first, second = speech("thank you goodbye"), speech("one large pizza mushroom")

    with talk(server) as client:
        both = [*pieces(wav(first), 20_000), *pieces(wav(second), 20_000)]
        client.say_together([*map(audio, both), STOP])
        heard = [client.hear() for _ in range(4)]

    kinds = [message["type"] for message in heard]
    assert kinds == ["status", "transcription", "status", "transcription"]
    assert errors_in(heard[1]["text"], first.text) == 0.0
    assert errors_in(heard[3]["text"], second.text) == 0.0


def test_a_start_tells_the_rate_of_samples(server: LiveServer) -> None:
    said = speech()
    double = np.repeat(np.frombuffer(pcm(said), "<i2"), 2).tobytes()

    with talk(server) as client:
        client.say({"type": "start", "sample_rate": 32_000})
        started = client.hear()
        client.say(double)
        client.say(STOP)
        text = client.hear()

    assert (started["type"], started["sample_rate"]) == ("status", 32_000)
    assert (started["engine"], started["degraded"]) == ("whisper:model", False)
    assert errors_in(text["text"], said.text) == 0.0
    assert text["duration"] == pytest.approx(said.duration, abs=0.001)


def test_a_recording_without_speech_has_no_text(server: LiveServer) -> None:
    with talk(server) as client:
        client.say(audio(bytes(64_000)))
        client.say(STOP)
        _, text = a_recording(client)

    assert (text["text"], text["status"]) == ("", "success")


def test_a_long_recording_is_transcribed_while_it_comes(server: LiveServer) -> None:
    said = speech(*SENTENCES * 2, pause=5.0)
    assert said.duration > 45

    with talk(server) as client:
        client.say(audio(wav(said)))
        client.say(STOP)
        _, text = a_recording(client)

    assert errors_in(text["text"], said.text) < 0.15


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "null",
        "[]",
        '{"type": "sound"}',
        '{"type": "audio"}',
        '{"type": "audio", "audio": 7}',
        '{"type": "audio", "audio": "%%%"}',
        '{"type": "start", "sample_rate": "16000"}',
        '{"type": "start", "sample_rate": 100}',
        '{"type": "start", "sample_rate": true}',
        '{"type": "start", "channels": 3}',
        '{"type": "start", "partials": 1}',
        '{"type": "start", "pause": 0.1}',
        '{"type": "start", "pause": true}',
        "[" * 30_000,
        "x" * 200_000,
    ],
)
def test_a_message_that_says_nothing_is_told_and_harmless(
    server: LiveServer, message: str
) -> None:
    said = speech("thank you goodbye")
    with talk(server) as client:
        client.say(message)
        error = client.hear()
        first, second = audio(wav(said)[:20_000]), audio(wav(said)[20_000:])
        client.say_together([first, message, second, STOP])
        heard = [client.hear() for _ in range(3)]

    assert (error["type"], error["code"]) == ("error", "bad_message")
    assert sorted(m["type"] for m in heard) == ["error", "status", "transcription"]
    text = next(m for m in heard if m["type"] == "transcription")
    assert errors_in(text["text"], said.text) == 0.0


def test_what_is_no_sound_gets_one_error_for_the_recording(server: LiveServer) -> None:
    page = b"<!doctype html><html><body>Please log in</body></html>" * 100
    said = speech("thank you goodbye")

    with talk(server) as client:
        client.say_together(audio(piece) for piece in pieces(page, 700))
        status, error = a_recording(client)
        quiet = client.hears_nothing(2.5)
        client.say(audio(wav(said)))
        _, text = a_recording(client)

    assert (status["type"], error["type"]) == ("status", "error")
    assert error["code"] == "bad_audio"
    assert "HTML" in error["message"]
    assert quiet
    assert errors_in(text["text"], said.text) == 0.0


def test_a_stop_without_a_recording_is_told(server: LiveServer) -> None:
    with talk(server) as client:
        client.say(STOP)
        error = client.hear()

    assert (error["type"], error["code"]) == ("error", "no_audio")


def test_another_path_is_not_there(server: LiveServer) -> None:
    answer = httpx.get(f"{server.url}/nothing", timeout=WAIT_S, trust_env=False)

    assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})


def test_health_counts_connections_and_names_the_engine(server: LiveServer) -> None:
    with talk(server) as client:
        client.say({"type": "start", "partials": True})
        client.hear()
        client.say(bytes(32_000))
        during = server.health()
        while not during["recordings"]:
            during = server.health()
    after = server.health()
    limit = time.monotonic() + WAIT_S
    while after["active_connections"] and time.monotonic() < limit:
        after = server.health()

    assert (during["active_connections"], during["recordings"]) == (1, 1)
    assert (after["active_connections"], after["recordings"]) == (0, 0)
    assert (after["status"], after["degraded"]) == ("healthy", False)
    assert (after["engine"], after["max_recordings"]) == ("whisper:model", 8)


def test_without_a_model_a_simple_engine_stands_in_and_that_is_told(
    tmp_path: Path,
) -> None:
    said = speech()
    with LiveServer(
        tmp_path,
        VOICEPIPE_TRANSCRIBER="",
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_HOME=str(tmp_path),
    ) as server:
        # To look for a model may take longer than a start waits.
        limit = time.monotonic() + WAIT_S
        while (health := server.health())["status"] == "starting":
            assert time.monotonic() < limit
            time.sleep(0.1)
        with talk(server) as client:
            client.say(LIVE)
            started = client.hear()
            client.say(pcm(said))
            client.say(STOP)
            heard = client.hear_until("ended")

        assert "WARNING" in server.log()
    assert (health["engine"], health["degraded"]) == ("pocketsphinx", True)
    assert (started["engine"], started["degraded"]) == ("pocketsphinx", True)
    finals = [m["text"] for m in heard if m.get("final")]
    # It knows many more words than were said, and takes some for others.
    assert "large pizza" in " ".join(finals)
    assert heard[-1]["duration"] == pytest.approx(said.duration, abs=0.001)


def test_sigterm_ends_it_while_somebody_records(tmp_path: Path) -> None:
    took_s: list[float] = []
    # A busy machine may hold it up, but hardly each time.
    while len(took_s) < 3 and min(took_s, default=10.0) >= 10:
        with LiveServer(tmp_path) as server, talk(server) as client:
            client.say({"type": "start", "partials": True})
            client.hear()
            client.say(pcm(speech()))
            with own_time(server) as took:
                code = server.stop(signal.SIGTERM)

            assert (code, client.close_code()) == (0, 1012)
            took_s.append(took())
    assert min(took_s) < 10


# Words while they are said.


def test_words_come_while_they_are_said_and_certain_ones_stay(
    server: LiveServer,
) -> None:
    said = speech()

    with talk(server) as client:
        # In the middle of the first sentence.
        heard = live_words(client, said, rests_at=said.words[3].start)

    early = [m for m in heard if m["type"] == "transcription"]
    assert next(m for m in early if m["text"])["final"] is False
    known: dict[int, dict[str, Any]] = {}
    for message in early:
        before = known.get(message["segment_id"])
        assert 0 <= message["stable"] <= len(message["text"])
        if before is not None:
            assert not before["final"]
            certain = before["text"][: before["stable"]]
            assert message["text"].startswith(certain)
        known[message["segment_id"]] = message
    assert all(m["final"] for m in known.values())
    finals = sorted(known.values(), key=lambda m: m["start"])
    assert errors_in(" ".join(m["text"] for m in finals), said.text) <= 0.02
    ended = heard[-1]
    assert (ended["type"], ended["event"]) == ("status", "ended")
    assert ended["duration"] == pytest.approx(said.duration, abs=0.001)
    for message in finals:
        words = message["words"]
        assert [w["word"] for w in words] == message["text"].split()
        assert message["start"] <= words[0]["start"]
        assert words[-1]["end"] <= message["end"] + 0.001


def test_live_times_and_ids_go_on_after_a_pause(server: LiveServer) -> None:
    said = speech("thank you goodbye")

    with talk(server) as client:
        client.say({"type": "start", "partials": True})
        client.hear()
        client.say(pcm(said))
        first = client.hear_until("paused")
        client.say(pcm(said))
        client.say(STOP)
        second = client.hear_until("ended")

    one = [m for m in first if m.get("final") and m["text"]]
    other = [m for m in second if m.get("final") and m["text"]]
    assert errors_in(" ".join(m["text"] for m in one), said.text) == 0.0
    assert errors_in(" ".join(m["text"] for m in other), said.text) == 0.0
    assert min(m["segment_id"] for m in other) > max(m["segment_id"] for m in one)
    assert min(m["start"] for m in other) >= said.duration
    assert second[-1]["duration"] == pytest.approx(2 * said.duration, abs=0.001)


def test_two_channels_are_told_apart(server: LiveServer) -> None:
    left, right = speech("thank you goodbye"), speech("one large pizza mushroom")
    size = max(len(left.samples), len(right.samples))
    call = np.zeros((size, 2), np.float32)
    call[: len(left.samples), 0] = left.samples
    call[: len(right.samples), 1] = right.samples

    with talk(server) as client:
        client.say({**LIVE, "channels": 2})
        client.hear()
        client.say(np.rint(call * 32_767).astype("<i2").tobytes())
        client.say(STOP)
        heard = client.hear_until("ended")

    finals = [m for m in heard if m.get("final") and m["text"]]
    for channel, said in enumerate((left, right)):
        text = " ".join(m["text"] for m in finals if m["channel"] == channel)
        assert errors_in(text, said.text) == 0.0
