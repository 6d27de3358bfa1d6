"""How much of live transcription one client may have, and who may come at all."""

from __future__ import annotations

import contextlib
import json
import re
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from app_runner import at_once
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
    pcm,
    pieces,
    speech,
    talk,
    wav,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


KEY = "open sesame"
SHORT = speech("thank you goodbye")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Give a server that takes little of everything."""
    with LiveServer(
        tmp_path_factory.mktemp("small"),
        MAX_SESSIONS="2",
        MAX_CONNECTIONS="3",
        MAX_MESSAGE_SIZE_BYTES="200000",
        MAX_RECORDING_MINUTES="0.1",
    ) as server:
        yield server


def refused(client: Talk, code: str) -> int:
    """Hear the reason, and give the code of the close."""
    error = client.hear()
    while error["type"] != "error":
        error = client.hear()
    assert error["code"] == code
    assert error["message"]
    return client.close_code()


def when_empty(server: LiveServer) -> None:
    """Wait until those who have left are counted out."""
    limit = time.monotonic() + WAIT_S
    while server.health()["active_connections"] and time.monotonic() < limit:
        time.sleep(0.05)


def test_one_recording_more_than_may_be_is_refused_until_another_ends(
    small: LiveServer,
) -> None:
    when_empty(small)
    with talk(small) as one, talk(small) as other:
        one.say(LIVE)
        one.hear()
        other.say({"type": "start", "pause": 60})
        other.hear()
        other.say(audio(wav(SHORT)[:30_000]))
        while small.health()["recordings"] < 2:
            time.sleep(0.05)
        for message in (LIVE, audio(wav(SHORT))):
            with talk(small) as third:
                third.say(message)
                assert refused(third, "full") == 1013
        one.say(STOP)
        one.hear_until("ended")
        with talk(small) as third:
            third.say(audio(wav(SHORT)))
            third.say(STOP)
            assert (
                errors_in(third.hear_until("transcription")[-1]["text"], SHORT.text)
                == 0
            )


def test_one_connection_more_than_may_be_is_refused(small: LiveServer) -> None:
    when_empty(small)
    with talk(small), talk(small), talk(small):
        while small.health()["active_connections"] < 3:
            time.sleep(0.05)
        with talk(small) as fourth:
            assert refused(fourth, "full") == 1013


def test_a_message_that_is_too_long_ends_the_connection(small: LiveServer) -> None:
    when_empty(small)
    with talk(small) as client:
        # It may have been told, and let go, before it has sent all.
        with contextlib.suppress(OSError, ConnectionClosed):
            client.say(bytes(200_001))

        assert client.close_code() == 1009


def test_a_connection_that_is_silent_is_closed(tmp_path: Path) -> None:
    with (
        LiveServer(tmp_path, CONNECTION_TIMEOUT_SECONDS="1") as server,
        talk(server) as client,
    ):
        assert refused(client, "idle") == 1001


@pytest.mark.parametrize("partials", [True, False])
def test_a_recording_that_is_too_long_is_told_so_far(
    small: LiveServer, *, partials: bool
) -> None:
    when_empty(small)
    said = speech("thank you goodbye", "one large pizza mushroom", "hello agent thanks")
    with talk(small) as client:
        client.say({**LIVE, "partials": partials})
        # The longest is six seconds; this is more, and goes on.
        client.say_together(pieces(pcm(said) + bytes(400_000), 32_000))
        heard = client.hear_until("error")
        code = client.close_code()

    assert (heard[-1]["code"], code) == ("too_long", 1008)
    texts = [m for m in heard if m["type"] == "transcription" and m["final"]]
    assert errors_in(" ".join(m["text"] for m in texts), said.text) < 0.5


def test_a_flood_of_nonsense_ends_the_connection(small: LiveServer) -> None:
    when_empty(small)
    with talk(small) as client:
        client.say_together(["{"] * 101)

        assert client.close_code() == 1008


def test_little_that_unfolds_to_much_is_bounded(small: LiveServer) -> None:
    """A FLAC of silence: some bytes for each thousands of samples."""
    when_empty(small)
    with talk(small) as client:
        client.say(audio(flac_of_silence(3_000)))
        heard = client.hear_until("error")

    assert heard[-1]["code"] in {"too_long", "bad_audio"}
    assert small.health()["status"] == "healthy"


def flac_of_silence(blocks: int) -> bytes:
    """Give a FLAC whose frames are a real encoder's, repeated."""
    import io

    import soundfile

    target = io.BytesIO()
    soundfile.write(target, np.zeros(160_000, np.int16), 16_000, format="FLAC")
    data = target.getvalue()
    sync = data.index(b"\xff\xf8")
    assert struct.unpack(">I", data[:4])[0] == 0x664C6143
    return data[:sync] + data[sync:] * (blocks // 40)


def test_another_origin_is_not_let_in(small: LiveServer) -> None:
    when_empty(small)
    with (
        pytest.raises(InvalidStatus) as caught,
        talk(small, Origin="https://elsewhere.example"),
    ):
        pass

    assert caught.value.response.status_code == 403


def test_the_pages_own_origin_is_let_in(small: LiveServer) -> None:
    when_empty(small)
    with talk(small, Origin=small.url) as client:
        client.say({"type": "start"})

        assert client.hear()["event"] == "started"


def test_a_key_is_wanted_and_never_logged(tmp_path: Path) -> None:
    with LiveServer(tmp_path, VOICEPIPE_API_KEY=KEY) as server:
        for path in ("/ws", "/ws?token=wrong"):
            with pytest.raises(InvalidStatus) as caught, talk(server, path):
                pass
            assert caught.value.response.status_code == 401
        with talk(server, "/ws?token=open%20sesame") as client:
            client.say({"type": "start"})
            assert client.hear()["event"] == "started"
        with talk(server, Authorization=f"Bearer {KEY}") as client:
            client.say({"type": "start"})
            assert client.hear()["event"] == "started"
        for path in ("/", "/health", "/static/app.js", "/docs"):
            found = httpx.get(server.url + path, timeout=WAIT_S, trust_env=False)
            assert found.status_code == 200
        models = httpx.get(f"{server.url}/v1/models", timeout=WAIT_S, trust_env=False)

        assert models.status_code == 401
        assert models.json()["error"]["code"] == "invalid_api_key"
        assert "sesame" not in server.log()


def test_who_comes_too_often_is_told(tmp_path: Path) -> None:
    with LiveServer(tmp_path, VOICEPIPE_RATE_LIMIT="1") as server:
        models = f"{server.url}/v1/models"
        answers = [httpx.get(models, timeout=WAIT_S, trust_env=False) for _ in range(4)]
        with pytest.raises(InvalidStatus) as caught, talk(server):
            pass

    late = answers[-1]
    assert late.status_code == caught.value.response.status_code == 429
    assert late.json()["error"]["type"] == "rate_limit_error"


def test_the_page_may_load_nothing_from_elsewhere(small: LiveServer) -> None:
    page = httpx.get(small.url, timeout=WAIT_S, trust_env=False)
    policy = page.headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["permissions-policy"] == "microphone=(self)"
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page.text)
    assert not re.search(r"<script(?![^>]*src)|<style| style=| on[a-z]+=", page.text)
    for link in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        found = httpx.get(small.url + link, timeout=WAIT_S, trust_env=False)
        assert found.status_code == 200


def test_its_numbers_are_told(small: LiveServer) -> None:
    when_empty(small)

    def number(name: str) -> float:
        text = httpx.get(f"{small.url}/metrics", timeout=WAIT_S, trust_env=False).text
        found = re.search(rf"(?m)^{re.escape(name)} (\S+)$", text)
        assert found is not None, name
        return float(found[1])

    names = {
        "voicepipe_live_connections_total": 1,
        "voicepipe_live_recordings_total": 1,
        "voicepipe_live_end_seconds_count": 1,
        'voicepipe_live_errors_total{code="bad_message"}': 1,
    }
    before = {name: number(name) for name in names}
    sound_ms = number("voicepipe_live_received_milliseconds_total")
    with talk(small) as client:
        client.say("{")
        client.say_together([audio(wav(SHORT)), STOP])
        client.hear_until("transcription")
        during = number("voicepipe_live_open_connections")
    after = {name: number(name) for name in names}

    assert {name: after[name] - before[name] for name in names} == names
    heard_ms = number("voicepipe_live_received_milliseconds_total") - sound_ms
    assert heard_ms == pytest.approx(1_000 * SHORT.duration, abs=30)
    assert during == 1


def test_eight_speak_at_once_and_each_gets_its_own_words(tmp_path: Path) -> None:
    sayings = [speech(SENTENCES[number % 4]) for number in range(8)]
    heard: dict[int, list[dict[str, Any]]] = {}

    with LiveServer(tmp_path) as server:

        def speak(number: int) -> None:
            with talk(server) as client:
                heard[number] = live_words(client, sayings[number])

        at_once(8, speak)

    for number, said in enumerate(sayings):
        finals = [m for m in heard[number] if m.get("final") and m["text"]]
        assert errors_in(" ".join(m["text"] for m in finals), said.text) <= 0.1


def test_who_sends_more_than_can_be_heard_is_made_to_wait_and_loses_nothing(
    tmp_path: Path,
) -> None:
    said = speech(*SENTENCES * 4)
    assert said.duration > 40.0

    def speak(client: Talk) -> None:
        client.say(LIVE)
        for piece in pieces(pcm(said), 6_400):  # at once, and not as it is said
            client.say(piece)
        client.say(STOP)

    with (
        LiveServer(tmp_path) as server,
        # Where the server reads nothing more, no ping is answered.
        connect(f"{server.ws_url}/ws", ping_interval=None, proxy=None) as socket,
    ):
        client = Talk(socket)
        thread = threading.Thread(target=speak, args=[client])
        thread.start()
        heard = client.hear_until("ended")
        thread.join()

    finals = [m for m in heard if m.get("final") and m["text"]]
    assert errors_in(" ".join(m["text"] for m in finals), said.text) <= 0.1
    # So much may wait before a client is made to wait: the library's own bound.
    assert max(m["lag"] for m in heard if "lag" in m) <= 31.0


def test_an_engine_that_fails_is_told(tmp_path: Path) -> None:
    with LiveServer(
        tmp_path,
        VOICEPIPE_TRANSCRIBER="openai:whisper-1",
        OPENAI_BASE_URL="http://127.0.0.1:9/v1",
    ) as server:
        with talk(server) as client:
            client.say(audio(wav(SHORT)))
            client.say(STOP)
            old = client.hear_until("error")[-1]
            client.say(audio(wav(SHORT)))
            client.say(STOP)
            again = client.hear_until("error")[-1]
        with talk(server) as client:
            client.say_together([LIVE, pcm(SHORT), STOP])
            live = client.hear_until("error")[-1]
            code = client.close_code()

    assert [m["code"] for m in (old, again, live)] == ["engine"] * 3
    assert "127.0.0.1:9" not in json.dumps([old, again, live])
    assert code == 1011
