"""A client of the streaming server that knows the contract, and checks its words."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import jsonschema
import numpy as np
import referencing
import referencing.jsonschema
import soundfile
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect


if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from stream_server_runner import StreamServer


WAIT_S = 60
CHUNK = 4_096
CLOSE = {"type": "control", "action": "close_session"}

PROTOCOL: dict[str, Any] = json.loads(
    Path(__file__)
    .parents[1]
    .joinpath("docs", "stream_protocol.asyncapi.json")
    .read_text("utf-8")
)

_RESOURCE = referencing.Resource.from_contents(
    PROTOCOL, default_specification=referencing.jsonschema.DRAFT202012
)
_REGISTRY: Any = referencing.Registry().with_resource("urn:protocol", _RESOURCE)


def validator(schema: str) -> jsonschema.Draft202012Validator:
    """Give what checks values of one of the protocol's schemas."""
    return jsonschema.Draft202012Validator(
        {"$ref": f"urn:protocol#/components/schemas/{schema}"}, registry=_REGISTRY
    )


def name_of(message: object, channel: str) -> str:
    """Find which of a channel's messages one is; it must be one, and one only."""
    names = [
        name for name in PROTOCOL["channels"][channel]["messages"] if name != "Chunk"
    ]
    found = [name for name in names if validator(name).is_valid(message)]
    assert len(found) == 1, (message, found)
    return found[0]


class Wire:
    """One connection, and the names of what was heard on it."""

    def __init__(self, socket: ClientConnection, channel: str) -> None:
        self.socket = socket
        self.channel = channel
        self.heard: list[str] = []

    def hear(self) -> dict[str, Any]:
        """Give the next message, which must be in the protocol."""
        message: dict[str, Any] = json.loads(self.socket.recv(timeout=WAIT_S))
        self.heard.append(name_of(message, self.channel))
        return message

    def say(self, data: bytes | dict[str, Any]) -> None:
        self.socket.send(data if isinstance(data, bytes) else json.dumps(data))

    def ask(self, data: bytes | dict[str, Any]) -> dict[str, Any]:
        """Say something and give the answer."""
        self.say(data)
        return self.hear()

    def close_code(self) -> int:
        """Hear until the server closes, and give its code."""
        try:
            while True:
                self.hear()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else 0


@contextlib.contextmanager
def wire(
    server: StreamServer,
    session_id: str | None = None,
    *,
    headers: dict[str, str] | None = None,
    **query: object,
) -> Iterator[Wire]:
    """Connect: to a new session, or to one that is there."""
    path = "" if session_id is None else f"/{session_id}"
    with connect(
        f"{server.ws_url}/api/ws/audio{path}?{urlencode(query)}",
        additional_headers=headers,
        max_size=None,
        max_queue=None,
        compression=None,
        # Nothing here is over because a busy machine was slow.
        open_timeout=WAIT_S,
        close_timeout=WAIT_S,
        ping_interval=None,
    ) as socket:
        yield Wire(socket, "newSession" if session_id is None else "session")


def pieces(data: bytes, size: int = CHUNK) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def noise(rate: int, channels: int, seconds: float, seed: int = 5) -> NDArray[np.int16]:
    shape = (round(rate * seconds), channels)
    return np.random.default_rng(seed).integers(-9_000, 9_000, shape, dtype=np.int16)


def as_wav(samples: NDArray[np.int16], rate: int) -> bytes:
    target = io.BytesIO()
    soundfile.write(target, samples, rate, format="WAV", subtype="PCM_16")
    return target.getvalue()


def stored(server: StreamServer, session_id: str) -> NDArray[np.int16]:
    """Give a session's samples, (frames, channels)."""
    samples, _ = soundfile.read(server.wav(session_id), dtype="int16", always_2d=True)
    return samples
