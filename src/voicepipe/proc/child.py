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
import select
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


def serve(limits: dict[str, Any] | None = None) -> None:
    """
    Answer calls on standard input until it ends, which it does with the caller.

    Args:
        limits: The arguments of ``confine``, and after how many seconds without a call
            to end, ``idle_s``; ``None`` for a helper that is trusted, and waits.
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
    idle_s = None
    if limits is not None:
        idle_s = limits.pop("idle_s")
        confine(**limits)
    with contextlib.suppress(EOFError, ConnectionError):
        while _comes(calls, idle_s):
            call, size = read_text(calls)
            write_message(replies, _answer(call, calls, size))


def _comes(calls: IO[bytes], idle_s: float | None) -> bool:
    """Wait for the next call, or the end; tell whether either has come in time."""
    # On Windows the line is a pipe, for which there is no such wait.
    if idle_s is None or os.name != "posix":
        return True
    return bool(select.select([calls], [], [], idle_s)[0])


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
