"""Arrays of samples on their way out of a decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np


if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from voicepipe.types.audio import Samples


MAX_PADDING = 4_096
"""
Most frames of padding behind the declared end of an AAC recording.

The rest of the last frame, and up to one more for the decoder's delay: two frames of
HE-AAC, which has the longest.
"""


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


def silence(frames: int, channels: int) -> Iterator[Samples]:
    """Give silence, in blocks of at most 65,536 frames."""
    for begin in range(0, frames, 1 << 16):
        yield np.zeros((min(frames - begin, 1 << 16), channels), np.float32)


def trim_end(blocks: Iterator[Samples], end: int) -> Iterator[Samples]:
    """
    Drop the padding behind the declared end.

    What is beyond the end is held back. If it turns out to be more than padding can be,
    the declaration was wrong, and all of it is given.

    Args:
        blocks: Arrays of shape ``(frames, channels)``.
        end: Number of frames declared.
    """
    given = 0
    for block in blocks:
        keep = max(0, end - given)
        given += len(block)
        if keep >= len(block):
            yield block
            continue
        if keep:
            yield block[:keep]
        yield from _unless_padding(block[keep:], blocks)


def _unless_padding(beyond: Samples, blocks: Iterator[Samples]) -> Iterator[Samples]:
    """Give what is beyond the end, and all after it, unless it is short."""
    held = [beyond]
    while sum(map(len, held)) <= MAX_PADDING:
        block = next(blocks, None)
        if block is None:
            return
        held.append(block)
    yield from held
    yield from blocks
