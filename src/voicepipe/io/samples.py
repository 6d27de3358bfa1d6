"""Arrays of samples on their way out of a decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from voicepipe.stream.samples import is_valid, to_float, to_valid


if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.types.audio import Samples


__all__ = ["MAX_PADDING", "is_valid", "silence", "to_float", "to_valid", "trim_end"]

MAX_PADDING = 4_096
"""
Most frames of padding behind the declared end of an AAC recording.

The rest of the last frame, and up to one more for the decoder's delay: two frames of
HE-AAC, which has the longest.
"""


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
