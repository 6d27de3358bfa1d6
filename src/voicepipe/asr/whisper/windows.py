"""A recording as windows at the model's rate, with one column for each signal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from voicepipe.asr.tracks import seconds_of
from voicepipe.asr.whisper.model import RATE
from voicepipe.stream.resample import Resampler
from voicepipe.stream.windows import SilenceCutter
from voicepipe.types.audio import downmix


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voicepipe.types import Audio, Samples


def frames_of(audio: Audio) -> int:
    """Give how many frames a recording has at the model's rate, to a frame."""
    return round(audio.frames * RATE / audio.rate)


def windows(
    audio: Audio, channels: Sequence[int] | None, longest_s: float
) -> Iterator[Samples]:
    """
    Resample a recording and cut it where it is quiet.

    Args:
        audio: Any rate, any number of channels.
        channels: Which to give, one column each; ``None`` for their mean.
        longest_s: Longest window, seconds. A shorter recording is one window.

    Returns:
        Windows one after the other, without gap or overlap: float32, shape
        ``(frames, signals)``, in [-1, 1].
    """
    if frames_of(audio) <= longest_s * RATE:
        pieces = list(_resampled(audio, channels))
        if pieces:
            yield pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        return
    cutter = SilenceCutter(RATE, max_s=longest_s, min_s=0.9 * longest_s)
    for piece in _resampled(audio, channels):
        yield from cutter.push(piece)
    yield from cutter.flush()


def _resampled(audio: Audio, channels: Sequence[int] | None) -> Iterator[Samples]:
    """Give the signals piecemeal: large temporary arrays would be most of memory."""
    count = 1 if channels is None else len(channels)
    resamplers = [Resampler(audio.rate, RATE) for _ in range(count)]
    for second in seconds_of(audio):
        chosen = downmix(second) if channels is None else second[:, list(channels)]
        columns = [
            resampler.push(chosen[:, at : at + 1])
            for at, resampler in enumerate(resamplers)
        ]
        yield from _side_by_side(columns, audio.rate)
    yield from _side_by_side([r.flush() for r in resamplers], audio.rate)


def _side_by_side(columns: Sequence[Sequence[Samples]], rate: int) -> Iterator[Samples]:
    """Put what each resampler gave side by side: all give the same number of frames."""
    for row in zip(*columns, strict=True):
        piece = row[0] if len(row) == 1 else np.hstack(row)
        # Only a filter passes full scale.
        yield piece if rate == RATE else np.clip(piece, -1.0, 1.0)
