"""What the helper processes of ``tests/proc`` are asked to do."""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import errno
import os
import re
import resource
import socket
import stat
import sys
import threading
import time
from pathlib import Path

import voicepipe
from voicepipe import (
    DiskFullError,
    MissingExtraError,
    TruncatedAudioError,
    VoicepipeError,
)
from voicepipe.proc.wire import Reply


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


def rounds(payload: bytes, *, seconds: float) -> float:
    """Compute for so long, by this process's own count."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return time.process_time()


def allocate(payload: bytes, *, size: int) -> None:
    bytearray(size)


def open_files(payload: bytes, *, count: int) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(Path(__file__).open("rb"))


def write_file(payload: bytes, *, path: str) -> None:
    with Path(path).open("ab", buffering=0) as file:
        file.write(b"x")


def raise_limit(payload: bytes, *, name: str) -> None:
    which = getattr(resource, name)
    soft, hard = resource.getrlimit(which)
    resource.setrlimit(which, (soft, hard + 1))


def limits(payload: bytes) -> dict[str, tuple[int, int]]:
    return {
        name: resource.getrlimit(getattr(resource, name))
        for name in dir(resource)
        if name.startswith("RLIMIT_")
    }


def status(payload: bytes) -> dict[str, str]:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return dict(line.split(":\t", 1) for line in lines)


def dumpable(payload: bytes) -> int:
    """Tell whether others may look into this process: PR_GET_DUMPABLE."""
    return ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)


def libraries(payload: bytes) -> int:
    """Import and use what decoding needs; gives the address space taken, bytes."""
    import av
    import numpy as np
    import soxr

    soxr.resample(np.zeros((8_000, 2), np.float32), 8_000, 16_000)
    av.CodecContext.create("mp3", "r")
    peak = re.search(r"VmPeak:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak
    return int(peak[1]) << 10


def double(payload: bytes) -> Reply:
    return Reply({"length": len(payload)}, memoryview(payload + payload))


def array(payload: bytes, *, shape: list[int], strided: bool = False) -> Reply:
    import numpy as np

    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Reply("array", values[:, ::2] if strided else values)


def give(payload: bytes, *, size: int) -> Reply:
    return Reply(None, bytearray(size))


def length_of(payload: bytes) -> int:
    return len(payload)


def not_json(payload: bytes) -> object:
    return object()


def fail(payload: bytes, *, kind: str, arguments: list[object]) -> None:
    raise getattr(builtins, kind)(*arguments)


def missing_file(payload: bytes, *, path: str) -> None:
    Path(path).read_bytes()


def ours(payload: bytes, *, kind: str, message: str, state: dict[str, object]) -> None:
    raise getattr(voicepipe, kind)(message, **state)


def missing_extra(payload: bytes) -> None:
    raise MissingExtraError("sqlalchemy", extra="sql")


def disk_full(payload: bytes) -> None:
    raise DiskFullError(errno.ENOSPC, "No space left on device", "/there/a.wav")


def empty_error(payload: bytes) -> None:
    raise VoicepipeError


def leave(payload: bytes, *, status: int) -> None:
    sys.exit(status)


def _line() -> int:
    """Give the descriptor that the answers go to."""
    return max(fd for fd in range(3, 64) if _is_socket(fd))


def _is_socket(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


def speak(payload: bytes, *, then_wait: bool = True) -> str:
    """Write the payload where the answer should go."""
    os.write(_line(), payload)
    if then_wait:
        time.sleep(60)
    return "said"


def hang_up(payload: bytes) -> None:
    """Close the line and go on."""
    socket.socket(fileno=os.dup(_line())).shutdown(socket.SHUT_RDWR)
    time.sleep(60)


def leave_a_child(payload: bytes, *, new_session: bool) -> None:
    """Die, with a child that keeps the line open."""
    if os.fork() == 0:
        if new_session:
            os.setsid()
        time.sleep(60)
        os._exit(0)
    os._exit(3)


def touch(payload: bytes, *, path: str) -> None:
    """Make an empty file."""
    Path(path).touch()


def later(payload: bytes, *, text: str, path: str) -> None:
    """Write something after the answer, then make an empty file."""
    line = _line()

    def write() -> None:
        os.write(line, text.encode())
        Path(path).touch()

    threading.Timer(0.05, write).start()
