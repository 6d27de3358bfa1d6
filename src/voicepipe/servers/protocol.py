"""
uvicorn's HTTP protocol with a deadline for what comes before a request.

uvicorn waits for ever for a request's head (Kludex/uvicorn#157): a connection that
sends nothing, or a byte now and then, stays. No middleware sees it. This subclass of
``uvicorn.protocols.http.h11_impl.H11Protocol`` does.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from voicepipe.errors import MissingExtraError


try:
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as _missing:
    raise MissingExtraError("uvicorn", extra="servers") from _missing


class _Timer(Protocol):
    def cancel(self) -> None: ...


class DeadlineProtocol(H11Protocol):
    """
    Ends a connection that is open for a while without a request being under way.

    The time runs from the connection's beginning, and later from a request's first
    byte, until its head is complete; and from an answer that came before its request's
    body was, until that is. A byte does not start it anew. What uvicorn itself times,
    the silence between two requests, stays with it.

    A head that came in part is answered with 408.
    """

    head_timeout_s: ClassVar[float] = 10.0
    """How long all of this may take, seconds."""

    _deadline: _Timer | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the time."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time."""
        self._disarm()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Handle what came, and see what is waited for next."""
        super().handle_events()
        self._watch()

    def _watch(self) -> None:
        # IDLE: no complete head. DONE: answered, and the body is still coming.
        waits = self.conn.their_state is h11.IDLE or self.conn.our_state is h11.DONE
        if not waits or self.transport.is_closing():
            self._disarm()
        elif self._deadline is None and self.timeout_keep_alive_task is None:
            self._deadline = self.loop.call_later(self.head_timeout_s, self._give_up)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        begun, _ = self.conn.trailing_data
        if begun and self.conn.our_state is h11.IDLE:
            self._say_408()
        self.transport.close()

    def _say_408(self) -> None:
        headers = [(b"connection", b"close"), (b"content-length", b"0")]
        answer = h11.Response(
            status_code=408, headers=headers, reason=b"Request Timeout"
        )
        for event in (answer, h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
