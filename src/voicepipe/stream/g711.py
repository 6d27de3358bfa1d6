"""
G.711, the coding of telephone sound: µ-law and A-law, as stages.

Source: ITU-T Recommendation G.711 (1988), tables 1a and 1b (A-law), 2a and 2b (µ-law).
A code is a sign, one of eight segments and one of sixteen steps in it; a step is twice
as wide in each segment as in the one before (A-law: as wide in the first two). The
tables' values are scaled so that full scale is that of 16 bits: times 8 for A-law
(whose table ends at 4,096), times 4 for µ-law (8,159), as in all software.

Decoders agree on all codes, encoders do not: G.711 leaves open where a value goes that
lies between two steps exactly, and most programs came to shortcuts of their own. This
one decides as the ITU's own program does (G.191, ``ulaw_compress`` and
``alaw_compress``): by the decision values of tables 1a and 2a, and a value that is one
of them goes to the step above it, towards plus infinity.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from voicepipe.types.audio import pcm16


if TYPE_CHECKING:
    import numpy.typing as npt

    from voicepipe.types.audio import Samples


G711Law: TypeAlias = Literal["mulaw", "alaw"]
"""µ-law, of North America and Japan, or A-law, of the rest of the world."""


class G711Decoder:
    """
    Decodes G.711; a ``Stage``.

    Values are those of 16 bits divided by 32,768: ±32,124 at most in µ-law, ±32,256 in
    A-law, and ±8 at least, since A-law has no zero. Every byte is a valid code.

    Args:
        law: ``"mulaw"`` or ``"alaw"``.
        channels: Number of channels, whose codes take turns.

    Raises:
        ValueError: If there is no such law, or less than one channel.
    """

    def __init__(self, law: G711Law, channels: int = 1) -> None:
        """Begin at a whole frame."""
        _check(law, channels)
        self.law: G711Law = law
        self.channels: int = channels
        self._values = _values(law)
        self._rest = b""  # the beginning of a frame
        self._flushed = False

    def push(self, codes: bytes, /) -> tuple[Samples, ...]:
        """
        Take codes; give the samples of the frames that are whole.

        Args:
            codes: Any number of bytes, cut anywhere.

        Returns:
            Nothing, or one array of float32 in [-1, 1), shape ``(frames, channels)``.

        Raises:
            ValueError: After ``flush``.
        """
        _check_open(self._flushed)
        if self._rest:
            codes = self._rest + codes
        whole = len(codes) // self.channels * self.channels
        self._rest = bytes(codes[whole:])
        if whole == 0:
            return ()
        samples = np.take(self._values, np.frombuffer(codes, np.uint8, whole))
        return (samples.reshape(-1, self.channels),)

    def flush(self) -> tuple[Samples, ...]:
        """
        End the stream; part of a frame is dropped.

        Raises:
            ValueError: If the stream has been flushed before.
        """
        _check_open(self._flushed)
        self._flushed = True
        return ()


class G711Encoder:
    """
    Encodes G.711; a ``Stage``.

    Samples are first made 16-bit ones, as ``Audio.pcm16`` does: rounded, and clipped to
    full scale. Like it, this takes numbers only; what NaN comes to is not defined.

    What was decoded from a code is encoded to that code again, except for the µ-law
    code 0x7F, "minus zero", which comes back as 0xFF.

    Args:
        law: ``"mulaw"`` or ``"alaw"``.
        channels: Number of channels, whose codes take turns.

    Raises:
        ValueError: If there is no such law, or less than one channel.
    """

    def __init__(self, law: G711Law, channels: int = 1) -> None:
        """Choose the table."""
        _check(law, channels)
        self.law: G711Law = law
        self.channels: int = channels
        self._flushed = False

    def push(self, samples: Samples, /) -> tuple[bytes, ...]:
        """
        Take samples; give their codes.

        Args:
            samples: Float32 in [-1, 1], shape ``(frames, channels)``.

        Returns:
            Nothing, or one ``bytes`` with a byte for each sample.

        Raises:
            ValueError: If the shape is wrong, or after ``flush``.
        """
        _check_open(self._flushed)
        if samples.ndim != 2 or samples.shape[1] != self.channels:
            msg = f"samples must be (frames, {self.channels}), not {samples.shape}"
            raise ValueError(msg)
        if len(samples) == 0:
            return ()
        return (compress(pcm16(samples), self.law).tobytes(),)

    def flush(self) -> tuple[bytes, ...]:
        """
        End the stream; nothing is held back.

        Raises:
            ValueError: If the stream has been flushed before.
        """
        _check_open(self._flushed)
        self._flushed = True
        return ()


def expand(codes: npt.NDArray[np.uint8], law: G711Law) -> npt.NDArray[np.int16]:
    """Decode codes to 16-bit samples, in an array of the same shape."""
    return np.take(_expansion(law), codes)


def compress(samples: npt.NDArray[np.int16], law: G711Law) -> npt.NDArray[np.uint8]:
    """Encode 16-bit samples to codes, in an array of the same shape."""
    return np.take(_compression(law), samples.view(np.uint16))


# In A-law, every other bit of a code is inverted; the sign bit is set for positive
# values. In µ-law all bits are inverted, with the same outcome for the sign.
_INVERTED = {"alaw": 0x55, "mulaw": 0x7F}

_MULAW_BIAS = 33
"""What makes segments of µ-law begin at powers of two: 2**n * 33 - 33."""


@functools.cache
def _expansion(law: G711Law) -> npt.NDArray[np.int16]:
    """Give the values of all 256 codes: column 6 of tables 1a to 2b, in 16 bits."""
    codes = np.arange(256)
    bits = codes ^ _INVERTED[law]
    segment, step = bits >> 4 & 7, bits & 15
    if law == "mulaw":
        size = 4 * ((2 * step + _MULAW_BIAS << segment) - _MULAW_BIAS)
    else:
        begin = np.where(segment == 0, 1, _MULAW_BIAS)
        size = 8 * (2 * step + begin << np.maximum(segment - 1, 0))
    return np.where(codes >= 0x80, size, -size).astype(np.int16)


@functools.cache
def _compression(law: G711Law) -> npt.NDArray[np.uint8]:
    """Give the codes of all 16-bit samples, by their bits as a number without sign."""
    samples = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int32)
    # In ones' complement a value on a step's lower end stays there below zero as well.
    size = np.where(samples < 0, ~samples, samples)
    if law == "mulaw":
        size = np.minimum((size >> 2) + _MULAW_BIAS, 0x1FFF)
        segment = np.searchsorted(1 << np.arange(6, 13), size, side="right")
        step = size >> segment + 1 & 15
    else:
        size >>= 4
        segment = np.searchsorted(1 << np.arange(4, 11), size, side="right")
        step = size >> np.maximum(segment - 1, 0) & 15
    sign = np.where(samples < 0, 0, 0x80)
    codes: npt.NDArray[np.int64] = (sign | segment << 4 | step) ^ _INVERTED[law]
    return codes.astype(np.uint8)


@functools.cache
def _values(law: G711Law) -> npt.NDArray[np.float32]:
    """Give the samples of all 256 codes."""
    return _expansion(law).astype(np.float32) / np.float32(32768)


def _check(law: str, channels: int) -> None:
    if law not in get_args(G711Law):
        msg = f"law must be 'mulaw' or 'alaw', not {law!r}"
        raise ValueError(msg)
    if channels < 1:
        msg = f"channels must be at least 1, not {channels}"
        raise ValueError(msg)


def _check_open(flushed: bool) -> None:  # noqa: FBT001 - it has one argument
    if flushed:
        msg = "the stream has been flushed"
        raise ValueError(msg)
