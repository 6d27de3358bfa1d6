"""Live transcription as its users start it, and speech to say to it."""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import json
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from socket import SO_SNDBUF, SOL_SOCKET
from typing import TYPE_CHECKING, Any

import imageio_ffmpeg
import jiwer
import numpy as np
import pytest
import soundfile
from app_runner import EXAMPLES, AppProcess
from tiny_whisper.speech import (
    ESPEAK,
    MODEL,
    RATE,
    SpeechMissingError,
    Spoken,
    joined,
    render,
)
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray


APP = EXAMPLES / "live_transcribe"
WAIT_S = 120

STOP = {"type": "stop"}

LIVE = {"type": "start", "sample_rate": 16_000, "partials": True, "pause": 60}
"""Words at once; only a stop ends the recording, however long the client rests."""


class LiveServer(AppProcess):
    """
    Runs the server with the tiny Whisper, on one port, as often as it is started.

    Args:
        folder: Where it works; its log is there.
        variables: Its environment, besides the port and the engine.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        engine = {"VOICEPIPE_TRANSCRIBER": f"whisper:{MODEL}"}
        super().__init__(APP, folder, {**engine, **variables})


class Talk:
    """One connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def say(self, message: bytes | str | dict[str, Any]) -> None:
        self.socket.send(json.dumps(message) if isinstance(message, dict) else message)

    def say_together(self, messages: Iterable[bytes | str | dict[str, Any]]) -> None:
        """
        Say messages in one go.

        However busy the machine is, this process does not rest between them.
        """
        protocol = self.socket.protocol
        with self.socket.protocol_mutex:
            for message in messages:
                if isinstance(message, bytes):
                    protocol.send_binary(message)
                else:
                    text = message if isinstance(message, str) else json.dumps(message)
                    protocol.send_text(text.encode())
            data = b"".join(protocol.data_to_send())
            # All of it fits: it goes on its way whatever becomes of this process.
            self.socket.socket.setsockopt(SOL_SOCKET, SO_SNDBUF, 2 * len(data))
            self.socket.socket.sendall(data)

    def hear(self, timeout: float = WAIT_S) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.socket.recv(timeout=timeout))
        return message

    def hear_until(self, kind: str) -> list[dict[str, Any]]:
        """Hear until a message of a type, or a status of an event, has come."""
        heard = [self.hear()]
        while kind not in {heard[-1]["type"], heard[-1].get("event")}:
            heard.append(self.hear())
        return heard

    def hears_nothing(self, seconds: float) -> bool:
        try:
            self.hear(seconds)
        except TimeoutError:
            return True
        return False

    def close_code(self) -> int:
        """Hear until the server closes, and give its code."""
        try:
            while True:
                self.hear()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else 0


@contextlib.contextmanager
def talk(server: LiveServer, path: str = "/ws", **headers: str) -> Iterator[Talk]:
    """Connect."""
    with connect(
        f"{server.ws_url}{path}",
        additional_headers={k.replace("_", "-"): v for k, v in headers.items()},
        max_size=None,
        max_queue=None,
        compression=None,
        open_timeout=WAIT_S,
        proxy=None,
    ) as socket:
        yield Talk(socket)


@contextlib.contextmanager
def own_time(server: LiveServer) -> Iterator[Callable[[], float]]:
    """
    Measure how long a server takes for what is done here, seconds.

    Less the longest time in which one of its threads was ready and the system ran
    somebody else's: what a busy machine costs is not the server's.
    """
    process = server.process
    assert process is not None
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for task in Path(f"/proc/{process.pid}/task").glob("*"):
                with contextlib.suppress(OSError, IndexError):  # it ends
                    waited = int((task / "schedstat").read_text("ascii").split()[1])
                    last[task.name] = waited / 1e9
                    first.setdefault(task.name, last[task.name])

    thread = threading.Thread(target=watch)
    thread.start()
    took = [time.monotonic()]
    try:
        yield lambda: took[0] - max((last[n] - first[n] for n in first), default=0.0)
        took[0] = time.monotonic() - took[0]
    finally:
        over.set()
        thread.join()


SENTENCES = (
    "hello customer please name order",
    "one large pizza mushroom",
    "phone number zero five three eight",
    "thank you goodbye",
)


@functools.cache
def speech(*sentences: str, pause: float = 1.0) -> Spoken:
    """Say sentences with pauses between, before and behind them."""
    try:
        parts = [render(ESPEAK[0], text) for text in sentences or SENTENCES]
    except SpeechMissingError as exc:
        # Some modules speak while they are imported.
        pytest.skip(str(exc), allow_module_level=True)
    said = joined(parts, [0.4, *[pause] * (len(parts) - 1), 0.8])
    loud = said.samples * np.float32(0.5 / np.abs(said.samples).max())
    return Spoken(loud, said.words)


def pcm(spoken: Spoken) -> bytes:
    """Give 16-bit samples at 16 kHz."""
    samples: NDArray[np.int16] = np.rint(spoken.samples * 32_767).astype("<i2")
    return samples.tobytes()


def wav(spoken: Spoken) -> bytes:
    target = io.BytesIO()
    soundfile.write(target, spoken.samples, RATE, format="WAV", subtype="PCM_16")
    return target.getvalue()


def webm(spoken: Spoken) -> bytes:
    """Give a WebM file with Opus in it."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "said.wav"), Path(folder, "said.webm")
        source.write_bytes(wav(spoken))
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(source), "-ar", "48000"]
        command += ["-c:a", "libopus", "-b:a", "48k", "-live", "1", str(target)]
        subprocess.run(command, check=True, capture_output=True)
        return target.read_bytes()


def audio(data: bytes) -> dict[str, Any]:
    return {"type": "audio", "audio": base64.b64encode(data).decode()}


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def live_words(
    client: Talk, said: Spoken, *, rests_at: float | None = None
) -> list[dict[str, Any]]:
    """
    Speak for as long as it takes; give all that is heard, from first to last.

    Args:
        client: Who speaks.
        said: What is said.
        rests_at: The second at which the speaker waits until something was heard; a
            busy machine may be behind by then. ``None`` for never.
    """
    client.say(LIVE)
    understood = threading.Event()

    def speak() -> None:
        began = time.monotonic()
        for number, piece in enumerate(pieces(pcm(said), RATE // 5)):
            if rests_at is not None and 0.1 * number >= rests_at:
                understood.wait(WAIT_S)
            client.say(piece)
            time.sleep(max(0.0, began + 0.1 * number - time.monotonic()))
        client.say(STOP)

    thread = threading.Thread(target=speak)
    thread.start()
    heard = [client.hear()]
    while heard[-1].get("event") != "ended":
        if heard[-1].get("text"):
            understood.set()
        heard.append(client.hear())
    thread.join()
    return heard


def errors_in(heard: str, said: str) -> float:
    """Give the share of words that are wrong."""

    def plain(text: str) -> str:
        kept = "".join(c for c in text.lower() if c.isalnum() or c.isspace())
        return " ".join(kept.split())

    return float(jiwer.wer(plain(said), plain(heard)))
