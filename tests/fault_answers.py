"""What ``FaultServer`` answers: one well-behaved file server, and much that is not."""

from __future__ import annotations

import email.utils
import functools
import gzip
import re
import threading
import time
import zlib
from typing import TYPE_CHECKING, TypeAlias

import attrs
import numpy as np
from riff_bytes import FORM, chunk, riff


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fault_server import Exchange


Answer: TypeAlias = "Callable[[Exchange], None]"

MIB = 1 << 20


def wav_of(size: int, seed: int = 1) -> bytes:
    """Make a WAV file of so many bytes, more than 44, that holds noise."""
    noise = np.random.default_rng(seed).bytes(size - 44)
    return riff(FORM, chunk(b"data", noise))


def http_date(ago_s: float = 0.0) -> str:
    """Give a time in the form of HTTP."""
    return email.utils.formatdate(time.time() - ago_s, usegmt=True)


@attrs.frozen(kw_only=True)
class Serve:
    """
    Serve a file, as ranges as well (RFC 9110, 13.1.5 and 14).

    Attributes:
        body: The file.
        etag: With its quotes, ``None`` for none.
        last_modified: In HTTP's form, ``None`` for none.
        kind: Its content type.
        ranges: Whether ranges are known at all.
        cut: Hang up after so many bytes of the body, ``None`` for never.
        reset: Hang up by a reset.
        stall: Say nothing more instead of hanging up.
        rate: Bytes per second, ``None`` for as fast as it goes.
        piece: Bytes that are sent at once.
        shift: Begin a range so many bytes after where it was asked for.
        total: Size that a range's answer tells, ``None`` for the right one.
        headers: Sent as well.
        stay: Keep the connection open.
        gate: Waited for before what lies behind ``gate_at``, ``None`` for nothing.
        gate_at: Bytes of the body that are sent before it, by whole pieces.
    """

    body: bytes = attrs.field(repr=False)
    etag: str | None = '"one"'
    last_modified: str | None = None
    kind: str = "audio/wav"
    ranges: bool = True
    cut: int | None = None
    reset: bool = False
    stall: bool = False
    rate: float | None = None
    piece: int = 65_536
    shift: int = 0
    total: int | None = None
    headers: tuple[str, ...] = ()
    stay: bool = True
    gate: threading.Event | None = None
    gate_at: int = 0

    def __call__(self, exchange: Exchange) -> None:
        wanted = self._wanted(exchange)
        size = len(self.body)
        total = size if self.total is None else self.total
        if wanted is None:
            begin, end, status, told = 0, size, 200, []
        elif wanted[0] >= size:
            exchange.stay = True
            exchange.head(416, f"Content-Range: bytes */{total}", "Content-Length: 0")
            return
        else:
            begin, end = wanted[0] + self.shift, min(wanted[1], size)
            status = 206
            told = [f"Content-Range: bytes {begin}-{end - 1}/{total}"]
        exchange.head(status, *told, f"Content-Length: {end - begin}", *self._about())
        exchange.seen.begin = begin
        self._send(exchange, memoryview(self.body)[begin:end])

    def _about(self) -> list[str]:
        about = [f"Content-Type: {self.kind}", f"Date: {http_date()}", *self.headers]
        if self.etag is not None:
            about.append(f"ETag: {self.etag}")
        if self.last_modified is not None:
            about.append(f"Last-Modified: {self.last_modified}")
        if self.ranges:
            about.append("Accept-Ranges: bytes")
        return about

    def _wanted(self, exchange: Exchange) -> tuple[int, int] | None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", exchange.seen.header("range") or "")
        if not self.ranges or asked is None:
            return None
        condition = exchange.seen.header("if-range")
        weak = (self.etag or "").startswith("W/")
        same = {None if weak else self.etag, self.last_modified} - {None}
        if condition is not None and condition not in same:
            return None
        return int(asked[1]), int(asked[2]) + 1 if asked[2] else len(self.body)

    def _send(self, exchange: Exchange, body: memoryview) -> None:
        stop = len(body) if self.cut is None else min(self.cut, len(body))
        begin = time.monotonic()
        for place in range(0, stop, self.piece):
            if self.gate is not None and place >= self.gate_at:
                exchange.wait(self.gate)
            piece = body[place : min(place + self.piece, stop)]
            exchange.body(bytes(piece))
            if self.rate:
                due = begin + (place + len(piece)) / self.rate
                exchange.sleep(max(0.0, due - time.monotonic()))
        if self.cut is None:
            exchange.stay = self.stay
        elif self.stall:
            exchange.hold()
        elif self.reset:
            # What is on its way would be lost with a reset.
            exchange.wait_until_taken()
            exchange.reset()


def status(code: int, *headers: str, body: bytes = b"") -> Answer:
    """Answer with a status, whole and well."""

    def answer(exchange: Exchange) -> None:
        exchange.stay = True
        bodyless = code in {204, 304} or code < 200
        length = [] if bodyless else [f"Content-Length: {len(body)}"]
        exchange.head(code, *headers, *length)
        exchange.body(b"" if bodyless else body)

    return answer


def redirect(location: str | None, code: int = 302, *headers: str) -> Answer:
    """Send somewhere else, or nowhere."""
    place = [] if location is None else [f"Location: {location}"]
    return status(code, *place, *headers, body=b"moved")


def page(body: bytes, kind: str) -> Answer:
    """Answer 200 with something that may be no recording."""
    return status(200, f"Content-Type: {kind}", body=body)


def raw(*parts: bytes | float, hold: bool = False) -> Answer:
    """Send just these bytes, with pauses (seconds) between them."""

    def answer(exchange: Exchange) -> None:
        for part in parts:
            if isinstance(part, bytes):
                exchange.body(part)
            else:
                exchange.sleep(part)
        if hold:
            exchange.hold()

    return answer


def framed(body: bytes, *headers: str, stay: bool = False) -> Answer:
    """Answer 200 with these headers and no others, then this body."""

    def answer(exchange: Exchange) -> None:
        exchange.head(200, "Content-Type: audio/wav", *headers)
        exchange.body(body)
        exchange.stay = stay
        if stay:
            exchange.hold()

    return answer


def chunked(body: bytes, piece: int = 10_000) -> bytes:
    """Code a body in chunks, all but the last, empty one."""
    pieces = (body[place : place + piece] for place in range(0, len(body), piece))
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces)


def silence(exchange: Exchange) -> None:
    """Take the request and say nothing."""
    exchange.hold()


def hang_up(exchange: Exchange) -> None:
    """Take the request and close."""


def reset(exchange: Exchange) -> None:
    """Take the request and reset."""
    exchange.reset()


def drip(body: bytes, piece: int, every_s: float, *headers: str) -> Answer:
    """Answer rightly, but in small pieces with pauses."""

    def answer(exchange: Exchange) -> None:
        exchange.head(200, f"Content-Length: {len(body)}", *headers)
        for place in range(0, len(body), piece):
            exchange.body(body[place : place + piece])
            exchange.sleep(every_s)

    return answer


def endless(first: bytes, again: bytes, *, most: int, every_s: float = 0.0) -> Answer:
    """Send some bytes, then others again and again, so many at most."""

    def answer(exchange: Exchange) -> None:
        exchange.body(first)
        while exchange.seen.sent < most:
            exchange.body(again)
            if every_s:
                exchange.sleep(every_s)
        exchange.hold()

    return answer


def big_wav(size: int, *, tell: bool = True) -> Answer:
    """Serve a WAV of zeros of any size; with ``tell=False`` in chunks."""
    head = riff(FORM, chunk(b"data", b"", size - 44), size=size - 8)

    def pieces() -> Iterator[bytes]:
        yield head
        left = size - len(head)
        while left:
            yield bytes(min(left, MIB))
            left -= min(left, MIB)

    def answer(exchange: Exchange) -> None:
        length = f"Content-Length: {size}" if tell else "Transfer-Encoding: chunked"
        exchange.head(200, "Content-Type: audio/wav", length)
        for piece in pieces():
            exchange.body(piece if tell else b"%x\r\n%b\r\n" % (len(piece), piece))
        if not tell:
            exchange.raw(b"0\r\n\r\n")

    return answer


@functools.cache
def bomb(layers: int, size: int = 1 << 26) -> bytes:
    """Compress zeros again and again: two layers make 64 MiB of a few hundred bytes."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(bytes(MIB)) for _ in range(size // MIB))
    packed += packer.flush()
    for _ in range(layers - 1):
        packed = gzip.compress(packed, mtime=0)
    return packed
