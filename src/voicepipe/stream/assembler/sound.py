"""Sound on its way from a file's reader to the session's format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from voicepipe.stream.assembler.plain import Run
from voicepipe.stream.samples import pcm_array


if TYPE_CHECKING:
    import numpy.typing as npt

    from voicepipe.stream.assembler.reader import Block


Sound: TypeAlias = "Run | Block"
"""Sound as it came, or decoded."""


def format_of(sound: Sound) -> tuple[int, int]:
    """Give the rate and the number of channels of some sound."""
    if isinstance(sound, Run):
        return sound.form.rate, sound.form.channels
    return sound.rate, sound.samples.shape[1]


def samples_of(sound: Sound) -> npt.NDArray[Any]:
    """Give the samples as they are, of any width, shape ``(frames, channels)``."""
    if isinstance(sound, Run):
        samples = pcm_array(sound.form.codec or "", sound.data)
        return samples.reshape(-1, sound.form.channels)
    return sound.samples
