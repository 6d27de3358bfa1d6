"""How often somebody may come."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from voicepipe.servers.access import presents_key
from voicepipe.servers.asgi import Refusal, peer_of, refuse


if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.servers.asgi import App, ErrorKey, Receive, Scope, Send
    from voicepipe.servers.settings import ServerSettings


class TokenBuckets:
    """
    A bucket of tokens for each name: full at first, filled again at a steady rate.

    Args:
        per_minute: Tokens that come in a minute, and that a bucket holds; at least 1.
        max_names: How many buckets are kept; those not used for longest go first.
        clock: Gives seconds that never go back.
    """

    def __init__(
        self,
        per_minute: int,
        *,
        max_names: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with no names."""
        self._size = float(per_minute)
        self._per_second = per_minute / 60.0
        self._max_names = max_names
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """How many buckets there are."""
        return len(self._buckets)

    def take(self, name: str) -> float:
        """Take a token: 0, or if there is none the seconds until there is one."""
        now = self._clock()
        level, since = self._buckets.pop(name, (self._size, now))
        level = min(self._size, level + (now - since) * self._per_second)
        wait_s = max(0.0, (1.0 - level) / self._per_second)
        self._buckets[name] = (level if wait_s else level - 1.0, now)
        if len(self._buckets) > self._max_names:
            self._buckets.popitem(last=False)
        return wait_s


class RateLimit:
    """
    ASGI middleware: so many requests, and WebSockets opened, a minute.

    All who have the key share a bucket; each peer that comes without it has its own, an
    IPv6 network of 64 bits counting as one. Too many get 429 with ``Retry-After``.

    Args:
        app: What to guard.
        settings: Uses ``rate_limit`` and ``api_key``.
        error_key: The field of an error's JSON object that has the message.
        clock: Gives seconds that never go back.
    """

    def __init__(
        self,
        app: App,
        settings: ServerSettings,
        *,
        error_key: ErrorKey = "detail",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with full buckets."""
        limit = settings.rate_limit
        self._app = app
        self._key = settings.api_key
        self._error_key: ErrorKey = error_key
        self._buckets = TokenBuckets(limit, clock=clock) if limit else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the request."""
        wait_s = 0.0
        if self._buckets is not None and scope["type"] in {"http", "websocket"}:
            wait_s = self._buckets.take(self._name(scope))
        if not wait_s:
            await self._app(scope, receive, send)
            return
        refusal = Refusal(
            status=429,
            message="too many requests",
            headers=((b"retry-after", b"%d" % math.ceil(wait_s)),),
            close_code=1013,
        )
        await refuse(scope, receive, send, refusal, error_key=self._error_key)

    def _name(self, scope: Scope) -> str:
        # By the right key only: who makes keys up would have a new bucket for each.
        if self._key is not None and presents_key(scope, self._key):
            return "the key"
        peer = peer_of(scope) or ""
        if ":" not in peer:
            return peer
        try:
            # Whoever has one IPv6 address has all of its network.
            return str(ipaddress.ip_network((peer.partition("%")[0], 64), strict=False))
        except ValueError:
            return peer
