"""
The WebSocket side: sound comes in, acknowledgements go out.

A plain ASGI app beside FastAPI's routes: with ten thousand messages in a second, each
layer round them counts.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import anyio
from replies import (
    FAULTS,
    REASONS,
    Refused,
    acknowledged,
    bad,
    completed,
    failed,
    fault_of,
    refusal_of,
    text,
    welcome,
)
from settings import CHANNELS, FORMATS, RATES, SETTINGS

from voicepipe import (
    CaptureError,
    SessionClosedError,
    SessionSpec,
    VoicepipeError,
)
from voicepipe.servers.asgi import SEND_NOW, Refusal, path_of, refuse
from voicepipe.servers.metrics import Metrics


if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe import CaptureConnection, CaptureStore, ChunkAck, EndReason
    from voicepipe.servers.asgi import Message, Receive, Scope, Send


_logger = logging.getLogger("stream_server")

_PATH = re.compile(r"/api/ws/audio(?:/(.*))?", re.DOTALL)

# RFC 9562, version 4.
_SESSION_ID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII
)

# A control message is short; longer texts are not even read.
_LONGEST_CONTROL = 4_096

# So many texts that say nothing, in so many seconds, are too many.
_NONSENSE = 100
_NONSENSE_S = 60.0

metrics = Metrics("voicepipe_stream")
opened = metrics.count("connections", "WebSocket connections that got a session")
chunks = metrics.count("chunks", "Chunks acknowledged")
received = metrics.count("received_bytes", "Bytes of acknowledged chunks")
ack_s = metrics.timings("ack_seconds", "From a chunk's arrival to its acknowledgement")
refusals = metrics.count_by(
    "refusals", "Connections refused, by reason", "reason", REASONS
)
faults = metrics.count_by(
    "failed_chunks", "Chunks not taken, by reason", "reason", FAULTS
)


async def audio_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a connection: the ASGI app for WebSockets."""
    matched = _PATH.fullmatch(path_of(scope))
    if matched is None:
        refusal = Refusal(status=404, message="Not found")
        await refuse(scope, receive, send, refusal, error_key="error")
        return
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    query = parse_qs(
        scope["query_string"].decode("utf-8", "replace"), keep_blank_values=True
    )
    try:
        connection = await _open(scope["state"]["store"], matched[1], query)
    except Refused as refused:
        refusals.add(refused.reason)
        _logger.warning("refused a connection: %s", refused.reason)
        talk = Talk(scope, receive, send)
        await talk.say(refused.message)
        await talk.close(refused.code)
        return
    opened.value += 1
    async with connection:
        await Talk(scope, receive, send).serve(connection, joined=bool(matched[1]))


async def _open(
    store: CaptureStore, session_id: str | None, query: dict[str, list[str]]
) -> CaptureConnection:
    """Begin a session, or join one."""
    user_id = query.get("user_id", [""])[0]
    if len(user_id) > 256 or not user_id.isprintable():
        raise bad("user id")
    try:
        if not session_id:
            return await store.create(_spec(query, user_id))
        session_id = session_id.lower()
        if not _SESSION_ID.fullmatch(session_id):
            raise bad("session id", reason="bad_session_id")
        offset = _offset(query)
        return await store.join(session_id, offset=offset, user_id=user_id)
    except (VoicepipeError, OSError) as exc:
        refused = refusal_of(exc, session_id or "")
        if refused.code == 1011:
            _logger.exception("a session could not be opened")
        raise refused from exc


def _spec(query: dict[str, list[str]], user_id: str) -> SessionSpec:
    rate = query.get("sample_rate", [str(SETTINGS.rate)])[0]
    channels = query.get("channels", [str(SETTINGS.channels)])[0]
    wanted = query.get("format", [SETTINGS.format])[0].lower()
    if rate not in map(str, RATES):
        raise bad("sample rate", valid=RATES)
    if channels not in map(str, CHANNELS):
        raise bad("channels", valid=CHANNELS)
    for name in FORMATS:
        if name == wanted:
            return SessionSpec(
                rate=int(rate), channels=int(channels), format=name, user_id=user_id
            )
    raise bad("format", valid=FORMATS)


def _offset(query: dict[str, list[str]]) -> int | None:
    if "offset" not in query:
        return None
    offset = query["offset"][0]
    if not re.fullmatch(r"[0-9]{1,18}", offset, re.ASCII):
        raise bad("offset")
    return int(offset)


class Talk:
    """
    What is said on one connection.

    A client that does not hear any more is still listened to: what it has sent before
    it went is stored.

    Args:
        scope: The connection's.
        receive: The server's.
        send: The server's.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin."""
        self._receive = receive
        self._send = send
        # Where the server can do it, chunks are answered without waking this task.
        extension = scope["extensions"].get(SEND_NOW, {})
        self._send_now: Callable[[str], bool] | None = extension.get("call")
        self._keeps_up = self._send_now is not None
        self._deaf = False
        self._waits = False
        self._ended: EndReason | None = None
        self._nonsense: list[float] = []

    async def serve(self, connection: CaptureConnection, *, joined: bool) -> None:
        """Take chunks until the client goes, or the session is over."""
        await self.say(welcome(connection.info, joined=joined))
        async with anyio.create_task_group() as group:

            async def end() -> None:
                self._ended = await connection.wait_ended()
                # What is under way is answered first.
                if self._waits:
                    group.cancel_scope.cancel()

            group.start_soon(end)
            try:
                await self._listen(connection)
            except Exception:
                _logger.exception("a connection failed")
                await self.say({"error": "Internal error"})
                await self.close(1011)
            group.cancel_scope.cancel()
        if self._ended is not None:
            await self._farewell(connection, self._ended)

    async def _listen(self, connection: CaptureConnection) -> None:
        while self._ended is None:
            self._waits = True
            message = await self._receive()
            self._waits = False
            if message["type"] != "websocket.receive":
                return
            data = message.get("bytes")
            if data is not None:
                await self._take(connection, data)
            elif not await self._obey(connection, message["text"]):
                return

    async def _take(self, connection: CaptureConnection, data: bytes) -> None:
        began = time.perf_counter()
        try:
            if self._keeps_up:
                told = functools.partial(
                    self._tell, connection, began=began, size=len(data)
                )
                if connection.submit(data, told):
                    return
            ack = await connection.write(data)
        except SessionClosedError:
            # Why, is told by who has closed it.
            self._ended = self._ended or await connection.wait_ended()
        except (VoicepipeError, OSError) as exc:
            if not self._is_over(connection, exc):
                await self.say(_fault(connection, exc))
        else:
            await self._say_text(_counted(ack, began, len(data)))
            self._keeps_up = self._send_now is not None

    def _tell(
        self,
        connection: CaptureConnection,
        ack: ChunkAck | None,
        error: Exception | None,
        *,
        began: float,
        size: int,
    ) -> None:
        """Answer a chunk that nobody waits for."""
        if ack is not None:
            said = _counted(ack, began, size)
        elif error is None or self._is_over(connection, error):
            return
        else:
            said = text(_fault(connection, error))
        if self._send_now is not None:
            self._keeps_up = self._send_now(said)

    def _is_over(self, connection: CaptureConnection, error: Exception) -> bool:
        """Tell whether a chunk came too late."""
        if connection.end_reason is None or not isinstance(error, CaptureError):
            return False
        self._ended = connection.end_reason
        return True

    async def _obey(self, connection: CaptureConnection, said: str) -> bool:
        """Do what a text says; false where the connection is over."""
        if not _is_close(said):
            return await self._wonder()
        try:
            await connection.close_session()
        except (VoicepipeError, OSError) as exc:
            _logger.exception("a session could not be closed")
            await self.say(failed(connection.info, "Failed to close session", exc))
        else:
            self._ended = self._ended or "completed"
        return True

    async def _wonder(self) -> bool:
        now = time.monotonic()
        self._nonsense = [t for t in self._nonsense if now - t < _NONSENSE_S]
        self._nonsense.append(now)
        detail = 'known is {"type": "control", "action": "close_session"}'
        await self.say({"error": "Unknown message", "detail": detail})
        if len(self._nonsense) <= _NONSENSE:
            return True
        await self.close(1008)
        return False

    async def _farewell(self, connection: CaptureConnection, why: EndReason) -> None:
        code = 1000
        match why:
            case "completed":
                await self.say(completed(connection.info))
            case "full":
                await self.say(completed(connection.info, "max_duration"))
            case "idle":
                await self.say({"error": "Connection timed out"})
                code = 1001
            case _:
                code = 1012
        await self.close(code)

    async def say(self, message: dict[str, Any]) -> None:
        """Send a message, if anybody hears it."""
        await self._say_text(text(message))

    async def _say_text(self, said: str) -> None:
        if not self._deaf:
            await self._pass_on({"type": "websocket.send", "text": said})

    async def close(self, code: int) -> None:
        """Close the connection."""
        if not self._deaf:
            await self._pass_on({"type": "websocket.close", "code": code})
        self._deaf = True

    async def _pass_on(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            self._deaf = True


def _counted(ack: ChunkAck, began: float, size: int) -> str:
    """Count a chunk that is safe, and give its answer."""
    chunks.value += 1
    received.value += size
    ack_s.add(time.perf_counter() - began)
    return acknowledged(ack)


def _fault(connection: CaptureConnection, error: Exception) -> dict[str, Any]:
    """Count a chunk that is not taken, and give its answer."""
    code, _ = fault_of(error)
    faults.add(code)
    if code == "internal":
        _logger.error("a chunk could not be stored", exc_info=error)
    return failed(connection.info, "Failed to process chunk", error)


def _is_close(said: str) -> bool:
    if len(said) > _LONGEST_CONTROL:
        return False
    try:
        message = json.loads(said)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(message, dict)
        and message.get("type") == "control"
        and message.get("action") == "close_session"
    )


__all__ = ["audio_socket", "metrics"]
