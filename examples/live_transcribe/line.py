"""The line to a client, and what is counted on all of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
from messages import CODES, error

from voicepipe.servers.metrics import Metrics


if TYPE_CHECKING:
    from voicepipe.servers.asgi import Message, Send


metrics = Metrics("voicepipe_live")
connections = metrics.count("connections", "WebSocket connections taken")
recordings = metrics.count("recordings", "Recordings begun, on WebSockets")
received_ms = metrics.count(
    "received_milliseconds", "Milliseconds of sound taken, on WebSockets"
)
end_s = metrics.timings(
    "end_seconds", "From the end of a recording to its last text, on WebSockets"
)
faults = metrics.count_by("errors", "Error messages, by code", "code", CODES)


class Places:
    """
    What the server has taken on.

    Attributes:
        connections: WebSockets that are open.
        recordings: Recordings on them that are under way.
    """

    def __init__(self) -> None:
        """Nobody is there."""
        self.connections: int = 0
        self.recordings: int = 0


places = Places()
metrics.gauge("open_connections", "Open connections", lambda: places.connections)
metrics.gauge("active_recordings", "Recordings now", lambda: places.recordings)


@attrs.frozen
class Over:
    """
    The connection is to be closed.

    Attributes:
        code: RFC 6455, section 7.4.
        message: What is said before, for people.
        reason: The same for programs: one of ``CODES``; empty to say nothing.
    """

    code: int
    message: str = ""
    reason: str = ""


class Line:
    """
    Says things to the client; where it does not hear any more, to nobody.

    Args:
        send: The server's.
    """

    def __init__(self, send: Send) -> None:
        """Begin."""
        self._send = send
        self._deaf = False

    async def say(self, message: dict[str, Any]) -> None:
        """Send a message, if anybody hears it."""
        await self._pass_on({"type": "websocket.send", "text": json.dumps(message)})

    async def fail(self, message: str, code: str) -> None:
        """Send an error message, and count it."""
        faults.add(code)
        await self.say(error(message, code))

    async def end(self, over: Over) -> None:
        """Say why, and close the connection."""
        if over.reason:
            await self.fail(over.message, over.reason)
        await self._pass_on({"type": "websocket.close", "code": over.code})
        self._deaf = True

    async def _pass_on(self, message: Message) -> None:
        if self._deaf:
            return
        try:
            await self._send(message)
        except OSError:
            self._deaf = True
