"""Looking at recordings of strangers: each is decoded in a limited process."""

from __future__ import annotations

import contextlib
import json
import secrets
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
import attrs
import numpy as np
from problems import Refused

from voicepipe import AudioError, DecodeOptions, iter_audio


if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from voicepipe import Samples


PEAKS: Final = 2_000
"""Most values of a waveform, for each channel."""

_FINEST: Final = 64
"""Frames of the first buckets; they are put together in pairs as more come."""

# More than comes out of a decoder at a time, whatever the rate and the channels.
_LOOK_BYTES = 8 << 20

_ENDINGS = {"mp4": "m4a"}


async def check_sound(path: Path, options: DecodeOptions) -> str:
    """
    See whether a file begins as a recording does, and give the ending that it merits.

    Raises:
        Refused: 415, if it is no recording, or none that is read.
        OSError: If it cannot be read.
    """
    # Soon the decoder is told to stop, which is no error then, and leaves its process
    # for the next file.
    short = attrs.evolve(options, max_decoded_bytes=_LOOK_BYTES)
    container = ""
    try:
        async with aclosing(iter_audio(path, block_s=1.0, options=short)) as blocks:
            async for block in blocks:
                container = "" if block.report is None else block.report.container
    except AudioError as exc:
        if not container:
            exc.source = None
            raise Refused(415, f"this is no recording that is read: {exc}") from exc
    return _ENDINGS.get(container, container)


async def waveform(path: Path, target: Path, options: DecodeOptions) -> bytes:
    """
    Give a recording's peaks as JSON, from beside it or anew.

    Args:
        path: The recording.
        target: Where they are kept.
        options: How to decode it.

    Raises:
        AudioError: If it cannot be decoded.
        OSError: If it cannot be read, or the peaks not written.
    """
    with contextlib.suppress(FileNotFoundError):
        return await anyio.to_thread.run_sync(target.read_bytes)
    found: _Peaks | None = None
    report: dict[str, Any] = {}
    frames, rate = 0, 1
    async with aclosing(iter_audio(path, block_s=4.0, options=options)) as blocks:
        async for block in blocks:
            found = found or _Peaks(block.channels)
            await anyio.to_thread.run_sync(found.push, block.samples)
            frames, rate = frames + block.frames, block.rate
            if block.report is not None:
                report = json.loads(block.report.to_json())
    peaks = [] if found is None else await anyio.to_thread.run_sync(found.flush)
    answer = {
        "duration": round(frames / rate, 3),
        "channels": len(peaks),
        "peaks": peaks,
        "truncated": bool(report.get("truncated")),
        "damaged": bool(report.get("damaged")),
    }
    data = json.dumps(answer, separators=(",", ":")).encode()
    await anyio.to_thread.run_sync(_write, target, data)
    return data


def _write(target: Path, data: bytes) -> None:
    # What it can be made from is there: a power cut may take it.
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.write_bytes(data)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


class _Peaks:
    """
    The largest values of equal stretches, however long the recording is.

    Args:
        channels: How many there are.
    """

    def __init__(self, channels: int) -> None:
        self._size = _FINEST
        self._full: NDArray[np.float32] = np.zeros((0, channels), np.float32)
        self._rest: Samples = self._full

    def push(self, samples: Samples) -> None:
        """Take the next frames, ``(frames, channels)``."""
        loud = np.concatenate([self._rest, np.abs(samples)])
        count = len(loud) // self._size
        cut = count * self._size
        new = loud[:cut].reshape(count, self._size, loud.shape[1]).max(axis=1)
        self._full = np.concatenate([self._full, new])
        self._rest = loud[cut:].copy()
        while len(self._full) > 2 * PEAKS:
            self._halve()

    def flush(self) -> list[list[float]]:
        """Give the values, in [0, 1], a list for each channel."""
        full = self._full
        if len(self._rest):
            full = np.concatenate([full, self._rest.max(axis=0, keepdims=True)])
        step = -(-len(full) // PEAKS)
        values = np.maximum.reduceat(full, np.arange(0, len(full), step), axis=0)
        return [[round(float(v), 3) for v in column] for column in values.T]

    def _halve(self) -> None:
        """Let each bucket be twice as long."""
        even = len(self._full) // 2 * 2
        left = self._full[even:]
        self._full = self._full[:even].reshape(-1, 2, left.shape[1]).max(axis=1)
        # A bucket without its other half goes back to what is not full yet.
        self._rest = np.concatenate([np.repeat(left, self._size, 0), self._rest])
        self._size *= 2
