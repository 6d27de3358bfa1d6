"""Streams put together from pieces, and what whole-file decoding makes of them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from voicepipe.io.decode import open_audio
from voicepipe.io.options import DecodeOptions
from voicepipe.stream.assembler.assembler import ChunkAssembler
from voicepipe.stream.resample import Resampler
from voicepipe.types.audio import pcm16


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt


LENIENT = DecodeOptions(allow_truncated=True, allow_damaged=True)


def joined(
    arrays: Iterable[npt.NDArray[np.int16]], channels: int = 1
) -> npt.NDArray[np.int16]:
    """Join arrays of samples, of which there may be none."""
    return np.concatenate([np.zeros((0, channels), np.int16), *arrays])


def pieces_of(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut bytes at offsets, of which some may be behind the end."""
    at = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(at)]


def cuts(size: int) -> st.SearchStrategy[list[int]]:
    """Give places to cut so many bytes at: a few, or one after each few bytes."""
    few = st.lists(st.integers(0, size), max_size=12)
    even = st.tuples(st.integers(1, 4_096), st.integers(0, 64)).map(
        lambda step: list(range(step[1], size, max(step[0], size // 2_000 + 1)))
    )
    return few | even


def assemble(pieces: Sequence[bytes], **session: Any) -> npt.NDArray[np.int16]:
    """Push pieces and flush; check each array."""
    assembler = ChunkAssembler(**session)
    arrays = [array for piece in pieces for array in assembler.push(piece)]
    arrays.extend(assembler.flush())
    for array in arrays:
        assert array.dtype == np.int16
        assert array.flags.c_contiguous
        assert array.shape[1] == assembler.channels
        assert len(array)
    assert assembler.report.frames == sum(map(len, arrays))
    return joined(arrays, assembler.channels)


def whole(data: bytes, *, rate: int = 0, channels: int = 0) -> npt.NDArray[np.int16]:
    """Decode a whole file as ``read_audio`` does, and bring it to a session's form."""
    with open_audio(data, options=LENIENT) as reader:
        blocks = list(reader.blocks())
        resampler = Resampler(
            reader.rate,
            rate or reader.rate,
            channels=reader.channels,
            channels_out=1 if channels == 1 else reader.channels,
        )
    out = [y for block in blocks for y in resampler.push(block)]
    out.extend(resampler.flush())
    return pcm16(np.concatenate(out))
