"""What helpers that decode live streams might do, in the place of decoding."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from voicepipe.io.capture import decoders_child
from voicepipe.proc.wire import Reply


if TYPE_CHECKING:
    from collections.abc import Sequence


def decode(
    payload: bytes,
    *,
    number: int,
    codec: str | None,
    lengths: Sequence[int],
    forget: Sequence[int],
) -> object:
    """Decode, unless the first packet is an order: "!" and JSON."""
    skipped = lengths[0] if codec is not None else 0
    if not payload[skipped:].startswith(b"!"):
        return decoders_child.decode(
            payload, number=number, codec=codec, lengths=lengths, forget=forget
        )
    for ended in forget:
        decoders_child._decoders.pop(ended, None)
    order = json.loads(payload[skipped + 1 :])
    return globals()[order.pop("do")](**order)


flush = decoders_child.flush


def count() -> Reply:
    """Give as many frames as there are streams, and one."""
    return frames(1 + len(decoders_child._decoders))


def frames(number: int) -> Reply:
    return Reply([[8_000, 1, "i2", [number]]], bytes(2 * number))


def pid() -> Reply:
    number = os.getpid()
    return Reply([[number, 1, "i2", [1]]], b"\0\0")


def burn(seconds: float) -> Reply:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return frames(1)


def sleep(seconds: float) -> Reply:
    time.sleep(seconds)
    return frames(1)


def fill() -> Reply:
    return Reply([], bytearray(4 << 30))


def die(number: int) -> Reply:
    os.kill(os.getpid(), number)
    time.sleep(60)
    return frames(0)


def fail(kind: str) -> None:
    raise {"KeyError": KeyError, "ValueError": ValueError, "OSError": OSError}[kind]


def say(value: object, size: int) -> Reply:
    return Reply(value, bytes(size))
