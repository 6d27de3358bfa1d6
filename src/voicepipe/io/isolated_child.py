"""
The helper's side of isolated decoding: what its calls name.

A helper decodes one recording at a time, step by step. It writes no files: the sound
goes back through the pipe.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from voicepipe.io.convert import LocalConversion, Order
from voicepipe.io.options import DecodeOptions, RawFormat
from voicepipe.proc.wire import Reply
from voicepipe.types.audio import pcm16


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from voicepipe.types.audio import Samples


# A step ends with what comes first: so much sound, or so much time.
_STEP_BYTES = 1 << 20
_STEP_S = 0.25


@attrs.define
class _Work:
    """The recording being decoded."""

    conversion: LocalConversion
    pieces: Iterator[Samples]
    as_pcm16: bool


_now: list[_Work] = []


def begin(
    _payload: bytes,
    *,
    path: str,
    wanted: Mapping[str, Any],
    options: Mapping[str, Any],
    as_pcm16: bool,
) -> dict[str, int]:
    """Open a recording, in the place of any that was left before its end."""
    _end()
    raw = options["raw"]
    raw = None if raw is None else RawFormat(**raw)
    accepted = DecodeOptions(**{**options, "raw": raw})
    conversion = LocalConversion(Order(source=path, options=accepted, **wanted))
    _now.append(_Work(conversion, iter(conversion.pieces()), as_pcm16))
    return {"rate": conversion.rate, "channels": conversion.channels}


def step(_payload: bytes) -> Reply:
    """Give the next samples, frame by frame, and what has been seen so far."""
    work = _now[0]
    until = time.monotonic() + _STEP_S
    pieces: list[Any] = []
    size, done = 0, True
    for piece in work.pieces:
        pieces.append(
            pcm16(piece).astype("<i2", copy=False) if work.as_pcm16 else piece
        )
        size += pieces[-1].nbytes
        if size >= _STEP_BYTES or time.monotonic() >= until:
            done = False
            break
    conversion = work.conversion
    value = {
        "fraction": conversion.fraction,
        "report": conversion.report.to_json(),
        "done": done,
    }
    if done:
        _end()
    return Reply(value, np.concatenate(pieces).tobytes() if pieces else b"")


def _end() -> None:
    while _now:
        with _now.pop().conversion:
            pass
