"""WebSocket messages that are sent without a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from voicepipe.servers.asgi import SEND_NOW
from voicepipe.servers.ws_protocol import LimitedWebSockets


if TYPE_CHECKING:
    from voicepipe.servers.asgi import Scope


class DirectWebSockets(LimitedWebSockets):
    """
    One connection, whose app may answer from where nothing can be awaited.

    It finds ``SEND_NOW`` among the extensions of its scope.
    """

    def handle_connect(self, event: Any) -> None:
        """Offer the extension; the app has not begun yet."""
        super().handle_connect(event)
        if not self.close_sent:
            scope = cast("Scope", self.scope)  # uvicorn's type knows its own ones only
            scope["extensions"][SEND_NOW] = {"call": self.send_now}

    def send_now(self, text: str) -> bool:
        """Send a text message; gives whether the client keeps up."""
        if self.disconnected or self.close_sent or not self.handshake_complete:
            return True
        self.conn.send_text(text.encode())
        self.transport.write(b"".join(self.conn.data_to_send()))
        return self.writable.is_set()
