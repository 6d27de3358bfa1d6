"""
The helper's side: takes calls one after the other until its input ends.

A call names a function as ``"module:name"``. The function takes the payload and the
call's arguments and gives something that JSON can hold. Whatever it raises goes back to
the caller by name and message.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal

from voicepipe.errors import VoicepipeError
from voicepipe.proc.wire import read_message, write_message


NICENESS = 5
"""How far helpers step back for their caller's event loop (see nice(2))."""


def serve() -> None:
    """Answer calls on standard input until it ends, which it does with the caller."""
    # Ctrl-C in a terminal reaches the whole process group; the caller decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    # The pipes get descriptors of their own, so that code which prints to 1 or reads
    # from 0, in Python or in C, cannot disturb the conversation.
    calls = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            call, payload = read_message(calls)
            write_message(replies, _answer(call, payload))


def _answer(call: dict[str, object], payload: bytes) -> dict[str, object]:
    try:
        module, _, name = str(call["function"]).partition(":")
        function = getattr(importlib.import_module(module), name)
        return {"value": function(payload, **dict(call["arguments"]))}  # type: ignore[call-overload]  # JSON
    except Exception as exc:  # noqa: BLE001 - everything goes back to the caller
        return {
            "error": type(exc).__name__,
            # Ours are told by their first argument: some say more as a string.
            "message": exc.args[0] if isinstance(exc, VoicepipeError) else str(exc),
            "state": {k: v for k, v in vars(exc).items() if _plain(v)},
        }


def _plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
