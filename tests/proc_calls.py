"""What the helper processes of ``tests/proc`` are asked to do."""

from __future__ import annotations

import ctypes
import os
import time

from voicepipe import TruncatedAudioError


def measure(payload: bytes, *, unit: str) -> dict[str, object]:
    return {"bytes": len(payload), "unit": unit}


def pid(payload: bytes) -> int:
    return os.getpid()


def sleep(payload: bytes, *, seconds: float) -> tuple[float, float]:
    begin = time.monotonic()
    time.sleep(seconds)
    return begin, time.monotonic()


def hold_the_lock(payload: bytes, *, seconds: float) -> None:
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def truncated(payload: bytes) -> None:
    raise TruncatedAudioError("cut", source="a.wav", decoded_s=1.5, declared_s=3.0)


def key_error(payload: bytes) -> None:
    raise KeyError("gone")


def die(payload: bytes, *, number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(10)


def chatter(payload: bytes) -> str:
    os.write(1, b"")
    print("printing")
    assert not os.read(0, 100)
    return "done"


def environment(payload: bytes) -> list[str]:
    return sorted(os.environ)
