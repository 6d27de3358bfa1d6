"""
The helper's side: takes calls one after the other until its input ends.

A call names a function as ``"module:name"``. The function takes the payload and the
call's arguments and gives something that JSON can hold, or a ``Reply`` with a payload
of its own. Whatever it raises goes back to the caller by name and message.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
from typing import IO, TYPE_CHECKING, Any

from voicepipe.proc.confine import allow_processor_time, confine
from voicepipe.proc.failure import described
from voicepipe.proc.wire import (
    Reply,
    packed,
    read_bytes,
    read_text,
    skip_bytes,
    write_message,
)


if TYPE_CHECKING:
    from voicepipe.proc.wire import Message


NICENESS = 5
"""How far helpers step back for their caller's event loop (see nice(2))."""


def serve(limits: dict[str, int] | None = None) -> None:
    """
    Answer calls on standard input until it ends, which it does with the caller.

    Args:
        limits: The arguments of ``confine``; ``None`` for a helper that is trusted.
    """
    # Ctrl-C in a terminal reaches the whole process group; the caller decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    # The lines get descriptors of their own, so that code which prints to 1 or reads
    # from 0, in Python or in C, cannot disturb the conversation.
    calls = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    if limits is not None:
        confine(**limits)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            call, size = read_text(calls)
            write_message(replies, _answer(call, calls, size))


def _answer(call: dict[str, Any], calls: IO[bytes], size: int) -> Message:
    try:
        payload = read_bytes(calls, size)
    except MemoryError as exc:
        skip_bytes(calls, size)
        return packed({"error": described(exc)})
    try:
        if "cpu_s" in call:
            allow_processor_time(call["cpu_s"])
        module, _, name = str(call["function"]).partition(":")
        function = getattr(importlib.import_module(module), name)
        value = function(payload, **call["arguments"])
        if isinstance(value, Reply):
            return packed({"value": value.value}, value.payload)
        return packed({"value": value})
    except Exception as exc:  # noqa: BLE001 - everything goes back to the caller
        return packed({"error": described(exc)})
