"""
Decoders of live streams in helper processes: many streams in a few of them.

A process for each stream would cost 60 MB each. Here some hundred share one, and are
kept apart by time instead: each call is short, has a budget of its own, and one that
crashes, hangs or fills the memory costs the others what they can make again, a decoder.
"""

from __future__ import annotations

import itertools
import math
import os
import signal
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs
import numpy as np

from voicepipe.errors import (
    AudioError,
    ChildCrashedError,
    DecoderCrashedError,
    DecoderTimeoutError,
)
from voicepipe.proc.limits import ChildLimits
from voicepipe.proc.pool import Helper
from voicepipe.proc.process import ChildProcess
from voicepipe.stream.packets.decoder import (
    MAX_PACKET_CHANNELS,
    MAX_PACKET_FRAMES,
    Decoded,
)


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from voicepipe.stream.packets.decoder import CodecName, PacketDecoder


_CHILD = "voicepipe.io.capture.decoders_child"

LIMITS = ChildLimits(cpu_s=10.0, stall_s=30.0)
"""What a helper may use; for each call, of which none should take half a second."""

# A helper that waits for a quiet stream is not idle; it ends with its caller.
_NEVER_S = 1e6

# Most that is sent in one call.
_CALL_BYTES = 1 << 18
_CALL_PACKETS = 4_096

_MAX_RATE = 1 << 24  # FLAC's is 2**20; whoever asks for it decides what it takes


class IsolatedDecoders:
    """
    Makes decoders that run in helper processes; a ``DecoderFactory``.

    For any threads; a call waits while the same helper decodes something else, at most
    a quarter of a second for each of them that is well. Helpers start with the first
    packets, and end with ``close``, or with this process.

    When a helper dies, the call that it was at work for raises ``DecoderCrashedError``
    or ``DecoderTimeoutError``. All other streams that it knew are told at their next
    call, by a ``DecoderCrashedError`` whose ``retryable`` is true: a decoder made anew,
    and warmed up, goes on. Who was to blame cannot be known for sure.

    Args:
        size: Most helpers; the number of processors by default.
        limits: What each may use. Processor time and ``stall_s`` are for one call;
            ``idle_s`` has no meaning here.

    Raises:
        ValueError: If the size is less than 1.
    """

    def __init__(self, size: int | None = None, limits: ChildLimits = LIMITS) -> None:
        """Start nothing yet."""
        size = (os.cpu_count() or 1) if size is None else size
        if size < 1:
            raise ValueError(f"size must be at least 1, not {size}")
        limits = attrs.evolve(limits, idle_s=_NEVER_S)
        self._hosts = tuple(_Host(limits) for _ in range(size))
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._watch = _Watch(self._hosts, limits.stall_s)
        self._finalizer = weakref.finalize(self, _close, self._hosts, self._watch)

    def __call__(self, codec: CodecName, extradata: bytes = b"", /) -> PacketDecoder:
        """Make a decoder, in the helper that has the fewest."""
        with self._lock:
            self._watch.start()
            host = min(self._hosts, key=lambda host: host.streams)
            host.join()
        return _RemoteDecoder(host, next(self._numbers), codec, extradata)

    def close(self) -> None:
        """Kill the helpers; calls that wait, and later ones, raise. Harmless twice."""
        self._finalizer()


class _RemoteDecoder:
    """One stream's decoder, in a helper; a ``PacketDecoder``."""

    def __init__(
        self, host: _Host, number: int, codec: CodecName, extradata: bytes
    ) -> None:
        self._host = host
        self._number = number
        self._codec: CodecName | None = codec  # None when the helper knows it
        self._extradata = extradata
        self._life: int | None = None  # which of the host's helpers that is
        self._closed = False

    def decode(self, packets: Sequence[bytes], /) -> list[Decoded | None]:
        """See ``PacketDecoder``."""
        decoded: list[Decoded | None] = []
        while len(decoded) < len(packets):
            some = _batch(packets, len(decoded))
            parts = some if self._codec is None else [self._extradata, *some]
            arguments = {
                "number": self._number,
                "codec": self._codec,
                "lengths": [len(part) for part in parts],
            }
            call = _Call("decode", arguments, b"".join(parts), 1, len(some))
            self._life, more = self._host.ask(self._life, call)
            self._codec = None
            decoded += more
        return decoded

    def flush(self) -> list[Decoded]:
        """See ``PacketDecoder``."""
        if self._life is None:
            return []
        call = _Call("flush", {"number": self._number}, b"", 0, 1)
        _, decoded = self._host.ask(self._life, call)
        return [each for each in decoded if each is not None]

    def close(self) -> None:
        """See ``PacketDecoder``; the helper hears of it with its next call."""
        if not self._closed:
            self._closed = True
            self._host.leave(self._life, self._number)


class _Call(NamedTuple):
    """What a helper is asked, and how many packets its answer is for."""

    name: str
    arguments: Mapping[str, object]
    payload: bytes
    least: int
    most: int


class _Host:
    """A place for one helper after the other, and the streams that are in it."""

    def __init__(self, limits: ChildLimits) -> None:
        self.streams: int = 0
        self._limits = limits
        self._talking = threading.Lock()  # held while the helper is asked
        self._state = threading.Lock()  # guards what follows; never held for long
        self._life = 0  # helpers that have ended
        self._child: ChildProcess | None = None
        self._helper: Helper | None = None
        self._forget: list[int] = []
        self._deadline = math.inf
        self._late = False
        self._closed = False

    def join(self) -> None:
        """Count one more stream."""
        with self._state:
            self.streams += 1

    def leave(self, life: int | None, number: int) -> None:
        """Count one stream less; have the helper forget it."""
        with self._state:
            self.streams -= 1
            if life == self._life:
                self._forget.append(number)

    def ask(self, life: int | None, call: _Call) -> tuple[int, list[Decoded | None]]:
        """
        Ask the helper.

        Args:
            life: The helper that knows the stream; ``None`` if none does.
            call: What to ask.

        Returns:
            Which helper it is, and what it says.

        Raises:
            DecoderCrashedError: If it dies or talks nonsense, or is another one.
            DecoderTimeoutError: If it takes too long.
            AudioError: If the decoder says that it cannot decode the stream.
        """
        with self._talking:
            try:
                helper = self._ready(life)
                arguments = {**call.arguments, "forget": self._begin()}
                value, payload = helper.exchange(
                    f"{_CHILD}:{call.name}", arguments, call.payload
                )
                with self._state:
                    self._deadline = math.inf
                return self._life, _understood(value, payload, call)
            except AudioError:
                raise
            except _FAILURES as exc:
                raise self._ended(exc) from exc
            except BaseException:
                self._lose()
                raise
            finally:
                with self._state:
                    self._deadline = math.inf

    def check(self, now: float) -> None:
        """Kill a helper that has been at a call for too long."""
        with self._state:
            if now > self._deadline and self._helper is not None:
                self._late = True
                self._helper.kill()

    def close(self) -> None:
        """End the helper; there will be no other."""
        with self._state:
            self._closed = True
            if self._child is not None:
                self._child.kill()
        with self._talking:
            self._lose()

    def _ready(self, life: int | None) -> Helper:
        """Give the helper that knows a stream, or any one."""
        if life is None and self._child is not None and not self._child.waits():
            self._lose()  # it has died since the last call
        if life not in {None, self._life}:
            lost = DecoderCrashedError("the decoder died of another stream")
            lost.retryable = True
            raise lost
        with self._state:
            if self._closed:
                raise DecoderCrashedError("the decoders have been closed")
            if self._helper is None:
                self._child = ChildProcess(self._limits)
                self._helper = Helper(self._child, self._limits)
            return self._helper

    def _begin(self) -> list[int]:
        """Begin a call: give it its time, and the streams to forget."""
        with self._state:
            assert self._helper is not None  # noqa: S101 - for the type checker
            self._helper.renew()
            self._late = False
            self._deadline = time.monotonic() + self._limits.stall_s
            forget, self._forget = self._forget, []
            return forget

    def _lose(self) -> None:
        """End the helper, and forget what it knew."""
        with self._state:
            child, self._child, self._helper = self._child, None, None
            self._life += 1
            self._forget.clear()
        if child is not None:
            child.reap()

    def _ended(self, exc: Exception) -> AudioError:
        """End a helper that has failed, and make the error."""
        with self._state:
            late, closed = self._late, self._closed
        self._lose()
        limits, code = self._limits, getattr(exc, "returncode", None)
        if closed:
            return DecoderCrashedError("the decoders have been closed")
        if late:
            return _late(limits.stall_s)
        if code is not None and code == -getattr(signal, "SIGXCPU", 0):
            return _late(limits.cpu_s)
        if isinstance(exc, MemoryError):
            return DecoderCrashedError("the decoder ran out of memory")
        return DecoderCrashedError(
            f"the decoder's process failed, exit status {code}", returncode=code
        )


# All that a call to a helper raises, but for what its decoder says.
_FAILURES = (
    *(ChildCrashedError, LookupError, MemoryError, OSError),
    *(RuntimeError, TypeError, ValueError),
)


class _Watch:
    """Looks after helpers that hang, in a thread of its own."""

    def __init__(self, hosts: Sequence[_Host], stall_s: float) -> None:
        self._hosts = hosts
        self._interval_s = min(1.0, stall_s / 4)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look; again is harmless."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._look, name="voicepipe-decoders", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(self._interval_s):
            now = time.monotonic()
            for host in self._hosts:
                host.check(now)


def _close(hosts: Sequence[_Host], watch: _Watch) -> None:
    watch.stop()
    for host in hosts:
        host.close()


def _late(limit_s: float) -> DecoderTimeoutError:
    return DecoderTimeoutError(
        f"the decoder took more than {limit_s:g} s for a few packets", limit_s=limit_s
    )


def _batch(packets: Sequence[bytes], begin: int) -> list[bytes]:
    """Give the packets for one call, at least one."""
    some, size = [packets[begin]], len(packets[begin])
    for packet in itertools.islice(packets, begin + 1, begin + _CALL_PACKETS):
        size += len(packet)
        if size > _CALL_BYTES:
            break
        some.append(packet)
    return some


def _understood(value: Any, payload: bytes, call: _Call) -> list[Decoded | None]:
    """
    Read an answer; whoever gave it is not trusted.

    Raises:
        ValueError: If it is none.
    """
    decoded: list[Decoded | None] = []
    at = 0
    for rate, channels, kind, lengths in value:
        _check(rate, 0, _MAX_RATE)
        _check(channels, 0, MAX_PACKET_CHANNELS)
        type_ = _KINDS[kind]
        for frames in lengths:
            _check(frames, 0, MAX_PACKET_FRAMES)
            count = frames * channels
            if not count or not rate:
                decoded.append(None)
                continue
            samples: Any = np.frombuffer(payload, type_, count, at)
            at += samples.nbytes
            decoded.append(Decoded(rate=rate, samples=samples.reshape(-1, channels)))
    if at != len(payload):
        raise ValueError("there is more sound than was said")
    _check(len(decoded), call.least, call.most)
    return decoded


_KINDS: dict[str, Any] = {"i2": np.dtype(np.int16), "f4": np.dtype(np.float32)}


def _check(value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ValueError("a number is out of its range")
