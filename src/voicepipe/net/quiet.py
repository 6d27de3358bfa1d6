"""
Silence around requests of ours in the HTTP engine's own log.

The engine logs each step at DEBUG, headers with their values among it. Its loggers stay
as they are for anybody else's requests.
"""

from __future__ import annotations

import contextvars
import logging


_LOGGERS = ("httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpx")

_ours: contextvars.ContextVar[bool] = contextvars.ContextVar("ours", default=False)


def _is_others(_: logging.LogRecord) -> bool:
    return not _ours.get()


for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_is_others)


class quiet:  # noqa: N801 - used like a function
    """Keep what the engine says inside of a ``with`` block to itself."""

    def __enter__(self) -> None:
        self._token = _ours.set(True)

    def __exit__(self, *_: object) -> None:
        _ours.reset(self._token)
