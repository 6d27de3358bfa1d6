"""Arrays of samples made from bytes, and made valid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from voicepipe.stream.g711 import expand


if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from voicepipe.types.audio import Samples

    _Bytes: TypeAlias = bytes | bytearray | memoryview


def to_float(samples: npt.NDArray[Any]) -> Samples:
    """
    Convert integers or floats of any width to float32, in their order in memory.

    Integers of full scale become [-1, 1); 8-bit ones are unsigned, as everywhere in
    sound files. Floats keep their value, even where it is none of a sample; float32
    passes through uncopied.
    """
    # What float32 cannot hold becomes infinite, and is dealt with by ``to_valid``.
    with np.errstate(over="ignore", invalid="ignore"):
        floats = samples.astype(np.float32, copy=False)
    if np.issubdtype(samples.dtype, np.floating):
        return floats
    if samples.dtype == np.uint8:
        floats -= np.float32(128)
    floats *= np.float32(2.0 ** (1 - 8 * samples.dtype.itemsize))
    return floats


def is_valid(samples: Samples) -> bool:
    """Tell whether all samples are numbers in [-1, 1]."""
    # One comparison finds NaN as well: every comparison with NaN is false.
    return len(samples) == 0 or bool(samples.max() <= 1.0 and samples.min() >= -1.0)


def to_valid(samples: Samples) -> Samples:
    """Make NaN and infinite samples zero, and clip the others to [-1, 1]."""
    if is_valid(samples):
        return samples
    finite = np.where(np.isfinite(samples), samples, np.float32(0))
    return np.clip(finite, -1.0, 1.0)


def pcm_array(codec: str, data: _Bytes) -> npt.NDArray[Any]:
    """
    Give uncompressed samples as they are, of any width; ``to_float`` comes next.

    24-bit ones are widened to 32 bits, and G.711 is decoded to 16.

    Args:
        codec: FFmpeg's name, such as ``"pcm_s16le"``; one of ``riff.CODECS``.
        data: Whole samples.

    Returns:
        One-dimensional; a view of the data where they need no change.
    """
    return _ARRAYS[codec](data)


def _from_24_bits(data: _Bytes) -> npt.NDArray[np.int32]:
    """Widen to 32 bits, at the upper end."""
    # Each sample is read together with the byte before it, which is then made zero:
    # seven times as fast as copying the bytes to their places.
    with_byte_before = np.ndarray(
        (len(data) // 3,), "<i4", buffer=b"".join((b"\0", data)), strides=(3,)
    )
    return with_byte_before & np.int32(-256)


def _view(kind: str) -> Callable[[_Bytes], npt.NDArray[Any]]:
    return lambda data: np.frombuffer(data, kind)


_ARRAYS: dict[str, Callable[[_Bytes], npt.NDArray[Any]]] = {
    "pcm_u8": _view("u1"),
    "pcm_s16le": _view("<i2"),
    "pcm_s24le": _from_24_bits,
    "pcm_s32le": _view("<i4"),
    "pcm_f32le": _view("<f4"),
    "pcm_f64le": _view("<f8"),
    "pcm_alaw": lambda data: expand(np.frombuffer(data, np.uint8), "alaw"),
    "pcm_mulaw": lambda data: expand(np.frombuffer(data, np.uint8), "mulaw"),
}
