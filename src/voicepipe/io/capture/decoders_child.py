"""
The helper's side of decoding live streams: what its calls name.

A helper knows many streams by number. It decodes some packets of one of them at a time,
and nothing that it is sent makes a call long, or its answer large.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from voicepipe.proc.wire import Reply
from voicepipe.stream.packets.codec import AvPacketDecoder


if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.stream.packets.decoder import CodecName, Decoded


# A call ends with what comes first: so much sound, or so much time.
_CALL_BYTES = 1 << 22
_CALL_S = 0.25

_decoders: dict[int, AvPacketDecoder] = {}


def decode(
    payload: bytes,
    *,
    number: int,
    codec: CodecName | None,
    lengths: Sequence[int],
    forget: Sequence[int],
) -> Reply:
    """
    Decode packets of one stream, as many as may be done in one call.

    Args:
        payload: The extra data if the stream is new, and the packets, without gaps.
        number: Of the stream.
        codec: How it is coded if it is new, else ``None``.
        lengths: Bytes of what the payload holds.
        forget: Numbers of streams that have ended.

    Returns:
        Runs of packets that have become samples of one format: rate, number of
        channels, type, and the frames of each packet, zero for broken ones. The payload
        is their samples.
    """
    for ended in forget:
        _decoders.pop(ended, None)
    parts, at = [], 0
    for length in lengths:
        parts.append(payload[at : at + length])
        at += length
    if codec is not None:
        _decoders[number] = AvPacketDecoder(codec, parts.pop(0))
    return _reply(_some(_decoders[number], parts))


def flush(_payload: bytes, *, number: int, forget: Sequence[int]) -> Reply:
    """End a stream; give what its decoder has held back."""
    for ended in forget:
        _decoders.pop(ended, None)
    return _reply(_decoders.pop(number).flush())


def _some(decoder: AvPacketDecoder, packets: Sequence[bytes]) -> list[Decoded | None]:
    until = time.monotonic() + _CALL_S
    decoded: list[Decoded | None] = []
    size = 0
    for packet in packets:
        some = decoder.decode((packet,))
        decoded += some
        size += sum(each.samples.nbytes for each in some if each is not None)
        if size >= _CALL_BYTES or time.monotonic() >= until:
            break
    return decoded


def _reply(decoded: Sequence[Decoded | None]) -> Reply:
    runs: list[list[Any]] = []
    samples: list[Any] = []
    for each in decoded:
        if each is None:
            if not runs:
                runs.append([0, 0, "f4", []])
            runs[-1][3].append(0)
            continue
        kind = "i2" if each.samples.dtype == np.int16 else "f4"
        form = [each.rate, each.samples.shape[1], kind]
        if not runs or runs[-1][:3] != form:
            runs.append([*form, []])
        runs[-1][3].append(len(each.samples))
        samples.append(np.ascontiguousarray(each.samples).view(np.uint8).ravel())
    payload: Any = np.concatenate(samples) if samples else b""
    return Reply(runs, payload)
